// Creation, stat and removal of datasets against files on tmpfs, in directories that grow.
//
// Called from one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "bench_report.h"
#include "bench_store.h"

namespace imss::bench {

// `sizes`: how many datasets the directory holds when it is measured, ascending.
Status measure_names(const BenchStore& store, const std::vector<std::uint64_t>& sizes,
                     unsigned rounds, Report& report);

}  // namespace imss::bench
