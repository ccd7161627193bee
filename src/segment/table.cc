#include "segment/table.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <vector>

#include "segment/fault.h"
#include "segment/table_internal.h"

namespace imss::segment {
namespace {

constexpr std::uint64_t kTagMask1 = 0xffffffff;  // the tags in the lower half of tags1

// Bytes of `word` that equal `tag` get their top bit; may also mark the byte above an equal one.
std::uint64_t matches(std::uint64_t word, std::uint64_t tag) {
  const std::uint64_t x = word ^ tag * 0x0101010101010101ULL;
  return (x - 0x0101010101010101ULL) & ~x & 0x8080808080808080ULL;
}

inline Entry* match_in(Bucket& bucket, bool is_head, std::uint64_t tags0, std::uint64_t tags1, std::uint64_t tag,
                Key key) {
  for (std::uint64_t hits = matches(tags0, tag); hits != 0; hits &= hits - 1) {
    const auto index = static_cast<std::uint32_t>(std::countr_zero(hits)) / 8;
    if (index >= places(is_head)) break;
    if (tag_at(tags0, tags1, index) == tag && key_of(bucket.entries[index]) == key) {
      return &bucket.entries[index];
    }
  }
  if (!is_head) return nullptr;
  for (std::uint64_t hits = matches(tags1 & kTagMask1, tag) & kTagMask1; hits != 0; hits &= hits - 1) {
    const auto index = 8 + static_cast<std::uint32_t>(std::countr_zero(hits)) / 8;
    if (tag_at(tags0, tags1, index) == tag && key_of(bucket.entries[index]) == key) {
      return &bucket.entries[index];
    }
  }
  return nullptr;
}

Bucket* next_of(const Segment& segment, const Bucket& bucket) {
  const std::uint64_t offset = bucket.next.load(std::memory_order_acquire);
  if (offset == 0 || offset % 32 != 0 || !segment.contains(offset, kOverflowBytes)) return nullptr;
  return segment.at<Bucket>(offset);
}

}  // namespace

bool Table::wait_for_writer(Bucket& head, Backoff& backoff) const {
  const std::uint64_t holder = head.lock.load();
  const bool go_on = backoff.wait(false);
  if (holder != 0 && head.lock.load() == holder) {
    const auto slot = static_cast<std::uint32_t>((holder & 0xffff) - 1);
    if (slot < segment_->super().max_participants) segment_->probe(slot);
  }
  return go_on;
}

const Entry* Table::approach_entry(const Approach& approach) {
  const Bucket& bucket = *approach.bucket;
  const std::uint64_t hits0 = matches(bucket.tags0.load(std::memory_order_relaxed), approach.tag);
  std::uint32_t index = static_cast<std::uint32_t>(std::countr_zero(hits0)) / 8;
  if (hits0 == 0) {
    const std::uint64_t tags1 = bucket.tags1.load(std::memory_order_relaxed);
    const std::uint64_t hits1 = matches(tags1 & kTagMask1, approach.tag) & kTagMask1;
    if (hits1 == 0) return nullptr;
    index = 8 + static_cast<std::uint32_t>(std::countr_zero(hits1)) / 8;
  }
  const Entry* entry = &bucket.entries[index];
  // An entry may lie in two lines.
  __builtin_prefetch(&entry->key0);
  __builtin_prefetch(&entry->value2);
  return entry;
}

Status Table::find_loaded(Key key, Snapshot* snapshot) const {
  const std::uint64_t hash = hash_of(key);
  const std::uint64_t tag = tag_of(hash);
  Backoff backoff(*segment_);
  for (;;) {
    const std::uint64_t count = buckets();
    Bucket* head = bucket(bucket_index(hash, count));
    const std::uint64_t first = head->tags1.load(std::memory_order_acquire);
    if (changing(first)) [[unlikely]] {
      if (!wait_for_writer(*head, backoff)) {
        return Status(Code::kTimedOut, "a bucket of segment " + segment_->name() + " is being changed by " +
                                           segment_->describe(head->lock.load()) + ", which does not run");
      }
      continue;
    }
    Entry* entry = nullptr;
    std::uint32_t steps = 0;
    for (Bucket* node = head; node != nullptr && entry == nullptr && steps < 4096;
         node = next_of(*segment_, *node), ++steps) {
      entry = match_in(*node, node == head, node->tags0.load(std::memory_order_acquire),
                       node->tags1.load(std::memory_order_acquire), tag, key);
      if (entry != nullptr) snapshot->values = values_of(*entry);
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (head->tags1.load(std::memory_order_acquire) != first) continue;
    if (entry == nullptr && bucket_index(hash, buckets()) != bucket_index(hash, count)) continue;
    snapshot->entry = entry;
    snapshot->head = head;
    snapshot->sequence_word = first;
    return {};
  }
}

Status Table::put(Participant& me, Key key, const Values& values, bool replace) {
  Held spare;
  bool has_spare = false;
  for (;;) {
    Transaction change(*segment_, me);
    TableEdit edit(*this, change);
    if (has_spare) edit.use_overflow(spare);
    Status status = edit.lock({key});
    Entry* entry = nullptr;
    if (status.ok()) {
      entry = edit.find(key, nullptr);
      if (entry == nullptr) {
        status = edit.insert(me, key, values);
      } else if (replace) {
        edit.update(key, entry, values);
      } else {
        status = Code::kExists;
      }
    }
    if (status.code() == Code::kAgain) {
      change.release();
      IMSS_ASSIGN_OR_RETURN(spare, TableEdit::provide_overflow(*segment_, me));
      has_spare = true;
      continue;
    }
    if (status.ok()) {
      edit.finish();
      status = change.commit();
    }
    change.release();
    if (has_spare && !(status.ok() && edit.spare_used())) Extents(*segment_).put_back(me, spare);
    IMSS_RETURN_IF_ERROR(status);
    if (entry == nullptr) grow_if_full(me);
    return {};
  }
}

Status Table::erase(Participant& me, Key key) {
  Transaction change(*segment_, me);
  TableEdit edit(*this, change);
  IMSS_RETURN_IF_ERROR(edit.lock({key}));
  Entry* entry = edit.find(key, nullptr);
  if (entry == nullptr) return Code::kNotFound;
  edit.erase(key, entry);
  edit.finish();
  return change.commit();
}

Status Table::for_each(const std::function<bool(Key, const Values&)>& visit) const {
  std::vector<std::pair<Key, Values>> seen;
  for (std::uint64_t index = 0; index < buckets(); ++index) {
    Bucket* head = bucket(index);
    Backoff backoff(*segment_);
    for (;;) {
      seen.clear();
      const std::uint64_t first = head->tags1.load(std::memory_order_acquire);
      if (changing(first)) {
        if (!wait_for_writer(*head, backoff)) return Code::kTimedOut;
        continue;
      }
      std::uint32_t steps = 0;
      for (Bucket* node = head; node != nullptr && steps < 4096; node = next_of(*segment_, *node), ++steps) {
        const std::uint64_t tags0 = node->tags0.load(std::memory_order_acquire);
        const std::uint64_t tags1 = node->tags1.load(std::memory_order_acquire);
        for (std::uint32_t i = 0; i < places(node == head); ++i) {
          if (tag_at(tags0, tags1, i) == 0) continue;
          seen.emplace_back(key_of(node->entries[i]), values_of(node->entries[i]));
        }
      }
      std::atomic_thread_fence(std::memory_order_acquire);
      if (head->tags1.load(std::memory_order_acquire) == first) break;
    }
    for (const auto& [key, values] : seen) {
      if (!visit(key, values)) return {};
    }
  }
  return {};
}

// --- TableEdit -------------------------------------------------------------------------------------

Status TableEdit::lock(std::initializer_list<Key> keys) {
  for (;;) {
    buckets_ = table_.buckets();
    std::array<Bucket*, kMaxChains> heads{};
    std::uint32_t count = 0;
    for (const Key& key : keys) {
      Bucket* head = table_.bucket(Table::bucket_index(hash_of(key), buckets_));
      std::uint32_t place = 0;
      while (place < count && heads[place] < head) ++place;
      if (place < count && heads[place] == head) continue;
      assert(count < kMaxChains);
      for (std::uint32_t i = count; i > place; --i) heads[i] = heads[i - 1];
      heads[place] = head;
      ++count;
    }
    const std::uint32_t mark = change_.lock_mark();
    for (std::uint32_t i = 0; i < count; ++i) IMSS_RETURN_IF_ERROR(change_.lock(heads[i]->lock));
    // A split needs the lock of the bucket it splits, so under the lock the answer is final.
    const std::uint64_t now = table_.buckets();
    const bool moved = now != buckets_ && std::any_of(keys.begin(), keys.end(), [&](const Key& key) {
      return Table::bucket_index(hash_of(key), now) != Table::bucket_index(hash_of(key), buckets_);
    });
    if (moved) {
      change_.release_after(mark);
      continue;
    }
    chain_count_ = count;
    for (std::uint32_t i = 0; i < count; ++i) IMSS_RETURN_IF_ERROR(load(chains_[i], heads[i]));
    return {};
  }
}

Status TableEdit::load(Chain& chain, Bucket* head) {
  chain.head = head;
  chain.count = 0;
  chain.begun = false;
  for (Bucket* node = head; node != nullptr; node = next_of(table_.segment(), *node)) {
    if (chain.count == kMaxNodes) return Status(Code::kBusy, "a chain of a hash table is too long");
    chain.nodes[chain.count++] = {node, node->tags0.load(), node->tags1.load(), false};
  }
  return {};
}

TableEdit::Chain& TableEdit::chain_of(Key key) {
  if (chain_count_ == 1) return chains_[0];
  Bucket* head = table_.bucket(Table::bucket_index(hash_of(key), buckets_));
  return *std::find_if(chains_.begin(), chains_.begin() + chain_count_,
                       [&](const Chain& chain) { return chain.head == head; });
}

Entry* TableEdit::find(Key key, Values* values) {
  Chain& chain = chain_of(key);
  const std::uint64_t tag = tag_of(hash_of(key));
  for (std::uint32_t i = 0; i < chain.count; ++i) {
    const Node& node = chain.nodes[i];
    Entry* entry = match_in(*node.bucket, i == 0, node.tags0, node.tags1, tag, key);
    if (entry == nullptr) continue;
    if (values != nullptr) *values = values_of(*entry);
    return entry;
  }
  return nullptr;
}

void TableEdit::begin(Chain& chain) {
  if (chain.begun) return;
  chain.begun = true;
  // Readers that see an odd sequence wait for the even one that finish() stores last.
  change_.store(chain.head->tags1, chain.head->tags1.load() + kSequenceStep);
}

void TableEdit::store_entry(Entry& entry, Key key, const Values& values) {
  change_.store(entry.key0, key.first);
  change_.store(entry.key1, key.second);
  change_.store(entry.value0, values.value0);
  change_.store(entry.value1, values.value1);
  change_.store(entry.value2, values.value2);
}

Status TableEdit::insert(Participant& me, Key key, const Values& values) {
  Chain& chain = chain_of(key);
  const std::uint64_t tag = tag_of(hash_of(key));
  for (std::uint32_t i = 0; i < chain.count; ++i) {
    Node& node = chain.nodes[i];
    for (std::uint32_t place = 0; place < places(i == 0); ++place) {
      if (tag_at(node.tags0, node.tags1, place) != 0) continue;
      begin(chain);
      store_entry(node.bucket->entries[place], key, values);
      set_tag(&node.tags0, &node.tags1, place, tag);
      node.changed = true;
      ++more_entries_;
      return {};
    }
  }
  if (!has_spare_ || spare_used_) return Code::kAgain;
  if (chain.count == kMaxNodes) return Status(Code::kBusy, "a chain of a hash table is too long");
  // Nobody sees the overflow bucket before the chain's last bucket links it.
  auto* fresh = table_.segment().at<Bucket>(spare_.ref.offset());
  for (Word* word = &fresh->lock; word != &fresh->lock + kOverflowBytes / sizeof(Word); ++word) word->store(0);
  Bucket* last = chain.nodes[chain.count - 1].bucket;
  begin(chain);
  change_.store(last->next, spare_.ref.offset());
  change_.store(me.hand[spare_.slot], 0);
  Node& node = chain.nodes[chain.count++];
  node = {fresh, 0, 0, true};
  store_entry(fresh->entries[0], key, values);
  set_tag(&node.tags0, &node.tags1, 0, tag);
  spare_used_ = true;
  ++more_entries_;
  return {};
}

void TableEdit::update(Key key, Entry* entry, const Values& values) {
  begin(chain_of(key));
  change_.store(entry->value0, values.value0);
  change_.store(entry->value1, values.value1);
  change_.store(entry->value2, values.value2);
}

void TableEdit::erase(Key key, Entry* entry) {
  Chain& chain = chain_of(key);
  begin(chain);
  for (std::uint32_t i = 0; i < chain.count; ++i) {
    Node& node = chain.nodes[i];
    const std::uint32_t count = places(i == 0);
    if (entry < node.bucket->entries || entry >= node.bucket->entries + count) continue;
    set_tag(&node.tags0, &node.tags1, static_cast<std::uint32_t>(entry - node.bucket->entries), 0);
    node.changed = true;
  }
  --more_entries_;
}

void TableEdit::finish() {
  // Not part of the transaction, as every writer would wait for it: an author that dies here leaves the
  // count off by a few, which only shifts the next split.
  if (more_entries_ != 0) {
    table_.root().entries.fetch_add(static_cast<std::uint64_t>(more_entries_), std::memory_order_relaxed);
  }
  for (std::uint32_t c = 0; c < chain_count_; ++c) {
    Chain& chain = chains_[c];
    if (!chain.begun) continue;
    for (std::uint32_t i = 0; i < chain.count; ++i) {
      const Node& node = chain.nodes[i];
      if (!node.changed) continue;
      change_.store(node.bucket->tags0, node.tags0);
      if (i > 0) change_.store(node.bucket->tags1, node.tags1);
    }
    const std::uint64_t sequence = (chain.head->tags1.load() & ~kTagMask1) + 2 * kSequenceStep;
    change_.store(chain.head->tags1, sequence | (chain.nodes[0].tags1 & kTagMask1));
  }
}

Result<Held> TableEdit::provide_overflow(Segment& segment, Participant& me) {
  return Extents(segment).take(me, class_for(kOverflowBytes), false);
}

}  // namespace imss::segment
