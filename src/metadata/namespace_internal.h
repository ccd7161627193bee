// Shared by the files of the namespace engine: pins, keys and readers of records.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/clock.h"
#include "metadata/namespace.h"
#include "metadata/records.h"
#include "segment/entry_state.h"
#include "segment/extents.h"
#include "segment/fault.h"
#include "segment/transaction.h"

namespace imss::metadata {

// What directories are stamped with.
inline std::uint64_t now_ns() { return static_cast<std::uint64_t>(coarse_realtime_ns()); }

// Which of a participant's pins an operation uses.
enum PinSlot : std::uint32_t { kEntryPin = 2, kFirstDirectoryPin = 3, kSecondDirectoryPin = 4, kThirdDirectoryPin = 5, kFourthDirectoryPin = 6 };

class PinGuard {
 public:
  PinGuard() = default;
  PinGuard(segment::Word& word, segment::Ref ref) : word_(&word) {
    word.store(ref.bare().word(), std::memory_order_seq_cst);
  }
  PinGuard(PinGuard&& other) noexcept : word_(std::exchange(other.word_, nullptr)) {}
  PinGuard& operator=(PinGuard&& other) noexcept {
    release();
    word_ = std::exchange(other.word_, nullptr);
    return *this;
  }
  ~PinGuard() { release(); }
  void release() {
    if (word_ != nullptr) word_->store(0, std::memory_order_release);
    word_ = nullptr;
  }

 private:
  segment::Word* word_ = nullptr;
};

struct PinnedDirectory {
  DirectoryRecord* record = nullptr;
  segment::Ref ref;
  PinGuard guard;
};

inline Permissions permissions_in(const DirectoryRecord& directory) {
  const std::uint64_t owner = directory.owner.load();
  return {static_cast<std::uint32_t>(directory.mode.load()), static_cast<std::uint32_t>(owner >> 32),
          static_cast<std::uint32_t>(owner)};
}

// A name in the directory comes, goes or is another one. Each change has another ctime than the one before, so that who
// sees the same twice knows that nothing has changed in between. REQUIRES: the directory's lock.
inline void stamp(segment::Transaction& change, DirectoryRecord& directory) {
  const auto now = static_cast<std::uint64_t>(coarse_realtime_ns());
  change.store(directory.modified_ns, std::max(directory.modified_ns.load(), now));
  change.store(directory.changed_ns, std::max(directory.changed_ns.load() + 1, now));
}

struct Namespace::Found {
  EntryInfo info;
  bool exists = false;
};

segment::Key name_key(std::uint64_t parent, std::string_view name, std::uint32_t salt);
// Tests: makes every name hash to one of `1 + mask` values.
void set_name_hash_mask(std::uint64_t mask);

inline segment::Key directory_key(std::uint64_t id) { return {id, 0}; }
inline segment::Key xattr_key(std::uint64_t id) { return {id, ~0ULL}; }  // no chunk has that number
inline segment::Key chunk_key(std::uint64_t id, std::uint64_t slot) {
  return {id, 1 + slot / kSlotsPerChunk};
}

// The record's fields; false when it is damaged.
bool read_entry(const segment::Segment& segment, segment::Ref ref, EntryInfo* info);
bool entry_is(const segment::Segment& segment, segment::Ref ref, std::string_view name);
Status check_name(std::uint64_t parent, std::string_view name);

// Tells the journaller, after the change is committed, that the state behind a key is new.
void mark_dirty(segment::Segment& segment, DirtyKind kind, segment::Key key);

// Fields of text in records of the service table.
inline void copy_text(char (&field)[256], const std::string& text) {
  std::memset(field, 0, sizeof(field));
  std::memcpy(field, text.data(), std::min(text.size(), sizeof(field) - 1));
}
inline std::string text_of(const char (&field)[256]) { return std::string(field, ::strnlen(field, sizeof(field))); }

// Calls `read` with a record of the service table, which returns false when the record is damaged.
template <typename Read>
Status Namespace::read_service(segment::Key key, Read&& read) {
  IMSS_ASSIGN_OR_RETURN(segment::Participant* const me, segment_->self());
  for (;;) {
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(services_.find(key, &snapshot));
    if (snapshot.entry == nullptr) return Code::kNotFound;
    const segment::Ref ref = segment::Ref(snapshot.values.value0).bare();
    const PinGuard guard(me->pins[kEntryPin], ref);
    if (!services_.unchanged(snapshot)) continue;
    return read(ref) ? Status() : Status(Code::kCorrupt, "a record of an instance or server is damaged");
  }
}

}  // namespace imss::metadata
