// Shared by the files of the hash table: tags and entries of a bucket.
#pragma once

#include "segment/table.h"

namespace imss::segment {

// The sequence of a chain, in the upper half of its first bucket's tags1, is odd while the chain is being changed.
inline constexpr std::uint64_t kSequenceStep = 1ULL << 32;
inline bool changing(std::uint64_t tags1) { return (tags1 & kSequenceStep) != 0; }

inline std::uint64_t tag_at(std::uint64_t tags0, std::uint64_t tags1, std::uint32_t index) {
  return index < 8 ? tags0 >> 8 * index & 0xff : tags1 >> 8 * (index - 8) & 0xff;
}

inline void set_tag(std::uint64_t* tags0, std::uint64_t* tags1, std::uint32_t index, std::uint64_t tag) {
  std::uint64_t* word = index < 8 ? tags0 : tags1;
  const std::uint32_t shift = 8 * (index < 8 ? index : index - 8);
  *word = (*word & ~(0xffULL << shift)) | tag << shift;
}

inline Values values_of(const Entry& entry) {
  return {entry.value0.load(std::memory_order_relaxed), entry.value1.load(std::memory_order_relaxed),
          entry.value2.load(std::memory_order_relaxed)};
}

inline Key key_of(const Entry& entry) {
  return {entry.key0.load(std::memory_order_relaxed), entry.key1.load(std::memory_order_relaxed)};
}

inline std::uint32_t places(bool is_head) { return is_head ? kBucketEntries : kOverflowEntries; }

}  // namespace imss::segment
