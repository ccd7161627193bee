// Several metadata servers of one deployment, inside this process.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "client/session.h"
#include "metadata/authority.h"
#include "segment/segment_files.h"
#include "server/data_server.h"
#include "server/metadata_server.h"

namespace imss::server {
namespace {

constexpr std::uint64_t kCapacity = 32 << 20;
constexpr std::uint16_t kPort = 22350;

// Segments and metadata files of its own for each test.
class Folder {
 public:
  Folder() {
    REQUIRE(::mkdtemp(path_) != nullptr);
    ::setenv("IMSS_SHM_DIR", path_, 1);
  }
  ~Folder() {
    ::unsetenv("IMSS_SHM_DIR");
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  std::string file() const { return std::string(path_) + "/metadata"; }

 private:
  char path_[40] = "/dev/shm/imss-test-XXXXXX";
};

MetadataServerOptions options_of(std::uint32_t rank, std::uint32_t count, const std::string& file = "") {
  MetadataServerOptions options;
  options.port = static_cast<std::uint16_t>(kPort + rank);
  options.capacity_bytes = kCapacity;
  options.rank = rank;
  options.server_count = count;
  options.first = {"localhost", kPort};
  options.host_name = "localhost";
  options.metadata_file = metadata_file_of(file, rank);
  options.wait_ms = 2000;
  return options;
}

using Servers = std::vector<std::unique_ptr<MetadataServer>>;

std::unique_ptr<MetadataServer> start(const MetadataServerOptions& options) {
  auto server = MetadataServer::start(options);
  INFO(server.status().message());
  REQUIRE(server.ok());
  return std::move(*server);
}

Servers start_all(std::uint32_t count, const std::string& file = "") {
  Servers servers;
  for (std::uint32_t rank = 0; rank < count; ++rank) servers.push_back(start(options_of(rank, count, file)));
  return servers;
}

std::unique_ptr<DataServer> start_data() {
  DataServerOptions options;
  options.instance = "several";
  options.port = kPort + 50;
  options.capacity_bytes = kCapacity;
  options.metadata_port = kPort;
  auto server = DataServer::start(options);
  INFO(server.status().message());
  REQUIRE(server.ok());
  return std::move(*server);
}

std::unique_ptr<client::Session> connect(std::uint16_t port = kPort) {
  auto session = client::Session::connect({{{"localhost", port}}});
  INFO(session.status().message());
  REQUIRE(session.ok());
  return std::move(*session);
}

Uri uri(const std::string& path) { return {"several", path}; }

void make_names(client::Session& session) {
  for (int i = 0; i < 12; ++i) {
    const std::string directory = "d" + std::to_string(i) + "/below";
    REQUIRE(session.make_directory(uri(directory), 0755, true).ok());
    client::DatasetOptions options;
    options.block_bytes = 4096;
    options.block_count = 1;
    const auto made = session.create(uri(directory + "/file"), options);
    INFO(made.status().message());
    REQUIRE(made.ok());
    REQUIRE(session.release(*made).ok());
  }
}

bool names_are_there(client::Session& session) {
  for (int i = 0; i < 12; ++i) {
    const std::string path = "d" + std::to_string(i) + "/below/file";
    const auto node = session.resolve(uri(path));
    INFO(path << ": " << node.status().message());
    CHECK(node.ok());
    if (!node.ok()) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("metadata servers share a namespace, whichever of them a client asks first") {
  const Folder folder;
  auto servers = start_all(3);
  auto data = start_data();
  auto session = connect();
  make_names(*session);
  CHECK(session->mapped_names().size() == 3);
  for (const std::uint16_t port : {kPort, static_cast<std::uint16_t>(kPort + 2)})
    CHECK(names_are_there(*connect(port)));
  // Each has a part.
  for (const auto& names : session->mapped_names()) {
    int directories = 0;
    for (int i = 0; i < 12; ++i) {
      const auto node = session->resolve(uri("d" + std::to_string(i)));
      if (names->directory(node->directory).ok()) ++directories;
    }
    CHECK(directories > 0);
    CHECK(directories < 12);
  }
  REQUIRE(session->rename(uri("d0/below"), uri("d1/moved")).ok());
  CHECK(session->resolve(uri("d1/moved/file")).ok());
  CHECK(session->remove_directory(uri("d1")).code() == Code::kNotEmpty);
  CHECK(session->remove_directory(uri("d0")).ok());
}

TEST_CASE("a metadata server that was stopped goes on under a new epoch, and clients with it") {
  const Folder folder;
  auto servers = start_all(2);
  auto data = start_data();
  auto session = connect();
  make_names(*session);
  for (const std::size_t rank : {1U, 0U}) {
    const std::uint64_t before = session->known_map().epoch;
    servers[rank]->stop(false);
    servers[rank].reset();
    servers[rank] = start(options_of(static_cast<std::uint32_t>(rank), 2));
    CHECK(servers[rank]->took_over());
    CHECK(session->known_map().epoch > before);
    CHECK_FALSE(session->known_map().servers[rank].gone);
    CHECK(names_are_there(*session));
  }
}

TEST_CASE("another number of metadata servers than before is refused, by segment and by file") {
  const Folder folder;
  auto servers = start_all(2, folder.file());
  for (auto& server : servers) server->stop(false);
  servers.clear();
  auto other = MetadataServer::start(options_of(0, 3, folder.file()));
  CHECK(other.code() == Code::kInvalidArgument);
  CHECK(other.status().message().find("server 0 of 2, and this is server 0 of 3") != std::string::npos);
  servers = start_all(2, folder.file());
  for (auto& server : servers) server->stop(true);
  servers.clear();
  other = MetadataServer::start(options_of(0, 1, folder.file()));
  CHECK(other.code() == Code::kInvalidArgument);
  CHECK(other.status().message().find("server 0 of 2, and this is server 0 of 1") != std::string::npos);
}

TEST_CASE("clients are told what is missing of a deployment that is not complete") {
  const Folder folder;
  auto first = start(options_of(0, 2));
  const auto session = client::Session::connect({{{"localhost", kPort}}});
  CHECK(session.code() == Code::kNotInitialized);
  CHECK(session.status().message() == "only 1 of 2 metadata servers have been started");
  auto lonely = options_of(1, 2);
  first->stop(true);
  lonely.wait_ms = 100;
  const auto second = MetadataServer::start(lonely);
  CHECK(second.code() == Code::kNotInitialized);
  CHECK(segment::list_files().empty());
}

TEST_CASE("names of all metadata servers come back from their files") {
  const Folder folder;
  {
    auto servers = start_all(3, folder.file());
    auto data = start_data();
    auto session = connect();
    make_names(*session);
    REQUIRE(session->rename(uri("d0/below"), uri("d1/moved")).ok());
    REQUIRE(session->rename(uri("d1/moved"), uri("d0/below")).ok());
    session.reset();
    data->stop(true);
    for (auto& server : servers) server->stop(true);
  }
  CHECK(segment::list_files().empty());
  auto servers = start_all(3, folder.file());
  auto data = start_data();
  auto session = connect();
  CHECK(names_are_there(*session));
  // No id is given out twice, whoever gave it out before.
  std::uint64_t id = 0;
  REQUIRE(session->names().make_directory(session->resolve(uri("d3"))->directory, "new", {0755}, &id).ok());
  for (int i = 0; i < 12; ++i) {
    const auto node = session->resolve(uri("d" + std::to_string(i) + "/below"));
    CHECK(node->directory != id);
  }
}

}  // namespace imss::server
