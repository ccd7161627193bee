#include "segment/extents.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "segment/fault.h"

namespace imss::segment {
namespace {

constexpr std::uint64_t kSlabHeaderBytes = 192;
// Below this much ready memory in a pool a client tells the host, which then works ahead of need.
constexpr std::uint64_t kLowWaterBytes = 2 * kArenaBytes;
constexpr std::uint32_t kFullHand = kHandSlots - 16;

std::uint32_t batch_for(std::uint32_t size_class) {
  if (size_class < kSmallClasses) return 16;
  if (size_class <= kClass64K) return 8;
  return class_bytes(size_class) < kArenaBytes ? 2 : 1;
}

Pool& pool_of(Segment& segment, std::uint32_t size_class, bool sparse) {
  return segment.super().pools[sparse ? 1 : 0][size_class];
}

bool is_free_for_reuse(Ref word) { return !word.has(Ref::kHeld | Ref::kReap); }

}  // namespace

Result<Held> Extents::take(Participant& me, std::uint32_t size_class, bool sparse) {
  Held held;
  bool hand_emptied = false;
  while (!reuse_from_hand(me, size_class, sparse, &held)) {
    auto refilled = refill(me, size_class, sparse);
    if (!refilled.ok()) return refilled.status();
    if (*refilled) continue;
    const Status status = size_class < kSmallClasses
                              ? add_slab(me, size_class)
                              : ask_host(segment_, me, Request::kExtents, size_class, sparse ? 1 : 0);
    if (status.ok()) continue;
    if (status.code() != Code::kNoSpace || hand_emptied) return status;
    // A single extent in a hand keeps its whole arena from serving another class.
    return_free(me);
    hand_emptied = true;
  }
  return held;
}

bool Extents::reuse_from_hand(Participant& me, std::uint32_t size_class, bool sparse, Held* held) {
  const auto start = static_cast<std::uint32_t>(me.last_slot.load(std::memory_order_relaxed));
  for (std::uint32_t i = 0; i < kHandSlots; ++i) {
    const std::uint32_t slot = (start + i) % kHandSlots;
    const Ref word(me.hand[slot].load(std::memory_order_relaxed));
    if (word.none() || word.size_class() != size_class || word.sparse() != sparse) continue;
    if (!is_free_for_reuse(word)) continue;
    if (word.has(Ref::kRetired) && pinned(word)) continue;
    me.hand[slot].store(word.bare().with(Ref::kHeld).word(), std::memory_order_relaxed);
    me.last_slot.store(slot, std::memory_order_relaxed);
    *held = {word.bare(), slot};
    return true;
  }
  return false;
}

Result<std::uint32_t> Extents::empty_slot(Participant& me) {
  for (int round = 0; round < 2; ++round) {
    for (std::uint32_t slot = 0; slot < kHandSlots; ++slot) {
      if (me.hand[slot].load(std::memory_order_relaxed) == 0) return slot;
    }
    for (std::uint32_t slot = 0; slot < kHandSlots; ++slot) {
      const Ref word(me.hand[slot].load(std::memory_order_relaxed));
      if (!word.none() && is_free_for_reuse(word) && !(word.has(Ref::kRetired) && pinned(word))) {
        IMSS_RETURN_IF_ERROR(return_one(me, me, slot));
      }
    }
  }
  return Status(Code::kNoSpace, "too many extents of this thread are pinned by others");
}

// Takes a batch from the first container of the pool. False: the pool is dry.
Result<bool> Extents::refill(Participant& me, std::uint32_t size_class, bool sparse) {
  auto first_empty = empty_slot(me);
  if (!first_empty.ok()) return first_empty.status();
  Pool& pool = pool_of(segment_, size_class, sparse);
  Transaction change(segment_, me);
  IMSS_RETURN_IF_ERROR(change.lock(pool.lock));
  const std::uint64_t head = pool.head.load();
  if (head == 0) return false;
  if (!segment_.contains(head, sizeof(Container))) return Status(Code::kCorrupt, "a pool has a damaged list");
  Container& container = *segment_.at<Container>(head);
  const std::uint64_t base = first_extent(container);
  std::uint32_t taken = 0;
  std::uint32_t slot = *first_empty;
  const std::uint32_t batch = batch_for(size_class);
  for (std::uint32_t word = 0; word < 16 && taken < batch; ++word) {
    std::uint64_t bits = container.free_bits[word].load();
    if (bits == 0) continue;
    while (bits != 0 && taken < batch) {
      while (slot < kHandSlots && me.hand[slot].load(std::memory_order_relaxed) != 0) ++slot;
      if (slot == kHandSlots) break;
      const auto bit = static_cast<std::uint32_t>(std::countr_zero(bits));
      bits &= bits - 1;
      const Ref ref(base + (word * 64 + bit) * class_bytes(size_class), size_class, sparse);
      change.store(me.hand[slot++], ref.word());
      ++taken;
    }
    change.store(container.free_bits[word], bits);
    if (slot == kHandSlots) break;
  }
  const std::uint64_t left = container.free_count.load() - taken;
  const std::uint64_t free_bytes = pool.free_bytes.load() - taken * class_bytes(size_class);
  change.store(container.free_count, left);
  change.store(pool.free_bytes, free_bytes);
  if (left == 0) {
    change.store(pool.head, container.next.load());
    change.store(container.class_and_count, container.class_and_count.load() & ~kInList);
  }
  IMSS_RETURN_IF_ERROR(change.commit());
  fault_point("extents.refilled");
  if (size_class >= kClass4K && free_bytes < kLowWaterBytes && pool.wanted.load() == 0) {
    pool.wanted.store(1);
    nudge_host(segment_);
  }
  return taken > 0;
}

std::uint32_t Extents::slab_extents(std::uint32_t size_class) {
  return static_cast<std::uint32_t>((kSlabBytes - kSlabHeaderBytes) / class_bytes(size_class));
}

Status Extents::add_slab(Participant& me, std::uint32_t size_class) {
  auto slab = take(me, kClass64K, false);
  if (!slab.ok()) return slab.status();
  auto& container = *segment_.at<Container>(slab->ref.offset());
  const std::uint32_t total = slab_extents(size_class);
  Pool& pool = pool_of(segment_, size_class, false);
  container.class_and_count.store(size_class | kInList | static_cast<std::uint64_t>(total) << 32);
  container.free_count.store(total);
  for (std::uint32_t word = 0; word < 16; ++word) {
    const std::uint32_t from = word * 64;
    const std::uint32_t bits = total > from ? std::min<std::uint32_t>(total - from, 64) : 0;
    container.free_bits[word].store(bits == 64 ? ~0ULL : (1ULL << bits) - 1);
  }
  Status status;
  {
    Transaction change(segment_, me);
    status = change.lock(pool.lock);
    if (status.ok()) {
      container.next.store(pool.head.load());
      change.store(pool.head, slab->ref.offset());
      change.store(pool.free_bytes, pool.free_bytes.load() + total * class_bytes(size_class));
      change.store(pool.extents, pool.extents.load() + total);
      change.store(me.hand[slab->slot], 0);
      status = change.commit();
    }
  }
  if (!status.ok()) put_back(me, *slab);
  return status;
}

// The container belongs to nobody until the commit; before it, its arena counts as unused.
Status Extents::add_container(Participant& me, Container& container, std::uint32_t size_class, bool sparse,
                              std::uint32_t total, ArenaKind kind) {
  Pool& pool = pool_of(segment_, size_class, sparse);
  container.free_count.store(total);
  for (std::uint32_t word = 0; word < 16; ++word) {
    const std::uint32_t from = word * 64;
    const std::uint32_t bits = total > from ? std::min<std::uint32_t>(total - from, 64) : 0;
    container.free_bits[word].store(bits == 64 ? ~0ULL : (1ULL << bits) - 1);
  }
  Transaction change(segment_, me);
  IMSS_RETURN_IF_ERROR(change.lock(pool.lock));
  container.next.store(pool.head.load());
  change.store(pool.head, segment_.offset_of(&container));
  change.store(pool.free_bytes, pool.free_bytes.load() + total * class_bytes(size_class));
  change.store(pool.extents, pool.extents.load() + total);
  change.store(pool.wanted, 0);
  change.store(container.class_and_count, size_class | (sparse ? 1ULL << 8 : 0) | kInList |
                                              static_cast<std::uint64_t>(kind) << 16 |
                                              static_cast<std::uint64_t>(total) << 32);
  return change.commit();
}

Container& Extents::container_of(Ref ref) const {
  if (ref.size_class() < kSmallClasses) {
    return *segment_.at<Container>(ref.offset() / kSlabBytes * kSlabBytes);
  }
  return segment_.descriptor(segment_.arena_of(ref.offset())).container;
}

std::uint32_t Extents::index_in_container(Ref ref) const {
  return static_cast<std::uint32_t>((ref.offset() - first_extent(container_of(ref))) / ref.bytes());
}

std::uint64_t Extents::first_extent(const Container& container) const {
  const std::uint64_t offset = segment_.offset_of(&container);
  if (offset >= segment_.super().arenas_offset) return offset + kSlabHeaderBytes;
  return segment_.arena_offset((offset - segment_.super().descriptors_offset) / sizeof(ArenaDescriptor));
}

// Moves one extent from a hand to its pool.
Status Extents::return_one(Participant& me, Participant& owner, std::uint32_t slot) {
  const Ref ref = Ref(owner.hand[slot].load()).bare();
  if (!segment_.valid_ref(ref)) return Status(Code::kCorrupt, "a hand holds a damaged reference");
  Pool& pool = pool_of(segment_, ref.size_class(), ref.sparse());
  Container& container = container_of(ref);
  const std::uint32_t index = index_in_container(ref);
  Transaction change(segment_, me);
  IMSS_RETURN_IF_ERROR(change.lock(pool.lock));
  if (container_class(container) != ref.size_class() || container_sparse(container) != ref.sparse() ||
      index >= container_total(container)) {
    return Status(Code::kCorrupt, "a hand holds a reference to what is no extent");
  }
  Word& bits = container.free_bits[index / 64];
  if ((bits.load() >> index % 64 & 1) != 0) return Status(Code::kCorrupt, "a hand holds a free extent");
  change.store(bits, bits.load() | 1ULL << index % 64);
  change.store(container.free_count, container.free_count.load() + 1);
  change.store(pool.free_bytes, pool.free_bytes.load() + ref.bytes());
  if ((container.class_and_count.load() & kInList) == 0) {
    change.store(container.next, pool.head.load());
    change.store(pool.head, segment_.offset_of(&container));
    change.store(container.class_and_count, container.class_and_count.load() | kInList);
  }
  change.store(owner.hand[slot], 0);
  return change.commit();
}

void Extents::return_free(Participant& me) {
  for (std::uint32_t slot = 0; slot < kHandSlots; ++slot) {
    const Ref word(me.hand[slot].load(std::memory_order_relaxed));
    if (word.none() || !is_free_for_reuse(word)) continue;
    if (word.has(Ref::kRetired) && pinned(word)) continue;
    if (!return_one(me, me, slot).ok()) return;
  }
}

void Extents::put_back(Participant& me, const Held& held) {
  me.hand[held.slot].store(held.ref.bare().word(), std::memory_order_relaxed);
  trim(me);
}

std::uint64_t Extents::hand_budget() const {
  return std::clamp<std::uint64_t>(segment_.super().capacity_bytes / 256, 128 << 10, 16 << 20);
}

void Extents::trim(Participant& me) {
  const Ref last(me.hand[me.last_slot.load(std::memory_order_relaxed) % kHandSlots].load());
  const std::uint64_t sequence = me.sequence.load(std::memory_order_relaxed) + 1;
  me.sequence.store(sequence, std::memory_order_relaxed);
  if (last.size_class() < kClass64K && sequence % 16 != 0) return;
  std::uint64_t bytes = 0;
  std::uint32_t occupied = 0;
  for (const Word& slot : me.hand) {
    const Ref word(slot.load(std::memory_order_relaxed));
    if (word.none()) continue;
    if (!word.has(Ref::kReap)) bytes += word.bytes();
    ++occupied;
  }
  const std::uint64_t budget = hand_budget();
  for (std::uint32_t slot = 0; slot < kHandSlots && (bytes > budget || occupied > kFullHand); ++slot) {
    const Ref word(me.hand[slot].load(std::memory_order_relaxed));
    if (word.none() || !is_free_for_reuse(word)) continue;
    if (word.has(Ref::kRetired) && pinned(word)) continue;
    if (!return_one(me, me, slot).ok()) return;
    bytes -= word.bytes();
    --occupied;
  }
}

bool Extents::pinned(Ref ref, bool writers_only) const {
  const std::uint64_t wanted = ref.bare().word();
  const auto names_it = [&](const Word& pin) {
    const Ref word(pin.load(std::memory_order_seq_cst));
    return word.bare().word() == wanted && (!writers_only || word.has(Ref::kWritePin));
  };
  // Pairs with the pin's sequentially consistent store: either the reader's second look at the entry sees
  // that the extent was replaced, or this scan sees the pin.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Superblock& block = segment_.super();
  for (std::uint32_t group = 0; group < block.max_participants / 64; ++group) {
    for (std::uint64_t bits = block.active[group].load(); bits != 0; bits &= bits - 1) {
      const auto slot = group * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
      const Participant& other = segment_.participant(slot);
      if (std::any_of(std::begin(other.pins), std::end(other.pins), names_it)) return true;
      if (writers_only || other.view_count.load() == 0) continue;
      if (std::any_of(std::begin(other.view_pins), std::end(other.view_pins), names_it)) return true;
    }
  }
  return false;
}

void Extents::give_back_hand(Participant& me) { give_back_hand_of(me, me); }

// What is pinned, may still be written from elsewhere, or names a dataset to be removed goes to the limbo, from where
// the host takes it later.
void Extents::give_back_hand_of(Participant& me, Participant& dead) {
  Superblock& block = segment_.super();
  for (std::uint32_t slot = 0; slot < kHandSlots; ++slot) {
    const Ref word(dead.hand[slot].load());
    if (word.none()) continue;
    const bool in_use = word.has(Ref::kReap | Ref::kArriving) || (word.has(Ref::kRetired) && pinned(word));
    if (!in_use) {
      const Status status = return_one(me, dead, slot);
      if (status.code() == Code::kCorrupt) dead.hand[slot].store(0);
      if (status.code() == Code::kTimedOut || status.code() == Code::kFenced) return;
      continue;
    }
    Transaction change(segment_, me);
    if (!change.lock(block.limbo_lock).ok()) return;
    for (Word& place : block.limbo) {
      if (place.load() != 0) continue;
      change.store(place, word.word());
      change.store(dead.hand[slot], 0);
      break;
    }
    if (!change.commit().ok()) return;
  }
}

}  // namespace imss::segment
