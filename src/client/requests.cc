#include "client/requests.h"

#include <pthread.h>

#include <algorithm>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "segment/segment.h"

namespace imss::client {
namespace {

constexpr unsigned kIndexBits = 12;
static_assert(1U << kIndexBits == Requests::kMaxRequests);

Status execute(const RequestWork& work) {
  if (work.deadline.expired()) {
    return Status(Code::kTimedOut, "the deadline passed before the operation could begin");
  }
  // What is left of the deadline that was set when the request was started.
  segment::set_thread_deadline_ms(std::max(work.deadline.remaining_ms(), 1));
  const segment::OneDeadline deadline;
  Status status;
  try {
    status = work.run();
  } catch (const std::bad_alloc&) {
    status = Code::kNoMemory;
  } catch (const std::exception& error) {
    status = Status(Code::kSystem, error.what());
  }
  segment::set_thread_deadline_ms(0);
  return status;
}

}  // namespace

Requests::Requests() = default;

Requests::Place* Requests::place_of(Ticket ticket) {
  const auto index = static_cast<std::uint32_t>(ticket & (kMaxRequests - 1));
  if (index >= places_.size()) return nullptr;
  Place& place = places_[index];
  return place.state != State::kFree && place.turn == ticket >> kIndexBits ? &place : nullptr;
}

void Requests::enqueue(std::uint32_t index) {
  Place& place = places_[index];
  place.state = State::kQueued;
  place.previous = last_;
  place.next = kNone;
  (last_ == kNone ? first_ : places_[last_].next) = index;
  last_ = index;
}

void Requests::unlink(std::uint32_t index) {
  const Place& place = places_[index];
  (place.previous == kNone ? first_ : places_[place.previous].next) = place.next;
  (place.next == kNone ? last_ : places_[place.next].previous) = place.previous;
}

void Requests::run(std::uint32_t index) {
  unlink(index);
  places_[index].state = State::kRunning;
  // The table may grow meanwhile, so the work is taken out.
  const RequestWork work = std::move(places_[index].work);
  places_[index].work.dataset = work.dataset;
  mutex_.unlock();
  Status result = execute(work);
  mutex_.lock();
  places_[index].result = std::move(result);
  places_[index].state = State::kDone;
  done_.notify_all();
}

void Requests::finish(std::uint32_t index, Status* result) {
  Place& place = places_[index];
  *result = std::move(place.result);
  place.result = {};
  place.work = {};
  place.state = State::kFree;
  place.next = free_;
  free_ = index;
}

Status Requests::start_thread() {
  const unsigned most = std::clamp(std::thread::hardware_concurrency(), 1U, kMaxThreads);
  if (idle_threads_ > 0 || threads_.size() >= most) return {};
  try {
    threads_.emplace_back([this] { serve(); });
  } catch (const std::system_error&) {
    if (threads_.empty())
      return Status(Code::kAgain, "the system gives no thread for asynchronous operations");
  }
  return {};
}

Result<Ticket> Requests::start(RequestWork work) {
  const MutexLock lock(mutex_);
  IMSS_RETURN_IF_ERROR(start_thread());
  std::uint32_t index = free_;
  if (index != kNone) {
    free_ = places_[index].next;
  } else if (places_.size() == kMaxRequests) {
    return Status(Code::kAgain, "4096 asynchronous operations are under way; complete some first");
  } else {
    index = static_cast<std::uint32_t>(places_.size());
    places_.emplace_back();
  }
  Place& place = places_[index];
  ++place.turn;
  place.work = std::move(work);
  enqueue(index);
  queued_.notify_one();
  return place.turn << kIndexBits | index;
}

Status Requests::wait(Ticket ticket, Status* result) {
  const MutexLock lock(mutex_);
  const auto index = static_cast<std::uint32_t>(ticket & (kMaxRequests - 1));
  for (;;) {
    const Place* place = place_of(ticket);
    if (place == nullptr) {
      return Status(Code::kInvalidArgument,
                    "the request is not under way; it may have been completed already");
    }
    if (place->state == State::kDone) break;
    if (place->state == State::kQueued) {
      run(index);
    } else {
      done_.wait(mutex_);
    }
  }
  finish(index, result);
  return {};
}

Status Requests::test(Ticket ticket, bool* done, Status* result) {
  const MutexLock lock(mutex_);
  const Place* place = place_of(ticket);
  if (place == nullptr) {
    return Status(Code::kInvalidArgument,
                  "the request is not under way; it may have been completed already");
  }
  *done = place->state == State::kDone;
  if (*done) finish(static_cast<std::uint32_t>(ticket & (kMaxRequests - 1)), result);
  return {};
}

bool Requests::under_way(std::int32_t dataset) const {
  return std::any_of(places_.begin(), places_.end(), [&](const Place& place) {
    const bool complete = place.state == State::kFree || place.state == State::kDone;
    return !complete && place.work.dataset == dataset;
  });
}

void Requests::wait_for_dataset(std::int32_t dataset) {
  const MutexLock lock(mutex_);
  while (under_way(dataset)) done_.wait(mutex_);
}

void Requests::serve() {
  ::pthread_setname_np(::pthread_self(), "imss-request");
  const MutexLock lock(mutex_);
  for (;;) {
    if (first_ != kNone) {
      run(first_);
      continue;
    }
    if (stopping_) return;
    ++idle_threads_;
    queued_.wait(mutex_);
    --idle_threads_;
  }
}

void Requests::stop() {
  std::vector<std::thread> ending;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    ending.swap(threads_);
  }
  queued_.notify_all();
  for (std::thread& thread : ending) thread.join();
  const MutexLock lock(mutex_);
  stopping_ = false;
}

}  // namespace imss::client
