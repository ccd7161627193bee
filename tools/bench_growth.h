// What an operation costs when much more is stored.
//
// Starts servers of its own. Called from one thread.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "bench_report.h"

namespace imss::bench {

inline constexpr std::uint64_t kGrowthFrom = 1ULL << 30;

// How much can be stored for this: 16 GiB, or half of what the node and its shared-memory file
// system have free.
std::uint64_t growth_bytes_here();

// Stores blocks until 1 GiB and then until `bytes` are stored, and compares what operations cost at
// both points. Errors: kInvalidArgument when `bytes` is less than 2 GiB, kNoSpace.
Status measure_growth(std::uint64_t bytes, unsigned rounds, Report& report);

}  // namespace imss::bench
