#include "net/server_clock.h"

#include <catch2/catch.hpp>

namespace imss::net {
namespace {

// What the server at `ahead_ms` makes of a deadline.
std::int64_t left_there(const ServerClock& clock, std::int64_t ahead_ms, const Deadline& deadline) {
  const std::uint32_t told = clock.at(deadline);
  return ServerClock::left_ms(told, clock_ms() + ahead_ms);
}

}  // namespace

TEST_CASE("a deadline is told on the server's clock and never later than it is here") {
  for (const std::int64_t ahead_ms : {std::int64_t{0}, std::int64_t{-86'400'000}, std::int64_t{9'000'000'000}}) {
    ServerClock clock;
    const Deadline deadline = Deadline::from_now(60'000);
    // The answer was 200 ms on its way.
    clock.begin(static_cast<std::uint64_t>(clock_ms() + ahead_ms - 200 + 100'000'000), clock_ms() + 100'000'000);
    const std::int64_t left_ms = left_there(clock, ahead_ms, deadline);
    CHECK(left_ms <= deadline.remaining_ms());
    CHECK(left_ms > 30'000);
    // A faster one is believed, a slower one hardly changes what is known.
    const auto hear = [&](std::int64_t on_its_way_ms) {
      const std::int64_t now = clock_ms() + 100'000'000;
      clock.hear(static_cast<std::uint64_t>(now + ahead_ms - on_its_way_ms), now);
    };
    const Deadline fixed = Deadline::at_ns(deadline.at_ns());
    const std::uint32_t slow = clock.at(fixed);
    hear(1);
    const std::uint32_t fast = clock.at(fixed);
    CHECK(static_cast<std::int32_t>(fast - slow) >= 190);
    hear(5'000);
    const std::uint32_t after = clock.at(fixed);
    CHECK(static_cast<std::int32_t>(fast - after) <= 10);
  }
}

TEST_CASE("a deadline that never comes, and one that has passed, are told as such") {
  ServerClock clock;
  const std::int64_t now = clock_ms();
  clock.begin(static_cast<std::uint64_t>(now), now);
  CHECK(left_there(clock, 0, Deadline::never()) > 86'400'000);
  CHECK(left_there(clock, 0, Deadline::from_now(0)) <= 0);
  CHECK(ServerClock::left_ms(5, (std::int64_t{1} << 32) - 5) == 10);
  CHECK(ServerClock::left_ms(static_cast<std::uint32_t>(-5), (std::int64_t{1} << 33) + 5) == -10);
}

}  // namespace imss::net
