// Hashes and checksums that are part of stored layouts and of placement: they never change.
//
// hash_bytes is XXH64, mix64 the finaliser of SplitMix64. Pure functions: any thread, no errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace imss {

// A bijection of 64-bit words in which every input bit changes every output bit with probability
// 1/2.
constexpr std::uint64_t mix64(std::uint64_t word) {
  word += 0x9E3779B97F4A7C15U;
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9U;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EBU;
  return word ^ (word >> 31);
}

// Hash of two words, in order.
constexpr std::uint64_t mix64(std::uint64_t first, std::uint64_t second) {
  return mix64(mix64(first) ^ second);
}

// XXH64 of `size` bytes.
std::uint64_t hash_bytes(const void* data, std::size_t size, std::uint64_t seed = 0);
inline std::uint64_t hash_text(std::string_view bytes, std::uint64_t seed = 0) {
  return hash_bytes(bytes.data(), bytes.size(), seed);
}

// CRC-32C (Castagnoli, as in iSCSI and ext4); "123456789" gives E3069283. To go on over the next
// piece, pass the value of the pieces before. Uses the CPU's instruction where it has one.
std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t previous = 0);
// The same by tables; for tests and other CPUs.
std::uint32_t crc32c_portable(const void* data, std::size_t size, std::uint32_t previous = 0);

// CRC-16/XMODEM (polynomial 1021, start 0, not reflected); "123456789" gives 31C3.
std::uint16_t crc16(const void* data, std::size_t size);

// CRC-64/XZ (ECMA-182 reflected); "123456789" gives 995DC9BBDF1939FA.
std::uint64_t crc64(const void* data, std::size_t size);

}  // namespace imss
