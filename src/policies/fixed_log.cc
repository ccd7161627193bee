#include "policies/fixed_log.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/wide_math.h"

namespace imss {
namespace {

constexpr int kTableBits = 8;
constexpr std::size_t kTableSize = std::size_t{1} << kTableBits;
constexpr std::uint64_t kOneQ63 = std::uint64_t{1} << 63;

// log2(m / 2^63) with 60 fractional bits for m in [2^63, 2^64), by repeated squaring: exact to the
// last bits but slow, for the table only.
constexpr std::uint64_t log2_by_squaring(std::uint64_t m) {
  std::uint64_t result = 0;
  for (int bit = 0; bit < 60; ++bit) {
    const Uint128 square = static_cast<Uint128>(m) * m;
    const bool above_two = (square >> 127) != 0;
    m = static_cast<std::uint64_t>(above_two ? square >> 64 : square >> 63);
    result = (result << 1) | (above_two ? 1U : 0U);
  }
  return result;
}

struct Row {
  std::uint64_t reciprocal;  // 2^126 / centre, at most 2^63
  std::uint64_t log2;        // of the centre, 60 fractional bits
};

// A row per interval of [1, 2), for its lower end, so that the remainder is never negative.
constexpr std::array<Row, kTableSize> make_table() {
  std::array<Row, kTableSize> table{};
  for (std::size_t i = 0; i < kTableSize; ++i) {
    const std::uint64_t centre = kOneQ63 | (static_cast<std::uint64_t>(i) << (63 - kTableBits));
    table[i].reciprocal = static_cast<std::uint64_t>((static_cast<Uint128>(1) << 126) / centre);
    table[i].log2 = log2_by_squaring(centre);
  }
  return table;
}

constexpr auto kTable = make_table();

// 1/ln 2 with 63 fractional bits would exceed 64 bits by its one; this has 62.
constexpr std::uint64_t kInverseLn2Q62 = 0x5C551D94AE0BF85D;

// log2(1 + d) with 60 fractional bits for d in [0, 2^-8) with 63 fractional bits: five terms of the
// series.
std::uint64_t log2_near_one(std::uint64_t d) {
  const std::uint64_t d2 = multiply_high(d, d) << 1;
  const std::uint64_t d3 = multiply_high(d2, d) << 1;
  const std::uint64_t d4 = multiply_high(d3, d) << 1;
  const std::uint64_t d5 = multiply_high(d4, d) << 1;
  const std::uint64_t natural = d - d2 / 2 + d3 / 3 - d4 / 4 + d5 / 5;
  return static_cast<std::uint64_t>((static_cast<Uint128>(natural) * kInverseLn2Q62) >> 65);
}

}  // namespace

std::uint64_t negative_log2(std::uint64_t word) {
  const std::uint64_t lower_bound = ~word >> 10;
  if (word == UINT64_MAX) return 0;
  const std::uint64_t value = word + 1;
  const int zeros = std::countl_zero(value);
  const std::uint64_t mantissa = value << zeros;
  const Row& row = kTable[(mantissa >> (63 - kTableBits)) & (kTableSize - 1)];
  // The mantissa over the lower end of its interval, with 63 fractional bits.
  const auto ratio =
      static_cast<std::uint64_t>((static_cast<Uint128>(mantissa) * row.reciprocal) >> 63);
  const std::uint64_t d = ratio > kOneQ63 ? ratio - kOneQ63 : 0;
  const std::uint64_t log2 = row.log2 + log2_near_one(d);
  // log2(value / 2^64) = log2(mantissa / 2^63) - zeros - 1.
  const std::uint64_t whole = (static_cast<std::uint64_t>(zeros) + 1) << kLogFractionBits;
  const std::uint64_t fraction = std::min(log2 >> (60 - kLogFractionBits), whole);
  return std::max(whole - fraction, lower_bound);
}

}  // namespace imss
