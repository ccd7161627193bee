// Sizes in bytes as people write and read them: 4096, 512K, 8GiB, 1.5TiB.
//
// K, M, G, T, P, E and KiB, MiB, ... are powers of 1024; KB, MB, ... are powers of 1000. Any
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace imss {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kTiB = 1024 * kGiB;

// Bytes named by `text`; a number without a suffix counts in units of `unit_bytes`. Blanks around
// the number and before the suffix are allowed, case does not matter. Fractions are rounded down to
// bytes. Errors: kInvalidArgument for anything else, and for sizes of 2^64 bytes or more.
Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t unit_bytes = 1);

// The size with the largest binary unit that leaves a number below 1024 and at most one decimal:
// "1.5 GiB".
std::string format_size(std::uint64_t bytes);

}  // namespace imss
