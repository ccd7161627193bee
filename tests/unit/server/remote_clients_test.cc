// When a client on another node counts as gone, with a clock that the tests move.
#include "server/remote_clients.h"

#include <catch2/catch.hpp>

namespace imss::server {
namespace {

constexpr std::int64_t kMs = 1'000'000;

struct Clients {
  explicit Clients(std::size_t most = 100)
      : known({20'000, 1'200, 10'000, most}, [this] { return now_ns; }) {}
  void pass(std::int64_t ms) {
    now_ns += ms * kMs;
    known.expire();
  }
  std::int64_t now_ns = 5;
  RemoteClients known;
};

TEST_CASE("a client without connections is gone soon after it was last heard") {
  Clients clients;
  const std::uint64_t token = clients.known.add(7);
  REQUIRE(token != 0);
  clients.pass(1'199);
  CHECK(clients.known.client_of(token) == 7);
  CHECK(clients.known.touch(token));
  clients.pass(1'199);
  CHECK(clients.known.client_of(token) == 7);
  clients.pass(1);
  CHECK(clients.known.client_of(token) == 0);
  CHECK_FALSE(clients.known.touch(token));
  CHECK(clients.known.count() == 0);
}

TEST_CASE("a client with a connection has its lease, and once it is closed no longer") {
  Clients clients;
  const std::uint64_t token = clients.known.add(7);
  clients.known.connected(token);
  clients.known.connected(token);
  clients.pass(19'999);
  CHECK(clients.known.client_of(token) == 7);
  clients.known.disconnected(token);
  clients.known.expire();
  CHECK(clients.known.client_of(token) == 7);
  clients.known.disconnected(token);
  clients.known.expire();
  CHECK(clients.known.client_of(token) == 0);
}

TEST_CASE("a lease ends also for a client that keeps its connection and says nothing") {
  Clients clients;
  const std::uint64_t token = clients.known.add(7);
  clients.known.connected(token);
  clients.pass(20'000);
  CHECK(clients.known.client_of(token) == 0);
  clients.known.disconnected(token);  // which is harmless by now
  CHECK(clients.known.count() == 0);
}

TEST_CASE("a process lives as long as one of its sessions") {
  Clients clients;
  clients.pass(10'000);
  const std::uint64_t before = clients.known.changes();
  clients.known.add(7);
  const std::uint64_t second = clients.known.add(7);
  clients.known.connected(second);
  CHECK(clients.known.lives(7));
  clients.pass(1'200);
  CHECK(clients.known.lives(7));
  clients.known.disconnected(second);
  clients.known.expire();
  CHECK_FALSE(clients.known.lives(7));
  CHECK(clients.known.changes() > before);
}

TEST_CASE("everybody lives for some time after a start, and then only those who came back") {
  Clients clients;
  const std::uint64_t before = clients.known.changes();
  CHECK(clients.known.lives(7));
  clients.pass(9'999);
  CHECK(clients.known.lives(7));
  clients.pass(1);
  CHECK_FALSE(clients.known.lives(7));
  CHECK(clients.known.changes() > before);
}

TEST_CASE("there are as many sessions as there may be, and none for a client without a number") {
  Clients clients(2);
  CHECK(clients.known.add(0) == 0);
  const std::uint64_t first = clients.known.add(1);
  const std::uint64_t second = clients.known.add(1);
  CHECK(first != second);
  CHECK(clients.known.add(2) == 0);
  clients.pass(1'200);
  CHECK(clients.known.add(2) != 0);
}

}  // namespace
}  // namespace imss::server
