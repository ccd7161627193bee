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

  // A draw that is shut out for this weight and all lower ones, as is every higher draw.
  std::uint64_t limit_for(std::uint32_t weight) const {
    if (size_ < wanted_ || picks_[size_ - 1].weight == 0) return UINT64_MAX;
    const Pick& last = picks_[size_ - 1];
    const Uint128 limit = static_cast<Uint128>(last.draw) * weight / last.weight + 1;
    return limit > UINT64_MAX ? UINT64_MAX : static_cast<std::uint64_t>(limit);
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

constexpr std::size_t kMaxBinSize = 64;

constexpr std::array<std::uint8_t, kMaxBinSize> make_slots() {
  std::array<std::uint8_t, kMaxBinSize> slots{};
  for (std::size_t i = 0; i < kMaxBinSize; ++i) slots[i] = static_cast<std::uint8_t>(i);
  return slots;
}
constexpr auto kSlots = make_slots();

// The bins, as a function of the id: few servers should not share a bin with many ids that nobody
// has, because these have draws too.
struct BinShape {
  std::uint32_t bin;
  std::uint32_t first_id;
  std::uint32_t size_log2;
};
constexpr BinShape shape_of(std::uint32_t id) {
  if (id < 16) return {id / 4, id & ~3U, 2};
  if (id < 64) return {4 + (id - 16) / 16, id & ~15U, 4};
  return {7 + (id - 64) / 64, id & ~63U, 6};
}

// The least of `remaining` independent draws, from a random word: an exponential draw with that
// rate.
std::uint64_t least_draw(std::uint64_t word, std::uint64_t remaining) {
  return negative_log2(word) / remaining + 1;
}

// Offers the servers of a bin in the order of their draws, until the rest cannot be among the best.
// `word` is the bin's random word for this block; all draws of the bin are derived from it.
void offer_bin(std::uint64_t word, const ServerBin& bin, std::span<const ServerWeight> servers,
               Ranking& ranking) {
  std::array<std::uint8_t, kMaxBinSize> slots = kSlots;
  std::uint64_t missing_mask = bin.present_mask;
  std::uint64_t remaining = std::uint64_t{1} << bin.size_log2;
  std::uint64_t draw = least_draw(word, remaining);
  std::uint64_t stream = word;
  for (std::size_t drawn = 0; !ranking.shuts_out(draw, bin.top_weight); ++drawn) {
    // The next id of a random permutation of the bin's ids.
    const std::uint64_t pick = multiply_high(mix64(stream += kDrawStep), remaining);
    std::swap(slots[drawn], slots[drawn + pick]);
    const std::uint64_t bit = std::uint64_t{1} << slots[drawn];
    if ((missing_mask & bit) != 0) {
      missing_mask &= ~bit;
      const auto before = static_cast<std::uint32_t>(std::popcount(bin.present_mask & (bit - 1)));
      const std::uint32_t index = bin.first_index + before;
      ranking.offer({draw, servers[index].weight, index});
      if (missing_mask == 0) return;
    }
    --remaining;
    draw += least_draw(mix64(stream += kDrawStep), remaining);
  }
}

// Looks at the bins of one block, one after the other.
class Search {
 public:
  Search(std::uint64_t dataset_id, std::uint64_t block, std::span<const ServerWeight> servers,
         std::size_t wanted)
      : key_(mix64(dataset_id, block)), servers_(servers), ranking_(wanted) {}

  void consider(const ServerBin& bin) {
    const std::uint64_t word = mix64(key_ + bin.bin * kBinStep);
    // A lower bound of the first draw that needs no logarithm.
    const std::uint64_t bound = (~word >> (64 - kLogFractionBits)) >> bin.size_log2;
    if (bin.top_weight == limit_weight_ && bound >= limit_) return;
    if (ranking_.shuts_out(bound + 1, bin.top_weight)) return;
    offer_bin(word, bin, servers_, ranking_);
    limit_ = ranking_.limit_for(bin.top_weight);
    limit_weight_ = bin.top_weight;
  }

  std::uint32_t write(std::span<std::uint32_t> out) const { return ranking_.write(out); }

 private:
  std::uint64_t key_;
  std::span<const ServerWeight> servers_;
  Ranking ranking_;
  // The ranking's answer for the weight asked about last, because most bins have the same top
  // weight.
  std::uint64_t limit_ = UINT64_MAX;
  std::uint32_t limit_weight_ = 0;
};

std::size_t replica_count(std::span<const ServerWeight> servers, std::span<std::uint32_t> out) {
  return std::min({out.size(), servers.size(), kMaxReplicas});
}

}  // namespace

ServerBin bin_at(std::span<const ServerWeight> servers, std::uint32_t first) {
  const BinShape shape = shape_of(servers[first].server_id);
  const std::uint32_t size = 1U << shape.size_log2;
  ServerBin bin{shape.bin, first, 0, 0, shape.size_log2};
  for (std::size_t i = first; i < servers.size() && servers[i].server_id - shape.first_id < size;
       ++i) {
    bin.present_mask |= std::uint64_t{1} << (servers[i].server_id - shape.first_id);
    bin.top_weight = std::max(bin.top_weight, servers[i].weight);
  }
  return bin;
}

std::uint32_t place_by_rendezvous(std::uint64_t dataset_id, std::uint64_t block,
                                  std::span<const ServerWeight> servers,
                                  std::span<std::uint32_t> out) {
  if (replica_count(servers, out) == 0) return 0;
  Search search(dataset_id, block, servers, replica_count(servers, out));
  for (std::uint32_t first = 0; first < servers.size();) {
    const ServerBin bin = bin_at(servers, first);
    search.consider(bin);
    first += static_cast<std::uint32_t>(std::popcount(bin.present_mask));
  }
  return search.write(out);
}

std::uint32_t place_by_rendezvous(std::uint64_t dataset_id, std::uint64_t block,
                                  std::span<const ServerWeight> servers,
                                  std::span<const ServerBin> bins, std::span<std::uint32_t> out) {
  if (replica_count(servers, out) == 0) return 0;
  Search search(dataset_id, block, servers, replica_count(servers, out));
  for (const ServerBin& bin : bins) search.consider(bin);
  return search.write(out);
}

}  // namespace imss
