// Loads what the next reads of a thread need into the processor's cache while the present one is copied.
//
// Beyond the caches a small read costs three waits in a row for memory: the tags of the block's bucket, its entry, the
// first lines of its content, from where on the processor runs ahead itself, though not past the end of the block. A
// thread that goes through a dataset in equal steps, forwards or back, is noticed at its third read at the latest; from then on each
// read starts one step of each of the next three. All of it are hints: nothing is decided by them.
//
// State belongs to its thread; several datasets and servers may be read in turns.
#pragma once

#include "segment/table_approach.h"
#include "store/data_service.h"

namespace imss::store {

inline constexpr std::uint64_t kCacheLineBytes = 64;

class ReadAhead {
 public:
  // The state of the calling thread for a dataset.
  static ReadAhead& of(const segment::Segment& segment, std::uint64_t dataset);

  // Whether the read of this block was foreseen, so that what it needs is likely to be there.
  bool expects(std::uint64_t block) const { return steady_ && block == next_; }
  // Where the entry of a block that was foreseen is likely to be. REQUIRES: expects().
  const segment::Place& place() const { return near_; }
  // Takes note of a read. Starts to load what the next ones need.
  void follow(const segment::Table& blocks, BlockId id);

 private:
  void load(const segment::Table& blocks, BlockId id);

  std::uint64_t segment_serial_ = 0;
  std::uint64_t dataset_ = 0;
  std::uint64_t next_ = 0;   // block
  std::uint64_t step_ = 0;   // modulo 2^64
  bool steady_ = false;      // the last two steps were equal
  // Pointers into the mapping of segment_serial_.
  segment::Place near_;  // of block next_, whose content is being loaded
  segment::Place mid_;   // of the one after, whose entry is
  segment::Place far_;   // of the one after that: the tags of its bucket are
};

}  // namespace imss::store
