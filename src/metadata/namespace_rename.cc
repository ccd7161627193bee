// Rename: one transaction over two names, two directories and whatever the new name replaces.
#include <algorithm>
#include <array>

#include "base/clock.h"
#include "metadata/names_edit.h"
#include "metadata/namespace_internal.h"

namespace imss::metadata {

using segment::Extents;
using segment::Participant;
using segment::Ref;
using segment::Transaction;
using segment::Word;

struct Namespace::RenamePlan {
  NameRef from;
  NameRef to;
  bool no_replace = false;
  EntryInfo source;
  Ref source_ref;
  EntryInfo target;
  Ref target_ref;
  bool target_exists = false;
  PinnedDirectory from_dir;
  PinnedDirectory to_dir;
  PinnedDirectory moved_dir;    // when a directory moves to another parent
  PinnedDirectory victim_dir;   // an empty directory that is replaced
  segment::Held record;         // the new entry record
  std::array<std::uint32_t, 2> slots{};  // of the hand, for the old record and the replaced one
  segment::Key from_key;
  segment::Key to_key;
  std::uint64_t missing_slot = 0;
  bool victim_claimed = false;  // a change over several servers holds a name in the directory that is replaced
};

namespace {

bool is_directory(const EntryInfo& info) { return info.type == NodeType::kDirectory; }

// How the counters of a directory change; several changes of one directory become one store each.
struct DirectoryChange {
  DirectoryRecord* directory = nullptr;
  std::int64_t entries = 0;
  std::int64_t subdirectories = 0;
};

void store_counters(Transaction& change, const DirectoryChange& delta) {
  DirectoryRecord& dir = *delta.directory;
  if (delta.entries != 0) {
    change.store(dir.entries, dir.entries.load() + static_cast<std::uint64_t>(delta.entries));
  }
  if (delta.subdirectories != 0) {
    change.store(dir.subdirectories, dir.subdirectories.load() + static_cast<std::uint64_t>(delta.subdirectories));
  }
  stamp(change, dir);
}

// The directories of a rename, locked in order of their offsets.
Status lock_directories(Transaction& change, std::array<DirectoryRecord*, 3> directories) {
  std::sort(directories.begin(), directories.end());
  for (DirectoryRecord* directory : directories) {
    if (directory != nullptr) IMSS_RETURN_IF_ERROR(change.lock(directory->lock));
  }
  return {};
}

// The first empty slots of the hand; false when there are too few.
bool find_empty_slots(const Participant& me, std::array<std::uint32_t, 2>& slots) {
  std::size_t found = 0;
  for (std::uint32_t slot = 0; slot < segment::kHandSlots && found < slots.size(); ++slot) {
    if (me.hand[slot].load(std::memory_order_relaxed) == 0) slots[found++] = slot;
  }
  return found == slots.size();
}

}  // namespace

// Everything that can be found out and prepared before the locks.
Status Namespace::plan_rename(Participant& me, RenamePlan& plan) {
  // The pins of an earlier attempt end before they are used again.
  for (PinnedDirectory* pinned : {&plan.from_dir, &plan.to_dir, &plan.moved_dir, &plan.victim_dir}) *pinned = {};
  IMSS_ASSIGN_OR_RETURN(const Found source, find_entry(me, plan.from.parent, plan.from.name));
  if (!source.exists) return Code::kNotFound;
  IMSS_ASSIGN_OR_RETURN(const Found target, find_entry(me, plan.to.parent, plan.to.name));
  plan.source = source.info;
  plan.target = target.info;
  plan.target_exists = target.exists;
  IMSS_ASSIGN_OR_RETURN(plan.from_dir, pin_directory(me, plan.from.parent, kFirstDirectoryPin));
  IMSS_ASSIGN_OR_RETURN(plan.to_dir, pin_directory(me, plan.to.parent, kSecondDirectoryPin));
  if (is_directory(source.info) && plan.from.parent != plan.to.parent) {
    if (spread()) return Status(Code::kNotSupported, "a directory that gets another parent is known to several servers");
    IMSS_ASSIGN_OR_RETURN(plan.moved_dir, pin_directory(me, source.info.id, kThirdDirectoryPin));
  }
  if (target.exists && is_directory(target.info) && is_directory(source.info) && !plan.no_replace) {
    if (elsewhere(target.info.id)) return Status(Code::kNotSupported, "the replaced directory lies on another server");
    IMSS_ASSIGN_OR_RETURN(plan.victim_dir, pin_directory(me, target.info.id, kFourthDirectoryPin));
  }
  return {};
}

// REQUIRES: the chains of both names are locked, and the rename lease when a directory moves.
Status Namespace::apply_rename(Participant& me, RenamePlan& plan, Transaction& change) {
  DirectoryRecord& from = *plan.from_dir.record;
  DirectoryRecord& to = *plan.to_dir.record;
  DirectoryRecord* victim = plan.victim_dir.record;
  const bool same_parent = plan.from.parent == plan.to.parent;
  IMSS_RETURN_IF_ERROR(lock_directories(change, {&from, same_parent ? nullptr : &to, victim}));
  if (from.removed.load() != 0 || to.removed.load() != 0) return Code::kNotFound;
  if (to.claim.load() != 0) return Status::claimed(to.claim.load());
  if (plan.target_exists) {
    if (plan.no_replace) return Code::kExists;
    if (is_directory(plan.source) && !is_directory(plan.target)) return Code::kNotDirectory;
    if (!is_directory(plan.source) && is_directory(plan.target)) return Code::kIsDirectory;
    if (victim != nullptr && victim->claim.load() != 0) return Status::claimed(victim->claim.load());
    plan.victim_claimed = victim != nullptr && victim->entries.load() == 0 && victim->name_claims.load() != 0;
    if (victim != nullptr && (victim->entries.load() != 0 || plan.victim_claimed)) return Code::kNotEmpty;
  }
  auto& record = *segment_->at<EntryRecord>(plan.record.ref.offset());
  const std::uint64_t source_slot = plan.source.cookie - 1;
  Word* source_word = slot_word(plan.from.parent, source_slot);
  if (source_word == nullptr) return Code::kCorrupt;

  // The new record takes the replaced name's slot, or stays in its own, or gets a new one.
  Word* target_word = source_word;
  record.slot = source_slot;
  if (plan.target_exists) {
    record.slot = plan.target.cookie - 1;
    target_word = slot_word(plan.to.parent, record.slot);
    if (target_word == nullptr) return Code::kCorrupt;
  } else if (!same_parent) {
    const Status taken = take_slot(change, plan.to.parent, to, &plan.missing_slot, &target_word);
    IMSS_RETURN_IF_ERROR(taken);
    record.slot = plan.missing_slot;
  }
  change.store(*target_word, plan.record.ref.word());
  if (target_word != source_word) {
    change.store(*source_word, kFreeSlot | from.free_head.load());
    change.store(from.free_head, source_slot + 1);
  }

  const std::int64_t directory_moves = is_directory(plan.source) ? 1 : 0;
  DirectoryChange out{&from, -1, -directory_moves};
  DirectoryChange in{&to, plan.target_exists ? 0 : 1, plan.target_exists && victim != nullptr ? 0 : directory_moves};
  if (same_parent) {
    out.entries += in.entries;
    out.subdirectories += in.subdirectories;
  } else {
    store_counters(change, in);
    if (plan.moved_dir.record != nullptr) change.store(plan.moved_dir.record->parent, plan.to.parent);
  }
  store_counters(change, out);
  if (victim != nullptr) change.store(victim->removed, 1);
  change.store(me.hand[plan.slots[0]], Extents::retired(plan.source_ref));
  change.store(me.hand[plan.record.slot], 0);
  return {};
}

Result<RenameResult> Namespace::rename(std::uint64_t from_parent, std::string_view from_name,
                                                  std::uint64_t to_parent, std::string_view to_name,
                                                  bool no_replace) {
  IMSS_RETURN_IF_ERROR(check_name(from_parent, from_name));
  IMSS_RETURN_IF_ERROR(check_name(to_parent, to_name));
  if (from_parent == to_parent && from_name == to_name) {
    // Two looks at it could see two different things.
    IMSS_RETURN_IF_ERROR(lookup(from_parent, from_name).status());
    return no_replace ? Result<RenameResult>(Code::kExists) : RenameResult{};
  }
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Extents extents(*segment_);
  RenamePlan plan;
  plan.from = {from_parent, from_name};
  plan.to = {to_parent, to_name};
  plan.no_replace = no_replace;
  bool hand_emptied = false;
  for (;;) {
    IMSS_RETURN_IF_ERROR(plan_rename(*me, plan));
    if (plan.target_exists && !no_replace && plan.target.id == plan.source.id) return RenameResult{};
    EntryInfo renamed = plan.source;
    renamed.parent = to_parent;
    renamed.name = to_name;
    IMSS_ASSIGN_OR_RETURN(const PendingEntry pending, prepare_record(*me, renamed, Ref::kHeld));
    plan.record = pending.record;
    segment::fault_point("names.rename_prepared");
    RenameResult result;
    const Status status = commit_rename(*me, plan, &result);
    if (status.ok()) {
      segment::fault_point("names.renamed");
      mark_dirty(*segment_, DirtyKind::kEntry, plan.to_key);
      mark_dirty(*segment_, DirtyKind::kEntry, plan.from_key);
      extents.trim(*me);
      if (plan.victim_dir.record != nullptr) {
        RemovedEntry victim{{plan.target_ref, plan.slots[1]}, plan.target};
        IMSS_RETURN_IF_ERROR(drop_directory(*me, victim));
      }
      return result;
    }
    extents.put_back(*me, plan.record);
    if (status.code() == Code::kRange && !hand_emptied) {
      extents.return_free(*me);
      hand_emptied = true;
    } else if (status.code() == Code::kRange) {
      return Status(Code::kNoSpace, "too many extents of this thread are pinned by others");
    } else if (status.code() == Code::kNotEmpty && plan.victim_claimed) {
      IMSS_RETURN_IF_ERROR(claim_within(*me, plan.target.id));
    } else if (status.code() == Code::kBusy) {
      IMSS_RETURN_IF_ERROR(ensure_chunk(*me, to_parent, *plan.to_dir.record, plan.missing_slot));
    } else if (status.code() != Code::kFenced || !segment_->serving()) {
      return status;
    }
  }
}

// kFenced: what was found before the locks has changed; kBusy: a chunk of slots is missing; kRange: the hand is
// too full.
Status Namespace::commit_rename(Participant& me, RenamePlan& plan, RenameResult* result) {
  const bool moves_directory = is_directory(plan.source) && plan.from.parent != plan.to.parent;
  return edit_names(
      me, {plan.from, plan.to},
      [&](Transaction& change, segment::TableEdit& edit, const NamePlaces& places) -> Status {
        if (places.entry[0] == nullptr) return Code::kNotFound;
        EntryInfo source;
        EntryInfo target;
        if (!read_entry(*segment_, Ref(places.values[0].value0), &source)) return Code::kCorrupt;
        if (places.entry[1] != nullptr && !read_entry(*segment_, Ref(places.values[1].value0), &target)) {
          return Code::kCorrupt;
        }
        const bool same_target = (places.entry[1] != nullptr) == plan.target_exists &&
                                 (!plan.target_exists || target.link == plan.target.link);
        if (source.link != plan.source.link || !same_target) return Code::kFenced;
        // Only now: an overflow bucket that was provided meanwhile may have filled slots that were empty before.
        if (!find_empty_slots(me, plan.slots)) return Code::kRange;
        if (moves_directory) IMSS_RETURN_IF_ERROR(check_cycle(me, plan.source.id, plan.to.parent));
        // The same names may have other slots and records than before the locks.
        plan.source = source;
        plan.source_ref = Ref(places.values[0].value0).bare();
        plan.target = target;
        IMSS_RETURN_IF_ERROR(apply_rename(me, plan, change));
        plan.from_key = places.key[0];
        plan.to_key = places.key[1];
        edit.erase(plan.from_key, places.entry[0]);
        if (!plan.target_exists) {
          IMSS_RETURN_IF_ERROR(edit.insert(me, plan.to_key, {plan.record.ref.word(), 1, plan.source.id}));
          return segment::store_outcome(change, {});
        }
        edit.update(plan.to_key, places.entry[1],
                    {plan.record.ref.word(), segment::next_version(places.values[1].value1), plan.source.id});
        const Ref old = Ref(places.values[1].value0).bare();
        plan.target_ref = old;
        // Should we die before what it named is dropped, the replaced name in our hand says so.
        change.store(me.hand[plan.slots[1]], old.with(Ref::kReap).word());
        if (plan.victim_dir.record == nullptr) {
          result->replaced = true;
          result->victim = {{old, plan.slots[1]}, plan.target};
        }
        return segment::store_outcome(change, {.word0 = result->replaced ? 1U : 0U});
      },
      {.lease = moves_directory ? &segment_->super().service_root[kRenameLease] : nullptr});
}

// Walks from the new parent to the root. Under the rename lease nobody else moves a directory.
Status Namespace::check_cycle(Participant& me, std::uint64_t moved, std::uint64_t parent) {
  constexpr int kMaxDepth = 1 << 16;
  std::uint64_t id = parent;
  for (int depth = 0; depth < kMaxDepth && id != 0; ++depth) {
    if (id == moved) return Code::kWouldCycle;
    IMSS_ASSIGN_OR_RETURN(const PinnedDirectory above, pin_directory(me, id, kEntryPin));
    id = above.record->parent.load();
  }
  return id != 0 ? Status(Code::kCorrupt, "the directories above do not end") : Status();
}

}  // namespace imss::metadata
