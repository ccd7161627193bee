// Sleeping on a word of shared memory and waking its sleepers. Source: futex(2). Any thread.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

#include "segment/layout.h"

namespace imss::segment {

// Sleeps while the lower half of `word` is `expected`, at most `milliseconds`.
inline void futex_wait(Word& word, std::uint32_t expected, long milliseconds) {
  const timespec limit{milliseconds / 1000, milliseconds % 1000 * 1'000'000};
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT, expected, &limit, nullptr, 0);
}

inline void futex_wake_all(Word& word) {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE, 0x7fffffff, nullptr, nullptr, 0);
}

}  // namespace imss::segment
