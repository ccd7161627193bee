// Logarithms in integers, so that every CPU and compiler computes the same bits. Pure: any thread.
#pragma once

#include <cstdint>

namespace imss {

// -log2((word + 1) / 2^64) with 54 fractional bits: between 0 and 64. The error is below 2^-45, and
// the result is never below (2^64 - 1 - word) >> 10, which callers use as a cheap lower bound.
inline constexpr int kLogFractionBits = 54;
std::uint64_t negative_log2(std::uint64_t word);

}  // namespace imss
