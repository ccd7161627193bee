// The extent allocator: pools of extents by class, and each participant's hand.
//
// Free extents are bits in containers (an arena, a run of arenas, or a 64 KiB slab for the small classes);
// containers with free extents hang in the list of their pool, {dense, sparse} x class. A participant takes
// extents in batches into its hand: words in shared memory that say what it owns, so that recovery can return
// them. Extents it frees go back into the hand first and are reused last-in-first-out, while warm.
//
// A retired extent may still be read by others: it is reused only when no pin names it. A stopped reader
// therefore holds back exactly the extents that it has pinned.
//
// Thread-owned by the participant that is passed in, but for the pools, which are guarded by their locks.
#pragma once

#include "base/result.h"
#include "segment/segment.h"
#include "segment/transaction.h"

namespace imss::segment {

struct Held {
  Ref ref;                 // bare
  std::uint32_t slot = 0;  // of the hand
};

class Extents {
 public:
  explicit Extents(Segment& segment) : segment_(segment) {}

  // Takes an extent of `size_class` into the hand, marked as held. Its content is undefined.
  // Waits for the host when the pool is dry. Errors: kNoSpace, kTimedOut.
  // REQUIRES: no locks held.
  Result<Held> take(Participant& me, std::uint32_t size_class, bool sparse);
  // A held extent that a transfer from another node writes from now on: should this thread die, the extent stays out
  // of use until nothing of its process can write any more.
  static void mark_arriving(Participant& me, const Held& held) {
    me.hand[held.slot].store(held.ref.bare().with(Ref::kHeld).with(Ref::kArriving).word(), std::memory_order_release);
  }
  // Returns a held extent that was not used. REQUIRES: no locks held.
  void put_back(Participant& me, const Held& held);
  // After a transaction has left a retired extent in a hand slot: keeps it for reuse, or returns some to
  // the pools when the hand holds too much. REQUIRES: no locks held.
  void trim(Participant& me);

  // Hand word for an extent that a transaction takes out of use.
  static std::uint64_t retired(Ref ref) { return ref.bare().with(Ref::kRetired).word(); }
  // An empty slot of the hand. Errors: kNoSpace when pins of others keep the whole hand full.
  Result<std::uint32_t> empty_slot(Participant& me);

  // True when some participant has pinned the extent (for writing, if `writers_only`).
  bool pinned(Ref ref, bool writers_only = false) const;

  // Returns what the hand holds for reuse, so that its memory can serve others.
  void return_free(Participant& me);
  // Everything in the hand goes back to the pools; what is still pinned stays until it can.
  void give_back_hand(Participant& me);
  void give_back_hand_of(Participant& me, Participant& dead);

  // --- for the host and the checker ---
  // Adds an extent container at `offset` to its pool, as transaction of `me`.
  Status add_container(Participant& me, Container& container, std::uint32_t size_class, bool sparse,
                       std::uint32_t total, ArenaKind kind);
  Container& container_of(Ref ref) const;
  // How many extents of a small class a slab holds.
  static std::uint32_t slab_extents(std::uint32_t size_class);
  std::uint32_t index_in_container(Ref ref) const;
  // Offset of the first extent of a container.
  std::uint64_t first_extent(const Container& container) const;
  static std::uint32_t container_class(const Container& c) { return c.class_and_count.load() & 0xff; }
  static bool container_sparse(const Container& c) { return (c.class_and_count.load() >> 8 & 1) != 0; }
  static std::uint32_t container_total(const Container& c) {
    return static_cast<std::uint32_t>(c.class_and_count.load() >> 32);
  }

 private:
  bool reuse_from_hand(Participant& me, std::uint32_t size_class, bool sparse, Held* held);
  Result<bool> refill(Participant& me, std::uint32_t size_class, bool sparse);
  Status add_slab(Participant& me, std::uint32_t size_class);
  Status return_one(Participant& me, Participant& owner, std::uint32_t slot);
  std::uint64_t hand_budget() const;

  Segment& segment_;
};

// Asks the host for something and waits for its answer. Errors: kNoSpace, kTimedOut.
Status ask_host(Segment& segment, Participant& me, Request kind, std::uint64_t offset, std::uint64_t bytes);
// Wakes the host without waiting for it.
void nudge_host(Segment& segment);

}  // namespace imss::segment
