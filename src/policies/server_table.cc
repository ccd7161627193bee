#include "policies/server_table.h"

#include <bit>

namespace imss {

ServerTable::ServerTable(std::vector<ServerWeight> servers) : servers_(std::move(servers)) {
  for (std::uint32_t first = 0; first < servers_.size();) {
    bins_.push_back(bin_at(servers_, first));
    first += static_cast<std::uint32_t>(std::popcount(bins_.back().present_mask));
  }
}

std::uint32_t ServerTable::place(Policy policy, const PlacementInput& input,
                                 std::span<std::uint32_t> out) const {
  if (policy == Policy::kHrw) {
    return place_by_rendezvous(input.dataset_id, input.block, servers_, bins_, out);
  }
  return imss::place(policy, input, servers_, out);
}

}  // namespace imss
