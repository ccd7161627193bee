#include "segment/pages.h"

#include <algorithm>

#include "segment/entry_state.h"
#include "segment/extents.h"
#include "segment/fault.h"
#include "segment/table.h"
#include "segment/transaction.h"

namespace imss::segment {
namespace {

// When a writer asks for pages it gets this much ahead, so that a sequential writer asks seldom.
constexpr std::uint64_t kAheadBytes = 256 << 10;

struct WordMask {
  std::uint64_t words[8] = {};
};

WordMask mask_of(PageRange range) {
  WordMask mask;
  const std::uint64_t first = range.first % kPagesPerArena;
  const std::uint64_t last = range.last % kPagesPerArena;
  for (std::uint64_t word = first / 64; word <= last / 64; ++word) {
    std::uint64_t bits = ~0ULL;
    if (word == first / 64) bits &= ~0ULL << first % 64;
    if (word == last / 64) bits &= ~0ULL >> (63 - last % 64);
    mask.words[word] = bits;
  }
  return mask;
}

ArenaDescriptor& arena_of_page(const Segment& segment, std::uint64_t page) {
  return segment.descriptor(page / kPagesPerArena);
}

bool contains_all(const Word (&bits)[8], const WordMask& mask) {
  for (int i = 0; i < 8; ++i) {
    if ((bits[i].load(std::memory_order_acquire) & mask.words[i]) != mask.words[i]) return false;
  }
  return true;
}

// The memory of `range` and a little beyond it within the extent, from the host.
Status obtain(Segment& segment, Participant& me, Ref ref, PageRange range) {
  const std::uint64_t base = segment.super().arenas_offset;
  const std::uint64_t from = base + range.first * kPageBytes;
  const std::uint64_t to = base + (range.last + 1) * kPageBytes;
  const std::uint64_t extent_end = ref.offset() + ref.bytes();
  const std::uint64_t arena_end = base + (range.first / kPagesPerArena + 1) * kArenaBytes;
  // Ahead of need only for a writer that has come some way: a small file must not cost more than it holds.
  const std::uint64_t ahead = from - ref.offset() < kAheadBytes ? from - ref.offset() : kAheadBytes;
  const std::uint64_t further = std::min({to + ahead, extent_end, arena_end});
  if (further > to) {
    const Status status = ask_host(segment, me, Request::kPages, from, further - from);
    if (status.code() != Code::kNoSpace) return status;
  }
  return ask_host(segment, me, Request::kPages, from, to - from);
}

// Ends the claim of `owner`; its pages become valid, or stay holes.
Status end_claim(Segment& segment, Participant& me, Participant& owner, bool valid) {
  if (owner.claim_ref.load() == 0) return {};
  const std::uint64_t pages = owner.claim_pages.load();
  ArenaDescriptor& arena = arena_of_page(segment, pages >> 16);
  Transaction change(segment, me);
  IMSS_RETURN_IF_ERROR(change.lock(arena.lock));
  if (owner.claim_ref.load() == 0) return {};
  for (int i = 0; i < 8; ++i) {
    // Not all of the range: a page in it that was valid may have been cleared and claimed by another writer.
    const std::uint64_t mine = arena.claimed[i].load() & owner.claim_bits[i].load();
    if (mine == 0) continue;
    change.store(arena.claimed[i], arena.claimed[i].load() & ~mine);
    if (valid) change.store(arena.valid[i], arena.valid[i].load() | mine);
  }
  change.store(owner.claim_ref, 0);
  return change.commit();
}

}  // namespace

PageRange pages_of(const Segment& segment, std::uint64_t offset, std::uint64_t bytes) {
  const std::uint64_t relative = offset - segment.super().arenas_offset;
  return {relative / kPageBytes, (relative + bytes - 1) / kPageBytes};
}

bool all_valid(const Segment& segment, PageRange range) {
  return contains_all(arena_of_page(segment, range.first).valid, mask_of(range));
}

bool page_valid(const Segment& segment, std::uint64_t page) {
  const std::uint64_t bit = page % kPagesPerArena;
  return (arena_of_page(segment, page).valid[bit / 64].load(std::memory_order_acquire) >> bit % 64 & 1) != 0;
}

bool has_memory(const Segment& segment, std::uint64_t arena, std::uint32_t index, std::uint64_t extent_bytes) {
  const auto& populated = segment.descriptor(arena).populated;
  const std::uint64_t first = index * extent_bytes / kPageBytes;
  for (std::uint64_t page = first; page < first + extent_bytes / kPageBytes; ++page) {
    if ((populated[page / 64].load() >> page % 64 & 1) != 0) return true;
  }
  return false;
}

Status ensure_populated(Segment& segment, Participant& me, std::uint64_t offset, std::uint64_t bytes) {
  const PageRange range = pages_of(segment, offset, bytes);
  if (contains_all(arena_of_page(segment, range.first).populated, mask_of(range))) return {};
  const std::uint64_t from = offset / kPageBytes * kPageBytes;
  const std::uint64_t to = (offset + bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  return ask_host(segment, me, Request::kPages, from, to - from);
}

Status set_valid(Segment& segment, Participant& me, PageRange range, bool valid) {
  ArenaDescriptor& arena = arena_of_page(segment, range.first);
  const WordMask mask = mask_of(range);
  Transaction change(segment, me);
  IMSS_RETURN_IF_ERROR(change.lock(arena.lock));
  for (int i = 0; i < 8; ++i) {
    if (mask.words[i] == 0) continue;
    const std::uint64_t bits = arena.valid[i].load();
    change.store(arena.valid[i], valid ? bits | mask.words[i] : bits & ~mask.words[i]);
  }
  return change.commit();
}

Status forget_content(Segment& segment, Participant& me, Ref ref) {
  for (std::uint64_t done = 0; done < ref.bytes(); done += kArenaBytes) {
    const std::uint64_t piece = std::min(kArenaBytes, ref.bytes() - done);
    IMSS_RETURN_IF_ERROR(set_valid(segment, me, pages_of(segment, ref.offset() + done, piece), false));
  }
  return {};
}

Result<ClaimResult> claim_pages(Segment& segment, Participant& me, Ref ref, PageRange range,
                                std::uint64_t (&fresh)[8]) {
  // The claim of a write that failed: its pages stay holes.
  if (me.claim_ref.load() != 0) IMSS_RETURN_IF_ERROR(end_claim(segment, me, me, false));
  ArenaDescriptor& arena = arena_of_page(segment, range.first);
  const WordMask mask = mask_of(range);
  Backoff backoff(segment);
  for (;;) {
    if (contains_all(arena.valid, mask)) return ClaimResult::kNothingToDo;
    Transaction change(segment, me);
    IMSS_RETURN_IF_ERROR(change.lock(arena.lock));
    bool taken_by_others = false;
    bool no_memory_yet = false;
    for (int i = 0; i < 8; ++i) {
      fresh[i] = mask.words[i] & ~arena.valid[i].load();
      if ((fresh[i] & arena.claimed[i].load()) != 0) taken_by_others = true;
      if ((fresh[i] & ~arena.populated[i].load()) != 0) no_memory_yet = true;
    }
    if (taken_by_others) {
      change.release();
      if (!backoff.wait(true)) {
        return Status(Code::kTimedOut, "another writer of the same page does not finish");
      }
      continue;
    }
    if (no_memory_yet) {
      change.release();
      IMSS_RETURN_IF_ERROR(obtain(segment, me, ref, range));
      continue;
    }
    for (int i = 0; i < 8; ++i) {
      if (fresh[i] != 0) change.store(arena.claimed[i], arena.claimed[i].load() | fresh[i]);
      if (fresh[i] != me.claim_bits[i].load()) change.store(me.claim_bits[i], fresh[i]);
    }
    change.store(me.claim_ref, ref.word());
    change.store(me.claim_pages, range.first << 16 | (range.last - range.first));
    IMSS_RETURN_IF_ERROR(change.commit());
    fault_point("pages.claimed");
    return ClaimResult::kClaimed;
  }
}

Status finish_claim(Segment& segment, Participant& me) {
  fault_point("pages.filled");
  return end_claim(segment, me, me, true);
}

void release_claim(Segment& segment, Participant& me, Participant& dead) {
  // A failure leaves the claim in the dead participant's slot, for the next to clean up.
  [[maybe_unused]] const Status status = end_claim(segment, me, dead, false);
}

bool note_torn(Segment& segment, Participant& me, std::uint64_t dataset, std::uint64_t block, Word* also_zero) {
  Superblock& super = segment.super();
  Transaction change(segment, me);
  if (!change.lock(super.torn_lock).ok()) return false;
  for (std::uint32_t i = 0; i < kTornPlaces; ++i) {
    if (super.torn[2 * i].load() != 0) continue;
    change.store(super.torn[2 * i + 1], block);
    change.store(super.torn[2 * i], dataset);
    if (also_zero != nullptr) change.store(*also_zero, 0);
    return change.commit().ok();
  }
  return false;
}

bool note_torn_copies(Segment& segment, Participant& me, Participant& dead) {
  const std::uint64_t dataset = dead.copying_dataset.load();
  return dataset == 0 || note_torn(segment, me, dataset, dead.copying_block.load(), &dead.copying_dataset);
}

void abandon_move(Segment& segment, Participant& me, Participant& dead) {
  const std::uint64_t key0 = dead.moving_key0.load();
  if (key0 == 0) return;
  Table table(segment, kBlockTable);
  const Key key{key0, dead.moving_key1.load()};
  Transaction change(segment, me);
  TableEdit edit(table, change);
  if (!edit.lock({key}).ok() || dead.moving_key0.load() != key0) return;
  Values values;
  Entry* entry = edit.find(key, &values);
  if (entry != nullptr && state_of(values.value1) == EntryState::kMoving) {
    values.value1 = with_state(values.value1, EntryState::kOwned);
    edit.update(key, entry, values);
  }
  change.store(dead.moving_key0, 0);
  edit.finish();
  // A failure leaves the move named in the dead participant's slot, for the next to clean up.
  [[maybe_unused]] const Status status = change.commit();
}

}  // namespace imss::segment
