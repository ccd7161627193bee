#include "policies/rendezvous.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/hash.h"
#include "base/wide_math.h"
#include "policies/fixed_log.h"

namespace imss {
namespace {

constexpr std::uint64_t kBinStep =
    0xD6E8FEB86659FD93U;  // odd: distinct bins of a block get distinct words
constexpr std::uint64_t kDrawStep = 0x9E3779B97F4A7C15U;  // SplitMix64's increment

struct Pick {
  std::uint64_t draw;
  std::uint32_t weight;
  std::uint32_t index;
};

// Whether a draw with a weight scores lower than another; divisions are cross-multiplied.
bool scores_lower(std::uint64_t draw, std::uint32_t weight, std::uint64_t than_draw,
                  std::uint32_t than_weight) {
  return static_cast<Uint128>(draw) * than_weight < static_cast<Uint128>(than_draw) * weight;
}

// The best picks so far, in order.
class Ranking {
 public:
  explicit Ranking(std::size_t wanted) : wanted_(wanted) {}

  // Whether no server with this draw or a higher one, and this weight or a lower one, can be among
  // the best.
  bool shuts_out(std::uint64_t draw, std::uint32_t weight) const {
    if (size_ < wanted_) return false;
    const Pick& last = picks_[size_ - 1];
    return scores_lower(last.draw, last.weight, draw, weight);
  }

  void offer(const Pick& pick) {
    if (size_ == wanted_ && !is_better(pick, picks_[size_ - 1])) return;
    if (size_ < wanted_) ++size_;
    std::size_t at = size_ - 1;
    for (; at > 0 && is_better(pick, picks_[at - 1]); --at) picks_[at] = picks_[at - 1];
    picks_[at] = pick;
  }

  std::uint32_t write(std::span<std::uint32_t> out) const {
    for (std::size_t i = 0; i < size_; ++i) out[i] = picks_[i].index;
    return static_cast<std::uint32_t>(size_);
  }

 private:
  // A total order: equal scores (weights of 0, above all) go by draw, then by position.
  static bool is_better(const Pick& a, const Pick& b) {
    if (scores_lower(a.draw, a.weight, b.draw, b.weight)) return true;
    if (scores_lower(b.draw, b.weight, a.draw, a.weight)) return false;
    return a.draw != b.draw ? a.draw < b.draw : a.index < b.index;
  }

  std::array<Pick, kMaxReplicas> picks_;  // the first size_ are set
  std::size_t wanted_;
  std::size_t size_ = 0;
};

constexpr std::array<std::uint8_t, kBinServers> make_slots() {
  std::array<std::uint8_t, kBinServers> slots{};
  for (std::size_t i = 0; i < kBinServers; ++i) slots[i] = static_cast<std::uint8_t>(i);
  return slots;
}
constexpr auto kSlots = make_slots();

// The least of `remaining` independent draws, from a random word: an exponential draw with that
// rate.
std::uint64_t least_draw(std::uint64_t word, std::uint64_t remaining) {
  return negative_log2(word) / remaining + 1;
}

// Offers the servers of a bin in the order of their draws, until the rest cannot be among the best.
// `word` is the bin's random word for this block; all draws of the bin are derived from it.
void offer_bin(std::uint64_t word, const ServerBin& bin, std::span<const ServerWeight> servers,
               Ranking& ranking) {
  std::array<std::uint8_t, kBinServers> slots = kSlots;
  std::uint64_t missing_mask = bin.present_mask;
  std::uint64_t draw = least_draw(word, kBinServers);
  std::uint64_t stream = word;
  for (std::size_t drawn = 0; missing_mask != 0 && !ranking.shuts_out(draw, bin.top_weight);
       ++drawn) {
    // The next id of a random permutation of the bin's ids.
    const std::uint64_t pick = multiply_high(mix64(stream += kDrawStep), kBinServers - drawn);
    std::swap(slots[drawn], slots[drawn + pick]);
    const std::uint64_t bit = std::uint64_t{1} << slots[drawn];
    if ((missing_mask & bit) != 0) {
      missing_mask &= ~bit;
      const auto before = static_cast<std::uint32_t>(std::popcount(bin.present_mask & (bit - 1)));
      const std::uint32_t index = bin.first_index + before;
      ranking.offer({draw, servers[index].weight, index});
    }
    if (drawn + 1 == kBinServers) break;
    draw += least_draw(mix64(stream += kDrawStep), kBinServers - drawn - 1);
  }
}

void consider_bin(std::uint64_t key, const ServerBin& bin, std::span<const ServerWeight> servers,
                  Ranking& ranking) {
  const std::uint64_t word = mix64(key + bin.bin * kBinStep);
  // A lower bound of the first draw that needs no logarithm.
  const std::uint64_t bound = ((~word >> (64 - kLogFractionBits)) / kBinServers) + 1;
  if (!ranking.shuts_out(bound, bin.top_weight)) offer_bin(word, bin, servers, ranking);
}

std::size_t replica_count(std::span<const ServerWeight> servers, std::span<std::uint32_t> out) {
  return std::min({out.size(), servers.size(), kMaxReplicas});
}

}  // namespace

ServerBin bin_at(std::span<const ServerWeight> servers, std::uint32_t first) {
  ServerBin bin{servers[first].server_id / kBinServers, first, 0, 0};
  for (std::size_t i = first; i < servers.size() && servers[i].server_id / kBinServers == bin.bin;
       ++i) {
    bin.present_mask |= std::uint64_t{1} << (servers[i].server_id % kBinServers);
    bin.top_weight = std::max(bin.top_weight, servers[i].weight);
  }
  return bin;
}

std::uint32_t place_by_rendezvous(std::uint64_t dataset_id, std::uint64_t block,
                                  std::span<const ServerWeight> servers,
                                  std::span<std::uint32_t> out) {
  Ranking ranking(replica_count(servers, out));
  if (replica_count(servers, out) == 0) return 0;
  const std::uint64_t key = mix64(dataset_id, block);
  for (std::uint32_t first = 0; first < servers.size();) {
    const ServerBin bin = bin_at(servers, first);
    consider_bin(key, bin, servers, ranking);
    first += static_cast<std::uint32_t>(std::popcount(bin.present_mask));
  }
  return ranking.write(out);
}

std::uint32_t place_by_rendezvous(std::uint64_t dataset_id, std::uint64_t block,
                                  std::span<const ServerWeight> servers,
                                  std::span<const ServerBin> bins, std::span<std::uint32_t> out) {
  Ranking ranking(replica_count(servers, out));
  if (replica_count(servers, out) == 0) return 0;
  const std::uint64_t key = mix64(dataset_id, block);
  for (const ServerBin& bin : bins) consider_bin(key, bin, servers, ranking);
  return ranking.write(out);
}

}  // namespace imss
