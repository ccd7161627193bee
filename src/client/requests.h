// Asynchronous operations: a bounded table of requests and a few threads that execute them.
//
// Concurrent. A ticket names a place in the table and its turn, so that a ticket that was completed
// is noticed. Whoever waits for a request that no thread has begun executes it itself, which is
// faster than waking a thread up. Threads start on first use and end with stop().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/thread_annotations.h"

namespace imss::client {

using Ticket = std::uint64_t;  // 0 is none

struct RequestWork {
  std::int32_t dataset = -1;
  std::function<Status()> run;  // the operation; called once, by any thread
  Deadline deadline = Deadline::never();
};

class Requests {
 public:
  static constexpr std::uint32_t kMaxRequests = 4096;
  static constexpr unsigned kMaxThreads = 4;

  Requests();
  ~Requests() { stop(); }
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;

  // Errors: kAgain when the table is full or no thread can be started.
  Result<Ticket> start(RequestWork work);
  // Waits until the request is complete, puts its result into `result` and forgets the ticket.
  // Errors: kInvalidArgument for a ticket that is not under way.
  Status wait(Ticket ticket, Status* result);
  // The same without waiting; `done` tells whether it was complete.
  Status test(Ticket ticket, bool* done, Status* result);
  // Returns once no request on the dataset is queued or running.
  void wait_for_dataset(std::int32_t dataset);
  // Completes what is queued and ends the threads. Results can still be asked for, and a later
  // start() starts threads anew.
  void stop();

  void lock_for_fork() IMSS_ACQUIRE(mutex_) { mutex_.lock(); }
  void unlock_after_fork() IMSS_RELEASE(mutex_) { mutex_.unlock(); }

 private:
  enum class State : std::uint8_t { kFree, kQueued, kRunning, kDone };
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Place {
    State state = State::kFree;
    std::uint64_t turn = 0;
    std::uint32_t previous = kNone;  // in the queue
    std::uint32_t next = kNone;      // in the queue, or in the list of free places
    RequestWork work;
    Status result;
  };

  Place* place_of(Ticket ticket) IMSS_REQUIRES(mutex_);
  void enqueue(std::uint32_t index) IMSS_REQUIRES(mutex_);
  void unlink(std::uint32_t index) IMSS_REQUIRES(mutex_);
  // Gives the mutex up while the operation runs.
  void run(std::uint32_t index) IMSS_REQUIRES(mutex_);
  bool under_way(std::int32_t dataset) const IMSS_REQUIRES(mutex_);
  void finish(std::uint32_t index, Status* result) IMSS_REQUIRES(mutex_);
  Status start_thread() IMSS_REQUIRES(mutex_);
  void serve() IMSS_EXCLUDES(mutex_);

  Mutex mutex_;
  Condition queued_;
  Condition done_;
  std::vector<Place> places_ IMSS_GUARDED_BY(mutex_);
  std::uint32_t free_ IMSS_GUARDED_BY(mutex_) = kNone;
  std::uint32_t first_ IMSS_GUARDED_BY(mutex_) = kNone;
  std::uint32_t last_ IMSS_GUARDED_BY(mutex_) = kNone;
  unsigned idle_threads_ IMSS_GUARDED_BY(mutex_) = 0;
  bool stopping_ IMSS_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ IMSS_GUARDED_BY(mutex_);
};

}  // namespace imss::client
