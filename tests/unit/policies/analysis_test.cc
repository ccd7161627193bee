#include "policies/analysis.h"

#include <catch2/catch.hpp>

using imss::analyse_placement;
using imss::PlacementRequest;
using imss::Policy;

namespace {

imss::PlacementReport analysed(const PlacementRequest& request) {
  const auto report = analyse_placement(request);
  INFO(report.status().message());
  REQUIRE(report.ok());
  return *report;
}

PlacementRequest request_for(Policy policy, std::uint32_t servers, std::uint64_t blocks) {
  PlacementRequest request;
  request.policy = policy;
  request.servers = servers;
  request.blocks = blocks;
  return request;
}

}  // namespace

TEST_CASE("round robin over a multiple of the servers is exactly even") {
  const auto report = analysed(request_for(Policy::kRoundRobin, 100, 100'000));
  CHECK(report.before.servers == 100);
  CHECK(report.before.least == 1000);
  CHECK(report.before.most == 1000);
  CHECK(report.before.mean == 1000);
  CHECK(report.before.standard_deviation == 0);
  CHECK(report.before.empty == 0);
  CHECK(report.moved == 0);
  CHECK(report.least_movement == 0);
}

TEST_CASE("one block more than the servers makes the figures differ by one") {
  const auto report = analysed(request_for(Policy::kRoundRobin, 4, 5));
  CHECK(report.before.least == 1);
  CHECK(report.before.most == 2);
  CHECK(report.before.mean == 1.25);
  CHECK(report.before.standard_deviation == Approx(std::sqrt(3.0) / 4));
}

TEST_CASE("HRW moves within a tenth of the minimum when servers join or leave") {
  for (const std::uint32_t servers : {10U, 100U, 1000U}) {
    auto request = request_for(Policy::kHrw, servers, 200'000);
    request.added = servers / 10;
    auto report = analysed(request);
    CHECK(report.least_movement == Approx(1.0 / 11));
    CHECK(report.moved / report.least_movement == Approx(1).epsilon(0.1));
    CHECK(report.after.servers == servers + request.added);
    request.added = 0;
    request.removed = servers / 10;
    report = analysed(request);
    CHECK(report.least_movement == Approx(0.1).epsilon(0.1));
    CHECK(report.moved == report.least_movement);
    CHECK(report.after.servers == servers - request.removed);
  }
}

TEST_CASE("round robin moves nearly everything when a server joins") {
  auto request = request_for(Policy::kRoundRobin, 100, 100'000);
  request.added = 1;
  CHECK(analysed(request).moved > 0.9);
}

TEST_CASE("LOCAL moves nothing when servers join and only what was on those that leave") {
  auto request = request_for(Policy::kLocal, 100, 100'000);
  request.added = 7;
  CHECK(analysed(request).moved == 0);
  request.added = 0;
  request.removed = 10;
  const auto report = analysed(request);
  CHECK(report.moved == Approx(0.1));
  CHECK(report.least_movement == Approx(0.1));
}

TEST_CASE("all copies of replicated blocks are counted") {
  for (const Policy policy : imss::kAllPolicies) {
    auto request = request_for(policy, 20, 30'000);
    request.replicas = 3;
    request.removed = 5;
    const auto report = analysed(request);
    CHECK(report.before.mean == 4500);
    CHECK(report.after.mean == 6000);
    CHECK(report.moved >= report.least_movement);
  }
}

TEST_CASE("a hundred thousand servers are analysed in full") {
  const auto report = analysed(request_for(Policy::kHash, 100'000, 1'000'000));
  CHECK(report.before.mean == 10);
  CHECK(report.before.standard_deviation == Approx(std::sqrt(10.0)).epsilon(0.02));
}

TEST_CASE("requests that make no sense are refused") {
  auto request = request_for(Policy::kHash, 4, 10);
  request.replicas = 5;
  CHECK(analyse_placement(request).code() == imss::Code::kInvalidArgument);
  request.replicas = 0;
  CHECK_FALSE(analyse_placement(request).ok());
  request.replicas = 1;
  request.removed = 4;
  CHECK_FALSE(analyse_placement(request).ok());
  request.removed = 1;
  request.added = 1;
  CHECK_FALSE(analyse_placement(request).ok());
  CHECK_FALSE(analyse_placement(request_for(Policy::kHash, 0, 10)).ok());
  CHECK_FALSE(analyse_placement(request_for(Policy::kHash, 1, 0)).ok());
}
