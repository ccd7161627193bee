// Reads blocks from a segment that is mapped for reading only.
//
// Whoever may not write cannot pin an extent either. So the bytes are copied first, out of the
// segment's file rather than its mapping: the extent may lose its memory meanwhile, and touching it
// would then obtain a page behind the host's back, or end in SIGBUS. Afterwards the entry is looked
// at again. Invariant: bytes are handed out as the block's only if the chain of its entry did not
// change from before the copy until after it, so the extent was the block's all that time.
//
// Concurrent and stateless; any thread.
#pragma once

#include <memory>
#include <span>

#include "base/result.h"
#include "segment/segment.h"
#include "segment/table.h"
#include "store/data_service.h"

namespace imss::store {

class BlockReader {
 public:
  // REQUIRES: a data server's segment.
  explicit BlockReader(std::shared_ptr<segment::Segment> segment)
      : segment_(std::move(segment)), blocks_(*segment_, segment::kBlockTable) {}

  // As DataService::get(). Errors: kAgain when the block changed too often to be read this way,
  // kFenced, kCorrupt, kTimedOut, kIo when the segment's file cannot be reached; `out` may then
  // hold anything.
  Status get(BlockId id, std::uint64_t offset, std::span<std::byte> out, bool* present) const;
  Result<std::uint64_t> version(BlockId id) const;

  segment::Segment& segment() const { return *segment_; }

 private:
  Status copy(const segment::Values& values, std::uint64_t offset, std::span<std::byte> out) const;

  std::shared_ptr<segment::Segment> segment_;
  segment::Table blocks_;
};

}  // namespace imss::store
