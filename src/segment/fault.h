// Named fault points: places where a test can kill, stop or fail this process.
//
// A point costs one load of a flag when no fault is armed. Armed from the environment:
//   IMSS_FAULT=name[:count][:kill|stop|exit]   the count-th pass (1 = first) through `name` acts.
// Every point that a process passes can be listed (IMSS_FAULT_TRACE=file), so that tests reach all of them.
// Any thread.
#pragma once

#include <atomic>

namespace imss::segment {

extern std::atomic<bool> fault_armed;
void fault_hit(const char* name);

// Reads the environment again; tests call it in a forked child.
void fault_reload();

inline void fault_point(const char* name) {
  if (fault_armed.load(std::memory_order_relaxed)) [[unlikely]] fault_hit(name);
}

}  // namespace imss::segment
