// The cluster map that the first metadata server keeps, and which server is responsible for what.
#include <set>

#include "base/clock.h"
#include "engines.h"
#include "metadata/authority.h"
#include "metadata/records.h"

namespace imss::metadata {
namespace {

struct Server {
  Server(std::uint32_t index, std::uint32_t count)
      : hosted(segment::Role::kMetadata, 32 * engines::kMiB), names(hosted.segment()) {
    REQUIRE(names.format(index, count).ok());
    hosted.publish();
    self = {index, 5569 + index, (*hosted).super().nonce, 0, false, "localhost", (*hosted).name()};
  }
  engines::HostedSegment hosted;
  Namespace names;
  MapServer self;
};

}  // namespace

TEST_CASE("every directory has one authority, and each server about as many") {
  constexpr std::uint32_t kServers = 5;
  std::vector<int> count(kServers);
  for (std::uint64_t id = kFirstFreeId; id < 50'000; ++id) {
    const std::uint32_t server = authority_of(id, kServers);
    REQUIRE(server < kServers);
    CHECK(authority_of(id, 1) == 0);
    ++count[server];
  }
  for (const int each : count) CHECK((each > 9'500 && each < 10'500));
  CHECK(authority_of(kInstancesDirectory, kServers) == 0);
}

TEST_CASE("two servers never give out the same id") {
  Server first(0, 2);
  Server second(1, 2);
  std::set<std::uint64_t> ids;
  for (int i = 0; i < 1000; ++i) {
    const auto a = first.names.new_id();
    const auto b = second.names.new_id();
    CHECK(giver_of(*a) == 0);
    CHECK(giver_of(*b) == 1);
    ids.insert(*a);
    ids.insert(*b);
  }
  CHECK(ids.size() == 2000);
  // What the other gave out does not move its own.
  second.names.reserve_ids(first_id_of(0) + 1'000'000);
  CHECK(giver_of(*second.names.new_id()) == 1);
  second.names.reserve_ids(first_id_of(1) + 1'000'000);
  CHECK(*second.names.new_id() == first_id_of(1) + 1'000'001);
}

TEST_CASE("the root of an instance lies on the first server") {
  Server first(0, 3);
  for (int i = 0; i < 20; ++i) {
    InstanceInfo info;
    info.name = "i" + std::to_string(i);
    info.servers = {1};
    REQUIRE(first.names.create_instance(info).ok());
    CHECK(authority_of(first.names.instance(info.name)->root, 3) == 0);
  }
}

TEST_CASE("the epoch rises with every server that joins, restarts, ends or is replaced") {
  Server first(0, 2);
  Server second(1, 2);
  std::uint64_t epoch = first.names.map()->epoch;
  const auto news = [&](bool expected) {
    const std::uint64_t before = std::exchange(epoch, first.names.map()->epoch);
    CHECK((epoch > before) == expected);
  };
  CHECK_FALSE(first.names.map()->complete());
  REQUIRE(first.names.join_map(first.self, 2).ok());
  news(true);
  auto joined = first.names.join_map(second.self, 2);
  REQUIRE(joined.ok());
  news(true);
  CHECK(*joined == epoch);
  const auto map = first.names.map();
  CHECK(map->complete());
  CHECK(map->servers[1].segment_name == second.self.segment_name);
  CHECK(map->servers[1].epoch == epoch);

  second.self.epoch = *joined;  // from now on it says that it lives
  REQUIRE(first.names.join_map(second.self, 2).ok());
  news(false);
  second.self.epoch = 0;  // it was started again
  REQUIRE(first.names.join_map(second.self, 2).ok());
  news(true);
  CHECK(first.names.map()->servers[1].epoch == epoch);

  second.self.epoch = epoch;
  second.self.gone = true;
  REQUIRE(first.names.join_map(second.self, 2).ok());
  news(true);
  CHECK(first.names.map()->servers[1].gone);
  CHECK(first.names.map()->complete());
  second.self.gone = false;
  REQUIRE(first.names.join_map(second.self, 2).ok());
  news(true);

  ServerInfo data;
  data.segment_name = "imss-data-1-0";
  const auto id = first.names.join_server(data);
  REQUIRE(id.ok());
  news(true);
  REQUIRE(first.names.leave_server(*id).ok());
  news(true);
}

TEST_CASE("a server that is not heard is gone until it is heard again") {
  Server first(0, 2);
  Server second(1, 2);
  REQUIRE(first.names.join_map(first.self, 2).ok());
  second.self.epoch = *first.names.join_map(second.self, 2);
  REQUIRE(first.names.mark_silent(0).ok());
  CHECK_FALSE(first.names.map()->servers[1].gone);
  const std::uint64_t before = first.names.map()->epoch;
  REQUIRE(first.names.mark_silent(monotonic_ns() + 1).ok());
  CHECK(first.names.map()->servers[1].gone);
  CHECK_FALSE(first.names.map()->servers[0].gone);  // the first hears itself
  CHECK(first.names.map()->epoch == before + 1);
  REQUIRE(first.names.mark_silent(monotonic_ns() + 1).ok());
  CHECK(first.names.map()->epoch == before + 1);
  REQUIRE(first.names.join_map(second.self, 2).ok());
  CHECK_FALSE(first.names.map()->servers[1].gone);
}

TEST_CASE("what does not fit the map is refused and changes nothing") {
  Server first(0, 2);
  Server second(1, 2);
  Server rival(1, 2);
  REQUIRE(first.names.join_map(second.self, 2).ok());
  const std::uint64_t before = first.names.map()->epoch;
  CHECK(first.names.join_map(second.self, 3).code() == Code::kInvalidArgument);
  CHECK(second.names.join_map(second.self, 2).code() == Code::kInvalidArgument);
  MapServer beyond = second.self;
  beyond.index = 2;
  CHECK(first.names.join_map(beyond, 2).code() == Code::kInvalidArgument);
  CHECK(first.names.join_map(rival.self, 2).code() == Code::kBusy);
  CHECK(first.names.map()->epoch == before);
  // Once the other has ended its place is free, and it cannot end the new one.
  MapServer ended = second.self;
  ended.gone = true;
  REQUIRE(first.names.join_map(ended, 2).ok());
  REQUIRE(first.names.join_map(rival.self, 2).ok());
  REQUIRE(first.names.join_map(ended, 2).ok());
  CHECK(first.names.map()->servers.front().nonce == rival.self.nonce);
  CHECK_FALSE(first.names.map()->servers.front().gone);
}

TEST_CASE("the other servers have a copy of the map") {
  Server first(0, 2);
  Server second(1, 2);
  REQUIRE(first.names.join_map(first.self, 2).ok());
  REQUIRE(first.names.join_map(second.self, 2).ok());
  REQUIRE(second.names.copy_map(*first.names.map()).ok());
  CHECK(second.names.map()->complete());
  CHECK(second.names.map()->epoch == first.names.map()->epoch);
  CHECK(second.names.map()->servers[0].nonce == first.self.nonce);
  ClusterMap other = *first.names.map();
  other.count = 3;
  CHECK(second.names.copy_map(other).code() == Code::kInvalidArgument);
  first.hosted.require_sound();
  second.hosted.require_sound();
}

}  // namespace imss::metadata
