// Ranged writes, in place; growth of small contents; clearing what a truncation cuts off.
#include <algorithm>

#include "segment/edit_one.h"
#include "store/store_internal.h"

namespace imss::store {

using segment::class_for;
using segment::EntryState;
using segment::Extents;
using segment::fault_point;
using segment::Held;
using segment::kArenaBytes;
using segment::kDenseFlag;
using segment::kDenseLimit;
using segment::kPageBytes;
using segment::Participant;
using segment::Ref;
using segment::Transaction;
using segment::Values;

Status Store::write(BlockId id, std::uint64_t offset, std::span<const std::byte> data,
                    std::uint64_t block_bytes) {
  if (offset > block_bytes || data.size() > block_bytes - offset) {
    return Status(Code::kInvalidArgument, "a write of " + std::to_string(data.size()) + " bytes at " +
                                              std::to_string(offset) + " reaches beyond the block of " +
                                              std::to_string(block_bytes));
  }
  if (data.empty()) return {};
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  segment::Backoff backoff(*segment_);
  for (;;) {
    Pinned block;
    IMSS_RETURN_IF_ERROR(pin(*me, id, kBlockPin, Ref::kWritePin, &block));
    if (block.ref.none()) {
      const Status status = first_write(*me, id, offset, data, block_bytes);
      if (status.ok() || status.code() != Code::kExists) return status;
      continue;
    }
    if (block.state() == EntryState::kGone) return Code::kFenced;
    if (block.state() == EntryState::kMoving) {
      block.release();
      if (!backoff.wait(true)) return Status(Code::kTimedOut, "the block is being moved by a process that does not run");
      continue;
    }
    if (offset + data.size() > block.ref.bytes()) {
      block.release();
      IMSS_RETURN_IF_ERROR(move_to_full(*me, id, block_bytes));
      continue;
    }
    if (!block.dense()) return write_pages(*me, block.ref, offset, data);
    copy_payload(segment_->base() + block.ref.offset() + offset, data.data(), data.size());
    return segment_->serving() ? Status() : Status(Code::kFenced);
  }
}

// REQUIRES: the extent is pinned for writing.
Status Store::write_pages(Participant& me, Ref ref, std::uint64_t offset, std::span<const std::byte> data) {
  std::uint64_t position = ref.offset() + offset;
  std::byte* base = segment_->base();
  while (!data.empty()) {
    const std::size_t piece = std::min<std::size_t>(data.size(), kArenaBytes - position % kArenaBytes);
    const segment::PageRange range = segment::pages_of(*segment_, position, piece);
    if (segment::all_valid(*segment_, range)) {
      copy_payload(base + position, data.data(), piece);
    } else {
      std::uint64_t fresh[8];
      IMSS_ASSIGN_OR_RETURN(const auto claim, segment::claim_pages(*segment_, me, ref, range, fresh));
      const auto is_fresh = [&](std::uint64_t page) {
        const std::uint64_t bit = page % segment::kPagesPerArena;
        return claim == segment::ClaimResult::kClaimed && (fresh[bit / 64] >> bit % 64 & 1) != 0;
      };
      const std::uint64_t end = position + piece;
      if (is_fresh(range.first)) zero_payload(base + position / kPageBytes * kPageBytes, position % kPageBytes);
      if (is_fresh(range.last) && end % kPageBytes != 0) {
        zero_payload(base + end, kPageBytes - end % kPageBytes);
      }
      copy_payload(base + position, data.data(), piece);
      if (claim == segment::ClaimResult::kClaimed) IMSS_RETURN_IF_ERROR(segment::finish_claim(*segment_, me));
    }
    position += piece;
    data = data.subspan(piece);
  }
  return segment_->serving() ? Status() : Status(Code::kFenced);
}

Status Store::insert_new(Participant& me, BlockId id, const Held& held, std::uint64_t flags) {
  const Status status = segment::edit_one(
      blocks_, me, {id.dataset, id.block},
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values&) -> Status {
        if (entry != nullptr) return Code::kExists;
        change.store(me.hand[held.slot], 0);
        return edit.insert(me, {id.dataset, id.block}, {held.ref.word(), 1 | flags, 0});
      });
  if (!status.ok()) Extents(*segment_).put_back(me, held);
  return status;
}

// The block is absent: makes it. kExists when somebody else did meanwhile.
Status Store::first_write(Participant& me, BlockId id, std::uint64_t offset, std::span<const std::byte> data,
                          std::uint64_t block_bytes) {
  const std::uint64_t end = offset + data.size();
  Extents extents(*segment_);
  if (offset == 0 && data.size() == block_bytes) {
    std::uint64_t flags = 0;
    IMSS_ASSIGN_OR_RETURN(const Held held, filled_extent(me, data, &flags));
    return insert_new(me, id, held, flags);
  }
  if (end <= kDenseLimit) {
    IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(me, class_for(end), false));
    std::byte* to = segment_->base() + held.ref.offset();
    zero_payload(to, offset);
    copy_payload(to + offset, data.data(), data.size());
    zero_payload(to + end, held.ref.bytes() - end);
    fault_point("write.filled");
    return insert_new(me, id, held, kDenseFlag);
  }
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(me, class_for(block_bytes), true));
  Status status = segment::forget_content(*segment_, me, held.ref);
  if (!status.ok()) {
    extents.put_back(me, held);
    return status;
  }
  status = insert_new(me, id, held, 0);
  if (!status.ok()) return status;
  fault_point("write.range_made");
  return Code::kExists;  // there now, empty: the caller writes into it
}

// Moves a content that outgrows its extent into the block's full range: the entry says "moving", writers in
// flight are waited for, the content is copied and the entry switched.
Status Store::move_to_full(Participant& me, BlockId id, std::uint64_t block_bytes) {
  Extents extents(*segment_);
  const std::uint32_t size_class = class_for(block_bytes);
  const bool dense = block_bytes <= kDenseLimit;
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(me, size_class, !dense));
  const segment::Key key{id.dataset, id.block};
  Values moving;
  Status status = segment::edit_one(
      blocks_, me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& old) -> Status {
        if (entry == nullptr || segment::state_of(old.value1) != EntryState::kOwned ||
            Ref(old.value0).size_class() >= size_class) {
          return Code::kExists;  // nothing to move any more
        }
        moving = old;
        moving.value1 = segment::with_state(old.value1, EntryState::kMoving);
        edit.update(key, entry, moving);
        change.store(me.moving_key0, id.dataset);
        change.store(me.moving_key1, id.block);
        return {};
      });
  if (!status.ok()) {
    extents.put_back(me, held);
    return status.code() == Code::kExists ? Status() : status;
  }
  fault_point("move.announced");
  const Ref old_ref = Ref(moving.value0).bare();
  segment::Backoff backoff(*segment_);
  while (status.ok() && extents.pinned(old_ref, true)) {
    if (!backoff.wait(true)) status = Status(Code::kTimedOut, "a writer of the block does not run");
  }
  if (status.ok()) status = copy_moved(me, old_ref, (moving.value1 & kDenseFlag) != 0, held.ref, dense);
  fault_point("move.copied");
  bool switched = false;
  const Status ended = segment::edit_one(
      blocks_, me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& now) -> Status {
        change.store(me.moving_key0, 0);
        switched = false;
        // A whole-block put or a removal may have overtaken the move.
        if (entry == nullptr || now.value0 != moving.value0 || now.value1 != moving.value1) return {};
        Values fresh = now;
        fresh.value1 = segment::with_state(now.value1, EntryState::kOwned);
        if (status.ok()) {
          switched = true;
          fresh.value0 = held.ref.word();
          fresh.value1 = (fresh.value1 & ~kDenseFlag) | (dense ? kDenseFlag : 0);
          change.store(me.hand[held.slot], Extents::retired(old_ref));
        }
        edit.update(key, entry, fresh);
        return {};
      });
  if (!switched || !ended.ok()) {
    extents.put_back(me, held);
  } else {
    extents.trim(me);
  }
  return status.ok() ? ended : status;
}

Status Store::copy_moved(Participant& me, Ref from, bool from_dense, Ref to, bool to_dense) {
  const std::byte* source = segment_->base() + from.offset();
  if (to_dense) {
    copy_payload(segment_->base() + to.offset(), source, from.bytes());
    zero_payload(segment_->base() + to.offset() + from.bytes(), to.bytes() - from.bytes());
    return {};
  }
  IMSS_RETURN_IF_ERROR(segment::forget_content(*segment_, me, to));
  if (from_dense) return fill_exclusive(me, to, 0, {source, from.bytes()});
  for (std::uint64_t done = 0; done < from.bytes(); done += kPageBytes) {
    const segment::PageRange page = segment::pages_of(*segment_, from.offset() + done, kPageBytes);
    if (!segment::all_valid(*segment_, page)) continue;
    IMSS_RETURN_IF_ERROR(fill_exclusive(me, to, done, {source + done, kPageBytes}));
  }
  return {};
}

Status Store::clear_tail(BlockId id, std::uint64_t offset) {
  if (offset == 0) return erase(id);
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  segment::Backoff backoff(*segment_);
  for (;;) {
    Pinned block;
    IMSS_RETURN_IF_ERROR(pin(*me, id, kBlockPin, Ref::kWritePin, &block));
    if (block.ref.none() || offset >= block.ref.bytes()) return {};
    if (block.state() == EntryState::kMoving) {
      block.release();
      if (!backoff.wait(true)) return Code::kTimedOut;
      continue;
    }
    std::uint64_t position = block.ref.offset() + offset;
    const std::uint64_t end = block.ref.offset() + block.ref.bytes();
    if (block.dense()) {
      zero_payload(segment_->base() + position, end - position);
      return {};
    }
    if (position % kPageBytes != 0) {
      const std::uint64_t rest = kPageBytes - position % kPageBytes;
      if (segment::all_valid(*segment_, segment::pages_of(*segment_, position, rest))) {
        zero_payload(segment_->base() + position, rest);
      }
      position += rest;
    }
    while (position < end) {
      const std::uint64_t piece = std::min(end - position, kArenaBytes - position % kArenaBytes);
      IMSS_RETURN_IF_ERROR(
          segment::set_valid(*segment_, *me, segment::pages_of(*segment_, position, piece), false));
      position += piece;
    }
    return {};
  }
}

}  // namespace imss::store
