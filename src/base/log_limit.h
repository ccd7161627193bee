// Bounds on what is logged: lines that strangers cause, and faults that last.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"

namespace imss {

// How many lines one place may log: a burst, then one now and then. Concurrent; relaxed order is enough, as each of the two
// numbers stands alone and publishes nothing else.
class LogLimit {
 public:
  static constexpr std::int64_t kBurst = 20;
  static constexpr std::int64_t kPeriodNs = 1'000'000'000;

  // Whether the next line may be logged at `now_ns` (any clock that does not go back); then `left_out` is how many were
  // not since the last one.
  bool pass(std::int64_t now_ns, std::uint64_t* left_out) {
    // When the burst would be used up, had all lines come at the slow rate.
    std::int64_t used_until = used_until_ns_.load(std::memory_order_relaxed);
    for (;;) {
      const std::int64_t from = used_until > now_ns ? used_until : now_ns;
      if (from - now_ns > (kBurst - 1) * kPeriodNs) {
        left_out_.fetch_add(1, std::memory_order_relaxed);
        return false;
      }
      if (used_until_ns_.compare_exchange_weak(used_until, from + kPeriodNs, std::memory_order_relaxed)) break;
    }
    *left_out = left_out_.exchange(0, std::memory_order_relaxed);
    return true;
  }

 private:
  std::atomic<std::int64_t> used_until_ns_{0};
  std::atomic<std::uint64_t> left_out_{0};
};

// What a thread tries again and again and cannot do now: said once as long as the reason stays the same. Thread-owned.
class Complaint {
 public:
  // `what` cannot be done; it lives longer.
  explicit Complaint(const char* what) : what_(what) {}

  void note(const Status& status) {
    if (status.ok()) {
      if (!reason_.empty()) IMSS_LOG_INFO("no longer: %s", what_);
      reason_.clear();
    } else if (status.message() != reason_) {
      reason_ = status.message();
      IMSS_LOG_WARN("%s: %s", what_, reason_.c_str());
    }
  }

 private:
  const char* what_;
  std::string reason_;
};

}  // namespace imss

// For what others can cause as often as they like.
#define IMSS_LOG_WARN_BOUNDED(...)                                                                               \
  do {                                                                                                           \
    static ::imss::LogLimit imss_limit;                                                                          \
    std::uint64_t imss_left_out = 0;                                                                             \
    if (::imss::log_enabled(::imss::LogLevel::kWarn) && imss_limit.pass(::imss::monotonic_ns(), &imss_left_out)) { \
      if (imss_left_out > 0) {                                                                                   \
        ::imss::log_line(::imss::LogLevel::kWarn, "%llu lines like the next were left out",                      \
                         static_cast<unsigned long long>(imss_left_out));                                        \
      }                                                                                                          \
      ::imss::log_line(::imss::LogLevel::kWarn, __VA_ARGS__);                                                    \
    }                                                                                                            \
  } while (false)
