// Mutexes whose rules clang checks when it compiles (-Wthread-safety), and the annotations for that.
//
// The standard library's mutex carries no annotations with libstdc++, so these thin classes wrap it. A member that a
// mutex guards says so with IMSS_GUARDED_BY, a function that is called with it held with IMSS_REQUIRES. Other
// compilers see nothing of this. Concurrent; nothing fails.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define IMSS_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define IMSS_THREAD_ANNOTATION(x)
#endif

#define IMSS_CAPABILITY(name) IMSS_THREAD_ANNOTATION(capability(name))
#define IMSS_SCOPED_CAPABILITY IMSS_THREAD_ANNOTATION(scoped_lockable)
#define IMSS_GUARDED_BY(mutex) IMSS_THREAD_ANNOTATION(guarded_by(mutex))
#define IMSS_REQUIRES(...) IMSS_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define IMSS_EXCLUDES(...) IMSS_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define IMSS_ACQUIRE(...) IMSS_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define IMSS_RELEASE(...) IMSS_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
// For a function whose rule clang cannot follow, with a comment that says why.
#define IMSS_NO_THREAD_ANALYSIS IMSS_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace imss {

class IMSS_CAPABILITY("mutex") Mutex {
 public:
  void lock() IMSS_ACQUIRE() { mutex_.lock(); }
  void unlock() IMSS_RELEASE() { mutex_.unlock(); }

 private:
  friend class Condition;
  std::mutex mutex_;
};

// Holds a mutex as long as it lives.
class IMSS_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) IMSS_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() IMSS_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// What threads wait for under a mutex. There are no predicates here, because clang does not look into them: call in a
// loop that looks at what is waited for.
class Condition {
 public:
  void wait(Mutex& mutex) IMSS_REQUIRES(mutex) {
    std::unique_lock held(mutex.mutex_, std::adopt_lock);
    changed_.wait(held);
    held.release();
  }
  void wait_until(Mutex& mutex, std::chrono::steady_clock::time_point end) IMSS_REQUIRES(mutex) {
    std::unique_lock held(mutex.mutex_, std::adopt_lock);
    changed_.wait_until(held, end);
    held.release();
  }
  void notify_one() { changed_.notify_one(); }
  void notify_all() { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

}  // namespace imss
