// Changes while one of the data servers cannot be reached and will come back with all it has: what would leave something
// old there, to be read later, is not done.
#include <thread>

#include "base/clock.h"
#include "client/session.h"
#include "server/data_requests.h"
#include "server/name_requests.h"
#include "support/scratch.h"
#include "unit/client/serve.h"

namespace imss::client {
namespace {

constexpr std::uint64_t kBlockBytes = 64 << 10;
constexpr int kPatienceMs = 30'000;

using Bytes = std::vector<std::byte>;

Bytes stamped(std::uint64_t bytes, int stamp) { return Bytes(bytes, static_cast<std::byte>(stamp)); }

// Two data servers, of which the second can go away and come back.
struct Nodes {
  Nodes() {
    metadata::InstanceInfo info;
    info.name = "w";
    info.block_bytes = kBlockBytes;
    for (int i = 0; i < 2; ++i) {
      services[i] = serve<server::DataRequests>(data[i].hosted.segment(), 0);
      metadata::ServerInfo record;
      record.nonce = (*data[i].hosted).super().nonce;
      record.port = services[i]->port();
      record.host = kElsewhere;
      record.segment_name = data[i].hosted.segment()->name();
      const auto id = names.names.join_server(record);
      REQUIRE(id.ok());
      info.servers.push_back(*id);
    }
    second_port = services[1]->port();
    REQUIRE(names.names.create_instance(info).ok());
    ConnectOptions connect;
    connect.hosts = {Host{kElsewhere, 0}};
    connect.port = name_service->port();
    auto connected = Session::connect(connect);
    REQUIRE(connected.ok());
    session = std::move(*connected);
  }
  // A dataset whose inode is on the first server, or the second.
  Dataset& create(const DatasetOptions& options, std::uint32_t home = 0) {
    for (int i = 0;; ++i) {
      uri = {"w", "file" + std::to_string(i)};
      handle = *session->create(uri, options);
      Dataset& dataset = **session->dataset(handle);
      if (dataset.layout.home_server == home) return dataset;
    }
  }
  // Blocks and inodes of the dataset that the servers have.
  std::uint64_t stored(std::uint64_t dataset) {
    std::uint64_t count = 0;
    for (engines::DataEngine& engine : data) {
      REQUIRE(engine.store.for_each_block([&](store::BlockId id, const segment::Values&) {
        if (id.dataset == dataset) ++count;
        return true;
      }).ok());
    }
    return count;
  }
  // What metadata servers do now and then, by a session of its own; again until nothing is left to do.
  void await_reaped() {
    auto keeper = Session::connect_segment(names.hosted.segment()->name());
    REQUIRE(keeper.ok());
    const Deadline patience = Deadline::from_now(kPatienceMs);
    while (!(*keeper)->reap().ok()) REQUIRE_FALSE(patience.expired());
    (*keeper)->leave_metadata();
  }
  void await_second(const Dataset& dataset, bool serving) const {
    const Deadline patience = Deadline::from_now(kPatienceMs);
    while (dataset.instance->stores[1]->serving() != serving) {
      REQUIRE_FALSE(patience.expired());
      std::this_thread::yield();
    }
  }
  void take_second_away(const Dataset& dataset) {
    services[1].reset();
    await_second(dataset, false);
  }
  void bring_second_back(const Dataset& dataset) {
    services[1] = serve<server::DataRequests>(data[1].hosted.segment(), second_port);
    await_second(dataset, true);
  }

  const test::Scratch scratch;
  engines::NameEngine names;
  engines::DataEngine data[2];
  std::unique_ptr<server::NetworkService> name_service = serve<server::NameRequests>(names.hosted.segment(), 0);
  std::unique_ptr<server::NetworkService> services[2];
  std::uint16_t second_port = 0;
  std::unique_ptr<Session> session;
  Uri uri;
  std::int32_t handle = -1;
};

}  // namespace

TEST_CASE("a truncation that cannot reach a server is finished when it is back") {
  Nodes nodes;
  Session& session = *nodes.session;
  DatasetOptions options;
  options.block_bytes = kBlockBytes;
  options.block_count = 0;
  Dataset& file = nodes.create(options);
  const std::uint64_t bytes = 4 * kBlockBytes;
  REQUIRE(session.write_at(file, 0, stamped(bytes, 7)).ok());
  nodes.take_second_away(file);
  CHECK(session.truncate(file, 10).code() == Code::kUnknownOutcome);
  CHECK(session.write_at(file, 0, stamped(5, 8)).code() == Code::kIo);
  nodes.bring_second_back(file);
  const std::byte last[] = {std::byte{9}};
  REQUIRE(session.write_at(file, bytes - 1, last).ok());
  Bytes expected = stamped(bytes, 0);
  std::fill_n(expected.begin(), 10, std::byte{7});
  expected.back() = last[0];
  Bytes content(bytes);
  REQUIRE(session.read_at(file, 0, content).ok());
  CHECK((content == expected));
  REQUIRE(session.release(nodes.handle).ok());
}

TEST_CASE("no copy is written while another one is out of reach, and none is read that is behind") {
  Nodes nodes;
  Session& session = *nodes.session;
  DatasetOptions options;
  options.block_bytes = kBlockBytes;
  options.block_count = 2;
  options.replicas = 2;
  Dataset& dataset = nodes.create(options);
  const auto is_at_both = [&](std::uint64_t block, const Bytes& expected) {
    for (engines::DataEngine& engine : nodes.data) {
      Bytes content(expected.size());
      if (!engine.store.get({dataset.id, block}, 0, content).ok() || content != expected) return false;
    }
    return true;
  };
  // One block of either order.
  for (const std::uint64_t block : {1, 2}) REQUIRE(session.put(dataset, block, stamped(kBlockBytes, 1)).ok());
  REQUIRE(session.locate(dataset, 1)->front() != session.locate(dataset, 2)->front());
  nodes.take_second_away(dataset);
  for (const std::uint64_t block : {1, 2}) {
    CHECK(session.put(dataset, block, stamped(kBlockBytes, 2)).code() == Code::kIo);
    CHECK(session.write(dataset, block, 5, stamped(10, 3)).code() == Code::kIo);
    Bytes content(kBlockBytes);
    CHECK(session.get(dataset, block, 0, content).ok());
    CHECK((content == stamped(kBlockBytes, 1)));
    CHECK(is_at_both(block, stamped(kBlockBytes, 1)));
  }
  nodes.bring_second_back(dataset);
  for (const std::uint64_t block : {1, 2}) {
    REQUIRE(session.put(dataset, block, stamped(kBlockBytes, 4)).ok());
    CHECK(is_at_both(block, stamped(kBlockBytes, 4)));
  }
  REQUIRE(session.release(nodes.handle).ok());
}

TEST_CASE("what a removed dataset has on a server out of reach is removed when that is back") {
  Nodes nodes;
  Session& session = *nodes.session;
  DatasetOptions options;
  options.block_bytes = kBlockBytes;
  options.block_count = 4;
  const std::uint32_t home = GENERATE(0U, 1U);
  nodes.create(options, home);
  const std::shared_ptr<Dataset> held = *session.dataset(nodes.handle);
  Dataset& dataset = *held;
  const std::uint64_t id = dataset.id;
  for (std::uint64_t block = 1; block <= 4; ++block) REQUIRE(session.put(dataset, block, stamped(kBlockBytes, 1)).ok());
  REQUIRE(nodes.stored(id) > 4);
  nodes.take_second_away(dataset);
  if (home == 0) REQUIRE(session.release(nodes.handle).ok());
  CHECK(session.unlink(nodes.uri).ok());
  CHECK(session.open(nodes.uri).code() == Code::kNotFound);
  CHECK(nodes.stored(id) > 0);
  {
    auto keeper = Session::connect_segment(nodes.names.hosted.segment()->name());
    REQUIRE(keeper.ok());
    CHECK(!(*keeper)->reap().ok());  // not now
    (*keeper)->leave_metadata();
  }
  nodes.bring_second_back(dataset);
  if (home == 1) REQUIRE(session.release(nodes.handle).ok());
  nodes.await_reaped();
  CHECK(nodes.stored(id) == 0);
  for (const auto& engine : nodes.data) engine.hosted.require_sound();
  nodes.names.hosted.require_sound();
}

}  // namespace imss::client
