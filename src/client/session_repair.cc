// Making the copies of a block equal again after a writer died between two of them.
#include <algorithm>
#include <vector>

#include "base/log.h"
#include "client/session.h"

namespace imss::client {

using store::BlockId;
using store::DataService;

namespace {

constexpr std::uint32_t kMaxCopies = 3;

// Copies the newest content over the older ones. A writer that comes in between only makes them newer. Errors: kIo while
// one of the copies cannot be reached and may come back.
Status level_copies(const InstanceServers& servers, const store::Attributes& attributes, BlockId id,
                    std::span<const std::uint32_t> positions) {
  const auto lost = [&](std::uint32_t position) {
    return servers.stores[position] == nullptr || servers.stores[position]->lost();
  };
  DataService* newest = nullptr;
  std::uint64_t version = 0;
  for (const std::uint32_t position : positions) {
    if (lost(position)) continue;
    DataService* store = servers.stores[position].get();
    if (!store->serving()) return Code::kIo;
    IMSS_ASSIGN_OR_RETURN(const std::uint64_t found, store->version(id));
    if (found <= version) continue;
    newest = store;
    version = found;
  }
  if (newest == nullptr) return {};
  std::vector<std::byte> content(attributes.block_bytes);
  for (;;) {
    IMSS_RETURN_IF_ERROR(newest->get(id, 0, content));
    IMSS_ASSIGN_OR_RETURN(const std::uint64_t after, newest->version(id));
    if (after == version) break;
    version = after;
  }
  for (const std::uint32_t position : positions) {
    DataService* store = servers.stores[position].get();
    if (lost(position) || store == newest) continue;
    store::PutOptions options;
    options.version = version;
    options.generation = attributes.generation;
    auto put = store->put(id, content, options);
    if (!put.ok()) return put.status();
  }
  return {};
}

}  // namespace

Status Session::repair_copies(const InstanceServers& servers) {
  Status status;
  // Servers on other nodes are seen to by their own upkeep.
  for (DataService* const store : servers.mapped) {
    if (store == nullptr || !store->serving()) continue;
    for (const BlockId& id : store->torn_blocks()) {
      Status levelled;
      for (const auto& home : servers.stores) {
        if (!home) continue;
        auto attributes = home->attributes(id.dataset);
        if (!attributes.ok()) {  // of servers that do not have it kNotFound
          if (attributes.code() == Code::kIo && !home->lost()) levelled = attributes.status();
          continue;
        }
        levelled = {};
        const auto policy = static_cast<Policy>(attributes->placement & 0xff);
        const auto copies = std::min<std::uint64_t>(attributes->placement >> 8 & 0xff, kMaxCopies);
        const auto count = std::min<std::uint64_t>(attributes->placement >> 16 & 0xffff, servers.weights.size());
        PlacementInput input{id.dataset, id.block, attributes->block_count};
        // A LOCAL block's first copy is on the server where the intent was found, or before it in the list.
        for (std::uint32_t start = 0; start < (policy == Policy::kLocal ? count : 1); ++start) {
          input.local_index = start;
          std::uint32_t positions[kMaxCopies];
          const std::uint32_t placed =
              place(policy, input, std::span(servers.weights).first(count), std::span(positions).first(copies));
          const bool holds = std::any_of(positions, positions + placed, [&](std::uint32_t position) {
            return servers.stores[position].get() == store;
          });
          if (!holds) continue;
          if (policy == Policy::kLocal && servers.stores[positions[0]].get() != store) continue;
          levelled = level_copies(servers, *attributes, id, std::span(positions).first(placed));
          if (!levelled.ok()) break;
        }
        if (!levelled.ok()) break;
        IMSS_LOG_INFO("the copies of block %llu of dataset %llu are equal again",
                      static_cast<unsigned long long>(id.block), static_cast<unsigned long long>(id.dataset));
        break;
      }
      if (levelled.ok()) levelled = store->repaired(id);
      if (!levelled.ok()) status = levelled;  // the next one may be luckier
    }
  }
  return status;
}

}  // namespace imss::client
