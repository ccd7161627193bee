// The version word of an entry: {state 4 bits, flags 4 bits, version 56 bits}.
//
// Every block entry, inode and directory entry carries one from the first day, so that blocks and
// fragments can move to another server while clients hold mappings. Pure functions; any thread.
#pragma once

#include <cstdint>

namespace imss::segment {

enum class EntryState : std::uint64_t { kOwned = 0, kMoving = 1, kGone = 2 };

// The whole extent holds data (or zeros that were written): no page needs to be looked up.
inline constexpr std::uint64_t kDenseFlag = 1ULL << 56;

constexpr EntryState state_of(std::uint64_t word) { return static_cast<EntryState>(word >> 60); }
constexpr std::uint64_t with_state(std::uint64_t word, EntryState state) {
  return (word & ~(0xfULL << 60)) | static_cast<std::uint64_t>(state) << 60;
}
constexpr std::uint64_t version_of(std::uint64_t word) { return word & ((1ULL << 56) - 1); }
constexpr std::uint64_t next_version(std::uint64_t word) {
  return (word & ~((1ULL << 56) - 1)) | ((word + 1) & ((1ULL << 56) - 1));
}

}  // namespace imss::segment
