// What one client was told to be stored: the model, kept in memory that outlives the client.
//
// A client writes down the change it is about to ask for, asks, and then flips to the state that
// the change makes. Whoever comes after it (another client in its place, or the parent) sees the
// last state that was acknowledged and the one change that may have happened. Owned by one process
// at a time.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace model {

constexpr std::uint32_t kDirectories = 4;
constexpr std::uint32_t kFiles = 6;  // places for files in each directory
constexpr std::uint32_t kBlocks = 4;
constexpr std::uint32_t kRuns = 32;

// Bytes begin..end of a file that one change wrote: the stamp over and over, in step with the
// offset in the file.
struct Run {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint32_t stamp = 0;
};

struct File {
  std::uint32_t exists = 0;
  std::uint32_t shape = 0;  // decides block size, policy and copies
  std::uint64_t size = 0;
  std::uint32_t run_count = 0;
  Run runs[kRuns];  // in order, apart from one another; what lies between is zeros

  // Room for whatever one more change may add.
  bool has_room() const { return run_count + 2 <= kRuns; }
  // Replaces a range; stamp 0 makes a hole.
  void paint(std::uint64_t begin, std::uint64_t end, std::uint32_t stamp);
};

struct Directory {
  std::uint32_t exists = 0;
  File files[kFiles];

  bool empty() const;
};

struct State {
  std::uint64_t changes = 0;
  Directory directories[kDirectories];
};

enum class Kind : std::uint32_t {
  kCreate,
  kUnlink,
  kRename,
  kMakeDirectory,
  kRemoveDirectory,
  kRenameDirectory,
  kPut,
  kWrite,
  kAppend,
  kTruncate
};

struct Place {
  std::uint32_t directory = 0;
  std::uint32_t file = 0;
  bool operator==(const Place&) const = default;
};

struct Change {
  Kind kind = Kind::kCreate;
  Place at;
  Place to;                  // renames
  std::uint64_t offset = 0;  // puts, writes; the new size of a truncation
  std::uint64_t bytes = 0;   // puts, writes, appends
  std::uint32_t stamp = 0;
  std::uint32_t shape = 0;  // creation
};

struct Shape {
  std::uint64_t block_bytes;
  bool grows;
  std::uint8_t policy;
  std::uint32_t copies;
  std::uint64_t most_bytes() const { return kBlocks * block_bytes; }
};
Shape shape_of(std::uint32_t shape);

// The code that the store must answer with, and what the state is after success.
imss::Code expected(const State& state, const Change& change);
void apply(State& state, const Change& change);

// Bytes offset..offset+bytes of a file; zeros beyond its end.
std::vector<std::byte> content_of(const File& file, std::uint64_t offset, std::uint64_t bytes);

std::string describe(const Change& change);

// What became of a change, for whoever looks for the cause of a difference.
struct Past {
  Change change;
  std::int64_t announced_ms = 0;
  std::int64_t decided_ms = 0;
  std::uint32_t pid = 0;  // who announced it
  bool happened = false;
  bool resolved = false;  // by a look at what was there
};

// In shared memory.
struct Journal {
  State states[2];
  std::atomic<std::uint32_t> current{0};
  Change change;
  std::atomic<std::uint64_t> change_number{
      0};  // of `change`: may have happened when it is one ahead of the state
  std::atomic<std::uint64_t> operations{0};  // reads included
  static constexpr std::uint64_t kHistory = 64;
  Past history[kHistory] = {};
  char failure[1024] = {};
  char trouble[1024] = {};  // the last answer of a server that was out of reach

  const State& state() const { return states[current.load()]; }
  bool undecided() const { return change_number.load() == state().changes + 1; }
  void announce(const Change& next);
  // The announced change happened, or did not; `resolved`: as was found out later.
  void decide(bool happened, bool resolved = false);
  // The last changes, a line each.
  std::string tell_history() const;
};

}  // namespace model
