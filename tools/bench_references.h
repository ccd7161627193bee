// Redis and memcached over Unix sockets, as references for whole blocks.
//
// Starts each server that is installed, in the run's folder, and stops it again. Called from one
// thread.
#pragma once

#include <cstdint>
#include <vector>

#include "bench_report.h"
#include "bench_store.h"

namespace imss::bench {

Status measure_references(const BenchStore& store, const std::vector<std::uint64_t>& sizes,
                          unsigned rounds, Report& report);

}  // namespace imss::bench
