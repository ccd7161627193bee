// Where a dataset has data: holes, memory ahead of need, and ranges that are cleared.
#include <algorithm>
#include <vector>

#include "segment/outcome.h"
#include "store/store_internal.h"

namespace imss::store {

using segment::EntryState;
using segment::kPageBytes;
using segment::Participant;
using segment::Ref;

namespace {

std::uint64_t page_at(const segment::Segment& segment, std::uint64_t position) {
  return (position - segment.super().arenas_offset) / kPageBytes;
}

// Of an extent of pieces.
std::uint64_t bytes_with_data(const segment::Segment& segment, Ref ref) {
  std::uint64_t bytes = 0;
  const std::uint64_t first = page_at(segment, ref.offset());
  for (std::uint64_t page = first; page < first + ref.bytes() / kPageBytes; ++page) {
    if (segment::page_valid(segment, page)) bytes += kPageBytes;
  }
  return bytes;
}

}  // namespace

Result<StoredBlocks> Store::stored(std::uint64_t dataset, std::uint64_t first, std::uint64_t last, bool only_first) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  StoredBlocks found;
  if (first > last) return found;
  const auto count = [&](std::uint64_t block) -> Status {
    Pinned pinned;
    IMSS_RETURN_IF_ERROR(pin(*me, {dataset, block}, kBlockPin, 0, &pinned));
    if (pinned.ref.none()) return {};
    if (pinned.state() == EntryState::kGone) return Code::kFenced;
    if (found.first == 0 || block < found.first) found.first = block;
    if (!only_first) found.bytes += pinned.dense() ? pinned.ref.bytes() : bytes_with_data(*segment_, pinned.ref);
    return {};
  };
  if (last - first <= blocks_.entries()) {
    for (std::uint64_t block = first;; ++block) {  // also when `last` is the highest number
      IMSS_RETURN_IF_ERROR(count(block));
      if (block == last || (only_first && found.first != 0)) return found;
    }
  }
  // A sparse dataset with more block numbers than the server has blocks.
  std::vector<std::uint64_t> blocks;
  IMSS_RETURN_IF_ERROR(blocks_.for_each([&](segment::Key key, const segment::Values&) {
    if (key.first == dataset && key.second >= first && key.second <= last) blocks.push_back(key.second);
    return true;
  }));
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  for (const std::uint64_t block : blocks) {
    IMSS_RETURN_IF_ERROR(count(block));
    if (only_first && found.first != 0) break;
  }
  return found;
}

Result<std::uint64_t> Store::seek(BlockId id, std::uint64_t offset, bool hole, std::uint64_t block_bytes) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned block;
  IMSS_RETURN_IF_ERROR(pin(*me, id, kBlockPin, 0, &block));
  if (block.state() == EntryState::kGone) return Code::kFenced;
  const std::uint64_t end = block.ref.none() ? 0 : std::min(block.ref.bytes(), block_bytes);
  if (offset >= end) return hole ? std::min(offset, block_bytes) : block_bytes;
  if (block.dense()) return hole ? end : offset;
  for (std::uint64_t at = offset; at < end; at += kPageBytes - at % kPageBytes) {
    if (segment::page_valid(*segment_, page_at(*segment_, block.ref.offset() + at)) != hole) return at;
  }
  return hole ? end : block_bytes;
}

Status Store::note_allocated(std::uint64_t dataset, std::uint64_t noted) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  inode->allocated.store(noted, std::memory_order_relaxed);
  return {};
}

Status Store::clear(BlockId id, std::uint64_t offset, std::uint64_t bytes) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  return clear_range(*me, id, offset, bytes);
}

Status Store::allocate(BlockId id, std::uint64_t offset, std::uint64_t bytes, std::uint64_t block_bytes,
                       std::uint64_t generation) {
  if (block_bytes > segment::kMaxExtentBytes || offset > block_bytes || bytes > block_bytes - offset) {
    return Status(Code::kInvalidArgument, "the range reaches beyond the block");
  }
  if (bytes == 0) return {};
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  segment::Backoff backoff(*segment_);
  for (;;) {
    Pinned block;
    IMSS_RETURN_IF_ERROR(pin(*me, id, kBlockPin, Ref::kWritePin, &block));
    if (block.ref.none()) {
      const std::vector<std::byte> zeros(bytes);
      const Status status = first_write(*me, id, offset, zeros, block_bytes, generation);
      if (status.code() != Code::kExists) return status;
      continue;
    }
    if (block.state() == EntryState::kGone) return Code::kFenced;
    if (block.state() == EntryState::kMoving) {
      block.release();
      if (!backoff.wait(true)) return Status(Code::kTimedOut, "the block is being moved by a process that does not run");
      continue;
    }
    if (offset + bytes > block.ref.bytes()) {
      block.release();
      IMSS_RETURN_IF_ERROR(move_to_full(*me, id, block_bytes));
      continue;
    }
    if (!block.dense()) IMSS_RETURN_IF_ERROR(fill_holes(*me, block.ref, offset, bytes));
    return segment_->serving() ? Status() : Status(Code::kFenced);
  }
}

Result<Space> Store::space() {
  const auto& super = segment_->super();
  std::uint64_t ready = 0;
  for (const auto& pool : super.pools[0]) ready += pool.free_bytes.load();
  const std::uint64_t obtained = super.used_bytes.load();
  return Space{super.capacity_bytes, obtained - std::min(ready, obtained)};
}

}  // namespace imss::store
