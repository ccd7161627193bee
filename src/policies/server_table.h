// A list of servers, prepared for placing many blocks: what a client keeps per epoch of the cluster
// map.
//
// Owns its copy of the list. Immutable after construction: any thread. Placements equal those of
// place() over the same list.
#pragma once

#include <span>
#include <vector>

#include "policies/policy.h"
#include "policies/rendezvous.h"

namespace imss {

class ServerTable {
 public:
  // REQUIRES: `servers` is sorted by server_id without repetition.
  explicit ServerTable(std::vector<ServerWeight> servers);

  std::span<const ServerWeight> servers() const { return servers_; }

  // As place() in policy.h; does not allocate.
  std::uint32_t place(Policy policy, const PlacementInput& input,
                      std::span<std::uint32_t> out) const;

 private:
  std::vector<ServerWeight> servers_;
  std::vector<ServerBin> bins_;
};

}  // namespace imss
