#include "store/block_reader.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/clock.h"
#include "segment/entry_state.h"
#include "segment/fault.h"
#include "segment/pages.h"

namespace imss::store {

using segment::kPageBytes;
using segment::Ref;

namespace {

// Then its server is asked, which pins the block.
constexpr int kMostAttempts = 64;
// The chain's sequence has 31 bits and takes minutes to come round. A reader that was stopped in
// between does not know whether it has.
constexpr std::int64_t kSequenceIsGoodNs = 1'000'000'000;

}  // namespace

Status BlockReader::get(BlockId id, std::uint64_t offset, std::span<std::byte> out,
                        bool* present) const {
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    const std::int64_t began = monotonic_ns();
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(blocks_.find({id.dataset, id.block}, &snapshot));
    segment::fault_point("reader.found");
    if (snapshot.entry == nullptr) {
      std::memset(out.data(), 0, out.size());
    } else {
      if (segment::state_of(snapshot.values.value1) == segment::EntryState::kGone)
        return Code::kFenced;
      IMSS_RETURN_IF_ERROR(copy(snapshot.values, offset, out));
    }
    segment::fault_point("reader.copied");
    // Pairs with the release in which a writer's changes of the chain end: had the extent been
    // given to another block, the sequence would have moved before that one's first byte was
    // written.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (!blocks_.unchanged(snapshot) || monotonic_ns() - began >= kSequenceIsGoodNs) continue;
    if (present != nullptr) *present = snapshot.entry != nullptr;
    return {};
  }
  return Status(Code::kAgain, "a block changes faster than it can be read");
}

Status BlockReader::copy(const segment::Values& values, std::uint64_t offset,
                         std::span<std::byte> out) const {
  const Ref ref = Ref(values.value0).bare();
  if (!segment_->valid_ref(ref)) return Status(Code::kCorrupt, "a block has a damaged reference");
  const std::size_t here =
      offset < ref.bytes() ? std::min<std::size_t>(out.size(), ref.bytes() - offset) : 0;
  std::memset(out.data() + here, 0, out.size() - here);
  out = out.first(here);
  std::uint64_t position = ref.offset() + offset;
  if ((values.value1 & segment::kDenseFlag) != 0) return segment_->read_file(position, out);
  // Pages without data are zeros.
  while (!out.empty()) {
    std::uint64_t page = (position - segment_->super().arenas_offset) / kPageBytes;
    const bool valid = segment::page_valid(*segment_, page);
    std::size_t piece = kPageBytes - position % kPageBytes;
    while (piece < out.size() && segment::page_valid(*segment_, ++page) == valid)
      piece += kPageBytes;
    piece = std::min(piece, out.size());
    if (valid) {
      IMSS_RETURN_IF_ERROR(segment_->read_file(position, out.first(piece)));
    } else {
      std::memset(out.data(), 0, piece);
    }
    position += piece;
    out = out.subspan(piece);
  }
  return {};
}

Result<std::uint64_t> BlockReader::version(BlockId id) const {
  segment::Snapshot snapshot;
  IMSS_RETURN_IF_ERROR(blocks_.find({id.dataset, id.block}, &snapshot));
  return snapshot.entry == nullptr ? 0 : segment::version_of(snapshot.values.value1);
}

}  // namespace imss::store
