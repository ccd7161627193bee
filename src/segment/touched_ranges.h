// Which parts of a segment this process has written already, so that its page tables know them.
//
// One bit per 64 KiB, in memory that is there only where a bit was set. A hint about speed: after
// fork(), or where the host took memory back, it says more than is true. Concurrent; owned by the
// Segment.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace imss::segment {

class TouchedRanges {
 public:
  TouchedRanges() = default;
  TouchedRanges(const TouchedRanges&) = delete;
  TouchedRanges& operator=(const TouchedRanges&) = delete;
  ~TouchedRanges();
  // For a segment of so many bytes; called once, before anything else. Without memory for it
  // everything counts as touched.
  void reserve(std::uint64_t segment_bytes);
  // Notes the range, and returns whether all of it had been noted before. REQUIRES: it lies in the
  // segment.
  bool note(std::uint64_t offset, std::uint64_t bytes);

 private:
  static constexpr std::uint64_t kGranule = 64 << 10;
  using Bits = std::atomic<std::uint64_t>;
  Bits* bits_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace imss::segment
