#include "metadata/check_names.h"

#include <unordered_map>
#include <vector>

#include "metadata/authority.h"
#include "metadata/namespace_internal.h"
#include "segment/table.h"

namespace imss::metadata {
namespace {

using segment::Key;
using segment::Participant;
using segment::Ref;
using segment::Snapshot;
using segment::Table;
using segment::Values;
using segment::Word;

// The words of a directory that say what is in it.
struct Counters {
  std::uint64_t parent = 0;
  std::uint64_t entries = 0;
  std::uint64_t subdirectories = 0;
  std::uint64_t next_slot = 0;
  std::uint64_t free_head = 0;
  std::uint64_t claim = 0;
  std::uint64_t name_claims = 0;
  std::uint64_t removed = 0;
  std::uint64_t changed_ns = 0;  // another one after each change
  bool operator==(const Counters&) const = default;
};

struct Seen {
  Counters before;
  std::uint64_t entries = 0;
  std::uint64_t reservations = 0;
  std::uint64_t subdirectories = 0;
  std::uint64_t claims = 0;
};

class NamesCheck {
 public:
  using Wrong = std::function<void(const std::string&, const std::string&)>;
  NamesCheck(segment::Segment& segment, Participant& me, const Wrong& wrong)
      : segment_(segment),
        me_(me),
        wrong_(wrong),
        entries_(segment, segment::kEntryTable),
        directories_(segment, segment::kDirectoryTable) {}

  Status look() {
    IMSS_RETURN_IF_ERROR(directories_.for_each([&](Key key, const Values&) {
      Counters counters;
      if (key.second == 0 && read_counters(key.first, &counters)) seen_[key.first].before = counters;
      return true;
    }));
    IMSS_RETURN_IF_ERROR(entries_.for_each([&](Key key, const Values& values) {
      look_at_entry(key, values);
      return true;
    }));
    for (const auto& [id, seen] : seen_) {
      Counters now;
      // What changed meanwhile is left to the next look.
      if (read_counters(id, &now) && now == seen.before && now.removed == 0) compare(id, seen);
    }
    return {};
  }

 private:
  // False when there is no such directory, or a damaged one, which is the table's own check to say.
  bool read_counters(std::uint64_t id, Counters* counters) {
    Snapshot snapshot;
    if (!directories_.find(directory_key(id), &snapshot).ok() || snapshot.entry == nullptr) return false;
    const Ref ref = Ref(snapshot.values.value0).bare();
    if (!segment_.valid_ref(ref) || ref.bytes() < sizeof(DirectoryRecord)) return false;
    const PinGuard guard(me_.pins[kFirstDirectoryPin], ref);
    if (!directories_.unchanged(snapshot)) return false;
    const auto& record = *segment_.at<DirectoryRecord>(ref.offset());
    *counters = {record.parent.load(),    record.entries.load(), record.subdirectories.load(), record.next_slot.load(),
                 record.free_head.load(), record.claim.load(),   record.name_claims.load(),    record.removed.load(),
                 record.changed_ns.load()};
    return true;
  }

  const Word* slot_word(std::uint64_t directory, std::uint64_t slot) const {
    Snapshot snapshot;
    if (!directories_.find(chunk_key(directory, slot), &snapshot).ok() || snapshot.entry == nullptr) return nullptr;
    const Ref ref = Ref(snapshot.values.value0).bare();
    if (!segment_.valid_ref(ref) || ref.bytes() < kSlotsPerChunk * sizeof(Word)) return nullptr;
    return segment_.at<Word>(ref.offset()) + slot % kSlotsPerChunk;
  }

  void look_at_entry(Key key, const Values& values) {
    const Ref ref = Ref(values.value0).bare();
    EntryInfo info;
    {
      const PinGuard guard(me_.pins[kEntryPin], ref);
      Snapshot now;
      const bool same = entries_.find(key, &now).ok() && now.entry != nullptr && now.values.value0 == values.value0 &&
                        now.values.value1 == values.value1;
      if (!same) return;
      if (!read_entry(segment_, ref, &info)) {
        return wrong_("entry " + std::to_string(key.first) + "/" + std::to_string(key.second), "it is damaged");
      }
    }
    const std::string place = "name \"" + info.name + "\" of directory " + std::to_string(info.parent);
    if (key != name_key(info.parent, info.name, 0) && key != name_key(info.parent, info.name, 1)) {
      wrong_(place, "it is under a key that is not its own");
    }
    const auto parent = seen_.find(key.first);
    if (parent == seen_.end()) return wrong_(place, "its directory is not there");
    const bool claimed = (values.value1 & kClaimedEntry) != 0;
    if ((values.value1 & kReservation) != 0) {
      ++parent->second.reservations;
    } else {
      ++parent->second.entries;
      if (info.type == NodeType::kDirectory) ++parent->second.subdirectories;
    }
    if (claimed) ++parent->second.claims;
    const Word* word = slot_word(info.parent, info.cookie - 1);
    if (word == nullptr || word->load() != (ref.word() | (claimed ? kClaimedSlot : 0))) {
      wrong_(place, "it is not in the slot that it has");
    }
    if (!claimed && info.type == NodeType::kDirectory) look_at_named_directory(place, info);
  }

  void look_at_named_directory(const std::string& place, const EntryInfo& info) {
    const auto& root = segment_.super().service_root;
    const auto count = static_cast<std::uint32_t>(std::max<std::uint64_t>(root[kServerCount].load(), 1));
    if (count > kMaxMetadataServers || authority_of(info.id, count) != root[kServerIndex].load()) return;
    const auto named = seen_.find(info.id);
    if (named == seen_.end()) {
      wrong_(place, "it stands for a directory that is not there");
    } else if (count == 1 && named->second.before.parent != info.parent) {
      wrong_(place, "it stands for a directory that lies in another one");
    }
  }

  void compare(std::uint64_t id, const Seen& seen) {
    const std::string place = "directory " + std::to_string(id);
    const Counters& told = seen.before;
    const auto differs = [&](const char* what, std::uint64_t says, std::uint64_t is) {
      if (says == is) return;
      wrong_(place, "it says " + std::to_string(says) + what + " and has " + std::to_string(is));
    };
    differs(" entries", told.entries, seen.entries);
    differs(" subdirectories", told.subdirectories, seen.subdirectories);
    differs(" claims of names", told.name_claims, seen.claims);
    std::uint64_t free_slots = 0;
    for (std::uint64_t next = told.free_head; next != 0; ++free_slots) {
      const Word* word = next <= told.next_slot && free_slots < told.next_slot ? slot_word(id, next - 1) : nullptr;
      const std::uint64_t value = word != nullptr ? word->load() : 0;
      if ((value & kFreeSlot) == 0) return wrong_(place, "its list of free slots is damaged");
      next = value & ~kFreeSlot;
    }
    differs(" slots", told.next_slot, seen.entries + seen.reservations + free_slots);
  }

  segment::Segment& segment_;
  Participant& me_;
  const Wrong& wrong_;
  Table entries_;
  Table directories_;
  std::unordered_map<std::uint64_t, Seen> seen_;
};

}  // namespace

Status check_names(segment::Segment& segment,
                   const std::function<void(const std::string& place, const std::string& sentence)>& wrong) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment.self());
  return NamesCheck(segment, *me, wrong).look();
}

}  // namespace imss::metadata
