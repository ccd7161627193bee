#include "bench_blocks.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "base/size.h"
#include "bench_worker.h"

namespace imss::bench {
namespace {

constexpr std::uint64_t kNewBytesPerRound = 16 << 20;

RaceOptions race_options(const BlockCase& block_case) {
  RaceOptions options;
  options.kind = block_case.kind;
  options.workers = block_case.workers;
  options.rounds = block_case.rounds;
  return options;
}

Row row_of(const BlockCase& block_case, const std::string& group, const std::string& verb,
           const RaceResult& result) {
  Row row;
  row.group = group;
  row.operation = verb + " " + format_size(block_case.block_bytes);
  row.setting =
      count_of(block_case.workers, block_case.kind == WorkerKind::kThreads ? "thread" : "process");
  row.setting += std::string(", ") + block_case.deployment;
  row.bytes = block_case.block_bytes;
  row.workers = block_case.workers;
  row.rate = result.rates[0];
  row.reference_rate = result.rates[1];
  row.reference_ratio = result.ratios[1];
  if (result.rates.size() > 2) {
    row.ceiling_rate = result.rates[2];
    row.ceiling_ratio = result.ratios[2];
  }
  return row;
}

std::uint64_t blocks_in(const BlockCase& block_case) {
  return std::max<std::uint64_t>(1, block_case.working_set_bytes / block_case.block_bytes);
}

enum class Direction { kSet, kGet };

std::vector<Contender> warm_contenders(std::shared_ptr<BlockWorker> worker, Direction direction) {
  const auto locate = [worker](std::uint64_t) { return worker->locate(); };
  if (direction == Direction::kSet) {
    return {{"set", [worker](std::uint64_t n) { return worker->set(n); }, {}},
            {"pwrite", [worker](std::uint64_t n) { return worker->file_write(n); }, {}},
            {"memcpy", [worker](std::uint64_t n) { return worker->copy_in(n); }, locate}};
  }
  return {{"get", [worker](std::uint64_t n) { return worker->get(n); }, {}},
          {"pread", [worker](std::uint64_t n) { return worker->file_read(n); }, {}},
          {"memcpy", [worker](std::uint64_t n) { return worker->copy_out(n); }, locate}};
}

std::vector<Contender> list_contenders(std::shared_ptr<BlockWorker> worker, Direction direction) {
  const auto locate = [worker](std::uint64_t) { return worker->locate(); };
  if (direction == Direction::kSet) {
    return {{"set_datav", [worker](std::uint64_t n) { return worker->set_list(n); }, {}},
            {"pwritev", [worker](std::uint64_t n) { return worker->file_write_list(n); }, {}},
            {"memcpy", [worker](std::uint64_t n) { return worker->copy_in_list(n); }, locate}};
  }
  return {{"get_datav", [worker](std::uint64_t n) { return worker->get_list(n); }, {}},
          {"preadv", [worker](std::uint64_t n) { return worker->file_read_list(n); }, {}},
          {"memcpy", [worker](std::uint64_t n) { return worker->copy_out_list(n); }, locate}};
}

// Memory of the data server's segment.
struct Memory {
  double all = 0;
  double in_use = 0;  // without free extents and without table buckets that wait for their turn
};

Result<Memory> memory_of(client::Session& session) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.instance(kInstance));
  const auto& block = servers->mapped[0]->segment().super();
  Memory memory;
  memory.all = static_cast<double>(block.used_bytes.load());
  memory.in_use = memory.all;
  for (std::uint32_t size_class = segment::kClass4K; size_class < segment::kClasses; ++size_class) {
    memory.in_use -= static_cast<double>(block.pools[0][size_class].free_bytes.load());
  }
  for (const segment::TableRoot& table : block.tables) {
    const std::uint64_t waiting = table.ready_buckets.load() - table.buckets.load();
    memory.in_use -= static_cast<double>(waiting * sizeof(segment::Bucket));
  }
  return memory;
}

}  // namespace

Status measure_overhead(const BenchStore& store, const BlockCase& block_case, Report& report) {
  IMSS_ASSIGN_OR_RETURN(const auto session, BenchStore::connect());
  IMSS_ASSIGN_OR_RETURN(const auto worker, BlockWorker::make(store, block_case, 0));
  IMSS_RETURN_IF_ERROR(worker->create(blocks_in(block_case)));
  IMSS_ASSIGN_OR_RETURN(const Memory before, memory_of(*session));
  IMSS_RETURN_IF_ERROR(worker->set(blocks_in(block_case)));
  IMSS_ASSIGN_OR_RETURN(const Memory after, memory_of(*session));
  const auto blocks = static_cast<double>(blocks_in(block_case));
  const double content = blocks * static_cast<double>(block_case.block_bytes);
  const std::string which = "overhead of a block of " + format_size(block_case.block_bytes);
  report.add(Figure{which, (after.in_use - before.in_use - content) / blocks, "bytes", 64});
  report.add(Figure{which + ", with memory kept ready", (after.all - before.all - content) / blocks,
                    "bytes", 0});
  return {};
}

Status measure_lists(const BenchStore& store, const BlockCase& wanted, Report& report) {
  BlockCase block_case = wanted;
  block_case.working_set_bytes -=
      block_case.working_set_bytes % (kListBlocks * block_case.block_bytes);
  for (const Direction direction : {Direction::kSet, Direction::kGet}) {
    const bool sets = direction == Direction::kSet;
    auto result =
        run_race(race_options(block_case), [&](unsigned index) -> Result<std::vector<Contender>> {
          IMSS_ASSIGN_OR_RETURN(std::shared_ptr<BlockWorker> worker,
                                BlockWorker::make(store, block_case, index));
          IMSS_RETURN_IF_ERROR(worker->create(blocks_in(block_case)));
          IMSS_RETURN_IF_ERROR(worker->populate());
          IMSS_RETURN_IF_ERROR(worker->locate());
          return list_contenders(std::move(worker), direction);
        });
    if (!result.ok()) return result.status();
    Row row = row_of(block_case, "Lists of 64 blocks that exist, beside pwritev and preadv",
                     sets ? "set_datav 64 x" : "get_datav 64 x", *result);
    row.bytes *= kListBlocks;
    report.add(std::move(row));
  }
  return {};
}

Status measure_warm(const BenchStore& store, const BlockCase& block_case, Report& report) {
  std::string group = "Blocks that exist, " + format_size(block_case.working_set_bytes) +
                      " per worker, " + (block_case.random ? "at random" : "in order");
  for (const Direction direction : {Direction::kSet, Direction::kGet}) {
    const char* verb = direction == Direction::kSet ? "set" : "get";
    auto result =
        run_race(race_options(block_case), [&](unsigned index) -> Result<std::vector<Contender>> {
          IMSS_ASSIGN_OR_RETURN(std::shared_ptr<BlockWorker> worker,
                                BlockWorker::make(store, block_case, index));
          IMSS_RETURN_IF_ERROR(worker->create(blocks_in(block_case)));
          IMSS_RETURN_IF_ERROR(worker->populate());
          IMSS_RETURN_IF_ERROR(worker->locate());
          return warm_contenders(std::move(worker), direction);
        });
    if (!result.ok()) return result.status();
    report.add(row_of(block_case, group, verb, *result));
  }
  return {};
}

namespace {

// A mapping of a new file on tmpfs, whose pages are obtained by touching them.
class NewMapping {
 public:
  NewMapping(ScratchFile file, std::uint64_t bytes) : file_(std::move(file)), bytes_(bytes) {
    if (::ftruncate(file_.fd(), static_cast<off_t>(bytes)) != 0) return;
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.fd(), 0);
    if (memory != MAP_FAILED) memory_ = static_cast<std::byte*>(memory);
  }
  ~NewMapping() {
    if (memory_ != nullptr) ::munmap(memory_, bytes_);
  }
  NewMapping(const NewMapping&) = delete;
  NewMapping& operator=(const NewMapping&) = delete;

  Status append(std::span<const std::byte> content) {
    if (memory_ == nullptr || position_ + content.size() > bytes_) return Code::kNoMemory;
    std::memcpy(memory_ + position_, content.data(), content.size());
    position_ += content.size();
    return {};
  }

 private:
  ScratchFile file_;
  std::uint64_t bytes_;
  std::byte* memory_ = nullptr;
  std::uint64_t position_ = 0;
};

Result<std::vector<Contender>> new_memory_contenders(const BenchStore& store,
                                                     const BlockCase& block_case,
                                                     std::shared_ptr<BlockWorker> worker,
                                                     std::uint64_t most_bytes) {
  // A worker of its own for the file, so that each goes on where it was.
  IMSS_ASSIGN_OR_RETURN(std::shared_ptr<BlockWorker> writer,
                        BlockWorker::make(store, block_case, 1));
  const std::uint64_t blocks = most_bytes / block_case.block_bytes;
  IMSS_RETURN_IF_ERROR(worker->create(blocks));
  IMSS_RETURN_IF_ERROR(writer->create(blocks));
  IMSS_ASSIGN_OR_RETURN(ScratchFile file, ScratchFile::create(store.folder() + "/mapped"));
  auto mapping = std::make_shared<NewMapping>(std::move(file), most_bytes);
  return std::vector<Contender>{
      {"set", [worker](std::uint64_t n) { return worker->set(n); }, {}},
      {"pwrite", [writer](std::uint64_t n) { return writer->file_write(n); }, {}},
      {"memcpy",
       [worker, mapping](std::uint64_t n) -> Status {
         for (std::uint64_t i = 0; i < n; ++i) {
           IMSS_RETURN_IF_ERROR(mapping->append(worker->buffer()));
         }
         return {};
       },
       {}}};
}

std::vector<Contender> recycled_contenders(const std::string& path,
                                           std::shared_ptr<BlockWorker> worker,
                                           std::uint64_t blocks) {
  return {{"set",
           [worker, blocks](std::uint64_t n) -> Status {
             for (std::uint64_t i = 0; i < n; ++i) {
               IMSS_RETURN_IF_ERROR(worker->create(blocks));
               IMSS_RETURN_IF_ERROR(worker->set(blocks));
               IMSS_RETURN_IF_ERROR(worker->remove());
             }
             return {};
           },
           {}},
          {"pwrite",
           [worker, path, blocks](std::uint64_t n) -> Status {
             for (std::uint64_t i = 0; i < n; ++i) {
               IMSS_ASSIGN_OR_RETURN(const ScratchFile file, ScratchFile::create(path));
               const auto content = worker->buffer();
               for (std::uint64_t block = 0; block < blocks; ++block) {
                 if (::pwrite(file.fd(), content.data(), content.size(),
                              static_cast<off_t>(block * content.size())) < 0) {
                   return Status::from_errno(errno, "pwrite to tmpfs");
                 }
               }
             }
             return {};
           },
           {}}};
}

}  // namespace

namespace {

// Touches so much memory and gives it back. A virtual machine's memory may be backed only when it
// is touched for the first time ever, which would hit whoever comes first in a race.
void touch_memory(std::uint64_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return;
  ::madvise(memory, bytes, MADV_HUGEPAGE);
  constexpr std::uint64_t kPageBytes = 4096;
  auto* at = static_cast<volatile char*>(memory);
  for (std::uint64_t i = 0; i < bytes && !interrupted(); i += kPageBytes) at[i] = 1;
  ::munmap(memory, bytes);
}

}  // namespace

Status measure_first_write(const BenchStore& store, const BlockCase& block_case, Report& report) {
  RaceOptions options = race_options(block_case);
  options.most_operations = std::max<std::uint64_t>(1, kNewBytesPerRound / block_case.block_bytes);
  // The calibration writes up to eight times a round's bytes, the warm-up one round.
  const std::uint64_t most_bytes =
      std::max(kNewBytesPerRound, block_case.block_bytes) * (options.rounds + 9);
  touch_memory(3 * most_bytes);
  const auto fresh = run_race(options, [&](unsigned index) -> Result<std::vector<Contender>> {
    IMSS_ASSIGN_OR_RETURN(std::shared_ptr<BlockWorker> worker,
                          BlockWorker::make(store, block_case, index));
    return new_memory_contenders(store, block_case, std::move(worker), most_bytes);
  });
  if (!fresh.ok()) return fresh.status();
  report.add(row_of(block_case, "New blocks in new memory", "set", *fresh));
  // From here on an operation is a whole dataset.
  const std::uint64_t blocks = std::exchange(options.most_operations, 4);
  const auto recycled = run_race(options, [&](unsigned index) -> Result<std::vector<Contender>> {
    IMSS_ASSIGN_OR_RETURN(std::shared_ptr<BlockWorker> worker,
                          BlockWorker::make(store, block_case, index));
    return recycled_contenders(store.folder() + "/recycled", std::move(worker), blocks);
  });
  if (!recycled.ok()) return recycled.status();
  Row row =
      row_of(block_case, "New blocks in memory that was used before, creation and removal included",
             "set", *recycled);
  row.rate *= static_cast<double>(blocks);
  row.reference_rate *= static_cast<double>(blocks);
  report.add(std::move(row));
  return {};
}

namespace {

// Runs `body` in a child process and waits for it.
Status in_child(const std::function<Status()>& body) {
  const pid_t child = ::fork();
  if (child < 0) return Status::from_errno(errno, "fork");
  if (child == 0) ::_exit(body().ok() ? 0 : 1);
  int outcome = 0;
  while (::waitpid(child, &outcome, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0) return {};
  return Status(Code::kIo, "a process that reads everything once has failed");
}

Status read_dataset(const std::string& name, std::span<std::byte> buffer, std::uint64_t blocks) {
  IMSS_ASSIGN_OR_RETURN(const auto client, ClientProcess::join());
  const std::int32_t id = open_dataset(format_uri(uri_of(name)).c_str());
  IMSS_RETURN_IF_ERROR(answer_of(id));
  for (std::uint64_t block = 1; block <= blocks; ++block) {
    IMSS_RETURN_IF_ERROR(answer_of(get_data(id, static_cast<std::int32_t>(block), buffer.data())));
  }
  return answer_of(release_dataset(id));
}

Status read_file(const std::string& path, std::span<std::byte> buffer, std::uint64_t blocks) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Status::from_errno(errno, "cannot open " + path);
  for (std::uint64_t block = 0; block < blocks; ++block) {
    if (::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(block * buffer.size())) < 0) {
      return Status::from_errno(errno, "pread from tmpfs");
    }
  }
  ::close(fd);
  return {};
}

}  // namespace

Status measure_fresh_process(const BenchStore& store, const BlockCase& block_case, Report& report) {
  IMSS_ASSIGN_OR_RETURN(const std::shared_ptr<BlockWorker> worker,
                        BlockWorker::make(store, block_case, 0));
  const std::uint64_t blocks = blocks_in(block_case);
  IMSS_RETURN_IF_ERROR(worker->create(blocks));
  IMSS_RETURN_IF_ERROR(worker->populate());
  // So that the processes below have nothing of this one's connection.
  IMSS_RETURN_IF_ERROR(worker->leave());
  const std::string path = store.folder() + "/worker0";
  RaceOptions options = race_options(block_case);
  options.kind = WorkerKind::kThreads;
  options.most_operations = 4;
  const auto result = run_race(options, [&](unsigned) -> Result<std::vector<Contender>> {
    const auto repeat = [](std::uint64_t n, const std::function<Status()>& body) -> Status {
      for (std::uint64_t i = 0; i < n; ++i) IMSS_RETURN_IF_ERROR(in_child(body));
      return {};
    };
    return std::vector<Contender>{
        {"get",
         [&, repeat](std::uint64_t n) {
           return repeat(n, [&] { return read_dataset("worker0", worker->buffer(), blocks); });
         },
         {}},
        {"pread",
         [&, repeat](std::uint64_t n) {
           return repeat(n, [&] { return read_file(path, worker->buffer(), blocks); });
         },
         {}}};
  });
  IMSS_RETURN_IF_ERROR(worker->come_back());
  if (!result.ok()) return result.status();
  Row row = row_of(block_case,
                   "A process that starts, reads " + format_size(block_case.working_set_bytes) +
                       " once and ends",
                   "get", *result);
  row.rate *= static_cast<double>(blocks);
  row.reference_rate *= static_cast<double>(blocks);
  report.add(std::move(row));
  return {};
}

}  // namespace imss::bench
