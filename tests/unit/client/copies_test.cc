#include <signal.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>

#include "client/session.h"
#include "segment/fault.h"
#include "server/data_server.h"
#include "server/metadata_server.h"
#include "support/scratch.h"

namespace imss::client {
namespace {

constexpr std::uint16_t kMetadataPort = 5569;
constexpr std::size_t kBlockBytes = 16 << 10;

struct Deployment {
  Deployment() {
    server::MetadataServerOptions names;
    names.port = kMetadataPort;
    names.capacity_bytes = 64 << 20;
    auto started = server::MetadataServer::start(names);
    INFO(started.status().message());
    REQUIRE(started.ok());
    metadata = std::move(*started);
    for (std::uint32_t rank = 0; rank < 3; ++rank) {
      server::DataServerOptions options;
      options.instance = "x";
      options.port = static_cast<std::uint16_t>(5555 + rank);
      options.rank = rank;
      options.capacity_bytes = 64 << 20;
      options.server_count = 3;
      options.metadata_port = kMetadataPort;
      auto server = server::DataServer::start(options);
      INFO(server.status().message());
      REQUIRE(server.ok());
      data.push_back(std::move(*server));
    }
    session = connect();
  }
  ~Deployment() {
    session.reset();
    for (auto& server : data) server->stop(true);
    metadata->stop(true);
  }
  static std::unique_ptr<Session> connect() {
    ConnectOptions options;
    options.port = kMetadataPort;
    auto connected = Session::connect(options);
    REQUIRE(connected.ok());
    return std::move(*connected);
  }

  const test::Scratch scratch;
  std::unique_ptr<server::MetadataServer> metadata;
  std::vector<std::unique_ptr<server::DataServer>> data;
  std::unique_ptr<Session> session;
};

std::vector<std::byte> stamped(int stamp) {
  return std::vector<std::byte>(kBlockBytes, static_cast<std::byte>(stamp));
}

TEST_CASE("copies that a dead writer left different become equal again") {
  Deployment deployment;
  Session& session = *deployment.session;
  DatasetOptions options;
  options.block_bytes = kBlockBytes;
  options.block_count = 4;
  options.replicas = 3;
  const Policy policy = GENERATE(Policy::kRoundRobin, Policy::kLocal);
  options.policy = policy;
  auto handle = session.create({"x", "copied"}, options);
  REQUIRE(handle.ok());
  Dataset& dataset = **session.dataset(*handle);
  REQUIRE(session.put(dataset, 1, stamped(1)).ok());
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("IMSS_FAULT", "replicas.one_written:1:kill", 1);
    segment::fault_reload();
    [[maybe_unused]] const Status status = session.put(dataset, 1, stamped(2));
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFSIGNALED(status));
  const auto positions = session.locate(dataset, 1);
  REQUIRE(positions.ok());
  REQUIRE(positions->size() == 3);
  const InstanceServers& servers = *dataset.instance;
  store::Store& first = *servers.mapped[(*positions)[0]];
  // Somebody else may be cleaning up at this moment.
  while (first.segment().super().recoveries.load() == 0) first.segment().clean_up();
  REQUIRE(session.reap().ok());
  CHECK(first.torn_blocks().empty());
  const std::uint64_t version = *first.version({dataset.id, 1});
  std::vector<std::byte> expected(kBlockBytes);
  REQUIRE(first.get({dataset.id, 1}, 0, expected).ok());
  for (const std::uint32_t position : *positions) {
    store::Store& copy = *servers.mapped[position];
    CHECK(*copy.version({dataset.id, 1}) == version);
    std::vector<std::byte> content(kBlockBytes);
    REQUIRE(copy.get({dataset.id, 1}, 0, content).ok());
    CHECK((content == expected));
  }
  REQUIRE(session.release(*handle).ok());
}

}  // namespace
}  // namespace imss::client
