#include "policies/rendezvous.h"

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <vector>

#include "base/hash.h"
#include "policies/fixed_log.h"
#include "policies/server_table.h"

using imss::Policy;
using imss::ServerTable;
using imss::ServerWeight;

namespace {

constexpr std::uint64_t kDataset = 0xDA7A5E7;

std::vector<ServerWeight> servers_with_ids(std::uint32_t first, std::uint32_t last,
                                           std::uint32_t weight = 1) {
  std::vector<ServerWeight> servers;
  for (std::uint32_t id = first; id < last; ++id) servers.push_back({id, weight});
  return servers;
}

// The id of the server that holds each block from 1 on.
std::vector<std::uint32_t> holders(const std::vector<ServerWeight>& servers, std::uint64_t blocks) {
  const ServerTable table(servers);
  std::vector<std::uint32_t> ids;
  for (std::uint64_t block = 1; block <= blocks; ++block) {
    std::uint32_t position = 0;
    table.place(Policy::kHrw, {kDataset, block, 0}, {&position, 1});
    ids.push_back(servers[position].server_id);
  }
  return ids;
}

std::map<std::uint32_t, double> count_by_server(const std::vector<std::uint32_t>& ids) {
  std::map<std::uint32_t, double> counts;
  for (const std::uint32_t id : ids) ++counts[id];
  return counts;
}

}  // namespace

TEST_CASE("a block moves only to a server that joins, and no more of them than its fair share") {
  constexpr std::uint64_t kBlocks = 200'000;
  for (const std::uint32_t count : {1U, 5U, 63U, 64U, 100U}) {
    const auto before = holders(servers_with_ids(0, count), kBlocks);
    const auto after = holders(servers_with_ids(0, count + 1), kBlocks);
    double moved = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (before[i] == after[i]) continue;
      ++moved;
      REQUIRE(after[i] == count);
    }
    CHECK(moved / kBlocks == Approx(1.0 / (count + 1)).epsilon(0.1));
  }
}

TEST_CASE("only the blocks of a server that leaves move, and they spread over all others") {
  constexpr std::uint64_t kBlocks = 400'000;
  const auto all = servers_with_ids(0, 80);
  const auto before = holders(all, kBlocks);
  for (const std::uint32_t gone : {0U, 31U, 64U, 79U}) {
    auto rest = all;
    rest.erase(rest.begin() + gone);
    const auto after = holders(rest, kBlocks);
    std::map<std::uint32_t, double> gained;
    double moved = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      REQUIRE((before[i] == after[i] || before[i] == gone));
      if (before[i] == after[i]) continue;
      ++moved;
      ++gained[after[i]];
    }
    CHECK(moved / kBlocks == Approx(1.0 / 80).epsilon(0.1));
    REQUIRE(gained.size() == 79);
    // 63 blocks each on average: five standard deviations are 40.
    for (const auto& [id, count] : gained) CHECK(std::abs(count - moved / 79) < 40);
  }
}

TEST_CASE("servers hold blocks in proportion to their weights") {
  constexpr double kBlocks = 300'000;
  std::vector<ServerWeight> servers = {{3, 1},     {64, 2},       {65, 5},
                                       {1000, 10}, {70'000, 100}, {4'000'000'000, 0}};
  auto counts = count_by_server(holders(servers, static_cast<std::uint64_t>(kBlocks)));
  for (const ServerWeight& server : servers) {
    CHECK(counts[server.server_id] ==
          Approx(kBlocks * server.weight / 118).epsilon(0.06).margin(1e-9));
  }
}

TEST_CASE("a heavier weight draws blocks from all others and gives none away") {
  constexpr std::uint64_t kBlocks = 100'000;
  auto servers = servers_with_ids(0, 70, 10);
  const auto before = holders(servers, kBlocks);
  servers[17].weight = 20;
  const auto after = holders(servers, kBlocks);
  double moved = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i] == after[i]) continue;
    ++moved;
    REQUIRE(after[i] == 17);
  }
  CHECK(moved / kBlocks == Approx(20.0 / 710 - 10.0 / 700).epsilon(0.1));
}

TEST_CASE("multiplying all weights by one number changes nothing") {
  CHECK(holders(servers_with_ids(0, 100, 1), 5000) ==
        holders(servers_with_ids(0, 100, 1'000'000), 5000));
}

TEST_CASE("replicas beyond the first are the order in which servers would take over") {
  const auto servers = servers_with_ids(0, 100);
  for (std::uint64_t block = 1; block < 300; ++block) {
    std::array<std::uint32_t, 3> before{};
    std::array<std::uint32_t, 2> after{};
    imss::place(Policy::kHrw, {kDataset, block, 0}, servers, before);
    auto rest = servers;
    rest.erase(rest.begin() + before[0]);
    imss::place(Policy::kHrw, {kDataset, block, 0}, rest, after);
    REQUIRE(rest[after[0]].server_id == servers[before[1]].server_id);
    REQUIRE(rest[after[1]].server_id == servers[before[2]].server_id);
  }
}

TEST_CASE("servers of weight 0 are used last, but they are used") {
  const std::vector<ServerWeight> servers = {{1, 0}, {2, 7}, {3, 0}, {90, 1}};
  for (std::uint64_t block = 0; block < 200; ++block) {
    std::array<std::uint32_t, 4> out{};
    REQUIRE(imss::place(Policy::kHrw, {kDataset, block, 0}, servers, out) == 4);
    REQUIRE((out[0] == 1 || out[0] == 3));
    REQUIRE((out[1] == 1 || out[1] == 3));
    REQUIRE(out[2] + out[3] == 2);
  }
}

TEST_CASE("the integer logarithm agrees with the library's and never falls below its lower bound") {
  std::uint64_t word = 1;
  const double scale = std::exp2(imss::kLogFractionBits);
  for (int i = 0; i < 200'000; ++i) {
    word = imss::mix64(word);
    const std::uint64_t sample =
        i % 3 == 0 ? word >> (word % 64) : (i % 3 == 1 ? ~(word >> (word % 64)) : word);
    const std::uint64_t got = imss::negative_log2(sample);
    const auto exact =
        static_cast<double>(-std::log1p(-static_cast<long double>(~sample) * 0x1p-64L) * M_LOG2E);
    REQUIRE(std::abs(static_cast<double>(got) / scale - exact) < 1e-13);
    REQUIRE(got >= (~sample >> 10));
  }
  CHECK(imss::negative_log2(UINT64_MAX) == 0);
  CHECK(imss::negative_log2(0) == std::uint64_t{64} << imss::kLogFractionBits);
  CHECK(imss::negative_log2(UINT64_MAX >> 1) == std::uint64_t{1} << imss::kLogFractionBits);
}
