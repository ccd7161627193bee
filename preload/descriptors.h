// Descriptors of files in the store.
//
// Each is a descriptor of the kernel, of an empty memory file that nobody can write to: so the kernel gives out the
// number, and dup, fork, exec and sockets carry it. As long as no other process can have the description, all are copies
// of one descriptor, the stand-in, and position and status flags are kept here, which saves most of the system calls.
// Before a fork, an exec or a passing the description gets a memory file of its own (position.cc). Its name says which
// file of the store it stands for, its position is the description's, and its status flags (O_APPEND, O_NONBLOCK) too.
//
// Looking a number up takes no lock: descriptions are never freed but used again, and whoever has counted himself in
// looks at the table once more. Concurrent.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "posix/path_view.h"

namespace imss::preload {

enum class Kind : std::uint8_t { kNone, kFile, kDirectory, kPath };

struct Description {
  std::atomic<std::uint32_t> users{0};  // numbers in the table, and calls under way
  Kind kind = Kind::kNone;
  int flags = 0;                        // of open(2)
  std::atomic<bool> appends{false};
  std::atomic<int> status_flags{0};     // O_APPEND and O_NONBLOCK, while the position is here
  std::atomic<std::int64_t> offset{0};  // see position.cc
  std::atomic<int> lock_file{-1};       // see locks.h
  std::unique_ptr<posix::OpenFile> file;
  posix::FileSystem::Held held;
  metadata::EntryInfo entry;
  Description* next_free = nullptr;

  posix::Spot spot() const;
  posix::InodeNumber number() const { return entry.id; }
};

// A description in use by a call.
class Use {
 public:
  Use() = default;
  explicit Use(Description* description) : description_(description) {}
  Use(Use&& other) noexcept : description_(other.description_) { other.description_ = nullptr; }
  Use& operator=(Use&&) = delete;
  ~Use();
  explicit operator bool() const { return description_ != nullptr; }
  Description* operator->() const { return description_; }
  Description& operator*() const { return *description_; }

 private:
  Description* description_ = nullptr;
};

inline constexpr int kChunkNumbers = 1024;
inline constexpr int kChunks = 1024;
inline constexpr int kMostNumbers = kChunkNumbers * kChunks;
struct NumberChunk {
  std::atomic<Description*> descriptions[kChunkNumbers];
};
extern constinit std::atomic<NumberChunk*> number_chunks[kChunks];

// Whether the number may be one of the store's.
inline bool is_ours(int fd) {
  if (static_cast<unsigned>(fd) >= kMostNumbers) return false;
  const NumberChunk* const chunk = number_chunks[fd / kChunkNumbers].load(std::memory_order_acquire);
  return chunk != nullptr && chunk->descriptions[fd % kChunkNumbers].load(std::memory_order_acquire) != nullptr;
}
// None for a number that is not ours. A number from before an exec is taken over; should that fail it is none, and the
// kernel's memory file refuses what is tried with it.
Use use(int fd);

// Makes the kernel's descriptor and enters it. Returns -1 with *error_number.
int enter(posix::PathView::Opened opened, int flags, int* error_number);
// A memory file whose name says what the description is. Returns its number, or -1.
int make_named_file(const Description& description);
// The number of the stand-in, which programs shall not close; -1 while there is none.
int stand_in_number();
void lose_stand_in();  // it was closed
inline constexpr std::size_t kMostInstanceBytes = 120;  // of an instance's name, so that a file's name has room for it
// Held while the kernel and the table change together what a number of ours means.
class NumbersLock {
 public:
  NumbersLock();
  NumbersLock(const NumbersLock&) = delete;
  NumbersLock& operator=(const NumbersLock&) = delete;
  ~NumbersLock();
};
// The number means what `from` means, after a dup. REQUIRES: a NumbersLock since before the dup.
void enter_again(int fd, Description& from);
// Closes a number of ours, as close(2).
int close_number(int fd);
// The number is the kernel's now.
void leave(int fd);
inline void leave_if_ours(int fd) {
  if (is_ours(fd)) leave(fd);
}
// After an exec: looks which numbers are ours.
void find_inherited();
// The same for one that has come through a socket.
void find_number(int fd);
// Whether there is a number that an exec would hand on, or `any` at all.
bool anything_to_inherit(bool any);
// Calls it for each number that is ours.
void for_each_number(void (*visit)(int fd, Description& description));

void lock_descriptions_for_fork();
void unlock_descriptions_after_fork();

// --- the position of a description (position.cc) ---
inline constexpr std::int64_t kShared = std::int64_t{1} << 62;  // the kernel has it, for good
// Moves on by `bytes` and returns where it was.
std::int64_t take_range(int fd, Description& description, std::int64_t bytes);
// Moves back by what was taken and not used.
void give_back(int fd, Description& description, std::int64_t bytes);
bool is_shared(const Description& description);
std::int64_t position(int fd, Description& description);
void set_position(int fd, Description& description, std::int64_t offset);
// From now on the kernel has it: that of one description, or all.
void share_position(Description& description);
void share_all_positions();
void share_all_locked();  // REQUIRES: a NumbersLock

}  // namespace imss::preload
