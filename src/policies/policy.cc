#include "policies/policy.h"

#include <algorithm>
#include <array>

#include "base/hash.h"
#include "base/text.h"
#include "base/wide_math.h"
#include "policies/rendezvous.h"

namespace imss {
namespace {

struct PolicyRow {
  Policy policy;
  std::string_view name;
};

constexpr std::array kNames = {
    PolicyRow{Policy::kRoundRobin, "RR"}, PolicyRow{Policy::kBuckets, "BUCKETS"},
    PolicyRow{Policy::kHash, "HASH"},     PolicyRow{Policy::kCrc16b, "CRC16b"},
    PolicyRow{Policy::kCrc64b, "CRC64b"}, PolicyRow{Policy::kLocal, "LOCAL"},
    PolicyRow{Policy::kHrw, "HRW"},       PolicyRow{Policy::kLocal, "ZCOPY"},
};

// Spreads a hash evenly over [0, count).
std::uint64_t scale(std::uint64_t hash, std::uint64_t count) { return multiply_high(hash, count); }

// Where a dataset starts, so that the first blocks of many small datasets do not meet on one
// server.
std::uint64_t start_of(std::uint64_t dataset_id, std::uint64_t count) {
  return scale(mix64(dataset_id), count);
}

// Dataset and block as the 16 little-endian bytes that the CRC policies are defined on.
std::array<unsigned char, 16> bytes_of(const PlacementInput& input) {
  std::array<unsigned char, 16> bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<unsigned char>(input.dataset_id >> (8 * i));
    bytes[8 + i] = static_cast<unsigned char>(input.block >> (8 * i));
  }
  return bytes;
}

// Data block number b (from 0) of n declared belongs to run b * servers / n: runs differ by at most
// one block, and blocks beyond the declared ones go on in the same way, round the servers again.
std::uint64_t bucket_of(const PlacementInput& input, std::uint64_t count) {
  const std::uint64_t ordinal = input.block == 0 ? 0 : input.block - 1;
  // With fewer blocks than servers a run is one block.
  if (input.block_count <= count) return ordinal % count;
  return static_cast<std::uint64_t>(static_cast<Uint128>(ordinal) * count / input.block_count %
                                    count);
}

// The position of the first replica; for every policy but HRW.
std::uint64_t first_replica(Policy policy, const PlacementInput& input, std::uint64_t count) {
  const std::uint64_t start = start_of(input.dataset_id, count);
  switch (policy) {
    case Policy::kRoundRobin: {
      const std::uint64_t ordinal = input.block == 0 ? 0 : input.block - 1;
      return (start + ordinal % count) % count;
    }
    case Policy::kBuckets:
      return (start + bucket_of(input, count)) % count;
    case Policy::kHash:
      return scale(mix64(input.dataset_id, input.block), count);
    case Policy::kCrc16b:
      // The start lets different datasets reach different servers where there are more than 65536.
      return (start + crc16(bytes_of(input).data(), 16)) % count;
    case Policy::kCrc64b:
      return crc64(bytes_of(input).data(), 16) % count;
    case Policy::kLocal:
      return input.block != 0 && input.local_index < count ? input.local_index : start;
    case Policy::kHrw:
      break;
  }
  return start;
}

}  // namespace

Result<Policy> parse_policy(std::string_view name) {
  for (const PolicyRow& row : kNames) {
    if (equal_ignoring_case(name, row.name)) return row.policy;
  }
  return Status(Code::kInvalidArgument,
                concat("there is no policy ", quoted(name),
                       ": use RR, BUCKETS, HASH, CRC16b, CRC64b, LOCAL or HRW"));
}

std::string_view policy_name(Policy policy) {
  for (const PolicyRow& row : kNames) {
    if (row.policy == policy) return row.name;
  }
  return "unknown";
}

std::uint32_t place(Policy policy, const PlacementInput& input,
                    std::span<const ServerWeight> servers, std::span<std::uint32_t> out) {
  const std::size_t replicas = std::min({out.size(), servers.size(), kMaxReplicas});
  if (replicas == 0) return 0;
  if (policy == Policy::kHrw)
    return place_by_rendezvous(input.dataset_id, input.block, servers, out);
  const std::uint64_t count = servers.size();
  const std::uint64_t first = first_replica(policy, input, count);
  for (std::size_t i = 0; i < replicas; ++i)
    out[i] = static_cast<std::uint32_t>((first + i) % count);
  return static_cast<std::uint32_t>(replicas);
}

}  // namespace imss
