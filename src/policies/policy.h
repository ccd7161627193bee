// Distribution policies: which servers hold which block of a dataset.
//
// A policy is a pure function of (dataset, block, server list): the same in every process, on every
// CPU and in every version, so that clients compute it without asking anybody. Placements are
// pinned by golden tests and never change. No allocation, no shared state: any thread. Nothing can
// fail but an unknown policy name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace imss {

// The values are stored with datasets and never change.
enum class Policy : std::uint8_t {
  kRoundRobin = 1,  // one server after the other, from a start that is hashed from the dataset
  kBuckets = 2,     // contiguous runs of blocks, one run per server
  kHash = 3,        // a hash of dataset and block
  kCrc16b = 4,      // CRC-16 of dataset and block
  kCrc64b = 5,      // CRC-64 of dataset and block
  kLocal = 6,       // the server of the writer, which is recorded
  kHrw = 7,         // weighted rendezvous hashing: few blocks move when servers come and go
};

inline constexpr Policy kAllPolicies[] = {Policy::kRoundRobin, Policy::kBuckets, Policy::kHash,
                                          Policy::kCrc16b,     Policy::kCrc64b,  Policy::kLocal,
                                          Policy::kHrw};

// The policy called RR, BUCKETS, HASH, CRC16b, CRC64b, LOCAL or HRW, in any case; ZCOPY is LOCAL.
// Errors: kInvalidArgument, with the known names.
Result<Policy> parse_policy(std::string_view name);
std::string_view policy_name(Policy policy);

struct ServerWeight {
  std::uint32_t server_id;
  std::uint32_t weight;  // relative capacity; only HRW looks at it, where 0 is a server to use last
};

inline constexpr std::size_t kMaxReplicas = 64;
inline constexpr std::uint32_t kNoLocalServer = UINT32_MAX;

struct PlacementInput {
  std::uint64_t dataset_id;
  std::uint64_t block;  // data blocks count from 1; 0 is the inner metadata
  std::uint64_t
      block_count;  // data blocks declared for the dataset, 0 if unknown; only BUCKETS looks at it
  // LOCAL: where in the server list the writer's or the recorded server is. Without one
  // (kNoLocalServer or beyond the list), and for block 0, LOCAL uses a hash of the dataset.
  std::uint32_t local_index = kNoLocalServer;
};

// Writes the replicas of a block, as positions in `servers`, the first replica first. Returns how
// many: min(out.size(), servers.size(), kMaxReplicas), all different. All policies but HRW place
// the further replicas on the servers that follow the first one in the list. REQUIRES: `servers` is
// sorted by server_id without repetition (HRW depends on it), below 2^32 - 1 servers. Cost:
// constant, for HRW about servers.size() / 64 hashes and one pass over the list; see server_table.h
// where that pass is too long.
std::uint32_t place(Policy policy, const PlacementInput& input,
                    std::span<const ServerWeight> servers, std::span<std::uint32_t> out);

}  // namespace imss
