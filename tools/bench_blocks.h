// Block input and output against bare memcpy on the same addresses and against files on tmpfs.
//
// Each function runs races and adds its rows to the report. Called from one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "bench_race.h"
#include "bench_report.h"
#include "bench_store.h"

namespace imss::bench {

struct BlockCase {
  std::uint64_t block_bytes = 4096;
  std::uint64_t working_set_bytes = 64 << 20;  // of each worker
  bool random = false;
  WorkerKind kind = WorkerKind::kThreads;
  unsigned workers = 1;
  unsigned rounds = 25;
  const char* deployment = "attached";
};

// set and get over blocks that exist and are warm.
Status measure_warm(const BenchStore& store, const BlockCase& block_case, Report& report);
// The same with lists of blocks. REQUIRES: workers that are threads, in order.
Status measure_lists(const BenchStore& store, const BlockCase& block_case, Report& report);
// What stored blocks cost beyond their content. REQUIRES: a store that has held no blocks before,
// because its tables keep their size.
Status measure_overhead(const BenchStore& store, const BlockCase& block_case, Report& report);
// set of blocks that do not exist yet: into memory that the server must obtain, and into memory
// that removed datasets have left.
Status measure_first_write(const BenchStore& store, const BlockCase& block_case, Report& report);
// A process that starts, connects, reads everything once and ends.
Status measure_fresh_process(const BenchStore& store, const BlockCase& block_case, Report& report);

}  // namespace imss::bench
