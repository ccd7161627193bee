// Contenders measured against one another in one run: short alternating rounds, medians, ratios.
//
// A race has workers, which are threads or forked processes; all of them run the same contender at
// the same time, in rounds A B C, B C A, ... so that whatever else the machine does hits all
// contenders alike. The ratio of two contenders is the median over rounds of the ratio in a round.
// run_race() is called from one thread; contenders are made, used and destroyed inside their
// worker.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace imss::bench {

inline constexpr unsigned kMaxWorkers = 16;
inline constexpr unsigned kMaxContenders = 4;
inline constexpr unsigned kMaxRounds = 128;

struct Contender {
  std::string name;
  // Performs so many operations. The time it takes is what is measured.
  std::function<Status(std::uint64_t operations)> run;
  // Gets ready for a round of so many operations, outside the measured time; may be empty.
  std::function<Status(std::uint64_t operations)> prepare;
};

enum class WorkerKind { kThreads, kProcesses };

struct RaceOptions {
  WorkerKind kind = WorkerKind::kThreads;
  unsigned workers = 1;
  // Short rounds, many of them: what interrupts one does not move the median.
  unsigned rounds = 25;
  double round_seconds = 0.004;           // of one contender
  std::uint64_t most_operations = ~0ULL;  // in a round of one worker
};

struct RaceResult {
  // Operations per second of all workers together, by contender.
  std::vector<double> rates;
  // Rate of the first contender divided by that of contender i.
  std::vector<double> ratios;
};

using MakeContenders = std::function<Result<std::vector<Contender>>(unsigned worker)>;

// Errors: those of the contenders, kIo when a worker process died, kBusy after interrupt().
// REQUIRES: workers, rounds and contenders within the limits above.
Result<RaceResult> run_race(const RaceOptions& options, const MakeContenders& make);

// Ends the race under way and every later one with kBusy. Safe in a signal handler.
void interrupt();
bool interrupted();

double median(std::vector<double> numbers);

}  // namespace imss::bench
