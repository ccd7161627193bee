#include "bench_growth.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/size.h"
#include "bench_race.h"
#include "bench_store.h"
#include "bench_worker.h"
#include "segment/segment_files.h"

namespace imss::bench {
namespace {

constexpr std::uint64_t kStoredBlockBytes = 64 << 10;
constexpr std::uint64_t kMostBytes = 16ULL << 30;

// Operations per second, of one worker.
struct Rates {
  double set = 0;         // 4 KiB, over 64 MiB
  double get = 0;         // the same
  double get_random = 0;  // 64 KiB, anywhere in what is stored
};

Result<double> rate_of(unsigned rounds, const std::function<Status(std::uint64_t)>& run) {
  RaceOptions options;
  options.rounds = rounds;
  IMSS_ASSIGN_OR_RETURN(const RaceResult result,
                        run_race(options, [&](unsigned) -> Result<std::vector<Contender>> {
                          return std::vector<Contender>{{"operation", run, {}}};
                        }));
  return result.rates[0];
}

// The stored blocks up to a number, in a random order that is always the same.
class Stored {
 public:
  Status open(const BenchStore& store, std::uint64_t blocks) {
    BlockCase wanted;
    wanted.block_bytes = kStoredBlockBytes;
    IMSS_ASSIGN_OR_RETURN(worker_, BlockWorker::make(store, wanted, 1));
    return worker_->create(blocks);
  }
  Status fill_to(std::uint64_t blocks) {
    for (; filled_ < blocks; ++filled_) {
      if (interrupted()) return Status(Code::kBusy, "interrupted");
      IMSS_RETURN_IF_ERROR(worker_->set(1));
    }
    return {};
  }
  Status get_random(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) {
      random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
      worker_->seek((random_ >> 33) % filled_);
      IMSS_RETURN_IF_ERROR(worker_->get(1));
    }
    worker_->seek(filled_);
    return {};
  }

 private:
  std::unique_ptr<BlockWorker> worker_;
  std::uint64_t filled_ = 0;
  std::uint64_t random_ = 1;
};

Result<Rates> rates_now(BlockWorker& small, Stored& stored, unsigned rounds) {
  Rates rates;
  IMSS_ASSIGN_OR_RETURN(rates.set, rate_of(rounds, [&](std::uint64_t n) { return small.set(n); }));
  IMSS_ASSIGN_OR_RETURN(rates.get, rate_of(rounds, [&](std::uint64_t n) { return small.get(n); }));
  IMSS_ASSIGN_OR_RETURN(rates.get_random,
                        rate_of(rounds, [&](std::uint64_t n) { return stored.get_random(n); }));
  return rates;
}

std::uint64_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::uint64_t kib = 0;
  std::string rest;
  while (file >> name >> kib && std::getline(file, rest)) {
    if (name == "MemAvailable:") return kib << 10;
  }
  return 0;
}

}  // namespace

std::uint64_t growth_bytes_here() {
  struct statvfs file_system {};
  if (::statvfs(segment::directory().c_str(), &file_system) != 0) return 0;
  const std::uint64_t room = file_system.f_bavail * file_system.f_frsize;
  const std::uint64_t half = std::min(available_memory(), room) / 2;
  return std::min(kMostBytes, half - half % kGrowthFrom);
}

Status measure_growth(std::uint64_t bytes, unsigned rounds, Report& report) {
  if (bytes < 2 * kGrowthFrom)
    return Status(Code::kInvalidArgument, "growth is measured from 1 GiB to at least 2 GiB");
  StoreOptions options;
  options.data_bytes = bytes + bytes / 16 + kGrowthFrom;
  options.metadata_bytes = 64 << 20;
  options.detached = true;
  IMSS_ASSIGN_OR_RETURN(const auto store, BenchStore::start(options));
  IMSS_ASSIGN_OR_RETURN(const auto small, BlockWorker::make(*store, BlockCase{}, 0));
  IMSS_RETURN_IF_ERROR(small->create(BlockCase{}.working_set_bytes / BlockCase{}.block_bytes));
  IMSS_RETURN_IF_ERROR(small->populate());
  Stored stored;
  IMSS_RETURN_IF_ERROR(stored.open(*store, bytes / kStoredBlockBytes));
  report.progress("1 GiB stored");
  IMSS_RETURN_IF_ERROR(stored.fill_to(kGrowthFrom / kStoredBlockBytes));
  IMSS_ASSIGN_OR_RETURN(const Rates before, rates_now(*small, stored, rounds));
  report.progress(format_size(bytes) + " stored");
  IMSS_RETURN_IF_ERROR(stored.fill_to(bytes / kStoredBlockBytes));
  IMSS_ASSIGN_OR_RETURN(const Rates after, rates_now(*small, stored, rounds));
  const std::string which = " with " + format_size(bytes) + " stored, beside 1 GiB";
  report.add(Figure{"cost of set 4 KiB" + which, before.set / after.set, "times", 1.5});
  report.add(Figure{"cost of get 4 KiB" + which, before.get / after.get, "times", 1.5});
  report.add(Figure{"cost of get 64 KiB anywhere" + which, before.get_random / after.get_random,
                    "times", 1.5});
  return {};
}

}  // namespace imss::bench
