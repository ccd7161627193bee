// Whole blocks: put by swapping extents, get, removal, and pinned views.
#include <algorithm>
#include <vector>

#include "segment/edit_one.h"
#include "segment/outcome.h"
#include "store/read_ahead.h"
#include "store/store_internal.h"

namespace imss::store {

using segment::class_for;
using segment::Extents;
using segment::fault_point;
using segment::Held;
using segment::kArenaBytes;
using segment::kDenseFlag;
using segment::kDenseLimit;
using segment::kPageBytes;
using segment::Key;
using segment::PageRange;
using segment::Participant;
using segment::Ref;
using segment::Transaction;
using segment::Values;

namespace {

// Enough for the first bytes to arrive while the pin becomes visible; from there on the processor runs ahead itself.
constexpr std::uint64_t kPrefetchBytes = 256;

Status check_content(std::uint64_t bytes) {
  if (bytes != 0 && bytes <= segment::kMaxExtentBytes) return {};
  return Status(Code::kInvalidArgument, "a block holds between 1 byte and 64 MiB");
}

// Power-of-two contents and small ones are dense; others get the full range of which only the written pages cost
// memory.
bool is_dense(std::uint64_t bytes) {
  const std::uint64_t extent_bytes = segment::class_bytes(class_for(bytes));
  return extent_bytes <= kDenseLimit || extent_bytes == bytes;
}

}  // namespace

Status Store::pin(Participant& me, BlockId id, std::uint32_t pin_slot, std::uint64_t flags, Pinned* pinned,
                  const segment::Place* foreseen) {
  pinned->release();
  if (foreseen == nullptr) blocks_.prefetch({id.dataset, id.block});
  segment::Word& word = me.pins[pin_slot];
  for (;;) {
    const Key key{id.dataset, id.block};
    if (foreseen == nullptr || !segment::find_at(blocks_, *foreseen, key, &pinned->snapshot)) {
      IMSS_RETURN_IF_ERROR(blocks_.find_loaded(key, &pinned->snapshot));
    }
    pinned->ref = {};
    if (pinned->snapshot.entry == nullptr) return {};
    pinned->ref = Ref(pinned->snapshot.values.value0).bare();
    if (!segment_->valid_ref(pinned->ref)) {
      return Status(Code::kCorrupt, "block " + std::to_string(id.block) + " of dataset " +
                                        std::to_string(id.dataset) + " has a damaged reference");
    }
    const std::byte* content = segment_->base() + pinned->ref.offset();
    for (std::uint64_t at = 0; at < kPrefetchBytes; at += kCacheLineBytes) __builtin_prefetch(content + at);
    fault_point("block.found");
    word.store(pinned->ref.with(flags).word(), std::memory_order_seq_cst);
    // Looked at again after pinning: if the entry still stands, whoever replaces it now sees the pin.
    if (blocks_.unchanged(pinned->snapshot)) {
      pinned->pin = &word;
      fault_point("block.pinned");
      return {};
    }
    word.store(0, std::memory_order_release);
  }
}

// Copies `data` into an extent of pieces that nobody else sees yet.
Status Store::fill_exclusive(Participant& me, Ref ref, std::uint64_t offset, std::span<const std::byte> data) {
  std::uint64_t position = ref.offset() + offset;
  while (!data.empty()) {
    const std::size_t piece = std::min<std::size_t>(data.size(), kArenaBytes - position % kArenaBytes);
    IMSS_RETURN_IF_ERROR(segment::ensure_populated(*segment_, me, position, piece));
    const std::uint64_t end = position + piece;
    segment_->expect_write(position, piece);
    std::byte* base = segment_->base();
    zero_payload(base + position / kPageBytes * kPageBytes, position % kPageBytes);
    copy_payload(base + position, data.data(), piece);
    if (end % kPageBytes != 0) zero_payload(base + end, kPageBytes - end % kPageBytes);
    IMSS_RETURN_IF_ERROR(
        segment::set_valid(*segment_, me, segment::pages_of(*segment_, position, piece), true));
    position = end;
    data = data.subspan(piece);
  }
  return {};
}

// A held extent with the content.
Result<Held> Store::filled_extent(Participant& me, std::span<const std::byte> content,
                                  std::uint64_t* entry_flags) {
  const std::uint32_t size_class = class_for(content.size());
  const std::uint64_t extent_bytes = segment::class_bytes(size_class);
  Extents extents(*segment_);
  const bool dense = is_dense(content.size());
  auto held = extents.take(me, size_class, !dense);
  if (!held.ok()) return held;
  if (dense) {
    std::byte* to = segment_->base() + held->ref.offset();
    segment_->expect_write(held->ref.offset(), content.size());
    copy_payload(to, content.data(), content.size());
    if (content.size() < extent_bytes) zero_payload(to + content.size(), extent_bytes - content.size());
    *entry_flags = kDenseFlag;
    return held;
  }
  Status status = segment::forget_content(*segment_, me, held->ref);
  if (status.ok()) status = fill_exclusive(me, held->ref, 0, content);
  if (!status.ok()) {
    extents.put_back(me, *held);
    return status;
  }
  *entry_flags = 0;
  return held;
}

Result<std::uint64_t> Store::put(BlockId id, std::span<const std::byte> content, PutOptions options) {
  IMSS_RETURN_IF_ERROR(check_content(content.size()));
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  std::uint64_t flags = 0;
  IMSS_ASSIGN_OR_RETURN(const Held held, filled_extent(*me, content, &flags));
  return swap_in(*me, id, held, flags, options);
}

// The held extent becomes the block; on error it goes back.
Result<std::uint64_t> Store::swap_in(Participant& me, BlockId id, const Held& held, std::uint64_t flags,
                                     const PutOptions& options) {
  fault_point("put.filled");
  std::uint64_t version = 0;
  bool stale = false;
  const Status status = segment::edit_one(
      blocks_, me, {id.dataset, id.block},
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& old) -> Status {
        const std::uint64_t present = entry == nullptr ? 0 : segment::version_of(old.value1);
        if (options.expected_version != kAnyVersion && options.expected_version != present) {
          version = present;
          return Code::kBusy;
        }
        stale = options.version != 0 && options.version <= present;
        version = stale ? present : options.version != 0 ? options.version : present + 1;
        if (stale) return Code::kExists;
        const Values fresh{held.ref.word(), version | flags, options.generation};
        if (entry == nullptr) {
          change.store(me.hand[held.slot], 0);
          IMSS_RETURN_IF_ERROR(edit.insert(me, {id.dataset, id.block}, fresh));
        } else {
          // The swap: old extent into our hand, new one into the entry, in one transaction.
          edit.update({id.dataset, id.block}, entry, fresh);
          change.store(me.hand[held.slot], Extents::retired(Ref(old.value0)));
        }
        return segment::store_outcome(change, {.word0 = version});
      });
  fault_point("put.published");
  Extents extents(*segment_);
  if (!status.ok()) {
    extents.put_back(me, held);
    if (stale) return version;
    return status;
  }
  extents.trim(me);
  return version;
}

// --- contents from another node --------------------------------------------------------------------------

Result<StagedBlock> Store::stage(std::uint64_t bytes) {
  IMSS_RETURN_IF_ERROR(check_content(bytes));
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  const std::uint32_t size_class = class_for(bytes);
  const bool dense = is_dense(bytes);
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(*me, size_class, !dense));
  Status status;
  if (!dense) status = segment::forget_content(*segment_, *me, held.ref);
  for (std::uint64_t done = 0; !dense && status.ok() && done < bytes;) {
    const std::uint64_t position = held.ref.offset() + done;
    const std::uint64_t piece = std::min(bytes - done, kArenaBytes - position % kArenaBytes);
    status = segment::ensure_populated(*segment_, *me, position, piece);
    done += piece;
  }
  if (!status.ok()) {
    extents.put_back(*me, held);
    return status;
  }
  segment_->expect_write(held.ref.offset(), bytes);
  Extents::mark_arriving(*me, held);
  StagedBlock staged;
  staged.store_ = this;
  staged.held_ = held;
  staged.memory_ = {segment_->base() + held.ref.offset(), bytes};
  staged.flags_ = dense ? kDenseFlag : 0;
  fault_point("put.staged");
  return staged;
}

Result<std::uint64_t> Store::publish(BlockId id, StagedBlock staged, PutOptions options) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  const Held held = staged.held_;
  const std::uint64_t bytes = staged.memory_.size();
  std::byte* const content = staged.memory_.data();
  if (staged.flags_ != 0) {
    zero_payload(content + bytes, held.ref.bytes() - bytes);
  } else if (bytes % kPageBytes != 0) {
    zero_payload(content + bytes, kPageBytes - bytes % kPageBytes);
  }
  for (std::uint64_t done = 0; staged.flags_ == 0 && done < bytes;) {
    const std::uint64_t position = held.ref.offset() + done;
    const std::uint64_t piece = std::min(bytes - done, kArenaBytes - position % kArenaBytes);
    IMSS_RETURN_IF_ERROR(
        segment::set_valid(*segment_, *me, segment::pages_of(*segment_, position, piece), true));
    done += piece;
  }
  staged.store_ = nullptr;  // from here on the swap decides who owns the extent
  return swap_in(*me, id, held, staged.flags_, options);
}

void Store::give_up(const Held& held) {
  auto me = segment_->self();
  if (me.ok()) Extents(*segment_).put_back(**me, held);
}

void StagedBlock::reset() {
  if (store_ != nullptr) store_->give_up(held_);
  store_ = nullptr;
  memory_ = {};
}

namespace {

// Copies from an extent of pieces: pages without data are zeros and are not touched.
void copy_pages(const segment::Segment& segment, Ref ref, std::uint64_t offset, std::span<std::byte> out) {
  std::uint64_t position = ref.offset() + offset;
  while (!out.empty()) {
    const std::uint64_t first_page = (position - segment.super().arenas_offset) / kPageBytes;
    const bool valid = segment::page_valid(segment, first_page);
    std::uint64_t page = first_page + 1;
    std::size_t piece = kPageBytes - position % kPageBytes;
    while (piece < out.size() && segment::page_valid(segment, page) == valid) {
      piece += kPageBytes;
      ++page;
    }
    piece = std::min(piece, out.size());
    if (valid) {
      copy_payload(out.data(), segment.base() + position, piece);
    } else {
      zero_payload(out.data(), piece);
    }
    position += piece;
    out = out.subspan(piece);
  }
}

}  // namespace

Status Store::get(BlockId id, std::uint64_t offset, std::span<std::byte> out, bool* present) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned block;
  ReadAhead& ahead = ReadAhead::of(*segment_, id.dataset);
  const segment::Place* const foreseen = ahead.expects(id.block) ? &ahead.place() : nullptr;
  IMSS_RETURN_IF_ERROR(pin(*me, id, kBlockPin, 0, &block, foreseen));
  ahead.follow(blocks_, id);
  if (present != nullptr) *present = !block.ref.none();
  if (block.state() == segment::EntryState::kGone) return Code::kFenced;
  const std::uint64_t stored = block.ref.none() ? 0 : block.ref.bytes();
  const std::size_t here = offset < stored ? std::min<std::size_t>(out.size(), stored - offset) : 0;
  if (here > 0 && block.dense()) {
    copy_payload(out.data(), segment_->base() + block.ref.offset() + offset, here);
  } else if (here > 0) {
    copy_pages(*segment_, block.ref, offset, out.first(here));
  }
  if (here < out.size()) zero_payload(out.data() + here, out.size() - here);
  return {};
}

Status Store::erase(BlockId id) { return erase_one(id, kAnyGeneration); }

Status Store::erase_one(BlockId id, std::uint64_t before) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const std::uint32_t slot, extents.empty_slot(*me));
  const Status status = segment::edit_one(
      blocks_, *me, {id.dataset, id.block},
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& old) -> Status {
        if (entry == nullptr || !older(old.value2, before)) return Code::kNotFound;
        edit.erase({id.dataset, id.block}, entry);
        change.store(me->hand[slot], Extents::retired(Ref(old.value0)));
        return {};
      });
  extents.trim(*me);
  return status.code() == Code::kNotFound ? Status() : status;
}

Status Store::erase_range(std::uint64_t dataset, std::uint64_t first, std::uint64_t last, std::uint64_t before) {
  if (first > last) return {};
  if (last - first <= blocks_.entries()) {
    for (std::uint64_t block = first;; ++block) {  // also when `last` is the highest number
      segment::Snapshot snapshot;
      IMSS_RETURN_IF_ERROR(blocks_.find({dataset, block}, &snapshot));
      if (snapshot.entry != nullptr) IMSS_RETURN_IF_ERROR(erase_one({dataset, block}, before));
      if (block == last) break;
    }
    return {};
  }
  // A sparse dataset with more block numbers than the server has blocks.
  std::vector<std::uint64_t> found;
  IMSS_RETURN_IF_ERROR(blocks_.for_each([&](Key key, const Values&) {
    if (key.first == dataset && key.second >= first && key.second <= last) found.push_back(key.second);
    return true;
  }));
  for (const std::uint64_t block : found) IMSS_RETURN_IF_ERROR(erase_one({dataset, block}, before));
  return {};
}

Result<std::uint64_t> Store::version(BlockId id) {
  segment::Snapshot snapshot;
  IMSS_RETURN_IF_ERROR(blocks_.find({id.dataset, id.block}, &snapshot));
  return snapshot.entry == nullptr ? 0 : segment::version_of(snapshot.values.value1);
}

Status Store::for_each_block(const std::function<bool(BlockId, const Values&)>& visit) {
  return blocks_.for_each([&](Key key, const Values& values) { return visit({key.first, key.second}, values); });
}

// --- views -------------------------------------------------------------------------------------------

// Gives an absent or partly stored block memory and zeros where it has none, in place: what others write meanwhile
// stays.
Status Store::make_whole(Participant& me, BlockId id, std::uint64_t block_bytes) {
  {
    Pinned block;
    IMSS_RETURN_IF_ERROR(pin(me, id, kBlockPin, Ref::kWritePin, &block));
    if (block.ref.none()) {
      const std::vector<std::byte> zeros(block_bytes);
      std::uint64_t flags = 0;
      IMSS_ASSIGN_OR_RETURN(const Held held, filled_extent(me, zeros, &flags));
      const Status status = insert_new(me, id, held, flags);
      return status.code() == Code::kExists ? Status() : status;
    }
    if (block.state() == segment::EntryState::kGone) return Code::kFenced;
    if (block.state() == segment::EntryState::kMoving) return Code::kAgain;
    if (block.ref.bytes() >= block_bytes) return block.dense() ? Status() : fill_holes(me, block.ref, 0, block_bytes);
  }
  return move_to_full(me, id, block_bytes);
}

// REQUIRES: the extent is pinned for writing.
Status Store::fill_holes(Participant& me, Ref ref, std::uint64_t offset, std::uint64_t bytes) {
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t position = ref.offset() + offset + done;
    const std::uint64_t piece = std::min(kArenaBytes - position % kArenaBytes, bytes - done);
    const PageRange range = segment::pages_of(*segment_, position, piece);
    std::uint64_t fresh[8];
    IMSS_ASSIGN_OR_RETURN(const auto claim, segment::claim_pages(*segment_, me, ref, range, fresh));
    if (claim == segment::ClaimResult::kClaimed) {
      for (std::uint64_t page = range.first; page <= range.last; ++page) {
        const std::uint64_t bit = page % segment::kPagesPerArena;
        if ((fresh[bit / 64] >> bit % 64 & 1) == 0) continue;
        zero_payload(segment_->base() + segment_->super().arenas_offset + page * kPageBytes, kPageBytes);
      }
      IMSS_RETURN_IF_ERROR(segment::finish_claim(*segment_, me));
    }
    done += piece;
  }
  return {};
}

namespace {

// Whether every page of a range of an extent of pieces holds data.
bool all_there(const segment::Segment& segment, std::uint64_t offset, std::uint64_t bytes) {
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t position = offset + done;
    const std::uint64_t piece = std::min(kArenaBytes - position % kArenaBytes, bytes - done);
    if (!segment::all_valid(segment, segment::pages_of(segment, position, piece))) return false;
    done += piece;
  }
  return true;
}

}  // namespace

Result<View> Store::view(BlockId id, std::uint64_t block_bytes) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  segment::Word* free_pin = nullptr;
  for (segment::Word& word : me->view_pins) {
    if (word.load(std::memory_order_relaxed) == 0) free_pin = &word;
  }
  if (free_pin == nullptr) {
    return Status(Code::kTooManyOpen, "this thread holds " + std::to_string(segment::kViewPins) +
                                          " views; release one first");
  }
  segment::Backoff backoff(*segment_);
  for (;;) {
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(blocks_.find({id.dataset, id.block}, &snapshot));
    const Ref ref = Ref(snapshot.values.value0).bare();
    bool whole = snapshot.entry != nullptr && segment_->valid_ref(ref) && ref.bytes() >= block_bytes;
    if (whole && (snapshot.values.value1 & kDenseFlag) == 0) {
      whole = all_there(*segment_, ref.offset(), block_bytes);
    }
    if (!whole) {
      const Status made = make_whole(*me, id, block_bytes);
      if (!made.ok() && made.code() != Code::kAgain) return made;
      if (!made.ok() && !backoff.wait(true)) {
        return Status(Code::kTimedOut, "the block is being moved by a process that does not run");
      }
      continue;
    }
    fault_point("block.view_found");
    me->view_count.fetch_add(1);  // before the pin: others skip the pins of participants without views
    free_pin->store(ref.word(), std::memory_order_seq_cst);
    if (blocks_.unchanged(snapshot)) {
      View view;
      view.bytes = {segment_->base() + ref.offset(), block_bytes};
      view.version = segment::version_of(snapshot.values.value1);
      view.pin = free_pin;
      view.holder = me;
      return view;
    }
    free_pin->store(0, std::memory_order_release);
    me->view_count.fetch_sub(1);
  }
}

Result<View> Store::view_stored(BlockId id, std::uint64_t offset, std::uint64_t bytes) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned block;
  IMSS_RETURN_IF_ERROR(pin(*me, id, kBlockPin, 0, &block));
  if (block.state() == segment::EntryState::kGone) return Code::kFenced;
  View view;
  if (block.ref.none() || offset > block.ref.bytes() || bytes > block.ref.bytes() - offset) return view;
  if (!block.dense() && !all_there(*segment_, block.ref.offset() + offset, bytes)) return view;
  for (segment::Word& word : me->view_pins) {
    if (word.load(std::memory_order_relaxed) != 0) continue;
    // Pinned already, so a second pin needs no second look.
    me->view_count.fetch_add(1);
    word.store(block.ref.word(), std::memory_order_seq_cst);
    view.bytes = {segment_->base() + block.ref.offset() + offset, bytes};
    view.version = segment::version_of(block.snapshot.values.value1);
    view.pin = &word;
    view.holder = me;
    return view;
  }
  return view;
}

void release(View& view) {
  if (view.pin == nullptr) return;
  view.pin->store(0, std::memory_order_release);
  view.holder->view_count.fetch_sub(1);
  view = {};
}

}  // namespace imss::store
