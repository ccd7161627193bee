#include "client/attached_network.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "client/local_host.h"

using namespace imss;          // NOLINT
using namespace imss::client;  // NOLINT

namespace {

std::optional<JobPlace> place_of(const std::map<std::string, std::string>& variables) {
  std::vector<std::string> texts;
  for (const auto& [name, value] : variables) texts.push_back(name + "=" + value);
  std::vector<const char*> environment;
  for (const std::string& text : texts) environment.push_back(text.c_str());
  environment.push_back(nullptr);
  return job_place(environment.data());
}

NetworkQuestion rank_beside_the_names() {
  NetworkQuestion question;
  question.metadata_here = true;
  question.metadata_port = 5569;
  return question;
}

}  // namespace

TEST_CASE("a process that no launcher started has no place in a job") {
  CHECK_FALSE(place_of({}));
  CHECK_FALSE(place_of({{"PMI_SIZE", "4"}, {"PMI_RANK", "1"}}));
  CHECK_FALSE(place_of({{"SLURM_LOCALID", "0"}, {"SLURM_NNODES", "2"}}));
}

TEST_CASE(
    "the variables of each launcher tell the number on the node and whether there are others") {
  const auto open_mpi = place_of({{"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                  {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                  {"OMPI_COMM_WORLD_SIZE", "4"}});
  REQUIRE(open_mpi);
  CHECK(open_mpi->rank_on_node == 1);
  CHECK(open_mpi->several_nodes);
  const auto mpich =
      place_of({{"MPI_LOCALRANKID", "3"}, {"MPI_LOCALNRANKS", "4"}, {"PMI_SIZE", "4"}});
  REQUIRE(mpich);
  CHECK(mpich->rank_on_node == 3);
  CHECK_FALSE(mpich->several_nodes);
  const auto slurm = place_of({{"SLURM_LOCALID", "7"},
                               {"SLURM_STEP_NUM_NODES", "2"},
                               {"SLURM_STEP_NODELIST", "rack[2-5]"}});
  REQUIRE(slurm);
  CHECK(slurm->rank_on_node == 7);
  CHECK(slurm->several_nodes);
  CHECK(slurm->first_host == "rack2");
}

TEST_CASE("mpirun within a batch job counts its own ranks") {
  const auto place = place_of({{"SLURM_LOCALID", "0"},
                               {"SLURM_STEP_NUM_NODES", "8"},
                               {"MPI_LOCALRANKID", "0"},
                               {"MPI_LOCALNRANKS", "2"},
                               {"PMI_SIZE", "2"}});
  REQUIRE(place);
  CHECK_FALSE(place->several_nodes);
}

TEST_CASE("variables that are no numbers are those of no launcher") {
  for (const std::string bad : {"", "-1", "1x", " 1", "99999999999"}) {
    CHECK_FALSE(place_of({{"MPI_LOCALRANKID", bad}, {"MPI_LOCALNRANKS", "4"}, {"PMI_SIZE", "4"}}));
  }
}

TEST_CASE("the first host of a list in Slurm's notation") {
  CHECK(first_host_of("node7") == "node7");
  CHECK(first_host_of("node7,node8") == "node7");
  CHECK(first_host_of("node[03-05,9],login1") == "node03");
  CHECK(first_host_of("node[9]") == "node9");
  CHECK(first_host_of("a[1-2]-ib,b") == "a1-ib");
  CHECK(first_host_of("").empty());
  CHECK(first_host_of("node[1").empty());
  CHECK(first_host_of("r[1-2]n[3-4]").empty());
}

TEST_CASE("ranks of one node need no network") {
  NetworkQuestion question = rank_beside_the_names();
  CHECK_FALSE(attached_network(Config(), question).needed);
  question.place = JobPlace{};
  question.named_by_file = true;
  question.metadata_host = local_host_name();
  CHECK_FALSE(attached_network(Config(), question).needed);
}

TEST_CASE(
    "a job on several nodes, a metadata server elsewhere, an address: each needs the network") {
  NetworkQuestion several = rank_beside_the_names();
  several.place = JobPlace{0, true, ""};
  CHECK(attached_network(Config(), several).needed);

  NetworkQuestion elsewhere = rank_beside_the_names();
  elsewhere.metadata_here = false;
  elsewhere.metadata_host = "192.0.2.1";
  elsewhere.place = JobPlace{};
  CHECK(attached_network(Config(), elsewhere).needed);

  Config config;
  REQUIRE(config.set("ADDRESS", "localhost").ok());
  const NetworkAnswer told = attached_network(config, rank_beside_the_names());
  CHECK(told.needed);
  CHECK(told.options.address == "localhost");
}

TEST_CASE(
    "without a launcher a host file that names this node needs the network, localhost does not") {
  NetworkQuestion question = rank_beside_the_names();
  question.named_by_file = true;
  question.metadata_host = "localhost";
  CHECK_FALSE(attached_network(Config(), question).needed);
  question.metadata_host = local_host_name();
  CHECK(attached_network(Config(), question).needed);
}

TEST_CASE(
    "with keys and no address a rank listens on all addresses, without keys on one it was told") {
  NetworkQuestion question = rank_beside_the_names();
  question.place = JobPlace{0, true, ""};
  Config config;
  REQUIRE(config.set("KEY_FILE", "/some/keys").ok());
  const NetworkAnswer with_keys = attached_network(config, question);
  CHECK(with_keys.options.address.empty());
  CHECK(with_keys.options.key_file == "/some/keys");
  // The address towards a server elsewhere is that of an interface; the documentation's network has
  // no host, and choosing a way sends nothing.
  question.metadata_here = false;
  question.metadata_host = "127.0.0.1";
  CHECK(attached_network(Config(), question).options.address == "127.0.0.1");
}

TEST_CASE("data servers of a node count their ports on and leave out that of the metadata server") {
  CHECK(*attached_port(5555, 5569, 0) == 5555);
  CHECK(*attached_port(5555, 5569, 13) == 5568);
  CHECK(*attached_port(5555, 5569, 14) == 5570);
  CHECK(*attached_port(5600, 5569, 3) == 5603);
  CHECK(*attached_port(65535, 1, 0) == 65535);
  CHECK(attached_port(65535, 1, 1).code() == Code::kInvalidArgument);
  CHECK(attached_port(5555, 5569, 4294967294).code() == Code::kInvalidArgument);
}
