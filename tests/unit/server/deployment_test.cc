#include "server/deployment.h"

#include <catch2/catch.hpp>

namespace imss::server {
namespace {

std::vector<std::uint16_t> ports_of(const std::vector<Seat>& seats) {
  std::vector<std::uint16_t> ports;
  for (const Seat& seat : seats) ports.push_back(seat.port);
  return ports;
}

TEST_CASE("servers without a host file are all on localhost with consecutive ports") {
  const auto seats = plan_seats({}, 3, 5555);
  REQUIRE(seats.ok());
  CHECK(ports_of(*seats) == std::vector<std::uint16_t>{5555, 5556, 5557});
  CHECK((*seats)[2].host == "localhost");
  CHECK((*seats)[2].rank == 2);
  CHECK((*seats)[0].servers_on_node == 3);
}

TEST_CASE("servers of different hosts have the same port, further ones of a host count on") {
  const auto seats = plan_seats({{"a", 0}, {"b", 0}}, 3, 5555);
  REQUIRE(seats.ok());
  CHECK(ports_of(*seats) == std::vector<std::uint16_t>{5555, 5555, 5556});
  CHECK((*seats)[2].host == "a");
  CHECK((*seats)[0].servers_on_node == 2);
  CHECK((*seats)[1].servers_on_node == 1);
}

TEST_CASE("a port in the host file is used and counted on from") {
  const auto seats = plan_seats({{"a", 6000}, {"a", 0}, {"b", 0}}, 3, 5555);
  REQUIRE(seats.ok());
  CHECK(ports_of(*seats) == std::vector<std::uint16_t>{6000, 6001, 5555});
}

TEST_CASE("fewer servers than hosts use the first hosts") {
  const auto seats = plan_seats({{"a", 0}, {"b", 0}}, 1, 5555);
  REQUIRE(seats.ok());
  CHECK(seats->size() == 1);
  CHECK(seats->front().host == "a");
}

TEST_CASE("a plan with a port twice, beyond 65535 or without servers is refused") {
  CHECK(plan_seats({{"a", 6000}, {"a", 6000}}, 2, 5555).code() == Code::kInvalidArgument);
  CHECK(plan_seats({}, 2, 65535).code() == Code::kInvalidArgument);
  CHECK(plan_seats({}, 1, 65535).ok());
  CHECK(plan_seats({}, 0, 5555).code() == Code::kInvalidArgument);
}

TEST_CASE("the default capacity is shared by the servers of a node and never too small to start") {
  const std::uint64_t one = default_data_capacity(1);
  CHECK(default_data_capacity(2) == one / 2);
  CHECK(default_data_capacity(UINT32_MAX) >= 16U << 20);
  CHECK(default_metadata_capacity() >= 16U << 20);
}

}  // namespace
}  // namespace imss::server
