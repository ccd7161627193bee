// What the tests of the data engine share: names, ranges read back, and how much they do.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engines.h"

namespace stores {

using engines::DataEngine;
using engines::is_stamped;
using engines::kKiB;
using engines::kMiB;
using engines::pattern;
using engines::stamp_at;
using engines::stamped;
using imss::Code;
using imss::store::BlockId;
using Bytes = std::vector<std::byte>;

// ThreadSanitizer makes every byte of a test's own loops expensive.
#if defined(__SANITIZE_THREAD__)
inline constexpr int kEffort = 1;
inline constexpr std::size_t kMostBytes = 6 * kMiB;
#else
inline constexpr int kEffort = 4;
inline constexpr std::size_t kMostBytes = 64 * kMiB;
#endif

inline Bytes get(imss::store::Store& store, BlockId id, std::size_t bytes,
                 std::uint64_t offset = 0) {
  Bytes out(bytes, std::byte{0xee});
  REQUIRE(store.get(id, offset, out).ok());
  return out;
}

inline bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace stores
