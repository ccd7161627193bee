#include "base/clock.h"

#include <catch2/catch.hpp>

using imss::Deadline;

TEST_CASE("a deadline in the past has expired and nothing remains of it") {
  for (const std::int64_t milliseconds : {INT64_MIN, std::int64_t{-1}, std::int64_t{0}}) {
    const Deadline deadline = Deadline::from_now(milliseconds);
    CHECK(deadline.expired());
    CHECK(deadline.remaining_ms() == 0);
  }
}

TEST_CASE("what remains of a deadline is rounded up to whole milliseconds") {
  const Deadline deadline = Deadline::from_now(60'000);
  CHECK_FALSE(deadline.expired());
  CHECK(deadline.remaining_ms() <= 60'000);
  CHECK(deadline.remaining_ms() > 30'000);
  const Deadline close = Deadline::at_ns(imss::monotonic_ns() + 1'000'000'000'000 + 1);
  CHECK(close.remaining_ms() <= 1'000'001);
}

TEST_CASE("a deadline beyond the end of time never comes and still fits a system call") {
  CHECK(Deadline::from_now(INT64_MAX).is_never());
  CHECK_FALSE(Deadline::never().expired());
  CHECK(Deadline::never().remaining_ms() == INT32_MAX);
  CHECK(Deadline::from_now(std::int64_t{1} << 40).remaining_ms() == INT32_MAX);
}

TEST_CASE("the monotonic clock does not go back and the coarse one is near the calendar") {
  std::int64_t last = imss::monotonic_ns();
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t now = imss::monotonic_ns();
    REQUIRE(now >= last);
    last = now;
  }
  const auto seconds = static_cast<std::int64_t>(time(nullptr));
  CHECK(std::abs(imss::coarse_realtime_ns() / 1'000'000'000 - seconds) <= 2);
}
