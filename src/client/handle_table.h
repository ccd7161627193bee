// Open datasets of a process by number.
//
// Concurrent. A thread remembers the datasets it used last, so that a block operation costs one load to check that
// its handle still stands, no lock and no reference count. A released handle number is not given out again before
// 2,047 others at its place were.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/thread_annotations.h"

namespace imss::client {

struct Dataset;

class HandleTable {
 public:
  static constexpr std::uint32_t kMaxHandles = 1 << 20;

  HandleTable();
  ~HandleTable();

  // Errors: kTooManyOpen.
  Result<std::int32_t> add(std::shared_ptr<Dataset> dataset);
  // Errors: kBadHandle.
  Result<Dataset*> find(std::int32_t handle);
  Result<std::shared_ptr<Dataset>> share(std::int32_t handle);
  Result<std::shared_ptr<Dataset>> remove(std::int32_t handle);
  std::vector<std::int32_t> all();
  void lock_for_fork() IMSS_ACQUIRE(mutex_) { mutex_.lock(); }
  void unlock_after_fork() IMSS_RELEASE(mutex_) { mutex_.unlock(); }

 private:
  struct Place {
    std::atomic<std::uint32_t> generation{0};  // odd: open
    std::shared_ptr<Dataset> dataset;          // read and changed under the table's mutex
  };
  struct Chunk;
  static constexpr std::uint32_t kChunkPlaces = 1024;

  Place* place_of(std::int32_t handle, std::uint32_t* generation);

  Mutex mutex_;
  std::atomic<Chunk*> chunks_[kMaxHandles / kChunkPlaces] = {};
  std::vector<std::uint32_t> free_ IMSS_GUARDED_BY(mutex_);
  std::uint32_t used_ IMSS_GUARDED_BY(mutex_) = 0;
  std::uint64_t serial_;
};

}  // namespace imss::client
