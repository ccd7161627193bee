// Changes of several words that survive the death of their author at any instruction.
//
// A transaction announces and takes its locks, collects its stores in the participant's redo record, and
// commits with one store to `committed`: that is the linearisation point for recovery. Then the stores are
// applied in order and the locks released. Whoever finds a lock of a dead holder replays a committed record
// (stores are absolute values under locks that are still held, so replaying is idempotent) or drops an
// uncommitted one, of which nothing was applied.
//
// A lock word names its holder {generation, slot}. Locks are held for a few hundred instructions: never
// over a payload copy, a message or a system call. Take them in this order: rename lease, table growth,
// buckets (by offset), records such as directories and inodes (by offset), a bucket of outcomes (outcome.h), arenas,
// pools. Pool and arena locks are leaves.
//
// Owned by one thread; one transaction per participant at a time.
#pragma once

#include "base/result.h"
#include "segment/segment.h"

namespace imss::segment {

class Transaction {
 public:
  Transaction(Segment& segment, Participant& me) : segment_(segment), me_(me) {}
  ~Transaction() { release(); }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // Takes a lock, or finds that this transaction has it. Errors: kTimedOut with the holder's process id.
  Status lock(Word& word);
  // True and taken, or false at once when somebody alive holds it.
  bool try_lock(Word& word);
  // Collects a store. REQUIRES: the word is guarded by a lock taken here or owned by this participant, and
  // at most kMaxStores in all (asserted).
  void store(Word& word, std::uint64_t value);
  bool is_in(const Segment& segment) const { return &segment_ == &segment; }
  std::uint32_t room() const { return kMaxStores - stores_; }
  // Applies all stores and releases all locks. Errors: kFenced when the server no longer serves; then
  // nothing was applied.
  Status commit();
  // Releases the locks, nothing applied.
  void release();
  // Releases the locks taken since `mark`. REQUIRES: nothing stored yet.
  std::uint32_t lock_mark() const { return locks_; }
  void release_after(std::uint32_t mark);

 private:
  Segment& segment_;
  Participant& me_;
  std::uint32_t stores_ = 0;
  std::uint32_t locks_ = 0;
};

// Completes the committed transaction of a dead participant, if there is one, and releases its locks.
// REQUIRES: the caller holds the dead participant's liveness mutex.
void replay(Segment& segment, Participant& dead);

// Waits a little longer each time, outside any lock, for something that another participant does.
class Backoff {
 public:
  explicit Backoff(Segment& segment) : segment_(segment) {}
  // False once the deadline has passed. Cleans up after dead participants now and then when told to.
  bool wait(bool may_clean_up);

 private:
  Segment& segment_;
  std::uint32_t rounds_ = 0;
  std::uint64_t end_ns_ = 0;
};

}  // namespace imss::segment
