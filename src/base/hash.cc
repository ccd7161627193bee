#include "base/hash.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace imss {
namespace {

static_assert(std::endian::native == std::endian::little,
              "stored hashes are defined on little-endian words");

constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87U;
constexpr std::uint64_t kPrime2 = 0xC2B2AE3D27D4EB4FU;
constexpr std::uint64_t kPrime3 = 0x165667B19E3779F9U;
constexpr std::uint64_t kPrime4 = 0x85EBCA77C2B2AE63U;
constexpr std::uint64_t kPrime5 = 0x27D4EB2F165667C5U;

template <typename Word>
Word load(const unsigned char* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

std::uint64_t round_of(std::uint64_t lane, std::uint64_t word) {
  return std::rotl(lane + word * kPrime2, 31) * kPrime1;
}

std::uint64_t merge_lane(std::uint64_t hash, std::uint64_t lane) {
  return (hash ^ round_of(0, lane)) * kPrime1 + kPrime4;
}

// Eats all whole stripes of 32 bytes and returns the state of the four lanes, merged.
std::uint64_t hash_stripes(const unsigned char*& bytes, const unsigned char* end,
                           std::uint64_t seed) {
  std::array<std::uint64_t, 4> lanes = {seed + kPrime1 + kPrime2, seed + kPrime2, seed,
                                        seed - kPrime1};
  for (; end - bytes >= 32; bytes += 32) {
    for (std::size_t i = 0; i < 4; ++i)
      lanes[i] = round_of(lanes[i], load<std::uint64_t>(bytes + 8 * i));
  }
  std::uint64_t hash = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) +
                       std::rotl(lanes[3], 18);
  for (const std::uint64_t lane : lanes) hash = merge_lane(hash, lane);
  return hash;
}

constexpr std::array<std::array<std::uint32_t, 256>, 8> make_crc32c_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
    tables[0][i] = crc;
  }
  for (std::size_t slice = 1; slice < 8; ++slice) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint32_t below = tables[slice - 1][i];
      tables[slice][i] = (below >> 8) ^ tables[0][below & 0xFF];
    }
  }
  return tables;
}

constexpr std::array<std::uint16_t, 256> make_crc16_table() {
  std::array<std::uint16_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i << 8;
    for (int bit = 0; bit < 8; ++bit) crc = (crc << 1) ^ ((crc & 0x8000U) != 0 ? 0x1021U : 0U);
    table[i] = static_cast<std::uint16_t>(crc & 0xFFFFU);
  }
  return table;
}

constexpr std::array<std::uint64_t, 256> make_crc64_table() {
  std::array<std::uint64_t, 256> table{};
  for (std::uint64_t i = 0; i < 256; ++i) {
    std::uint64_t crc = i;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xC96C5795D7870F42U : 0U);
    table[i] = crc;
  }
  return table;
}

constexpr auto kCrc32cTables = make_crc32c_tables();
constexpr auto kCrc16Table = make_crc16_table();
constexpr auto kCrc64Table = make_crc64_table();

#if defined(__x86_64__)
// The instruction has a latency of three cycles and can be issued in each: three lanes run side by
// side. Their length is a third of 4 KiB, the smallest payload that matters.
constexpr std::size_t kLaneBytes = 1360;

// What a CRC register becomes after kLaneBytes zero bytes, by each of its four bytes: the operation
// is linear.
constexpr std::array<std::array<std::uint32_t, 256>, 4> make_lane_tables() {
  std::array<std::uint32_t, 32> of_bit{};
  for (std::size_t bit = 0; bit < 32; ++bit) {
    std::uint32_t crc = std::uint32_t{1} << bit;
    for (std::size_t i = 0; i < kLaneBytes; ++i) crc = (crc >> 8) ^ kCrc32cTables[0][crc & 0xFF];
    of_bit[bit] = crc;
  }
  std::array<std::array<std::uint32_t, 256>, 4> tables{};
  for (std::size_t byte = 0; byte < 4; ++byte) {
    for (std::size_t value = 1; value < 256; ++value) {
      const std::size_t rest = value & (value - 1);
      const auto lowest = static_cast<std::size_t>(std::countr_zero(value));
      tables[byte][value] = tables[byte][rest] ^ of_bit[8 * byte + lowest];
    }
  }
  return tables;
}
constexpr auto kLaneTables = make_lane_tables();

std::uint64_t skip_lane(std::uint64_t crc) {
  return kLaneTables[0][crc & 0xFF] ^ kLaneTables[1][(crc >> 8) & 0xFF] ^
         kLaneTables[2][(crc >> 16) & 0xFF] ^ kLaneTables[3][(crc >> 24) & 0xFF];
}

__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse42(const void* data, std::size_t size,
                                                             std::uint32_t previous) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint64_t crc = ~previous;
  for (; size >= 3 * kLaneBytes; size -= 3 * kLaneBytes, bytes += 3 * kLaneBytes) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (std::size_t i = 0; i < kLaneBytes; i += 8) {
      crc = _mm_crc32_u64(crc, load<std::uint64_t>(bytes + i));
      second = _mm_crc32_u64(second, load<std::uint64_t>(bytes + kLaneBytes + i));
      third = _mm_crc32_u64(third, load<std::uint64_t>(bytes + 2 * kLaneBytes + i));
    }
    crc = skip_lane(skip_lane(crc) ^ second) ^ third;
  }
  for (; size >= 8; size -= 8, bytes += 8) crc = _mm_crc32_u64(crc, load<std::uint64_t>(bytes));
  auto narrow = static_cast<std::uint32_t>(crc);
  for (; size > 0; --size, ++bytes) narrow = _mm_crc32_u8(narrow, *bytes);
  return ~narrow;
}
#endif

}  // namespace

std::uint64_t hash_bytes(const void* data, std::size_t size, std::uint64_t seed) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  const unsigned char* end = bytes + size;
  std::uint64_t hash = size >= 32 ? hash_stripes(bytes, end, seed) : seed + kPrime5;
  hash += size;
  for (; end - bytes >= 8; bytes += 8) {
    hash = std::rotl(hash ^ round_of(0, load<std::uint64_t>(bytes)), 27) * kPrime1 + kPrime4;
  }
  if (end - bytes >= 4) {
    hash = std::rotl(hash ^ (load<std::uint32_t>(bytes) * kPrime1), 23) * kPrime2 + kPrime3;
    bytes += 4;
  }
  for (; bytes < end; ++bytes) hash = std::rotl(hash ^ (*bytes * kPrime5), 11) * kPrime1;
  hash = (hash ^ (hash >> 33)) * kPrime2;
  hash = (hash ^ (hash >> 29)) * kPrime3;
  return hash ^ (hash >> 32);
}

std::uint32_t crc32c_portable(const void* data, std::size_t size, std::uint32_t previous) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint32_t crc = ~previous;
  for (; size >= 8; size -= 8, bytes += 8) {
    const std::uint64_t word = load<std::uint64_t>(bytes) ^ crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= kCrc32cTables[7 - i][(word >> (8 * i)) & 0xFF];
  }
  for (; size > 0; --size, ++bytes) crc = (crc >> 8) ^ kCrc32cTables[0][(crc ^ *bytes) & 0xFF];
  return ~crc;
}

std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t previous) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return crc32c_sse42(data, size, previous);
#endif
  return crc32c_portable(data, size, previous);
}

std::uint16_t crc16(const void* data, std::size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint32_t crc = 0;
  for (; size > 0; --size, ++bytes) crc = ((crc << 8) & 0xFFFFU) ^ kCrc16Table[(crc >> 8) ^ *bytes];
  return static_cast<std::uint16_t>(crc);
}

std::uint64_t crc64(const void* data, std::size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint64_t crc = ~std::uint64_t{0};
  for (; size > 0; --size, ++bytes) crc = (crc >> 8) ^ kCrc64Table[(crc ^ *bytes) & 0xFF];
  return ~crc;
}

}  // namespace imss
