// Where the next read or write of a description goes.
//
// A call takes its range with one atomic step, in this process or in the kernel (lseek from the current position), so
// that calls of any number of threads and processes never get the same range. What a read at the end took too much it
// gives back.
//
// The kernel does this in one step for files that were opened, but not for memory files that were made. So when a
// description gets a file of its own, that is made and then opened, and the numbers are moved to what that gives.
#include <fcntl.h>
#include <sched.h>

#include <cstdio>
#include <unistd.h>

#include "descriptors.h"
#include "real.h"

namespace imss::preload {
namespace {

constexpr std::int64_t kMoving = std::int64_t{1} << 61;  // to the kernel, just now

std::int64_t seek_kernel(int fd, std::int64_t offset, int whence) { return IMSS_REAL(lseek64)(fd, offset, whence); }

// Waits while the position is on its way, which takes one system call.
std::int64_t settled(const Description& description) {
  for (;;) {
    const std::int64_t now = description.offset.load(std::memory_order_acquire);
    if (now < kMoving || now >= kShared) return now;
    ::sched_yield();
  }
}

// Adds unless the kernel has it. Returns whether it did.
bool add(Description& description, std::int64_t bytes, std::int64_t* before) {
  std::int64_t now = settled(description);
  while (now < kMoving) {
    if (description.offset.compare_exchange_weak(now, now + bytes, std::memory_order_acq_rel)) {
      *before = now;
      return true;
    }
    if (now >= kMoving) now = settled(description);
  }
  return false;
}

}  // namespace

std::int64_t take_range(int fd, Description& description, std::int64_t bytes) {
  std::int64_t before = 0;
  if (add(description, bytes, &before)) [[likely]] return before;
  return seek_kernel(fd, bytes, SEEK_CUR) - bytes;
}

void give_back(int fd, Description& description, std::int64_t bytes) {
  std::int64_t before = 0;
  if (!add(description, -bytes, &before)) seek_kernel(fd, -bytes, SEEK_CUR);
}

std::int64_t position(int fd, Description& description) {
  const std::int64_t now = settled(description);
  return now < kMoving ? now : seek_kernel(fd, 0, SEEK_CUR);
}

bool is_shared(const Description& description) { return settled(description) >= kMoving; }

void set_position(int fd, Description& description, std::int64_t offset) {
  std::int64_t now = settled(description);
  while (now < kMoving) {
    if (description.offset.compare_exchange_weak(now, offset, std::memory_order_acq_rel)) return;
    if (now >= kMoving) now = settled(description);
  }
  seek_kernel(fd, offset, SEEK_SET);
}

namespace {

// Gives the description's numbers a file of their own, with its position at `offset`.
void make_own_file(Description& description, std::int64_t offset) {
  const int made = make_named_file(description);
  char path[32];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", made);
  const int access_mode = description.kind == Kind::kFile ? description.flags & O_ACCMODE : O_RDONLY;
  const int kept = description.status_flags.load(std::memory_order_relaxed);
  int again = IMSS_REAL(open64)(path, access_mode | kept | O_CLOEXEC);
  if (again < 0) {  // without /proc: nearly as good
    again = made;
    IMSS_REAL(fcntl64)(made, F_SETFL, kept);
  }
  if (again < 0) return;
  seek_kernel(again, offset, SEEK_SET);
  struct Move {
    Description* description;
    int from;
  };
  static thread_local Move move;
  move = {&description, again};
  for_each_number([](int number, Description& found) {
    if (&found != move.description) return;
    const bool closes = (IMSS_REAL(fcntl64)(number, F_GETFD) & FD_CLOEXEC) != 0;
    IMSS_REAL(dup3)(move.from, number, closes ? O_CLOEXEC : 0);
  });
  IMSS_REAL(close)(again);
  if (again != made) IMSS_REAL(close)(made);
}

// REQUIRES: a NumbersLock.
void share(int, Description& description) {
  std::int64_t now = settled(description);
  while (now < kMoving) {
    if (!description.offset.compare_exchange_weak(now, kMoving, std::memory_order_acq_rel)) continue;
    make_own_file(description, now);
    description.offset.store(kShared, std::memory_order_release);
    return;
  }
}

}  // namespace

void share_position(Description& description) {
  const NumbersLock lock;
  static thread_local Description* wanted;
  wanted = &description;
  for_each_number([](int fd, Description& found) {
    if (&found == wanted) share(fd, found);
  });
}

void share_all_locked() { for_each_number(share); }

void share_all_positions() {
  const NumbersLock lock;
  share_all_locked();
}

}  // namespace imss::preload
