// The extended attributes of one inode or directory, as the bytes that are stored and swapped as a whole.
//
// The bytes: how many they are (u64), then for each attribute the length of its value (u32), that of its name (u16), the
// name and the value. What stands behind them in their extent does not count. Pure functions; any thread. Stored bytes may
// be damaged, which is an error and never a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/attributes.h"

namespace imss::store {

// As Linux has them (XATTR_NAME_MAX, XATTR_SIZE_MAX, XATTR_LIST_MAX).
inline constexpr std::size_t kMaxXattrNameBytes = 255;
inline constexpr std::size_t kMaxXattrValueBytes = 64 << 10;
inline constexpr std::size_t kMaxXattrListBytes = 64 << 10;
// All of one file; each change writes them anew.
inline constexpr std::size_t kMostXattrBytes = 256 << 10;

// What is stored after the change; `stored` empty: there were none. At most `most_bytes`.
// Errors: kExists, kNoData, kNoSpace, kInvalidArgument (name or value too long or empty name), kCorrupt.
Result<std::vector<std::byte>> changed_xattrs(std::span<const std::byte> stored, const XattrChange& change,
                                              std::size_t most_bytes = kMostXattrBytes);
// The value of an attribute or, without name, the names of all, each ended by a NUL. Errors: kNoData, kCorrupt.
Result<XattrValue> xattr_in(std::span<const std::byte> stored, std::string_view name);

}  // namespace imss::store
