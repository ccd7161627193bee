// Ranged writes, in place; growth of small contents; clearing what a truncation cuts off.
#include <algorithm>
#include <functional>

#include "segment/edit_one.h"
#include "segment/outcome.h"
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
                    std::uint64_t block_bytes, std::uint64_t generation) {
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
      const Status status = first_write(*me, id, offset, data, block_bytes, generation);
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
      segment_->expect_write(position, piece);
      copy_payload(base + position, data.data(), piece);
    } else {
      std::uint64_t fresh[8];
      IMSS_ASSIGN_OR_RETURN(const auto claim, segment::claim_pages(*segment_, me, ref, range, fresh));
      const auto is_fresh = [&](std::uint64_t page) {
        const std::uint64_t bit = page % segment::kPagesPerArena;
        return claim == segment::ClaimResult::kClaimed && (fresh[bit / 64] >> bit % 64 & 1) != 0;
      };
      const std::uint64_t end = position + piece;
      segment_->expect_write(position, piece);
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

Status Store::insert_new(Participant& me, BlockId id, const Held& held, std::uint64_t flags,
                         std::uint64_t generation) {
  const Status status = segment::edit_one(
      blocks_, me, {id.dataset, id.block},
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values&) -> Status {
        if (entry != nullptr) return Code::kExists;
        change.store(me.hand[held.slot], 0);
        IMSS_RETURN_IF_ERROR(edit.insert(me, {id.dataset, id.block}, {held.ref.word(), 1 | flags, generation}));
        // An inode is an effect of its own; a block is there before what is written into it.
        return id.block == 0 ? segment::store_outcome(change, {}) : Status();
      });
  if (!status.ok()) Extents(*segment_).put_back(me, held);
  return status;
}

// The block is absent: makes it. kExists when somebody else did meanwhile.
Status Store::first_write(Participant& me, BlockId id, std::uint64_t offset, std::span<const std::byte> data,
                          std::uint64_t block_bytes, std::uint64_t generation) {
  const std::uint64_t end = offset + data.size();
  Extents extents(*segment_);
  if (offset == 0 && data.size() == block_bytes) {
    std::uint64_t flags = 0;
    IMSS_ASSIGN_OR_RETURN(const Held held, filled_extent(me, data, &flags));
    return insert_new(me, id, held, flags, generation);
  }
  if (end <= kDenseLimit) {
    IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(me, class_for(end), false));
    std::byte* to = segment_->base() + held.ref.offset();
    zero_payload(to, offset);
    copy_payload(to + offset, data.data(), data.size());
    zero_payload(to + end, held.ref.bytes() - end);
    fault_point("write.filled");
    return insert_new(me, id, held, kDenseFlag, generation);
  }
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(me, class_for(block_bytes), true));
  Status status = segment::forget_content(*segment_, me, held.ref);
  if (!status.ok()) {
    extents.put_back(me, held);
    return status;
  }
  status = insert_new(me, id, held, 0, generation);
  if (!status.ok()) return status;
  fault_point("write.range_made");
  return Code::kExists;  // there now, empty: the caller writes into it
}

// A change of a block that needs it for itself: the entry says "moving", writers in flight are waited for, `apply`
// works on the extent, and the entry becomes owned again, with what `finish` says. Should this process die in
// between, recovery makes the entry owned again, unchanged.
struct Store::ExclusiveChange {
  // Whether there is (still) anything to do, under the entry's lock.
  std::function<bool(const Values&)> wanted;
  std::function<Status(Ref, bool dense)> apply;
  // The entry's new values, and what else changes with them.
  std::function<void(Transaction&, Values&)> finish;
};

Status Store::change_exclusively(Participant& me, BlockId id, const ExclusiveChange& what) {
  // An earlier change of ours that could not be ended.
  if (me.moving_key0.load() != 0) segment::abandon_move(*segment_, me, me);
  const segment::Key key{id.dataset, id.block};
  segment::Backoff backoff(*segment_);
  Values moving;
  Pinned source;
  Status status;
  for (;;) {
    // Pinned, though not for writing: a put that overtakes the change must not reuse what is being worked on.
    source.release();
    IMSS_RETURN_IF_ERROR(pin(me, id, kBlockPin, 0, &source));
    if (source.ref.none()) return {};
    status = segment::edit_one(
        blocks_, me, key,
        [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& old) -> Status {
          if (entry == nullptr || !what.wanted(old)) return Code::kExists;
          if (segment::state_of(old.value1) != EntryState::kOwned || Ref(old.value0).bare() != source.ref) {
            return Code::kBusy;
          }
          moving = old;
          moving.value1 = segment::with_state(old.value1, EntryState::kMoving);
          edit.update(key, entry, moving);
          change.store(me.moving_key0, id.dataset);
          change.store(me.moving_key1, id.block);
          return {};
        });
    if (status.code() == Code::kExists) return {};  // nothing to do any more
    if (status.code() != Code::kBusy) break;
    if (!backoff.wait(true)) return Status(Code::kTimedOut, "the block is being moved by a process that does not run");
  }
  IMSS_RETURN_IF_ERROR(status);
  fault_point("move.announced");
  while (status.ok() && Extents(*segment_).pinned(source.ref, true)) {
    if (!backoff.wait(true)) status = Status(Code::kTimedOut, "a writer of the block does not run");
  }
  if (status.ok()) status = what.apply(source.ref, (moving.value1 & kDenseFlag) != 0);
  fault_point("move.copied");
  source.release();
  const Status ended = segment::edit_one(
      blocks_, me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& now) -> Status {
        change.store(me.moving_key0, 0);
        // A whole-block put or a removal may have overtaken this change.
        if (entry == nullptr || now.value0 != moving.value0 || now.value1 != moving.value1) return {};
        Values fresh = now;
        fresh.value1 = segment::with_state(now.value1, EntryState::kOwned);
        if (status.ok()) what.finish(change, fresh);
        edit.update(key, entry, fresh);
        return {};
      });
  return status.ok() ? ended : status;
}

// Moves a content that outgrows its extent into the block's full range.
Status Store::move_to_full(Participant& me, BlockId id, std::uint64_t block_bytes) {
  Extents extents(*segment_);
  const std::uint32_t size_class = class_for(block_bytes);
  const bool dense = block_bytes <= kDenseLimit;
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(me, size_class, !dense));
  bool switched = false;
  ExclusiveChange move;
  move.wanted = [&](const Values& old) { return Ref(old.value0).size_class() < size_class; };
  move.apply = [&](Ref from, bool from_dense) { return copy_moved(me, from, from_dense, held.ref, dense); };
  move.finish = [&](Transaction& change, Values& values) {
    switched = true;
    change.store(me.hand[held.slot], Extents::retired(Ref(values.value0)));
    values.value0 = held.ref.word();
    values.value1 = (values.value1 & ~kDenseFlag) | (dense ? kDenseFlag : 0);
  };
  const Status status = change_exclusively(me, id, move);
  if (switched && status.ok()) {
    extents.trim(me);
  } else {
    extents.put_back(me, held);
  }
  return status;
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

Status Store::cut(BlockId id, std::uint64_t offset, std::uint64_t generation) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  ExclusiveChange cut;
  cut.wanted = [&](const Values& old) { return older(old.value2, generation); };
  cut.apply = [&](Ref ref, bool dense) { return zero_range(*me, ref, dense, {offset, ref.bytes()}); };
  cut.finish = [&](Transaction&, Values& values) { values.value2 = generation; };
  return change_exclusively(*me, id, cut);
}

Status Store::clear_range(Participant& me, BlockId id, std::uint64_t offset, std::uint64_t bytes) {
  ExclusiveChange clear;
  clear.wanted = [](const Values&) { return true; };
  clear.apply = [&](Ref ref, bool dense) { return zero_range(me, ref, dense, {offset, bytes}); };
  clear.finish = [](Transaction&, Values&) {};
  return change_exclusively(me, id, clear);
}

// Makes a range of an extent read as zeros. REQUIRES: no writer has it pinned.
Status Store::zero_range(Participant& me, Ref ref, bool dense, Zeroed range) {
  if (range.offset >= ref.bytes()) return {};
  std::byte* const base = segment_->base();
  std::uint64_t position = ref.offset() + range.offset;
  std::uint64_t end = position + std::min(range.bytes, ref.bytes() - range.offset);
  if (dense) {
    zero_payload(base + position, end - position);
    return {};
  }
  const auto zero_within = [&](std::uint64_t at, std::uint64_t bytes) {  // of one page
    if (bytes != 0 && segment::all_valid(*segment_, segment::pages_of(*segment_, at, bytes))) zero_payload(base + at, bytes);
  };
  if (position % kPageBytes != 0) {
    const std::uint64_t rest = std::min(kPageBytes - position % kPageBytes, end - position);
    zero_within(position, rest);
    position += rest;
  }
  if (position < end && end % kPageBytes != 0) {
    const std::uint64_t tail = end % kPageBytes;
    zero_within(end - tail, tail);
    end -= tail;
  }
  while (position < end) {
    const std::uint64_t piece = std::min(end - position, kArenaBytes - position % kArenaBytes);
    IMSS_RETURN_IF_ERROR(
        segment::set_valid(*segment_, me, segment::pages_of(*segment_, position, piece), false));
    position += piece;
  }
  return {};
}

}  // namespace imss::store
