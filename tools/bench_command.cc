#include "bench_command.h"

#include <glib.h>
#include <signal.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/size.h"
#include "bench_blocks.h"
#include "bench_growth.h"
#include "bench_names.h"
#include "bench_race.h"
#include "bench_references.h"
#include "bench_report.h"
#include "bench_store.h"

namespace {

using imss::kGiB;
using imss::kKiB;
using imss::kMiB;
using imss::Status;
using imss::bench::BenchStore;
using imss::bench::BlockCase;
using imss::bench::Report;
using imss::bench::WorkerKind;

constexpr int kExitUsage = 2;
constexpr std::uint64_t kRandomBytes = 512 * kMiB;
// Enough blocks that the steps in which tables grow do not matter.
constexpr std::uint64_t kOverheadBytes = 256 * kMiB;

struct Options {
  std::vector<std::uint64_t> sizes = {4 * kKiB, 64 * kKiB, kMiB, 16 * kMiB};
  std::vector<std::uint64_t> threads = {1, 2};
  std::vector<std::uint64_t> processes = {2};
  std::uint64_t working_set = 64 * kMiB;
  unsigned rounds = 25;
  bool quick = false;
  bool attached = true;
  bool detached = true;
  bool references = false;
  bool names = true;
  bool json = false;
  // Stored bytes to measure growth with; 0: left out. Without a wish as much as is free.
  std::optional<std::uint64_t> growth_bytes;
};

struct ContextFree {
  void operator()(GOptionContext* context) const { g_option_context_free(context); }
};

int usage_error(const std::string& sentence) {
  std::fprintf(stderr, "imss bench: %s\nTry 'imss bench --help'.\n", sentence.c_str());
  return kExitUsage;
}

// "4KiB,1MiB" or "1,2"; an empty text leaves `out` as it is.
Status parse_list(const gchar* text, std::uint64_t most, std::vector<std::uint64_t>* out) {
  if (text == nullptr) return {};
  std::vector<std::uint64_t> numbers;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    IMSS_ASSIGN_OR_RETURN(const std::uint64_t number, imss::parse_size(rest.substr(0, comma)));
    if (number == 0 || number > most) {
      return Status(
          imss::Code::kInvalidArgument,
          std::string(rest.substr(0, comma)) + " is not between 1 and " + std::to_string(most));
    }
    numbers.push_back(number);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  *out = std::move(numbers);
  return {};
}

struct RawOptions {
  gchar* sizes = nullptr;
  gchar* threads = nullptr;
  gchar* processes = nullptr;
  gchar* working_set = nullptr;
  gchar* growth_bytes = nullptr;
  gboolean quick = FALSE;
  gboolean attached = FALSE;
  gboolean detached = FALSE;
  gboolean references = FALSE;
  gboolean no_names = FALSE;
  gboolean json = FALSE;

  ~RawOptions() {
    for (gchar* text : {sizes, threads, processes, working_set, growth_bytes}) g_free(text);
  }
};

Status take(const RawOptions& raw, Options& options) {
  options.quick = raw.quick != FALSE;
  if (options.quick) {
    options.rounds = 9;
    options.working_set = 16 * kMiB;
  }
  IMSS_RETURN_IF_ERROR(parse_list(raw.sizes, 64 * kMiB, &options.sizes));
  IMSS_RETURN_IF_ERROR(parse_list(raw.threads, imss::bench::kMaxWorkers, &options.threads));
  IMSS_RETURN_IF_ERROR(parse_list(raw.processes, imss::bench::kMaxWorkers, &options.processes));
  std::vector<std::uint64_t> working_set = {options.working_set};
  IMSS_RETURN_IF_ERROR(parse_list(raw.working_set, 64 * kGiB, &working_set));
  options.working_set = working_set.front();
  if (raw.growth_bytes != nullptr) {
    IMSS_ASSIGN_OR_RETURN(options.growth_bytes, imss::parse_size(raw.growth_bytes));
    if (*options.growth_bytes != 0 && *options.growth_bytes < 2 * imss::bench::kGrowthFrom)
      return Status(imss::Code::kInvalidArgument, "--growth-bytes is 0 or at least 2GiB");
  } else if (options.quick) {
    options.growth_bytes = 0;
  }
  if (std::ranges::any_of(options.sizes, [](std::uint64_t bytes) { return bytes % kKiB != 0; }))
    return Status(imss::Code::kInvalidArgument, "block sizes are whole numbers of KiB");
  options.attached = raw.attached != FALSE || raw.detached == FALSE;
  options.detached = raw.detached != FALSE || raw.attached == FALSE;
  options.references = raw.references != FALSE;
  options.names = raw.no_names == FALSE;
  options.json = raw.json != FALSE;
  return {};
}

// Fills the options; returns 0, or the exit code with the message printed.
int read_options(int argc, char** argv, Options& options) {
  RawOptions raw;
  const GOptionEntry entries[] = {
      {"sizes", 's', 0, G_OPTION_ARG_STRING, &raw.sizes,
       "Block sizes, separated by commas (4KiB,64KiB,1MiB,16MiB)", "LIST"},
      {"threads", 't', 0, G_OPTION_ARG_STRING, &raw.threads, "Numbers of threads (1,2)", "LIST"},
      {"processes", 'p', 0, G_OPTION_ARG_STRING, &raw.processes, "Numbers of processes (2)",
       "LIST"},
      {"working-set", 'w', 0, G_OPTION_ARG_STRING, &raw.working_set,
       "What each worker goes through (64MiB)", "SIZE"},
      {"growth-bytes", 'g', 0, G_OPTION_ARG_STRING, &raw.growth_bytes,
       "How much to store to see what growth costs (16GiB, or half of what is free; 0: not)",
       "SIZE"},
      {"quick", 'q', 0, G_OPTION_ARG_NONE, &raw.quick, "Fewer rounds, less memory", nullptr},
      {"attached", 'a', 0, G_OPTION_ARG_NONE, &raw.attached, "Only with servers in this process",
       nullptr},
      {"detached", 'd', 0, G_OPTION_ARG_NONE, &raw.detached, "Only with servers in another process",
       nullptr},
      {"references", 'r', 0, G_OPTION_ARG_NONE, &raw.references,
       "Compare with Redis and memcached too", nullptr},
      {"no-names", 0, 0, G_OPTION_ARG_NONE, &raw.no_names, "Leave out creation, stat and removal",
       nullptr},
      {"json", 'j', 0, G_OPTION_ARG_NONE, &raw.json, "Print JSON", nullptr},
      {nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr},
  };
  const std::unique_ptr<GOptionContext, ContextFree> context(
      g_option_context_new("- speed and memory beside memcpy and tmpfs"));
  g_option_context_add_main_entries(context.get(), entries, nullptr);
  GError* error = nullptr;
  if (g_option_context_parse(context.get(), &argc, &argv, &error) == FALSE) {
    const int code = usage_error(error->message);
    g_error_free(error);
    return code;
  }
  if (argc > 1) return usage_error("no arguments are expected besides options");
  if (const Status status = take(raw, options); !status.ok()) return usage_error(status.message());
  return 0;
}

imss::bench::StoreOptions store_options(const Options& options, bool detached) {
  std::uint64_t workers = 1;
  for (const auto& list : {options.threads, options.processes}) {
    for (const std::uint64_t count : list) workers = std::max(workers, count);
  }
  imss::bench::StoreOptions store;
  // Limits; memory is taken as it is used.
  store.data_bytes = 3 * kGiB + 3 * workers * options.working_set;
  store.metadata_bytes = 2 * kGiB;
  store.detached = detached;
  return store;
}

// All block sizes and numbers of workers with one kind of deployment.
Status measure_blocks(const BenchStore& store, const Options& options, bool detached,
                      Report& report) {
  const char* deployment = detached ? "detached" : "attached";
  struct Workers {
    WorkerKind kind;
    std::uint64_t count;
  };
  std::vector<Workers> settings;
  // A thread of this process is a client of a detached server like any other process.
  for (const std::uint64_t count : options.threads) {
    settings.push_back({WorkerKind::kThreads, count});
  }
  for (const std::uint64_t count : options.processes) {
    settings.push_back({WorkerKind::kProcesses, count});
  }
  for (const std::uint64_t bytes : options.sizes) {
    for (const Workers& workers : settings) {
      BlockCase block_case;
      block_case.block_bytes = bytes;
      block_case.working_set_bytes = options.working_set;
      block_case.kind = workers.kind;
      block_case.workers = static_cast<unsigned>(workers.count);
      block_case.rounds = options.rounds;
      block_case.deployment = deployment;
      report.progress("blocks of " + imss::format_size(bytes) + ", " +
                      std::to_string(workers.count) + " workers, " + deployment);
      IMSS_RETURN_IF_ERROR(measure_warm(store, block_case, report));
    }
  }
  return {};
}

// What is measured once and with one worker only.
Status measure_single(const BenchStore& store, const Options& options, Report& report) {
  BlockCase block_case;
  block_case.rounds = options.rounds;
  block_case.random = true;
  block_case.working_set_bytes = options.quick ? 2 * options.working_set : kRandomBytes;
  report.progress("blocks at random");
  BlockCase overhead = block_case;
  overhead.working_set_bytes = std::max(overhead.working_set_bytes, kOverheadBytes);
  IMSS_RETURN_IF_ERROR(measure_overhead(store, overhead, report));
  IMSS_RETURN_IF_ERROR(measure_warm(store, block_case, report));
  block_case.random = false;
  block_case.working_set_bytes = options.working_set;
  report.progress("lists of blocks");
  IMSS_RETURN_IF_ERROR(measure_lists(store, block_case, report));
  for (const std::uint64_t bytes : options.sizes) {
    block_case.block_bytes = bytes;
    report.progress("new blocks of " + imss::format_size(bytes));
    IMSS_RETURN_IF_ERROR(measure_first_write(store, block_case, report));
  }
  for (const std::uint64_t bytes : options.sizes) {
    block_case.block_bytes = bytes;
    report.progress("a fresh process, blocks of " + imss::format_size(bytes));
    IMSS_RETURN_IF_ERROR(measure_fresh_process(store, block_case, report));
  }
  return {};
}

Status measure_growth_here(const Options& options, Report& report) {
  const std::uint64_t bytes = options.growth_bytes.value_or(imss::bench::growth_bytes_here());
  if (bytes == 0 && options.growth_bytes) return {};
  if (bytes < 2 * imss::bench::kGrowthFrom) {
    report.note("growth from 1 GiB on is left out: less than 4 GiB of memory are free");
    return {};
  }
  return imss::bench::measure_growth(bytes, options.rounds, report);
}

Status measure(const Options& options, Report& report) {
  for (const bool detached : {false, true}) {
    if (detached ? !options.detached : !options.attached) continue;
    IMSS_ASSIGN_OR_RETURN(const auto store, BenchStore::start(store_options(options, detached)));
    const bool last = detached || !options.detached;
    if (!detached || !options.attached) {
      IMSS_RETURN_IF_ERROR(measure_single(*store, options, report));
    }
    IMSS_RETURN_IF_ERROR(measure_blocks(*store, options, detached, report));
    if (!last) continue;
    if (options.names) {
      std::vector<std::uint64_t> sizes = {1000, 100'000, 1'000'000};
      if (options.quick) sizes = {1000, 20'000};
      IMSS_RETURN_IF_ERROR(imss::bench::measure_names(*store, sizes, options.rounds, report));
    }
    if (options.references) {
      IMSS_RETURN_IF_ERROR(
          imss::bench::measure_references(*store, {4 * kKiB, 64 * kKiB}, options.rounds, report));
    }
  }
  return measure_growth_here(options, report);
}

}  // namespace

int run_bench(int argc, char** argv) {
  Options options;
  if (const int code = read_options(argc, argv, options); code != 0) return code;
  struct sigaction action {};
  action.sa_handler = [](int) { imss::bench::interrupt(); };
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(number, &action, nullptr);
  Report report(options.json);
  const Status status = measure(options, report);
  report.print();
  if (status.ok()) return 0;
  std::fprintf(stderr, "imss bench: %s\n",
               imss::bench::interrupted() ? "interrupted" : status.message().c_str());
  return 1;
}
