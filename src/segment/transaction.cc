#include "segment/transaction.h"

#include <sched.h>
#include <time.h>

#include <cassert>

#include "segment/fault.h"

namespace imss::segment {
namespace {

constexpr std::uint32_t kSpins = 64;     // before the first yield: locks are held for nanoseconds
constexpr std::uint32_t kYields = 64;    // before the first sleep
constexpr std::uint64_t kNapNs = 50'000;

std::uint64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

void cpu_relax() { __builtin_ia32_pause(); }

std::uint32_t slot_of_id(std::uint64_t id) { return static_cast<std::uint32_t>((id & 0xffff) - 1); }

}  // namespace

bool Backoff::wait(bool may_clean_up) {
  ++rounds_;
  if (rounds_ <= kSpins) {
    cpu_relax();
    return true;
  }
  if (rounds_ <= kSpins + kYields) {
    ::sched_yield();
    return true;
  }
  const std::uint64_t now = now_ns();
  if (end_ns_ == 0) end_ns_ = now + static_cast<std::uint64_t>(deadline_ms()) * 1'000'000;
  if (now >= end_ns_) return false;
  if (may_clean_up && rounds_ % 16 == 0) segment_.clean_up();
  const timespec nap{0, static_cast<long>(kNapNs)};
  ::nanosleep(&nap, nullptr);
  return true;
}

Status Transaction::lock(Word& word) {
  for (std::uint32_t i = 0; i < locks_; ++i) {
    if (me_.locks[i].load(std::memory_order_relaxed) == segment_.offset_of(&word)) return {};
  }
  assert(locks_ < kMaxLocks);
  // Announced before it is taken, so that whoever finds us dead knows which words may carry our id.
  me_.locks[locks_].store(segment_.offset_of(&word), std::memory_order_relaxed);
  me_.lock_count.store(++locks_, std::memory_order_release);
  const std::uint64_t mine = me_.id.load(std::memory_order_relaxed);
  Backoff backoff(segment_);
  for (std::uint32_t round = 1;; ++round) {
    std::uint64_t holder = 0;
    if (word.compare_exchange_strong(holder, mine, std::memory_order_acquire)) return {};
    if (round % 32 == 0 && slot_of_id(holder) < segment_.super().max_participants) {
      segment_.probe(slot_of_id(holder));  // releases the locks of a dead holder
    }
    if (!backoff.wait(false)) {
      me_.lock_count.store(--locks_, std::memory_order_release);
      return Status(Code::kTimedOut, "a lock of segment " + segment_.name() + " is held by " +
                                         segment_.describe(holder) + ", which does not run");
    }
  }
}

bool Transaction::try_lock(Word& word) {
  assert(locks_ < kMaxLocks);
  me_.locks[locks_].store(segment_.offset_of(&word), std::memory_order_relaxed);
  me_.lock_count.store(++locks_, std::memory_order_release);
  std::uint64_t holder = 0;
  if (word.compare_exchange_strong(holder, me_.id.load(std::memory_order_relaxed),
                                   std::memory_order_acquire)) {
    return true;
  }
  if (slot_of_id(holder) < segment_.super().max_participants) segment_.probe(slot_of_id(holder));
  me_.lock_count.store(--locks_, std::memory_order_release);
  return false;
}

void Transaction::store(Word& word, std::uint64_t value) {
  assert(stores_ < kMaxStores);
  me_.stores[stores_++] = {segment_.offset_of(&word), value};
}

Status Transaction::commit() {
  if (!segment_.serving() && segment_.super().state.load() != static_cast<std::uint64_t>(State::kPreparing)) {
    release();
    return Status(Code::kFenced, "segment " + segment_.name() + " no longer serves");
  }
  fault_point("transaction.prepared");
  me_.store_count.store(stores_, std::memory_order_relaxed);
  // Linearisation point for recovery: from here on the change will happen, whoever completes it.
  me_.committed.store(1, std::memory_order_release);
  fault_point("transaction.committed");
  for (std::uint32_t i = 0; i < stores_; ++i) {
    segment_.at<Word>(me_.stores[i].offset)->store(me_.stores[i].value, std::memory_order_release);
    fault_point("transaction.applying");
  }
  me_.committed.store(0, std::memory_order_release);
  fault_point("transaction.applied");
  stores_ = 0;
  release();
  return {};
}

void Transaction::release() {
  release_after(0);
  stores_ = 0;
}

void Transaction::release_after(std::uint32_t mark) {
  while (locks_ > mark) {
    const std::uint64_t offset = me_.locks[locks_ - 1].load(std::memory_order_relaxed);
    segment_.at<Word>(offset)->store(0, std::memory_order_release);
    me_.lock_count.store(--locks_, std::memory_order_release);
  }
}

void replay(Segment& segment, Participant& dead) {
  if (dead.committed.load(std::memory_order_acquire) == 1) {
    const auto count = dead.store_count.load();
    for (std::uint64_t i = 0; i < count && i < kMaxStores; ++i) {
      if (!segment.contains(dead.stores[i].offset, sizeof(Word))) continue;
      segment.at<Word>(dead.stores[i].offset)->store(dead.stores[i].value, std::memory_order_release);
    }
    dead.committed.store(0, std::memory_order_release);
  }
  const std::uint64_t id = dead.id.load();
  const auto locks = dead.lock_count.load();
  for (std::uint64_t i = 0; i < locks && i < kMaxLocks; ++i) {
    const std::uint64_t offset = dead.locks[i].load();
    if (!segment.contains(offset, sizeof(Word))) continue;
    std::uint64_t expected = id;
    segment.at<Word>(offset)->compare_exchange_strong(expected, 0, std::memory_order_release);
  }
  dead.lock_count.store(0, std::memory_order_release);
}

}  // namespace imss::segment
