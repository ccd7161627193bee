#include "bench_names.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <random>
#include <utility>

#include "bench_race.h"

namespace imss::bench {
namespace {

// Few enough that the directory keeps its size while it is measured.
constexpr std::uint64_t kMostPerRound = 500;

std::string name_of(const char* prefix, std::uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof(text), "%s%08llu", prefix, static_cast<unsigned long long>(number));
  return text;
}

// Datasets of an instance or files of a folder, behind the same three calls.
class Names {
 public:
  virtual ~Names() = default;
  virtual Status create(const std::string& name) = 0;
  virtual Status stat(const std::string& name) = 0;
  virtual Status remove(const std::string& name) = 0;
};

class DatasetNames : public Names {
 public:
  explicit DatasetNames(client::Session& session) : session_(session) {}
  Status create(const std::string& name) override {
    IMSS_ASSIGN_OR_RETURN(const std::int32_t handle, session_.create(uri(name), {}));
    return session_.release(handle);
  }
  Status stat(const std::string& name) override { return session_.attributes(uri(name)).status(); }
  Status remove(const std::string& name) override { return session_.unlink(uri(name)); }

 private:
  static Uri uri(const std::string& name) { return uri_of("names/" + name); }
  client::Session& session_;
};

class FileNames : public Names {
 public:
  explicit FileNames(std::string folder) : folder_(std::move(folder)) {
    ::mkdir(folder_.c_str(), 0700);
  }
  Status create(const std::string& name) override {
    const int fd = ::open(path(name).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return Status::from_errno(errno, "cannot create a file on tmpfs");
    ::close(fd);
    return {};
  }
  Status stat(const std::string& name) override {
    struct stat status {};
    return ::stat(path(name).c_str(), &status) == 0 ? Status() : Status::from_errno(errno, "stat");
  }
  Status remove(const std::string& name) override {
    return ::unlink(path(name).c_str()) == 0 ? Status() : Status::from_errno(errno, "unlink");
  }

 private:
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  const std::string folder_;
};

enum class Action { kCreate, kStat, kRemove };

Status create_some(Names& names, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) IMSS_RETURN_IF_ERROR(names.create(name_of("n", i)));
  return {};
}

Status remove_some(Names& names, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) IMSS_RETURN_IF_ERROR(names.remove(name_of("n", i)));
  return {};
}

// Names that are there besides those that count; they go when the contender goes.
struct Extra {
  Names& names;
  std::uint64_t count = 0;

  Status clear() { return remove_some(names, std::exchange(count, 0)); }
  ~Extra() { [[maybe_unused]] const Status cleared = clear(); }
};

Contender contender_for(Names& names, Action action, std::uint64_t present) {
  Contender contender;
  if (action == Action::kStat) {
    auto random = std::make_shared<std::mt19937_64>(present);
    contender.run = [&names, random, present](std::uint64_t n) -> Status {
      for (std::uint64_t i = 0; i < n; ++i) {
        IMSS_RETURN_IF_ERROR(names.stat(name_of("d", (*random)() % present)));
      }
      return {};
    };
    return contender;
  }
  const std::shared_ptr<Extra> extra(new Extra{names});
  const bool creates = action == Action::kCreate;
  contender.prepare = [extra, creates](std::uint64_t n) -> Status {
    IMSS_RETURN_IF_ERROR(extra->clear());
    if (creates) return {};
    extra->count = n;
    return create_some(extra->names, n);
  };
  contender.run = [extra, creates](std::uint64_t n) -> Status {
    extra->count = creates ? n : 0;
    return creates ? create_some(extra->names, n) : remove_some(extra->names, n);
  };
  return contender;
}

Status measure_action(Names& datasets, Names& files, Action action, std::uint64_t present,
                      unsigned rounds, Report& report) {
  RaceOptions options;
  options.rounds = rounds;
  options.most_operations = kMostPerRound;
  const auto result = run_race(options, [&](unsigned) -> Result<std::vector<Contender>> {
    return std::vector<Contender>{contender_for(datasets, action, present),
                                  contender_for(files, action, present)};
  });
  if (!result.ok()) return result.status();
  Row row;
  row.group = "Empty datasets in one directory";
  row.operation = action == Action::kCreate ? "create and close"
                  : action == Action::kStat ? "stat"
                                            : "remove";
  row.setting = "of " + std::to_string(present) + " present";
  row.rate = result->rates[0];
  row.reference_rate = result->rates[1];
  row.reference_ratio = result->ratios[1];
  report.add(std::move(row));
  return {};
}

// Bytes of both servers' segments.
Result<std::uint64_t> used_bytes(client::Session& session) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.instance(kInstance));
  return servers->mapped[0]->segment().super().used_bytes.load() +
         session.metadata_segment()->super().used_bytes.load();
}

}  // namespace

Status measure_names(const BenchStore& store, const std::vector<std::uint64_t>& sizes,
                     unsigned rounds, Report& report) {
  IMSS_ASSIGN_OR_RETURN(const auto session, BenchStore::connect());
  DatasetNames datasets(*session);
  FileNames files(store.folder() + "/names");
  std::uint64_t present = 0;
  IMSS_RETURN_IF_ERROR(session->make_directory(uri_of("names"), 0700, false));
  for (const std::uint64_t size : sizes) {
    report.progress("names in a directory of " + std::to_string(size));
    IMSS_ASSIGN_OR_RETURN(const std::uint64_t used_before, used_bytes(*session));
    const std::uint64_t before = present;
    for (; present < size; ++present) {
      if (interrupted()) return Code::kBusy;
      IMSS_RETURN_IF_ERROR(datasets.create(name_of("d", present)));
      IMSS_RETURN_IF_ERROR(files.create(name_of("d", present)));
    }
    IMSS_ASSIGN_OR_RETURN(const std::uint64_t used_after, used_bytes(*session));
    if (size == sizes.back() && size >= 10000) {
      const auto more = static_cast<double>(used_after) - static_cast<double>(used_before);
      report.add(Figure{"memory of an empty dataset, its name included",
                        more / static_cast<double>(size - before), "bytes", 512});
    }
    for (const Action action : {Action::kCreate, Action::kStat, Action::kRemove}) {
      IMSS_RETURN_IF_ERROR(measure_action(datasets, files, action, size, rounds, report));
    }
  }
  return {};
}

}  // namespace imss::bench
