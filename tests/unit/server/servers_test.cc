// Metadata and data servers inside this process, as attached servers are.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "client/session.h"
#include "segment/segment_files.h"
#include "server/data_server.h"
#include "server/leftover.h"
#include "server/metadata_server.h"

namespace imss::server {
namespace {

constexpr std::uint64_t kCapacity = 32 << 20;

// Segments of its own for each test.
class ShmDirectory {
 public:
  ShmDirectory() {
    REQUIRE(::mkdtemp(path_) != nullptr);
    ::setenv("IMSS_SHM_DIR", path_, 1);
  }
  ~ShmDirectory() {
    ::unsetenv("IMSS_SHM_DIR");
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }

 private:
  char path_[40] = "/dev/shm/imss-test-XXXXXX";
};

MetadataServerOptions metadata_options(bool attached) {
  MetadataServerOptions options;
  options.port = 22000;
  options.capacity_bytes = kCapacity;
  options.attached = attached;
  return options;
}

DataServerOptions data_options(std::uint32_t rank, std::uint32_t count) {
  DataServerOptions options;
  options.instance = "unit";
  options.port = static_cast<std::uint16_t>(22100 + rank);
  options.rank = rank;
  options.server_count = count;
  options.capacity_bytes = kCapacity;
  options.metadata_port = 22000;
  options.wait_ms = 0;
  return options;
}

TEST_CASE("the last of the servers to join makes the instance, with positions in order of rank") {
  const ShmDirectory directory;
  auto metadata = MetadataServer::start(metadata_options(false));
  REQUIRE(metadata.ok());
  auto second = DataServer::start(data_options(1, 2));
  REQUIRE(second.ok());
  auto session = client::Session::connect({{{"localhost"}}, 22000});
  REQUIRE(session.ok());
  CHECK((*session)->names().instance("unit").code() == Code::kNotFound);
  auto first = DataServer::start(data_options(0, 2));
  REQUIRE(first.ok());
  const auto instance = (*session)->names().instance("unit");
  REQUIRE(instance.ok());
  CHECK(instance->servers ==
        std::vector<std::uint32_t>{(*first)->server_id(), (*second)->server_id()});
}

TEST_CASE("a server that stops without retiring is continued under its old id") {
  const ShmDirectory directory;
  auto metadata = MetadataServer::start(metadata_options(false));
  REQUIRE(metadata.ok());
  CHECK_FALSE((*metadata)->took_over());
  auto data = DataServer::start(data_options(0, 1));
  REQUIRE(data.ok());
  const std::uint32_t id = (*data)->server_id();
  (*data)->stop(false);
  (*metadata)->stop(false);
  CHECK(segment::list_files().size() == 2);
  metadata = MetadataServer::start(metadata_options(false));
  REQUIRE(metadata.ok());
  CHECK((*metadata)->took_over());
  data = DataServer::start(data_options(0, 1));
  REQUIRE(data.ok());
  CHECK((*data)->took_over());
  CHECK((*data)->server_id() == id);
}

TEST_CASE("a server that retires removes its segment, and stopping again changes nothing") {
  const ShmDirectory directory;
  auto metadata = MetadataServer::start(metadata_options(false));
  REQUIRE(metadata.ok());
  auto data = DataServer::start(data_options(0, 1));
  REQUIRE(data.ok());
  (*data)->stop(true);
  (*data)->stop(false);
  CHECK_FALSE((*data)->segment()->serving());
  (*metadata)->stop(true);
  CHECK(segment::list_files().empty());
}

TEST_CASE("an attached server that retires leaves the list of servers") {
  const ShmDirectory directory;
  auto metadata = MetadataServer::start(metadata_options(true));
  REQUIRE(metadata.ok());
  auto options = data_options(0, 1);
  options.attached = true;
  auto data = DataServer::start(options);
  REQUIRE(data.ok());
  auto session = client::Session::connect({{{"localhost"}}, 22000});
  REQUIRE(session.ok());
  CHECK((*session)->names().servers()->size() == 1);
  (*data)->stop(true);
  CHECK((*session)->names().servers()->empty());
}

TEST_CASE("a port that is served is refused as busy, and the first server goes on") {
  const ShmDirectory directory;
  auto metadata = MetadataServer::start(metadata_options(false));
  REQUIRE(metadata.ok());
  CHECK(MetadataServer::start(metadata_options(false)).code() == Code::kBusy);
  auto data = DataServer::start(data_options(0, 1));
  REQUIRE(data.ok());
  CHECK(DataServer::start(data_options(0, 1)).code() == Code::kBusy);
  CHECK((*data)->segment()->serving());
  CHECK(client::Session::connect({{{"localhost"}}, 22000}).ok());
}

TEST_CASE("a data server without a metadata server ends in time and leaves no segment") {
  const ShmDirectory directory;
  CHECK(DataServer::start(data_options(0, 1)).code() == Code::kNotInitialized);
  CHECK(segment::list_files().empty());
}

TEST_CASE("a data server joins a metadata server that was retired and started anew") {
  const ShmDirectory directory;
  auto metadata = MetadataServer::start(metadata_options(false));
  REQUIRE(metadata.ok());
  auto data = DataServer::start(data_options(0, 1));
  REQUIRE(data.ok());
  (*metadata)->stop(true);
  metadata = MetadataServer::start(metadata_options(false));
  REQUIRE(metadata.ok());
  CHECK_FALSE((*metadata)->took_over());
  auto session = client::Session::connect({{{"localhost"}}, 22000});
  REQUIRE(session.ok());
  bool joined = false;
  const Deadline deadline = Deadline::from_now(10'000);
  while (!joined && !deadline.expired()) {
    joined = (*session)->names().instance("unit").ok();
    std::this_thread::yield();
  }
  CHECK(joined);
}

TEST_CASE("the segment of a server alive is not removed as a leftover") {
  const ShmDirectory directory;
  auto metadata = MetadataServer::start(metadata_options(false));
  REQUIRE(metadata.ok());
  const std::string name = (*metadata)->segment_name();
  CHECK(remove_segment(name).code() == Code::kBusy);
  (*metadata)->stop(false);
  CHECK(remove_segment(name).ok());
  CHECK(segment::list_files().empty());
  CHECK(remove_segment(name).ok());
}

}  // namespace
}  // namespace imss::server
