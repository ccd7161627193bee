#include "segment/touched_ranges.h"

#include <sys/mman.h>

namespace imss::segment {

TouchedRanges::~TouchedRanges() {
  if (bits_ != nullptr) ::munmap(bits_, bytes_);
}

void TouchedRanges::reserve(std::uint64_t segment_bytes) {
  bytes_ = (segment_bytes / kGranule / 64 + 1) * sizeof(Bits);
  void* const mapped = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped != MAP_FAILED) bits_ = static_cast<Bits*>(mapped);
}

bool TouchedRanges::note(std::uint64_t offset, std::uint64_t bytes) {
  if (bits_ == nullptr || bytes == 0) return true;
  bool all = true;
  for (std::uint64_t granule = offset / kGranule; granule <= (offset + bytes - 1) / kGranule;
       ++granule) {
    Bits& word = bits_[granule / 64];
    const std::uint64_t bit = 1ULL << granule % 64;
    if ((word.load(std::memory_order_relaxed) & bit) != 0) continue;
    word.fetch_or(bit, std::memory_order_relaxed);
    all = false;
  }
  return all;
}

}  // namespace imss::segment
