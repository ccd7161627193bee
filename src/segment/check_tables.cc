// The tables of a segment for check_segment: chains, tags, places, and the arenas they lie in.
#include <sched.h>

#include <algorithm>

#include "segment/check_pass.h"

namespace imss::segment {
namespace {

constexpr std::uint64_t kChanging = 1ULL << 32;
constexpr std::size_t kMaxChain = 4096;
constexpr int kMaxAttempts = 1000;

std::uint64_t tag_at(const Bucket& bucket, std::uint32_t place) {
  return place < 8 ? bucket.tags0.load() >> 8 * place & 0xff
                   : bucket.tags1.load() >> 8 * (place - 8) & 0xff;
}

}  // namespace

// The entries of a chain as they were at one moment; `torn` when a writer did not let us.
CheckPass::ChainCopy CheckPass::copy_chain(Bucket& head) const {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    ChainCopy copy;
    const std::uint64_t before = head.tags1.load(std::memory_order_acquire);
    Bucket* node = &head;
    while (node != nullptr) {
      const bool is_head = node == &head;
      for (std::uint32_t place = 0; place < (is_head ? kBucketEntries : kOverflowEntries); ++place) {
        const std::uint64_t tag = tag_at(*node, place);
        if (tag == 0) continue;
        const Entry& entry = node->entries[place];
        copy.entries.push_back({{entry.key0.load(), entry.key1.load()}, tag});
      }
      if (!is_head && (node->tags0.load() >> 8 * kOverflowEntries != 0 || node->tags1.load() != 0)) {
        copy.bad_tags = true;
      }
      const std::uint64_t next = node->next.load(std::memory_order_acquire);
      node = nullptr;
      if (next == 0) continue;
      copy.overflow.push_back(next);
      copy.endless = copy.overflow.size() > kMaxChain || next % 32 != 0 ||
                     !segment_.contains(next, kOverflowBytes);
      if (!copy.endless) node = segment_.at<Bucket>(next);
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if ((before & kChanging) == 0 && head.tags1.load(std::memory_order_acquire) == before) return copy;
    ::sched_yield();
  }
  ChainCopy torn;
  torn.torn = true;
  return torn;
}

void CheckPass::look_at_bucket(Table& table, std::uint32_t index, std::uint64_t bucket) {
  const std::string place = "table " + std::to_string(index) + ", bucket " + std::to_string(bucket);
  Bucket& head = *table.bucket(bucket);
  look_at_lock(head.lock, place);
  const ChainCopy copy = copy_chain(head);
  if (copy.torn) return error(place, "a change of it does not end");
  if (copy.endless) return error(place, "its chain leads nowhere");
  if (copy.bad_tags) error(place, "an overflow bucket has tags of places that it has not");
  for (const std::uint64_t offset : copy.overflow) {
    own(Ref(offset, class_for(kOverflowBytes), false), Owner::kOverflow);
  }
  overflow_buckets_ += copy.overflow.size();
  entries_[index] += copy.entries.size();
  const std::uint64_t buckets = table.buckets();
  for (std::size_t i = 0; i < copy.entries.size(); ++i) {
    const Key key = copy.entries[i].key;
    const std::uint64_t hash = hash_of(key);
    if (tag_of(hash) != copy.entries[i].tag) error(place, "an entry's tag is not that of its key");
    if (Table::bucket_index(hash, buckets) != bucket) error(place, "an entry belongs elsewhere");
    const auto same = [&](const ChainCopy::Place& other) { return other.key == key; };
    if (std::any_of(copy.entries.begin(), copy.entries.begin() + static_cast<std::ptrdiff_t>(i), same)) {
      error(place, "a key is there twice");
    }
  }
}

void CheckPass::look_at_tables() {
  for (std::uint32_t index = 0; index < kTables; ++index) {
    Table table(segment_, index);
    const std::string place = "table " + std::to_string(index);
    TableRoot& root = table.root();
    look_at_lock(root.lock, place);
    const std::uint64_t ready = root.ready_buckets.load();
    const std::uint64_t arenas = (ready + kBucketsPerArena - 1) / kBucketsPerArena;
    if (table.buckets() == 0 || table.buckets() > ready || arenas > kMaxTableArenas) {
      error(place, "its number of buckets is impossible");
      continue;
    }
    const Word* offsets = segment_.at<Word>(root.arenas_offset);
    bool sound = true;
    for (std::uint64_t i = 0; i < arenas && sound; ++i) {
      const std::uint64_t offset = offsets[i].load();
      const std::uint64_t arena = segment_.arena_of(offset);
      sound = offset >= segment_.super().arenas_offset && offset % kArenaBytes == 0 &&
              arena < arena_count_ && covered_[arena] == 0 &&
              static_cast<ArenaKind>(
                  segment_.descriptor(arena).container.class_and_count.load() >> 16 & 0xff) ==
                  ArenaKind::kTable;
      if (sound) covered_[arena] = 1;
    }
    if (!sound) {
      error(place, "its buckets lie in what is no arena of it alone");
      continue;
    }
    for (std::uint64_t bucket = 0; bucket < table.buckets(); ++bucket) {
      look_at_bucket(table, index, bucket);
    }
    if (entries_[index] != table.entries()) {
      notes_.push_back(place + " counts " + std::to_string(table.entries()) + " entries and has " +
                       std::to_string(entries_[index]));
    }
  }
}

}  // namespace imss::segment
