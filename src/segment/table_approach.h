// Finding an entry whose place in its table was foreseen: without hashing its key and without a search.
//
// A place is a hint. Entries move when their table grows or changes; find_at() then says so, and the caller finds the
// entry the ordinary way. Values of the thread that reads; any thread.
#pragma once

#include "segment/table_internal.h"

namespace imss::segment {

struct Place {
  Table::Approach approach;
  const Entry* entry = nullptr;  // null: not known
};

// As Table::find() for a key that is in the foreseen place; false when it is not there now, or is being changed.
inline bool find_at(const Table& table, const Place& place, Key key, Snapshot* snapshot) {
  if (place.entry == nullptr) return false;
  const Segment& segment = table.segment();
  Bucket* const head = segment.at<Bucket>(segment.offset_of(place.approach.bucket));
  const auto index = static_cast<std::uint32_t>(place.entry - head->entries);
  const std::uint64_t first = head->tags1.load(std::memory_order_acquire);
  if (changing(first)) return false;
  // Whatever the table's size is by now: an entry with a tag belongs to the bucket that it is in.
  if (tag_at(head->tags0.load(std::memory_order_acquire), first, index) != place.approach.tag) return false;
  Entry& entry = head->entries[index];
  if (key_of(entry) != key) return false;
  snapshot->values = values_of(entry);
  std::atomic_thread_fence(std::memory_order_acquire);
  if (head->tags1.load(std::memory_order_acquire) != first) return false;
  snapshot->entry = &entry;
  snapshot->head = head;
  snapshot->sequence_word = first;
  return true;
}

}  // namespace imss::segment
