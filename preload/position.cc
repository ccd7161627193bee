// Where the next read or write of a description goes.
//
// A call takes its range with one atomic step, in this process or in the kernel (lseek from the current position), so
// that calls of any number of threads and processes never get the same range. What a read at the end took too much it
// gives back.
#include <sched.h>
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

void set_position(int fd, Description& description, std::int64_t offset) {
  std::int64_t now = settled(description);
  while (now < kMoving) {
    if (description.offset.compare_exchange_weak(now, offset, std::memory_order_acq_rel)) return;
    if (now >= kMoving) now = settled(description);
  }
  seek_kernel(fd, offset, SEEK_SET);
}

void share_position(int fd, Description& description) {
  std::int64_t now = settled(description);
  while (now < kMoving) {
    if (!description.offset.compare_exchange_weak(now, kMoving, std::memory_order_acq_rel)) continue;
    seek_kernel(fd, now, SEEK_SET);
    description.offset.store(kShared, std::memory_order_release);
    return;
  }
}

}  // namespace imss::preload
