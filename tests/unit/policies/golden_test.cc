// Placements as they were first released. Stored data is found by them: when one of these checks
// fails, the code is wrong, never the table.
#include <array>
#include <catch2/catch.hpp>
#include <vector>

#include "base/hash.h"
#include "policies/policy.h"

using imss::Policy;
using imss::ServerWeight;

namespace {

struct GoldenRow {
  Policy policy;
  std::array<std::uint32_t, 8>
      first;  // blocks 0 to 7 of dataset 42, 8 declared, LOCAL on 3: on 5 servers
  std::array<std::uint32_t, 3> replicas;  // block 1 of dataset 7 on 100 servers
  std::uint64_t digest;                   // of many placements
};

const GoldenRow kGolden[] = {
    {Policy::kRoundRobin, {3, 3, 4, 0, 1, 2, 3, 4}, {38, 39, 40}, 0x8335C9FE81EA7ECB},
    {Policy::kBuckets, {3, 3, 3, 4, 4, 0, 1, 1}, {38, 39, 40}, 0x4CEEE53EDB2564E4},
    {Policy::kHash, {1, 4, 2, 4, 1, 4, 3, 0}, {23, 24, 25}, 0xCD771EFAB177A665},
    {Policy::kCrc16b, {4, 1, 4, 2, 1, 3, 0, 0}, {46, 47, 48}, 0x26667F8B1F43DC25},
    {Policy::kCrc64b, {0, 4, 4, 0, 0, 1, 0, 4}, {88, 89, 90}, 0x442252E2E306A096},
    {Policy::kLocal, {3, 3, 3, 3, 3, 3, 3, 3}, {97, 98, 99}, 0x409994FA21AB7B20},
    {Policy::kHrw, {1, 2, 3, 2, 3, 2, 2, 2}, {87, 62, 77}, 0xA29DF1FB4F427E04},
};

// Ids with gaps and different weights.
std::vector<ServerWeight> servers_of(std::uint32_t count) {
  std::vector<ServerWeight> servers;
  for (std::uint32_t i = 0; i < count; ++i) servers.push_back({i + i / 7 * 3, 1 + i % 4});
  return servers;
}

std::uint64_t digest_of(Policy policy) {
  std::uint64_t digest = 0;
  for (const std::uint32_t count : {1U, 2U, 5U, 16U, 17U, 63U, 64U, 100U, 1000U}) {
    const auto servers = servers_of(count);
    for (std::uint64_t dataset = 1; dataset < 1'000'000'000'000; dataset *= 1001) {
      for (std::uint64_t block = 0; block < 40; ++block) {
        std::array<std::uint32_t, 3> out{};
        const std::uint64_t far_block = block < 20 ? block : block * 0x0123456789ABCDEFU;
        imss::place(policy, {dataset, far_block, 17, 4}, servers, out);
        for (const std::uint32_t position : out) digest = imss::mix64(digest, position);
      }
    }
  }
  return digest;
}

}  // namespace

TEST_CASE("every policy places as it did in its first release") {
  REQUIRE(std::size(kGolden) == std::size(imss::kAllPolicies));
  for (const GoldenRow& row : kGolden) {
    std::array<std::uint32_t, 8> first{};
    for (std::uint64_t block = 0; block < 8; ++block) {
      imss::place(row.policy, {42, block, 8, 3}, servers_of(5), {&first[block], 1});
    }
    std::array<std::uint32_t, 3> replicas{};
    imss::place(row.policy, {7, 1, 8, 97}, servers_of(100), replicas);
    INFO(imss::policy_name(row.policy) << std::hex << " 0x" << digest_of(row.policy));
    CHECK(first == row.first);
    CHECK(replicas == row.replicas);
    CHECK(digest_of(row.policy) == row.digest);
  }
}
