// What a policy does to a number of servers: how evenly it loads them, and how much moves when
// servers join or leave. Every block is placed; nothing is sampled or estimated.
//
// Pure function of its request; it uses as many threads as there are cores while it runs. 10^6
// blocks on 10^5 servers take below a second, with HRW some seconds (a placement costs servers / 64
// hashes there).
#pragma once

#include <cstdint>

#include "base/result.h"
#include "policies/policy.h"

namespace imss {

struct PlacementRequest {
  Policy policy = Policy::kRoundRobin;
  std::uint32_t servers = 1;  // of equal weight, ids from 0 on
  std::uint64_t blocks = 1;   // data blocks of one dataset
  std::uint32_t replicas = 1;
  std::uint32_t added = 0;    // servers that join: the next ids
  std::uint32_t removed = 0;  // servers that leave: spread evenly over the ids
  std::uint64_t dataset_id = 1;
};

// Copies per server.
struct LoadReport {
  std::uint32_t servers = 0;
  std::uint64_t least = 0;
  std::uint64_t most = 0;
  double mean = 0;
  double standard_deviation = 0;
  std::uint32_t empty = 0;  // servers that hold nothing
};

struct PlacementReport {
  LoadReport before;
  LoadReport after;  // equal to `before` when no server joins or leaves
  double moved = 0;  // part of all copies that are on a server that did not hold the block before
  double least_movement = 0;  // the part that any even policy must move
};

// LOCAL is computed for writers that sit on the servers in turn, with their places recorded by
// server id. Errors: kInvalidArgument when the request makes no sense (nothing to place, both
// joining and leaving, all servers leave, more replicas than servers or than kMaxReplicas).
Result<PlacementReport> analyse_placement(const PlacementRequest& request);

}  // namespace imss
