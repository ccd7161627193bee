// Time: a monotonic clock for deadlines, a coarse calendar clock for file times, and the Deadline
// class.
//
// Values and pure reads of system clocks: any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <limits>

namespace imss {

inline std::int64_t read_clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

// Nanoseconds since an arbitrary start, the same for all processes of a node; never goes back.
inline std::int64_t monotonic_ns() { return read_clock_ns(CLOCK_MONOTONIC); }

// Nanoseconds since 1970, as coarse as the kernel's tick (1-10 ms) and about as cheap as a load.
// This is what the kernel stamps files with.
inline std::int64_t coarse_realtime_ns() { return read_clock_ns(CLOCK_REALTIME_COARSE); }

// A point in monotonic time after which nobody waits any longer.
class Deadline {
 public:
  static Deadline never() { return Deadline(std::numeric_limits<std::int64_t>::max()); }
  static Deadline at_ns(std::int64_t monotonic) { return Deadline(monotonic); }

  // Milliseconds from now; zero and less is a deadline that has expired.
  static Deadline from_now(std::int64_t milliseconds) {
    const std::int64_t now = monotonic_ns();
    const std::int64_t furthest_ms = (std::numeric_limits<std::int64_t>::max() - now) / 1'000'000;
    if (milliseconds >= furthest_ms) return never();
    return Deadline(now + std::max<std::int64_t>(milliseconds, 0) * 1'000'000);
  }

  bool is_never() const { return at_ns_ == std::numeric_limits<std::int64_t>::max(); }
  bool expired() const { return !is_never() && monotonic_ns() >= at_ns_; }
  std::int64_t at_ns() const { return at_ns_; }

  // Nanoseconds left, 0 when expired.
  std::int64_t remaining_ns() const {
    if (is_never()) return at_ns_;
    return std::max<std::int64_t>(at_ns_ - monotonic_ns(), 0);
  }

  // Milliseconds left, rounded up so that waiting for them does not end early; 0 when expired. Fits
  // the time-out of poll and epoll_wait: days when the deadline never comes.
  int remaining_ms() const {
    const std::int64_t left = remaining_ns();
    const std::int64_t whole = left / 1'000'000 + (left % 1'000'000 != 0 ? 1 : 0);
    return static_cast<int>(std::min<std::int64_t>(whole, std::numeric_limits<int>::max()));
  }

 private:
  explicit Deadline(std::int64_t at_ns) : at_ns_(at_ns) {}

  std::int64_t at_ns_;
};

}  // namespace imss
