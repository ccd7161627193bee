// A process-shared robust mutex at a given address: how a thread proves that it is alive.
//
// The kernel marks the mutex when the thread that holds it ends in whatever way, so liveness depends on no
// descriptor and no process id. It lies in a region of its own, apart from the segment's data, because the C
// library keeps pointers of the holding process in it. Source: pthread_mutexattr_setrobust(3).
#pragma once

#include <pthread.h>

#include <cerrno>
#include <cstddef>

namespace imss::segment {

class RobustMutex {
 public:
  enum class Outcome { kAcquired, kOwnerDied, kHeld };

  explicit RobustMutex(std::byte* address) : mutex_(reinterpret_cast<pthread_mutex_t*>(address)) {}

  static void initialize(std::byte* address) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(reinterpret_cast<pthread_mutex_t*>(address), &attributes);
    pthread_mutexattr_destroy(&attributes);
  }

  // On kOwnerDied the mutex is held by the caller and marked consistent.
  Outcome try_lock() {
    const int error = pthread_mutex_trylock(mutex_);
    if (error == 0) return Outcome::kAcquired;
    if (error != EOWNERDEAD) return Outcome::kHeld;
    return Outcome::kOwnerDied;
  }
  void mark_consistent() { pthread_mutex_consistent(mutex_); }
  void unlock() { pthread_mutex_unlock(mutex_); }

 private:
  pthread_mutex_t* mutex_;
};
static_assert(sizeof(pthread_mutex_t) <= 64);

}  // namespace imss::segment
