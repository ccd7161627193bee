// Growth of a table: one bucket at a time is split into two.
#include <algorithm>
#include <bit>

#include "segment/fault.h"
#include "segment/table_internal.h"

namespace imss::segment {
namespace {

// Split when more than 17 of 20 places of the buckets are taken: keeps an entry below 64 bytes.
constexpr std::uint64_t kFullNumerator = 17;
constexpr std::uint64_t kFullDenominator = 20;
// A table this many times as full as it should be waits for the host to let it grow.
constexpr std::uint64_t kPatience = 3;
constexpr std::uint64_t kGivenUp = 2;  // in TableRoot::wanted

}  // namespace

void Table::grow_if_full(Participant& me) {
  for (int round = 0; round < 2; ++round) {
    const std::uint64_t places_in_use = entries() * kFullDenominator / kFullNumerator;
    const std::uint64_t count = buckets();
    if (places_in_use <= count * kBucketEntries) return;
    const std::uint64_t ready = root_->ready_buckets.load();
    if (!enough_ready(count, ready) && root_->wanted.load() == 0) {
      root_->wanted.store(1);
      nudge_host(*segment_);
    }
    if (count + 1 > ready) {
      // Chains are somewhat longer until the host, or the next one, has made room. Waiting for it is only for
      // those who outrun it.
      if (places_in_use <= count * kBucketEntries * kPatience) return;
      if (root_->wanted.load() == kGivenUp || segment_->probe(0) != Segment::Liveness::kAlive) return;
      const Status status = ask_host(*segment_, me, Request::kBuckets, index_, 0);
      // One client has waited for all, until the host answers again.
      if (status.code() == Code::kTimedOut) root_->wanted.store(kGivenUp);
      if (!status.ok()) return;
    }
    if (!split_one(me).ok()) return;
  }
}

// What stays fits into the head again: moves it there and returns the overflow buckets to the hand.
void Table::fold_overflow(Participant& me, Transaction& change, TableEdit& edit,
                          const std::vector<std::pair<Key, Values>>& stay_in_overflow) {
  auto& chain = edit.chains_[0];
  auto& first = chain.nodes[0];
  std::uint32_t place = 0;
  for (const auto& [key, values] : stay_in_overflow) {
    while (tag_at(first.tags0, first.tags1, place) != 0) ++place;
    edit.store_entry(chain.head->entries[place], key, values);
    set_tag(&first.tags0, &first.tags1, place, tag_of(hash_of(key)));
  }
  first.changed = true;
  std::uint32_t slot = 0;
  for (std::uint32_t i = 1; i < chain.count; ++i) {
    while (me.hand[slot].load() != 0) ++slot;
    const Ref ref(segment_->offset_of(chain.nodes[i].bucket), class_for(kOverflowBytes), false);
    change.store(me.hand[slot++], ref.word());
  }
  change.store(chain.head->next, 0);
  chain.count = 1;
}

// Fills a bucket that nobody sees yet, with overflow buckets from `spares` as needed. Returns how many.
std::uint32_t Table::fill_new_bucket(Participant& me, Transaction& change, Bucket* node,
                                     const std::vector<std::pair<Key, Values>>& entries,
                                     const std::array<Held, kMaxSpares>& spares) {
  const auto clear_header = [](Bucket* bucket) {
    for (Word* word = &bucket->lock; word != &bucket->lock + 4; ++word) word->store(0);
  };
  std::uint64_t tags0 = 0;
  std::uint64_t tags1 = 0;
  std::uint32_t place = 0;
  std::uint32_t used_spares = 0;
  const Bucket* head = node;
  clear_header(node);
  for (const auto& [key, values] : entries) {
    if (place == places(node == head)) {
      node->tags0.store(tags0);
      node->tags1.store(tags1);
      const Held& spare = spares[used_spares++];
      node->next.store(spare.ref.offset());
      node = segment_->at<Bucket>(spare.ref.offset());
      clear_header(node);
      change.store(me.hand[spare.slot], 0);
      tags0 = tags1 = 0;
      place = 0;
    }
    Entry& entry = node->entries[place];
    entry.key0.store(key.first, std::memory_order_relaxed);
    entry.key1.store(key.second, std::memory_order_relaxed);
    entry.value0.store(values.value0, std::memory_order_relaxed);
    entry.value1.store(values.value1, std::memory_order_relaxed);
    entry.value2.store(values.value2, std::memory_order_relaxed);
    set_tag(&tags0, &tags1, place++, tag_of(hash_of(key)));
  }
  node->tags0.store(tags0);
  node->tags1.store(tags1);
  return used_spares;
}

// Divides the entries of a locked chain: those that belong to bucket `count` leave it.
Table::Division Table::divide(TableEdit& edit, std::uint64_t count) const {
  Division division;
  auto& chain = edit.chains_[0];
  for (std::uint32_t i = 0; i < chain.count; ++i) {
    auto& node = chain.nodes[i];
    for (std::uint32_t place = 0; place < places(i == 0); ++place) {
      if (tag_at(node.tags0, node.tags1, place) == 0) continue;
      const Key key = key_of(node.bucket->entries[place]);
      if (bucket_index(hash_of(key), count + 1) == count) {
        division.leave.emplace_back(key, values_of(node.bucket->entries[place]));
        set_tag(&node.tags0, &node.tags1, place, 0);
        node.changed = true;
      } else {
        ++division.stay;
        if (i > 0) division.stay_in_overflow.emplace_back(key, values_of(node.bucket->entries[place]));
      }
    }
  }
  return division;
}

// One attempt to split the next bucket in order, with the overflow buckets that were provided. The new bucket is
// filled before anybody can see it. kAgain: more overflow buckets are wanted.
Status Table::try_split(Participant& me, Spares& spares) {
  Transaction change(*segment_, me);
  // Whoever splits now may not be running; in a table that is much too full everybody waits for it.
  const bool overfull = entries() > buckets() * kBucketEntries * kPatience;
  if (overfull) {
    IMSS_RETURN_IF_ERROR(change.lock(root_->lock));
  } else if (!change.try_lock(root_->lock)) {
    return Code::kBusy;
  }
  const std::uint64_t count = buckets();
  if (count + 1 > root_->ready_buckets.load()) return Code::kBusy;
  TableEdit edit(*this, change);
  Bucket* head = bucket(count - std::bit_floor(count));
  IMSS_RETURN_IF_ERROR(change.lock(head->lock));
  IMSS_RETURN_IF_ERROR(edit.load(edit.chains_[0], head));
  edit.chain_count_ = 1;
  auto& chain = edit.chains_[0];
  const Division division = divide(edit, count);
  const std::size_t beyond = division.leave.size() > kBucketEntries ? division.leave.size() - kBucketEntries : 0;
  spares.wanted = static_cast<std::uint32_t>((beyond + kOverflowEntries - 1) / kOverflowEntries);
  // Per bucket of the old chain two words of tags, per spare one of the hand, and a few.
  static_assert(2 * kMaxNodes + kMaxSpares + 16 <= kMaxStores, "the largest split fits a transaction");
  if (spares.wanted > spares.count) return Code::kAgain;
  const std::uint32_t used = fill_new_bucket(me, change, bucket(count), division.leave, spares.held);
  edit.begin(chain);
  // Linearisation point: the new bucket counts. Readers of the old chain see its sequence change.
  change.store(root_->buckets, count + 1);
  const auto empty_slots = static_cast<std::uint32_t>(std::count_if(
      std::begin(me.hand), std::end(me.hand), [](const Word& word) { return word.load() == 0; }));
  if (chain.count > 1 && chain.count - 1 <= empty_slots && division.stay <= kBucketEntries &&
      change.room() > 5 * kBucketEntries + 2 * chain.count) {
    fold_overflow(me, change, edit, division.stay_in_overflow);
  }
  edit.finish();
  IMSS_RETURN_IF_ERROR(change.commit());
  std::copy(spares.held.begin() + used, spares.held.begin() + spares.count, spares.held.begin());
  spares.count -= used;
  fault_point("table.split");
  return {};
}

Status Table::split_one(Participant& me) {
  Spares spares;
  Status status = Code::kAgain;
  while (status.code() == Code::kAgain) {
    status = {};
    // The overflow buckets the new chain may need are taken before any lock.
    while (spares.count < spares.wanted && status.ok()) {
      auto held = TableEdit::provide_overflow(*segment_, me);
      status = held.status();
      if (held.ok()) spares.held[spares.count++] = *held;
    }
    if (status.ok()) status = try_split(me, spares);
  }
  for (std::uint32_t i = 0; i < spares.count; ++i) Extents(*segment_).put_back(me, spares.held[i]);
  return status;
}

}  // namespace imss::segment
