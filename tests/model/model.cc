#include "model.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "base/clock.h"
#include "policies/policy.h"

namespace model {

using imss::Code;

bool Directory::empty() const {
  return std::none_of(std::begin(files), std::end(files),
                      [](const File& file) { return file.exists != 0; });
}

void File::paint(std::uint64_t begin, std::uint64_t end, std::uint32_t stamp) {
  std::vector<Run> now;
  for (const Run& run : std::span(runs, run_count)) {
    if (run.begin < begin) now.push_back({run.begin, std::min(run.end, begin), run.stamp});
    if (run.end > end) now.push_back({std::max(run.begin, end), run.end, run.stamp});
  }
  if (stamp != 0 && begin < end) now.push_back({begin, end, stamp});
  std::sort(now.begin(), now.end(), [](const Run& a, const Run& b) { return a.begin < b.begin; });
  if (now.size() > kRuns) std::abort();  // nothing is drawn for a file without room
  run_count = static_cast<std::uint32_t>(now.size());
  std::copy(now.begin(), now.end(), runs);
}

Shape shape_of(std::uint32_t shape) {
  constexpr std::uint64_t kBlockBytes[] = {1000, 20'480, 102'400, 408};
  const auto& policies = imss::kAllPolicies;
  return {kBlockBytes[shape % 4], shape % 3 != 0,
          static_cast<std::uint8_t>(policies[shape % std::size(policies)]),
          shape % 5 == 0 ? 2U : 1U};
}

Code expected(const State& state, const Change& change) {
  const Directory& directory = state.directories[change.at.directory];
  const File& file = directory.files[change.at.file];
  const Directory& target = state.directories[change.to.directory];
  switch (change.kind) {
    case Kind::kCreate:
      return directory.exists == 0 ? Code::kNotFound : file.exists != 0 ? Code::kExists : Code::kOk;
    case Kind::kRename:
      if (directory.exists == 0 || file.exists == 0 || target.exists == 0) return Code::kNotFound;
      return Code::kOk;
    case Kind::kMakeDirectory:
      return directory.exists != 0 ? Code::kExists : Code::kOk;
    case Kind::kRemoveDirectory:
      return directory.exists == 0 ? Code::kNotFound
             : directory.empty()   ? Code::kOk
                                   : Code::kNotEmpty;
    case Kind::kRenameDirectory:
      if (directory.exists == 0) return Code::kNotFound;
      return target.exists != 0 && !target.empty() && &target != &directory ? Code::kNotEmpty
                                                                            : Code::kOk;
    case Kind::kUnlink:
    case Kind::kPut:
    case Kind::kWrite:
    case Kind::kAppend:
      return directory.exists == 0 || file.exists == 0 ? Code::kNotFound : Code::kOk;
    case Kind::kTruncate:
      if (directory.exists == 0 || file.exists == 0) return Code::kNotFound;
      return shape_of(file.shape).grows ? Code::kOk : Code::kInvalidArgument;
  }
  return Code::kOk;
}

void apply(State& state, const Change& change) {
  Directory& directory = state.directories[change.at.directory];
  File& file = directory.files[change.at.file];
  const Shape shape = shape_of(file.shape);
  switch (change.kind) {
    case Kind::kCreate:
      file = {};
      file.exists = 1;
      file.shape = change.shape;
      if (!shape_of(change.shape).grows) file.size = shape_of(change.shape).most_bytes();
      return;
    case Kind::kUnlink:
      file = {};
      return;
    case Kind::kRename:
      if (change.at == change.to) return;
      state.directories[change.to.directory].files[change.to.file] = file;
      file = {};
      return;
    case Kind::kMakeDirectory:
      directory.exists = 1;
      return;
    case Kind::kRemoveDirectory:
      directory = {};
      return;
    case Kind::kRenameDirectory:
      if (change.at.directory == change.to.directory) return;
      state.directories[change.to.directory] = directory;
      directory = {};
      return;
    case Kind::kPut:
      file.paint(change.offset, change.offset + shape.block_bytes, 0);
      [[fallthrough]];
    case Kind::kWrite:
      file.paint(change.offset, change.offset + change.bytes, change.stamp);
      file.size = std::max(file.size, change.offset + change.bytes);
      return;
    case Kind::kAppend:
      file.paint(file.size, file.size + change.bytes, change.stamp);
      file.size += change.bytes;
      return;
    case Kind::kTruncate:
      file.paint(change.offset, std::max(file.size, change.offset), 0);
      file.size = change.offset;
      return;
  }
}

std::vector<std::byte> content_of(const File& file, std::uint64_t offset, std::uint64_t bytes) {
  std::vector<std::byte> content(bytes);
  for (const Run& run : std::span(file.runs, file.run_count)) {
    const std::uint64_t end = std::min(run.end, offset + bytes);
    for (std::uint64_t at = std::max(run.begin, offset); at < end; ++at)
      content[at - offset] = static_cast<std::byte>(run.stamp >> 8 * (at % 4));
  }
  return content;
}

std::string describe(const Change& change) {
  constexpr const char* kNames[] = {"create", "unlink", "rename", "mkdir",  "rmdir",
                                    "rename", "put",    "write",  "append", "truncate"};
  return std::string(kNames[static_cast<std::uint32_t>(change.kind)]) + " d" +
         std::to_string(change.at.directory) + "/f" + std::to_string(change.at.file) + " to d" +
         std::to_string(change.to.directory) + "/f" + std::to_string(change.to.file) + ", offset " +
         std::to_string(change.offset) + ", " + std::to_string(change.bytes) + " bytes";
}

void Journal::announce(const Change& next) {
  change = next;
  const std::uint64_t number = state().changes + 1;
  history[number % kHistory] = {next, imss::monotonic_ns() / 1'000'000, 0, static_cast<std::uint32_t>(::getpid()), false, false};
  change_number.store(number);
}

void Journal::decide(bool happened, bool resolved) {
  const std::uint32_t now = current.load();
  State& next = states[1 - now];
  next = states[now];
  next.changes = change_number.load();
  if (happened) apply(next, change);
  Past& past = history[next.changes % kHistory];
  past.decided_ms = imss::monotonic_ns() / 1'000'000;
  past.happened = happened;
  past.resolved = resolved;
  current.store(1 - now);
}

std::string Journal::tell_history() const {
  std::string lines;
  const std::uint64_t newest = change_number.load();
  for (std::uint64_t number = newest < kHistory ? 1 : newest - kHistory + 1; number <= newest; ++number) {
    const Past& past = history[number % kHistory];
    char stamp[16];
    std::snprintf(stamp, sizeof(stamp), "%08x", past.change.stamp);
    lines += std::to_string(past.announced_ms) + " to " + std::to_string(past.decided_ms) + " ms, process " +
             std::to_string(past.pid) + ": " + describe(past.change) + ", stamp " + stamp + ", shape " +
             std::to_string(past.change.shape) + (past.happened ? "" : ", did not happen") +
             (past.resolved ? ", found out later\n" : "\n");
  }
  return lines;
}

}  // namespace model
