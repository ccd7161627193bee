// The clock of a server, as far as a client knows it, so that a request says when the server shall not begin it any
// more. Concurrent: one atomic number that publishes nothing else.
//
// Invariant: the server's clock is never taken to be ahead of what it is by more than both clocks drift apart between
// two answers. A deadline told to the server is therefore no later than the client's own: what a client has given up
// for its deadline is not executed afterwards. After F. Cristian, Probabilistic clock synchronization (1989), with the
// bound from one side only.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace imss::net {

inline std::int64_t clock_ms() { return monotonic_ns() / 1'000'000; }

class ServerClock {
 public:
  // `said_ms`: clock_ms() of the server in an answer that was heard at `now_ms` here; the first of a session.
  void begin(std::uint64_t said_ms, std::int64_t now_ms) {
    ahead_ms_.store(static_cast<std::int64_t>(said_ms) - now_ms, std::memory_order_relaxed);
  }
  // The same for a later one. Some answers take long: the fastest of them says it best, and is believed for a while.
  void hear(std::uint64_t said_ms, std::int64_t now_ms) {
    const std::int64_t known = ahead_ms_.load(std::memory_order_relaxed) - kDriftMs;
    ahead_ms_.store(std::max(known, static_cast<std::int64_t>(said_ms) - now_ms), std::memory_order_relaxed);
  }
  // Head::deadline_ms.
  std::uint32_t at(const Deadline& deadline) const {
    const std::int64_t left_ms = std::min<std::int64_t>(deadline.remaining_ns() / 1'000'000, kFurthestMs);
    return static_cast<std::uint32_t>(clock_ms() + ahead_ms_.load(std::memory_order_relaxed) + left_ms);
  }
  // On the server: how much of a deadline is left, less than zero when it has passed.
  static std::int64_t left_ms(std::uint32_t deadline_ms, std::int64_t now_ms) {
    return static_cast<std::int32_t>(deadline_ms - static_cast<std::uint32_t>(now_ms));
  }

  // Days: the numbers on the wire return to where they were after 49 of them.
  static constexpr std::int64_t kFurthestMs = std::int64_t{1} << 30;

 private:
  static constexpr std::int64_t kDriftMs = 1;  // between two answers, which is much
  std::atomic<std::int64_t> ahead_ms_{0};
};

}  // namespace imss::net
