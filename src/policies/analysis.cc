#include "policies/analysis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <thread>
#include <vector>

#include "policies/server_table.h"

namespace imss {
namespace {

constexpr std::uint32_t kMaxServers = 10'000'000;
constexpr unsigned kMaxThreads = 16;
constexpr std::uint64_t kBlocksPerThread = 10'000;  // below this a thread costs more than it saves

using Positions = std::array<std::uint32_t, kMaxReplicas>;

Status check(const PlacementRequest& request) {
  const auto refuse = [](const char* sentence) { return Status(Code::kInvalidArgument, sentence); };
  if (request.servers == 0 || request.blocks == 0 || request.replicas == 0) {
    return refuse("there must be at least one server, one block and one replica");
  }
  if (request.servers > kMaxServers || request.added > kMaxServers) {
    return refuse("at most 10000000 servers can be analysed");
  }
  if (request.added != 0 && request.removed != 0)
    return refuse("servers either join or leave, not both at once");
  if (request.removed >= request.servers) return refuse("at least one server must stay");
  if (request.replicas > kMaxReplicas || request.replicas > request.servers - request.removed) {
    return refuse("there cannot be more replicas than servers, nor more than 64");
  }
  return {};
}

std::vector<ServerWeight> first_servers(std::uint32_t count) {
  std::vector<ServerWeight> servers(count);
  for (std::uint32_t id = 0; id < count; ++id) servers[id] = {id, 1};
  return servers;
}

// The servers after the change.
std::vector<ServerWeight> changed_servers(const PlacementRequest& request) {
  std::vector<ServerWeight> servers = first_servers(request.servers + request.added);
  if (request.removed == 0) return servers;
  // Server i leaves when a step of i * removed / servers begins at it.
  const auto steps = [&](std::uint64_t id) { return id * request.removed / request.servers; };
  std::erase_if(servers, [&](const ServerWeight& server) {
    return steps(server.server_id + std::uint64_t{1}) != steps(server.server_id);
  });
  return servers;
}

// Places the blocks of a request on one list of servers.
class Placer {
 public:
  Placer(const PlacementRequest& request, std::vector<ServerWeight> servers)
      : request_(request), table_(std::move(servers)) {
    position_of_id_.assign(request.servers + request.added, kNoLocalServer);
    const auto list = table_.servers();
    for (std::uint32_t i = 0; i < list.size(); ++i) position_of_id_[list[i].server_id] = i;
  }

  std::size_t server_count() const { return table_.servers().size(); }
  std::uint32_t id_at(std::uint32_t position) const { return table_.servers()[position].server_id; }

  void place(std::uint64_t block, std::span<std::uint32_t> out) const {
    const std::uint64_t writer_id = (block - 1) % request_.servers;
    table_.place(request_.policy,
                 {request_.dataset_id, block, request_.blocks, position_of_id_[writer_id]}, out);
  }

 private:
  const PlacementRequest& request_;
  ServerTable table_;
  std::vector<std::uint32_t> position_of_id_;
};

// What one thread found in its part of the blocks.
struct Tally {
  std::vector<std::uint64_t> before;
  std::vector<std::uint64_t> after;
  std::uint64_t moved = 0;
};

// Copies of a block on servers that did not hold it before.
std::uint64_t count_moved(const Placer& before, std::span<const std::uint32_t> old_positions,
                          const Placer& after, std::span<const std::uint32_t> new_positions) {
  std::uint64_t moved = 0;
  for (const std::uint32_t position : new_positions) {
    const std::uint32_t id = after.id_at(position);
    moved += std::ranges::none_of(old_positions,
                                  [&](std::uint32_t old) { return before.id_at(old) == id; });
  }
  return moved;
}

// REQUIRES: first_block >= 1.
Tally tally_blocks(const PlacementRequest& request, const Placer& before, const Placer& after,
                   std::uint64_t first_block, std::uint64_t end_block) {
  Tally tally{std::vector<std::uint64_t>(before.server_count()),
              std::vector<std::uint64_t>(after.server_count()), 0};
  const bool changes = request.added != 0 || request.removed != 0;
  Positions old_storage;
  Positions new_storage;
  const std::span<std::uint32_t> old_positions(old_storage.data(), request.replicas);
  const std::span<std::uint32_t> new_positions(new_storage.data(), request.replicas);
  for (std::uint64_t block = first_block; block < end_block; ++block) {
    before.place(block, old_positions);
    for (const std::uint32_t position : old_positions) ++tally.before[position];
    if (!changes) continue;
    after.place(block, new_positions);
    for (const std::uint32_t position : new_positions) ++tally.after[position];
    tally.moved += count_moved(before, old_positions, after, new_positions);
  }
  if (!changes) tally.after = tally.before;
  return tally;
}

void add_to(Tally& sum, const Tally& part) {
  for (std::size_t i = 0; i < sum.before.size(); ++i) sum.before[i] += part.before[i];
  for (std::size_t i = 0; i < sum.after.size(); ++i) sum.after[i] += part.after[i];
  sum.moved += part.moved;
}

Tally tally_all(const PlacementRequest& request, const Placer& before, const Placer& after) {
  const std::uint64_t useful = std::max<std::uint64_t>(request.blocks / kBlocksPerThread, 1);
  const std::uint64_t cores = std::clamp(std::thread::hardware_concurrency(), 1U, kMaxThreads);
  const std::uint64_t count = std::min(useful, cores);
  std::vector<Tally> parts(count);
  std::vector<std::thread> threads;
  const std::uint64_t share = request.blocks / count;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t first = 1 + i * share;
    const std::uint64_t end = i + 1 == count ? request.blocks + 1 : first + share;
    threads.emplace_back([&parts, &request, &before, &after, i, first, end] {
      parts[i] = tally_blocks(request, before, after, first, end);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 1; i < parts.size(); ++i) add_to(parts[0], parts[i]);
  return std::move(parts[0]);
}

LoadReport summarise(const std::vector<std::uint64_t>& copies) {
  LoadReport load;
  load.servers = static_cast<std::uint32_t>(copies.size());
  const auto [least, most] = std::ranges::minmax_element(copies);
  load.least = *least;
  load.most = *most;
  load.empty = static_cast<std::uint32_t>(std::ranges::count(copies, 0U));
  double sum = 0;
  for (const std::uint64_t count : copies) sum += static_cast<double>(count);
  load.mean = sum / static_cast<double>(copies.size());
  double squares = 0;
  for (const std::uint64_t count : copies) {
    const double distance = static_cast<double>(count) - load.mean;
    squares += distance * distance;
  }
  load.standard_deviation = std::sqrt(squares / static_cast<double>(copies.size()));
  return load;
}

// The part of all copies that must move: the fair share of those who join, or what those who leave
// hold.
double least_movement(const PlacementRequest& request, const Placer& after, const Tally& tally) {
  if (request.added != 0) {
    return static_cast<double>(request.added) /
           (static_cast<double>(request.servers) + request.added);
  }
  std::uint64_t lost = 0;
  for (const std::uint64_t copies : tally.before) lost += copies;
  const std::uint64_t all = lost;
  for (std::uint32_t i = 0; i < after.server_count(); ++i) lost -= tally.before[after.id_at(i)];
  return static_cast<double>(lost) / static_cast<double>(all);
}

}  // namespace

Result<PlacementReport> analyse_placement(const PlacementRequest& request) {
  IMSS_RETURN_IF_ERROR(check(request));
  const Placer before(request, first_servers(request.servers));
  const Placer after(request, changed_servers(request));
  const Tally tally = tally_all(request, before, after);
  PlacementReport report;
  report.before = summarise(tally.before);
  report.after = summarise(tally.after);
  report.moved =
      static_cast<double>(tally.moved) / (static_cast<double>(request.blocks) * request.replicas);
  report.least_movement = least_movement(request, after, tally);
  return report;
}

}  // namespace imss
