#include "policies/policy.h"

#include <array>
#include <catch2/catch.hpp>
#include <set>
#include <vector>

#include "base/hash.h"
#include "policies/server_table.h"

using imss::place;
using imss::PlacementInput;
using imss::Policy;
using imss::ServerWeight;

namespace {

std::vector<ServerWeight> equal_servers(std::uint32_t count, std::uint32_t first_id = 0) {
  std::vector<ServerWeight> servers;
  for (std::uint32_t i = 0; i < count; ++i) servers.push_back({first_id + i, 1});
  return servers;
}

std::uint32_t first_of(Policy policy, const PlacementInput& input,
                       std::span<const ServerWeight> servers) {
  std::uint32_t position = UINT32_MAX;
  REQUIRE(place(policy, input, servers, {&position, 1}) == 1);
  return position;
}

}  // namespace

TEST_CASE("every policy has one name, read in any case") {
  for (const Policy policy : imss::kAllPolicies) {
    const auto parsed = imss::parse_policy(imss::policy_name(policy));
    REQUIRE(parsed.ok());
    CHECK(*parsed == policy);
  }
  CHECK(*imss::parse_policy("crc16B") == Policy::kCrc16b);
  CHECK(*imss::parse_policy("rr") == Policy::kRoundRobin);
  CHECK(*imss::parse_policy("ZCOPY") == Policy::kLocal);
}

TEST_CASE("an unknown policy is refused with the names that exist") {
  for (const std::string_view name : {"", "R", "RRR", "ROUND_ROBIN", "HRW "}) {
    const auto parsed = imss::parse_policy(name);
    CHECK(parsed.code() == imss::Code::kInvalidArgument);
    CHECK(parsed.status().message().find("BUCKETS") != std::string::npos);
  }
}

TEST_CASE("every policy places every block, 0 included, on distinct servers") {
  for (const Policy policy : imss::kAllPolicies) {
    for (const std::uint32_t count : {1U, 2U, 3U, 7U, 63U, 64U, 65U, 200U}) {
      const auto servers = equal_servers(count, 5);
      for (const std::uint64_t block : {0UL, 1UL, 2UL, 1000UL, 1UL << 40, UINT64_MAX}) {
        for (const std::size_t wanted : {0U, 1U, 2U, 3U, 8U, 64U, 70U}) {
          std::array<std::uint32_t, 70> out{};
          const PlacementInput input{42 + block, block, 100, 1};
          const auto got = place(policy, input, servers, {out.data(), wanted});
          REQUIRE(got == std::min({wanted, std::size_t{count}, imss::kMaxReplicas}));
          const std::set<std::uint32_t> distinct(out.begin(), out.begin() + got);
          REQUIRE(distinct.size() == got);
          if (got > 0) REQUIRE(*distinct.rbegin() < count);
        }
      }
    }
  }
}

TEST_CASE("no servers means no replicas") {
  std::uint32_t position = 7;
  for (const Policy policy : imss::kAllPolicies)
    CHECK(place(policy, {1, 1, 1, 0}, {}, {&position, 1}) == 0);
  CHECK(position == 7);
}

TEST_CASE("asking for more replicas does not change the first ones") {
  const auto servers = equal_servers(90);
  for (const Policy policy : imss::kAllPolicies) {
    for (std::uint64_t block = 0; block < 50; ++block) {
      std::array<std::uint32_t, 5> five{};
      std::array<std::uint32_t, 2> two{};
      place(policy, {9, block, 50, 3}, servers, five);
      place(policy, {9, block, 50, 3}, servers, two);
      REQUIRE(two[0] == five[0]);
      REQUIRE(two[1] == five[1]);
    }
  }
}

TEST_CASE("RR puts consecutive blocks on consecutive servers") {
  const auto servers = equal_servers(7);
  const std::uint32_t start = first_of(Policy::kRoundRobin, {77, 1, 0}, servers);
  for (std::uint64_t block = 1; block < 30; ++block) {
    CHECK(first_of(Policy::kRoundRobin, {77, block, 0}, servers) == (start + block - 1) % 7);
  }
}

TEST_CASE("RR starts different datasets on different servers") {
  const auto servers = equal_servers(8);
  std::array<int, 8> starts{};
  for (std::uint64_t dataset = 0; dataset < 8000; ++dataset) {
    ++starts[first_of(Policy::kRoundRobin, {dataset, 1, 0}, servers)];
  }
  for (const int count : starts) CHECK(count == Approx(1000).epsilon(0.15));
}

TEST_CASE("BUCKETS gives each server one contiguous run, and runs differ by at most one block") {
  const auto servers = equal_servers(6);
  for (const std::uint64_t blocks : {6U, 7U, 11U, 12U, 100U}) {
    std::array<std::uint64_t, 6> held{};
    int changes = 0;
    std::uint32_t last = first_of(Policy::kBuckets, {5, 1, blocks}, servers);
    for (std::uint64_t block = 1; block <= blocks; ++block) {
      const std::uint32_t now = first_of(Policy::kBuckets, {5, block, blocks}, servers);
      if (now != last) ++changes;
      ++held[now];
      last = now;
    }
    CHECK(changes == 5);
    const auto [least, most] = std::minmax_element(held.begin(), held.end());
    CHECK(*most - *least <= 1);
  }
}

TEST_CASE("BUCKETS goes on round the servers when a dataset grows past its declared blocks") {
  const auto servers = equal_servers(4);
  for (std::uint64_t block = 1; block <= 20; ++block) {
    CHECK(first_of(Policy::kBuckets, {5, block + 20, 20}, servers) ==
          first_of(Policy::kBuckets, {5, block, 20}, servers));
  }
}

TEST_CASE("LOCAL places data on the recorded server and falls back to a hash of the dataset") {
  const auto servers = equal_servers(10);
  CHECK(first_of(Policy::kLocal, {3, 1, 0, 6}, servers) == 6);
  const std::uint32_t home = first_of(Policy::kLocal, {3, 0, 0, 6}, servers);
  CHECK(first_of(Policy::kLocal, {3, 1, 0, imss::kNoLocalServer}, servers) == home);
  CHECK(first_of(Policy::kLocal, {3, 9, 0, 10}, servers) == home);
}

TEST_CASE("hashing policies spread the blocks of one dataset evenly") {
  for (const Policy policy : {Policy::kHash, Policy::kCrc16b, Policy::kCrc64b, Policy::kHrw}) {
    for (const std::uint32_t count : {4U, 10U, 16U, 100U}) {
      const auto servers = equal_servers(count);
      std::vector<double> held(count);
      const std::uint64_t blocks = 1000ULL * count;
      for (std::uint64_t block = 1; block <= blocks; ++block)
        ++held[first_of(policy, {123, block, 0}, servers)];
      INFO(imss::policy_name(policy) << " on " << count);
      for (const double blocks_held : held) CHECK(blocks_held == Approx(1000).epsilon(0.17));
    }
  }
}

TEST_CASE("a server table places exactly as place does") {
  std::vector<ServerWeight> servers;
  for (std::uint32_t id = 0; id < 3000; ++id) {
    if (imss::mix64(id) % 3 != 0) servers.push_back({id, 1 + id % 5});
  }
  const imss::ServerTable table(servers);
  for (const Policy policy : imss::kAllPolicies) {
    for (std::uint64_t block = 0; block < 200; ++block) {
      std::array<std::uint32_t, 3> plain{};
      std::array<std::uint32_t, 3> prepared{};
      place(policy, {8, block, 200, 4}, servers, plain);
      table.place(policy, {8, block, 200, 4}, prepared);
      REQUIRE(plain == prepared);
    }
  }
}
