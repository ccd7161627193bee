#include "bench_race.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <new>
#include <thread>

#include "base/clock.h"

namespace imss::bench {
namespace {

std::atomic<bool> interrupt_requested{false};

// Where the workers meet; in shared memory, because they may be processes.
struct Track {
  unsigned workers = 0;
  std::atomic<unsigned> arrived{0};
  std::atomic<unsigned> phase{0};
  std::atomic<unsigned> failure{0};  // a Code
  unsigned contenders = 0;
  std::uint64_t operations[kMaxContenders] = {};
  double seconds[kMaxRounds][kMaxContenders][kMaxWorkers] = {};

  void fail(Code code) { failure.store(static_cast<unsigned>(code)); }

  // Waits for all workers. False when one of them has failed.
  bool meet() {
    constexpr int kSpins = 2000;
    const unsigned now = phase.load();
    if (arrived.fetch_add(1) + 1 == workers) {
      arrived.store(0);
      phase.store(now + 1);
    }
    for (int spin = 0; phase.load() == now; ++spin) {
      if (failure.load() != 0) return false;
      if (interrupt_requested.load()) fail(Code::kBusy);
      if (spin > kSpins) ::sched_yield();
    }
    return failure.load() == 0;
  }
};

class SharedTrack {
 public:
  explicit SharedTrack(unsigned workers) {
    void* memory =
        ::mmap(nullptr, sizeof(Track), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    track_ = new (memory) Track();
    track_->workers = workers;
  }
  ~SharedTrack() {
    if (track_ != nullptr) ::munmap(track_, sizeof(Track));
  }
  SharedTrack(const SharedTrack&) = delete;
  SharedTrack& operator=(const SharedTrack&) = delete;
  Track* get() const { return track_; }

 private:
  Track* track_ = nullptr;
};

Status timed(Contender& contender, std::uint64_t operations, double* seconds) {
  const std::int64_t begin = monotonic_ns();
  Status status = contender.run(operations);
  *seconds = static_cast<double>(monotonic_ns() - begin) / 1e9;
  return status;
}

// The shortest time of several attempts, so that an interruption is not taken for a slow operation.
Status time_best(Contender& contender, std::uint64_t operations, double enough, double* best) {
  constexpr int kAttempts = 4;
  for (int attempt = 0; attempt < kAttempts && (attempt == 0 || *best > enough); ++attempt) {
    if (contender.prepare) IMSS_RETURN_IF_ERROR(contender.prepare(operations));
    double seconds = 0;
    IMSS_RETURN_IF_ERROR(timed(contender, operations, &seconds));
    *best = attempt == 0 ? seconds : std::min(*best, seconds);
  }
  return {};
}

// How many operations fill a round.
Result<std::uint64_t> calibrate(Contender& contender, const RaceOptions& options) {
  const double enough = options.round_seconds / 4;
  std::uint64_t operations = 1;
  for (;;) {
    double seconds = 0;
    IMSS_RETURN_IF_ERROR(time_best(contender, operations, enough, &seconds));
    if (operations >= options.most_operations) return options.most_operations;
    if (seconds > enough) {
      const double wanted = static_cast<double>(operations) * options.round_seconds / seconds;
      return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1,
                                       options.most_operations);
    }
    operations = std::min(operations * 2, options.most_operations);
  }
}

Status run_rounds(const RaceOptions& options, unsigned worker, Track& track,
                  std::vector<Contender>& contenders) {
  if (worker == 0) {
    track.contenders = static_cast<unsigned>(contenders.size());
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      IMSS_ASSIGN_OR_RETURN(track.operations[i], calibrate(contenders[i], options));
    }
  }
  // The first round warms up and does not count.
  for (unsigned round = 0; round <= options.rounds; ++round) {
    for (std::size_t turn = 0; turn < contenders.size(); ++turn) {
      // Each contender follows each of the others in turn, because one may leave the caches cold.
      const std::size_t i = (turn + round) % contenders.size();
      if (!track.meet()) return Code::kBusy;
      if (contenders[i].prepare) {
        IMSS_RETURN_IF_ERROR(contenders[i].prepare(track.operations[i]));
        if (!track.meet()) return Code::kBusy;
      }
      double seconds = 0;
      IMSS_RETURN_IF_ERROR(timed(contenders[i], track.operations[i], &seconds));
      if (round > 0) track.seconds[round - 1][i][worker] = seconds;
    }
  }
  return track.meet() ? Status() : Status(Code::kBusy);
}

// The whole life of a worker.
Status work(const RaceOptions& options, unsigned worker, Track& track, const MakeContenders& make) {
  auto contenders = make(worker);
  Status status =
      contenders.ok() ? run_rounds(options, worker, track, *contenders) : contenders.status();
  if (!status.ok() && track.failure.load() == 0) {
    track.fail(status.code());
    if (status.code() != Code::kBusy) {
      std::fprintf(stderr, "imss bench: %s\n", status.message().c_str());
    }
  }
  return status;
}

void run_threads(const RaceOptions& options, Track& track, const MakeContenders& make) {
  std::vector<std::thread> others;
  for (unsigned worker = 1; worker < options.workers; ++worker) {
    others.emplace_back([&options, &track, &make, worker] {
      [[maybe_unused]] const Status status = work(options, worker, track, make);  // in the track
    });
  }
  [[maybe_unused]] const Status status = work(options, 0, track, make);  // in the track
  for (std::thread& other : others) other.join();
}

void run_processes(const RaceOptions& options, Track& track, const MakeContenders& make) {
  std::vector<pid_t> children;
  std::fflush(nullptr);
  for (unsigned worker = 0; worker < options.workers; ++worker) {
    const pid_t child = ::fork();
    if (child == 0) {
      const Status status = work(options, worker, track, make);
      ::_exit(status.ok() ? 0 : 1);
    }
    if (child < 0) {
      track.fail(Code::kSystem);
      break;
    }
    children.push_back(child);
  }
  for (std::size_t left = children.size(); left > 0;) {
    int outcome = 0;
    const pid_t child = ::waitpid(-1, &outcome, 0);
    if (child < 0 && errno == EINTR) continue;
    if (child < 0) break;
    if (std::find(children.begin(), children.end(), child) == children.end()) continue;
    --left;
    if (!(WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0) && track.failure.load() == 0) {
      track.fail(Code::kIo);
    }
  }
}

RaceResult summarize(const RaceOptions& options, const Track& track) {
  RaceResult result;
  std::vector<std::vector<double>> rates(track.contenders);
  for (unsigned i = 0; i < track.contenders; ++i) {
    for (unsigned round = 0; round < options.rounds; ++round) {
      double rate = 0;
      for (unsigned worker = 0; worker < options.workers; ++worker) {
        const double seconds = std::max(track.seconds[round][i][worker], 1e-9);
        rate += static_cast<double>(track.operations[i]) / seconds;
      }
      rates[i].push_back(rate);
    }
    std::vector<double> ratios;
    for (unsigned round = 0; round < options.rounds; ++round) {
      ratios.push_back(rates[0][round] / rates[i][round]);
    }
    result.rates.push_back(median(rates[i]));
    result.ratios.push_back(median(ratios));
  }
  return result;
}

}  // namespace

void interrupt() { interrupt_requested.store(true); }
bool interrupted() { return interrupt_requested.load(); }

double median(std::vector<double> numbers) {
  if (numbers.empty()) return 0;
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

Result<RaceResult> run_race(const RaceOptions& options, const MakeContenders& make) {
  if (interrupted()) return Status(Code::kBusy, "interrupted");
  const SharedTrack shared(options.workers);
  Track* track = shared.get();
  if (track == nullptr) return Status::from_errno(errno, "mmap");
  if (options.kind == WorkerKind::kThreads) {
    run_threads(options, *track, make);
  } else {
    run_processes(options, *track, make);
  }
  const auto failure = static_cast<Code>(track->failure.load());
  if (failure != Code::kOk) return failure;
  return summarize(options, *track);
}

}  // namespace imss::bench
