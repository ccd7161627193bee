// 128-bit products, where 64 bits are too few. Pure functions: any thread.
#pragma once

#include <cstdint>

namespace imss {

__extension__ using Uint128 = unsigned __int128;

// The upper 64 bits of the 128-bit product.
constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
  return static_cast<std::uint64_t>((static_cast<Uint128>(a) * b) >> 64);
}

}  // namespace imss
