// A concurrent hash table of 40-byte entries in a segment: linear hashing over 512-byte buckets.
//
// Readers take no lock: they read a chain and then its sequence again. Writers lock one chain (a bucket and
// its overflow buckets) through a transaction. The table grows by splitting one bucket at a time under that
// bucket's lock; the store to TableRoot::buckets publishes the new bucket, so nobody else waits. With about 10
// entries in 12 places a stored entry costs less than 64 bytes. Source: W. Litwin, "Linear hashing", VLDB 1980.
//
// Table is concurrent and holds no state of its own; TableEdit belongs to one thread.
#pragma once

#include <array>
#include <bit>
#include <functional>
#include <initializer_list>
#include <utility>
#include <vector>

#include "base/result.h"
#include "segment/extents.h"
#include "segment/segment.h"
#include "segment/transaction.h"

namespace imss::segment {

struct Key {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  bool operator==(const Key&) const = default;
};

struct Values {
  std::uint64_t value0 = 0;
  std::uint64_t value1 = 0;
  std::uint64_t value2 = 0;
};

inline std::uint64_t hash_of(Key key) {
  // Two rounds of a multiply-xorshift finaliser (the constants of splitmix64).
  std::uint64_t x = key.first * 0x9e3779b97f4a7c15ULL + key.second;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
  return x ^ x >> 31;
}
// The byte of a bucket's tags that stands for an entry with this hash; 0 means that the place is free.
inline std::uint64_t tag_of(std::uint64_t hash) { return hash >> 56 == 0 ? 1 : hash >> 56; }

// What find() saw. `entry` is null when the key was absent.
struct Snapshot {
  Entry* entry = nullptr;
  Values values;
  Bucket* head = nullptr;
  std::uint64_t sequence_word = 0;
};

class TableEdit;

class Table {
 public:
  Table(Segment& segment, std::uint32_t index)
      : segment_(&segment), root_(&segment.super().tables[index]), index_(index) {}

  // Looks a key up without a lock. Errors: kTimedOut, kCorrupt.
  Status find(Key key, Snapshot* snapshot) const {
    prefetch(key);
    return find_loaded(key, snapshot);
  }
  // The same when what it reads is likely to be in the cache, after the steps below.
  Status find_loaded(Key key, Snapshot* snapshot) const;

  // --- loading ahead: hints for a find() that is likely to come; each step reads what the one before has loaded ---
  // Starts to load the whole bucket of a key. All lines at once: its tags say which entry is wanted, but waiting for
  // them would make it two misses.
  void prefetch(Key key) const {
    const auto* bytes = reinterpret_cast<const std::byte*>(bucket(bucket_index(hash_of(key), buckets())));
    for (std::uint32_t at = 0; at < sizeof(Bucket); at += kCacheLineBytes) __builtin_prefetch(bytes + at);
  }
  struct Approach {
    const Bucket* bucket = nullptr;
    std::uint64_t tag = 0;
  };
  // Starts to load the tags of a key's bucket.
  Approach approach(Key key) const {
    const std::uint64_t hash = hash_of(key);
    const Bucket* head = bucket(bucket_index(hash, buckets()));
    __builtin_prefetch(head);
    return {head, tag_of(hash)};
  }
  // Starts to load the entry that the tags point to; null when they point to none.
  static const Entry* approach_entry(const Approach& approach);
  // value0 of the entry as it is just now, or 0 when it is not the key's.
  static std::uint64_t likely_value(const Entry& entry, Key key) {
    constexpr auto kRelaxed = std::memory_order_relaxed;
    return entry.key0.load(kRelaxed) == key.first && entry.key1.load(kRelaxed) == key.second
               ? entry.value0.load(kRelaxed)
               : 0;
  }

  // Whether nothing in the chain changed since the snapshot was taken.
  bool unchanged(const Snapshot& snapshot) const {
    return snapshot.head->tags1.load(std::memory_order_seq_cst) == snapshot.sequence_word;
  }

  // Inserts or replaces one entry. Errors: kNoSpace, kTimedOut, kFenced; kExists when `replace` is false.
  Status put(Participant& me, Key key, const Values& values, bool replace);
  // Removes one entry. Errors: kNotFound, kTimedOut, kFenced.
  Status erase(Participant& me, Key key);

  // Splits buckets while the table is fuller than it should be. A table that cannot grow now (no memory, no
  // host, another thread at it) works on with longer chains, so there is nothing to report.
  // REQUIRES: no locks held.
  void grow_if_full(Participant& me);
  // Calls `visit` for every entry at least once, also while others change the table. `visit` returns false to
  // stop. It runs without locks held.
  Status for_each(const std::function<bool(Key, const Values&)>& visit) const;

  Segment& segment() const { return *segment_; }
  std::uint64_t buckets() const { return root_->buckets.load(std::memory_order_acquire); }
  // About how many; never negative, although the count may be off after an author died.
  std::uint64_t entries() const {
    const auto count = static_cast<std::int64_t>(root_->entries.load(std::memory_order_relaxed));
    return count > 0 ? static_cast<std::uint64_t>(count) : 0;
  }
  TableRoot& root() const { return *root_; }
  Bucket* bucket(std::uint64_t index) const {
    const Word* arenas = segment_->at<Word>(root_->arenas_offset);
    const std::uint64_t arena = arenas[index / kBucketsPerArena].load(std::memory_order_acquire);
    return segment_->at<Bucket>(arena + index % kBucketsPerArena * sizeof(Bucket));
  }
  static std::uint64_t bucket_index(std::uint64_t hash, std::uint64_t buckets) {
    const std::uint64_t half = std::bit_floor(buckets);
    const std::uint64_t index = hash & (2 * half - 1);
    return index < buckets ? index : hash & (half - 1);
  }

  // A new table has this many.
  static constexpr std::uint64_t kFirstBuckets = 16;
  // Whether so many ready buckets let the table grow for a while without the host.
  static bool enough_ready(std::uint64_t buckets, std::uint64_t ready) {
    const std::uint64_t ahead = buckets / 4 < kBucketsPerArena / 2 ? buckets / 4 : kBucketsPerArena / 2;
    return ready > buckets + ahead;
  }

 private:
  friend class TableEdit;
  bool wait_for_writer(Bucket& head, Backoff& backoff) const;
  static constexpr std::uint32_t kCacheLineBytes = 64;
  // Buckets of the longest chain.
  static constexpr std::uint32_t kMaxNodes = 24;
  // What may leave such a chain fits into a bucket with so many overflow buckets. Were there fewer, a long chain
  // could never be split, and with it all that come after it in order.
  static constexpr std::uint32_t kMaxSpares = kMaxNodes - 1;
  // Errors: kBusy when another thread splits or the host has not made room yet, kNoSpace, kTimedOut.
  struct Division {
    std::vector<std::pair<Key, Values>> leave;
    std::vector<std::pair<Key, Values>> stay_in_overflow;
    std::uint32_t stay = 0;
  };
  struct Spares {
    std::array<Held, kMaxSpares> held;
    std::uint32_t count = 0;
    std::uint32_t wanted = 0;
  };
  Status split_one(Participant& me);
  Status try_split(Participant& me, Spares& spares);
  Division divide(TableEdit& edit, std::uint64_t count) const;
  void fold_overflow(Participant& me, Transaction& change, TableEdit& edit,
                     const std::vector<std::pair<Key, Values>>& stay_in_overflow);
  std::uint32_t fill_new_bucket(Participant& me, Transaction& change, Bucket* node,
                                const std::vector<std::pair<Key, Values>>& entries,
                                const std::array<Held, kMaxSpares>& spares);

  Segment* segment_;
  TableRoot* root_;
  std::uint32_t index_;
};

// Changes of one or more entries as part of a transaction. Use: lock(keys), find/insert/update/erase in any
// order, finish(), then Transaction::commit().
class TableEdit {
 public:
  TableEdit(Table table, Transaction& change) : table_(table), change_(change) {}

  // Locks the chains of the keys, in order of their offsets. Errors: kTimedOut.
  Status lock(std::initializer_list<Key> keys);
  // REQUIRES (all below): the key's chain was locked.
  Entry* find(Key key, Values* values);
  // Errors: kAgain when an overflow bucket is needed: release the transaction, provide one with
  // provide_overflow(), and start over.
  Status insert(Participant& me, Key key, const Values& values);
  void update(Key key, Entry* entry, const Values& values);
  void erase(Key key, Entry* entry);
  // Emits the last stores and counts the entries. REQUIRES: called once, right before commit.
  void finish();

  // An extent of the hand that insert() may use as an overflow bucket.
  static Result<Held> provide_overflow(Segment& segment, Participant& me);
  void use_overflow(const Held& held) {
    spare_ = held;
    has_spare_ = true;
  }
  bool spare_used() const { return spare_used_; }

 private:
  static constexpr std::uint32_t kMaxNodes = Table::kMaxNodes;
  static constexpr std::uint32_t kMaxChains = 4;
  // Without initial values: load() sets those in use, and setting all 96 would cost more than a whole update.
  struct Node {
    Bucket* bucket;
    std::uint64_t tags0;
    std::uint64_t tags1;
    bool changed;
  };
  struct Chain {
    Bucket* head = nullptr;
    std::array<Node, kMaxNodes> nodes;
    std::uint32_t count = 0;
    bool begun = false;
  };

  Chain& chain_of(Key key);
  Status load(Chain& chain, Bucket* head);
  void begin(Chain& chain);
  void store_entry(Entry& entry, Key key, const Values& values);

  Table table_;
  Transaction& change_;
  std::array<Chain, kMaxChains> chains_;
  std::uint32_t chain_count_ = 0;
  std::uint64_t buckets_ = 0;
  Held spare_;
  bool has_spare_ = false;
  bool spare_used_ = false;
  std::int64_t more_entries_ = 0;

  friend class Table;
};

}  // namespace imss::segment
