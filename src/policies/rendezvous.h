// Weighted rendezvous hashing, the policy HRW.
//
// For each block every possible server id has a fixed draw from the exponential distribution, and a
// server's score is its draw divided by its weight; the lowest scores hold the replicas. The draw
// of a server does not depend on which other servers exist, hence a block moves only to a server
// that joined, only from one that left or changed its weight, and in proportion to the weights.
//
// The draws of all ids of one bin (64 neighbouring ids, fewer for the lowest ids) are made
// together, in rising order: the time to the next draw and the id it belongs to. Most bins are
// passed over after one hash, because their first draw is already higher than the best score. So a
// placement costs about one hash per 64 servers instead of a hash and a logarithm for each, and the
// result is that of plain rendezvous hashing over these draws. It is fastest where ids are given
// without large gaps. All arithmetic is in integers.
//
// Pure functions without allocation: any thread.
#pragma once

#include <cstdint>
#include <span>

#include "policies/policy.h"

namespace imss {

// The servers of one bin that exist.
struct ServerBin {
  std::uint32_t bin;           // number of the bin, a function of the ids alone
  std::uint32_t first_index;   // where they begin in the server list
  std::uint64_t present_mask;  // bit i: the server with the i-th id of the bin exists
  std::uint32_t top_weight;    // the highest weight among them
  std::uint32_t size_log2;     // ids of the bin, whether servers have them or not
};

// Writes min(out.size(), servers.size()) replicas as positions in `servers`, best first; returns
// how many. REQUIRES: `servers` is sorted by server_id without repetition.
std::uint32_t place_by_rendezvous(std::uint64_t dataset_id, std::uint64_t block,
                                  std::span<const ServerWeight> servers,
                                  std::span<std::uint32_t> out);

// The same with the bins of `servers` at hand, which saves the pass over the list.
std::uint32_t place_by_rendezvous(std::uint64_t dataset_id, std::uint64_t block,
                                  std::span<const ServerWeight> servers,
                                  std::span<const ServerBin> bins, std::span<std::uint32_t> out);

// The bin that begins at servers[first].
ServerBin bin_at(std::span<const ServerWeight> servers, std::uint32_t first);

}  // namespace imss
