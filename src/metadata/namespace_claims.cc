// Changes over several servers, the participants' side: claims of names and directories, and how they are finished.
//
// A claim is an entry of the service table that has all that it takes to apply or to undo it. Until then the old state
// stays: a claimed name keeps its record, a name that shall appear has a reservation and its slot, so that nothing
// that finish_change() does needs room.
#include <algorithm>

#include "base/clock.h"
#include "metadata/names_edit.h"
#include "metadata/namespace_internal.h"

namespace imss::metadata {

using segment::Extents;
using segment::fault_point;
using segment::Key;
using segment::Participant;
using segment::Ref;
using segment::Transaction;
using segment::Values;
using segment::Word;

namespace {

Key name_claim_key(std::uint64_t change) { return {change, kNameClaimKind}; }

Key directory_claim_key(const DirectoryClaim& claim) {
  return {claim.change, kNewDirectoryKind + static_cast<std::uint64_t>(claim.role)};
}

std::uint64_t settled_version(std::uint64_t version_word) {
  return segment::next_version(version_word) & ~(kClaimedEntry | kReservation);
}

}  // namespace

// --- names ---------------------------------------------------------------------------------------------------

void Namespace::mark_name_dirty(std::uint64_t parent, std::string_view name) {
  mark_dirty(*segment_, DirtyKind::kEntry, name_key(parent, name, 0));
  if (segment_->super().service_root[kCollisions].load() != 0) {
    mark_dirty(*segment_, DirtyKind::kEntry, name_key(parent, name, 1));
  }
}

Result<ClaimedName> Namespace::claim_name(const NameClaim& claim) {
  if (claim.change == 0) return Status(Code::kInvalidArgument, "a claim is of no change");
  IMSS_RETURN_IF_ERROR(check_name(claim.entry.parent, claim.entry.name));
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const PendingEntry pending, prepare_record(*me, claim.entry, Ref::kHeld));
  ClaimedName result;
  const Status status =
      with_spare(*me, [&](ServiceSpare& spare) { return try_claim_name(*me, claim, pending, spare, &result); });
  if (!status.ok()) Extents(*segment_).put_back(*me, pending.record);
  if (status.code() == Code::kAlreadyOpen) return result;
  IMSS_RETURN_IF_ERROR(status);
  fault_point("changes.name_claimed");
  mark_dirty(*segment_, DirtyKind::kChange, name_claim_key(claim.change));
  return result;
}

// kAlreadyOpen: `result` is the answer, and there is nothing to change.
Status Namespace::try_claim_name(Participant& me, const NameClaim& claim, const PendingEntry& pending,
                                 ServiceSpare& spare, ClaimedName* result) {
  const EntryInfo& info = claim.entry;
  const Key key = name_claim_key(claim.change);
  auto& record = *segment_->at<EntryRecord>(pending.record.ref.offset());
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(const PinnedDirectory directory, pin_directory(me, info.parent, kFirstDirectoryPin));
    DirectoryRecord& dir = *directory.record;
    std::uint64_t slot = 0;
    const auto decide = [&](Transaction& change, segment::TableEdit& edit, const NamePlaces& places) -> Status {
      *result = {};
      const Values& old = places.values[0];
      const Ref old_ref = Ref(old.value0).bare();
      const bool present = places.entry[0] != nullptr;
      if (present && !read_entry(*segment_, old_ref, &result->victim)) return Code::kCorrupt;
      ServiceEdit services(services_, change, spare);
      IMSS_RETURN_IF_ERROR(services.lock(key));
      if (services.find(key, nullptr) != nullptr) {  // said before
        result->replaces = (old.value1 & kReservation) == 0;
        if (present && old.value2 == claim.change) return Code::kAlreadyOpen;
        return Status(Code::kInvalidArgument, "the change has claimed another name");
      }
      if (present) IMSS_RETURN_IF_ERROR(check_claim(old));
      IMSS_RETURN_IF_ERROR(change.lock(dir.lock));
      if (dir.id.load() != info.parent || dir.removed.load() != 0) {
        return Status(Code::kNotFound, "the directory was removed");
      }
      if (dir.claim.load() != 0) return Status::claimed(dir.claim.load());
      if (present) {
        if (claim.no_replace) return Code::kExists;
        result->same = result->victim.id == info.id;
        if (result->same) return Code::kAlreadyOpen;
        const bool over_directory = result->victim.type == NodeType::kDirectory;
        if (info.type == NodeType::kDirectory && !over_directory) return Code::kNotDirectory;
        if (info.type != NodeType::kDirectory && over_directory) return Code::kIsDirectory;
        result->replaces = true;
        slot = result->victim.cookie - 1;
        Word* word = slot_word(info.parent, slot);
        if (word == nullptr) return Code::kCorrupt;
        edit.update(places.key[0], places.entry[0],
                    {old.value0, segment::next_version(old.value1) | kClaimedEntry, claim.change});
        change.store(*word, old_ref.word() | kClaimedSlot);
      } else {
        Word* word = nullptr;
        IMSS_RETURN_IF_ERROR(take_slot(change, info.parent, dir, &slot, &word));
        IMSS_RETURN_IF_ERROR(edit.insert(
            me, places.key[0], {pending.record.ref.word(), 1 | kClaimedEntry | kReservation, claim.change}));
        change.store(*word, pending.record.ref.word() | kClaimedSlot);
      }
      record.slot = slot;
      change.store(dir.name_claims, dir.name_claims.load() + 1);
      IMSS_RETURN_IF_ERROR(services.insert(
          me, key, {pending.record.ref.word(), present ? 0U : 1U, present ? result->victim.id : 0}));
      services.finish();
      change.store(me.hand[pending.record.slot], 0);
      return {};
    };
    const Status status = edit_names(me, {{info.parent, info.name}}, decide, {.claimed_too = true});
    if (status.code() != Code::kBusy) return status;
    IMSS_RETURN_IF_ERROR(ensure_chunk(me, info.parent, dir, slot));
  }
}

// The claim of a name while it is being finished.
struct Namespace::NameFinish {
  Key key;
  bool committed = false;
  Ref ref;                   // of the record as it shall be
  EntryInfo info;
  PinnedDirectory directory;
  std::uint32_t hand_slot = 0;
  RenameResult result;
};

Result<RenameResult> Namespace::finish_name(Participant& me, std::uint64_t change, bool committed) {
  Extents extents(*segment_);
  for (;;) {
    NameFinish finish;
    finish.key = name_claim_key(change);
    finish.committed = committed;
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(services_.find(finish.key, &snapshot));
    if (snapshot.entry == nullptr) return RenameResult{};
    finish.ref = Ref(snapshot.values.value0).bare();
    {
      const PinGuard guard(me.pins[kEntryPin], finish.ref);
      if (!services_.unchanged(snapshot)) continue;
      if (!read_entry(*segment_, finish.ref, &finish.info)) return Status(Code::kCorrupt, "a claim of a name is damaged");
    }
    auto directory = pin_directory(me, finish.info.parent, kFirstDirectoryPin);
    if (!directory.ok()) {
      // A claimed name keeps its directory; unless somebody else has finished the claim just now.
      IMSS_RETURN_IF_ERROR(services_.find(finish.key, &snapshot));
      if (snapshot.entry == nullptr) return RenameResult{};
      return directory.status();
    }
    finish.directory = std::move(*directory);
    IMSS_ASSIGN_OR_RETURN(finish.hand_slot, extents.empty_slot(me));
    const Status status = edit_names(
        me, {{finish.info.parent, finish.info.name}},
        [&](Transaction& transaction, segment::TableEdit& edit, const NamePlaces& places) {
          return apply_name_claim(me, finish, transaction, edit, places);
        },
        {.claimed_too = true});
    if (status.code() == Code::kNotFound) return RenameResult{};  // by somebody else
    IMSS_RETURN_IF_ERROR(status);
    fault_point("changes.name_finished");
    mark_name_dirty(finish.info.parent, finish.info.name);
    mark_dirty(*segment_, DirtyKind::kChange, finish.key);
    extents.trim(me);
    return finish.result;
  }
}

// kNotFound: the claim is gone.
Status Namespace::apply_name_claim(Participant& me, NameFinish& finish, Transaction& change, segment::TableEdit& edit,
                                   const NamePlaces& places) {
  ServiceSpare no_spare;
  ServiceEdit services(services_, change, no_spare);
  IMSS_RETURN_IF_ERROR(services.lock(finish.key));
  Values claim;
  segment::Entry* const entry = services.find(finish.key, &claim);
  if (entry == nullptr) return Code::kNotFound;
  const Values& old = places.values[0];
  if (places.entry[0] == nullptr || (old.value1 & kClaimedEntry) == 0 || old.value2 != finish.key.first) {
    return Status(Code::kCorrupt, "a claimed name is not claimed by the change that has the claim");
  }
  DirectoryRecord& dir = *finish.directory.record;
  IMSS_RETURN_IF_ERROR(change.lock(dir.lock));
  const std::uint64_t slot = finish.info.cookie - 1;
  Word* word = slot_word(finish.info.parent, slot);
  if (word == nullptr) return Code::kCorrupt;
  const bool reserved = (old.value1 & kReservation) != 0;
  const Ref old_ref = Ref(old.value0).bare();
  std::uint64_t hand = Extents::retired(finish.ref);  // of an aborted change
  if (finish.committed) {
    edit.update(places.key[0], places.entry[0], {finish.ref.word(), settled_version(old.value1), finish.info.id});
    change.store(*word, finish.ref.word());
    if (reserved) {
      change.store(dir.entries, dir.entries.load() + 1);
      if (finish.info.type == NodeType::kDirectory) change.store(dir.subdirectories, dir.subdirectories.load() + 1);
      hand = 0;
    } else {
      EntryInfo victim;
      if (!read_entry(*segment_, old_ref, &victim)) return Code::kCorrupt;
      hand = Extents::retired(old_ref);
      if (victim.type != NodeType::kDirectory) {
        // Should we die before its data is dropped, the replaced name in our hand says so.
        hand = old_ref.with(Ref::kReap).word();
        finish.result.replaced = true;
        finish.result.victim = {{old_ref, finish.hand_slot}, victim};
      }
    }
    stamp(change, dir);
  } else if (reserved) {
    edit.erase(places.key[0], places.entry[0]);
    change.store(*word, kFreeSlot | dir.free_head.load());
    change.store(dir.free_head, slot + 1);
  } else {
    edit.update(places.key[0], places.entry[0], {old.value0, settled_version(old.value1), claim.value2});
    change.store(*word, old_ref.word());
  }
  if (hand != 0) change.store(me.hand[finish.hand_slot], hand);
  change.store(dir.name_claims, dir.name_claims.load() - 1);
  services.erase(finish.key, entry);
  services.finish();
  return {};
}

Status Namespace::claim_within(Participant& me, std::uint64_t id) {
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory pinned, pin_directory(me, id, kFourthDirectoryPin));
  for (std::uint64_t slot = 0; slot < pinned.record->next_slot.load(); ++slot) {
    Word* word = slot_word(id, slot);
    if (word == nullptr) return {};
    const std::uint64_t value = word->load();
    if ((value & (kClaimedSlot | kFreeSlot)) != kClaimedSlot) continue;
    EntryInfo info;
    {
      const PinGuard guard(me.pins[kEntryPin], Ref(value).bare());
      if (word->load() != value || !read_entry(*segment_, Ref(value).bare(), &info)) continue;
    }
    IMSS_RETURN_IF_ERROR(find_entry(me, id, info.name).status());
  }
  return {};
}

// --- directories ---------------------------------------------------------------------------------------------

Status Namespace::claim_directory(const DirectoryClaim& claim) {
  if (claim.change == 0 || claim.id <= kInstancesDirectory || claim.role > DirectoryRole::kMoved) {
    return Status(Code::kInvalidArgument, "no change can claim this directory");
  }
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  const Status status = claim.role == DirectoryRole::kNew ? claim_new_directory(*me, claim)
                                                          : claim_present_directory(*me, claim);
  IMSS_RETURN_IF_ERROR(status);
  fault_point("changes.directory_claimed");
  mark_dirty(*segment_, DirtyKind::kChange, directory_claim_key(claim));
  return {};
}

// The answer to who would make a directory with an id that one has. An earlier attempt may have left it claimed.
Status Namespace::present_under(const Values& values) const {
  const Ref ref = Ref(values.value0).bare();
  if (!segment_->valid_ref(ref)) return Status(Code::kCorrupt, "a directory has a damaged reference");
  const std::uint64_t claim = segment_->at<DirectoryRecord>(ref.offset())->claim.load();
  return claim != 0 ? Status::claimed(claim) : Status(Code::kExists, "there is a directory with this id");
}

// The record is there, but nothing can be created in it before the change is committed.
Status Namespace::claim_new_directory(Participant& me, const DirectoryClaim& claim) {
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const segment::Held held,
                        extents.take(me, segment::class_for(sizeof(DirectoryRecord)), false));
  fill_directory_record(held.ref, claim.id, claim.parent, claim.permissions);
  segment_->at<DirectoryRecord>(held.ref.offset())->claim.store(claim.change);
  const Key key = directory_key(claim.id);
  const Key claim_key = directory_claim_key(claim);
  const Status status = with_spare(me, [&](ServiceSpare& spare) {
    return segment::edit_one(
        directories_, me, key,
        [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& old) -> Status {
          ServiceEdit services(services_, change, spare);
          IMSS_RETURN_IF_ERROR(services.lock(claim_key));
          if (services.find(claim_key, nullptr) != nullptr) return Code::kAlreadyOpen;  // said before
          if (entry != nullptr) return present_under(old);
          IMSS_RETURN_IF_ERROR(edit.insert(me, key, {held.ref.word(), 1, claim.parent}));
          IMSS_RETURN_IF_ERROR(services.insert(me, claim_key, {0, claim.id, claim.parent}));
          services.finish();
          change.store(me.hand[held.slot], 0);
          return {};
        });
  });
  if (!status.ok()) extents.put_back(me, held);
  return status.code() == Code::kAlreadyOpen ? Status() : status;
}

Status Namespace::claim_present_directory(Participant& me, const DirectoryClaim& claim) {
  const Key key = directory_claim_key(claim);
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(const PinnedDirectory directory, pin_directory(me, claim.id, kFirstDirectoryPin));
    DirectoryRecord& dir = *directory.record;
    bool names_claimed = false;
    const Status status = segment::edit_one(
        services_, me, key,
        [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values&) -> Status {
          names_claimed = false;
          if (entry != nullptr) return Code::kAlreadyOpen;  // said before
          IMSS_RETURN_IF_ERROR(change.lock(dir.lock));
          if (dir.id.load() != claim.id || dir.removed.load() != 0) return Code::kNotFound;
          if (dir.claim.load() != 0) return Status::claimed(dir.claim.load());
          if (claim.role == DirectoryRole::kGone) {
            if (dir.entries.load() != 0) return Code::kNotEmpty;
            names_claimed = dir.name_claims.load() != 0;
            if (names_claimed) return Code::kNotEmpty;
          } else if (dir.parent.load() != claim.parent) {
            return Code::kBusy;
          }
          change.store(dir.claim, claim.change);
          return edit.insert(me, key, {0, claim.id, claim.new_parent});
        });
    if (status.code() == Code::kAlreadyOpen) return {};
    if (!names_claimed) return status;
    IMSS_RETURN_IF_ERROR(claim_within(me, claim.id));
  }
}

// Applies or undoes the claim of a directory; what of it is done already is passed over.
Status Namespace::finish_directory(Participant& me, Key key, bool committed) {
  segment::Snapshot snapshot;
  IMSS_RETURN_IF_ERROR(services_.find(key, &snapshot));
  if (snapshot.entry == nullptr) return {};
  const std::uint64_t id = snapshot.values.value1;
  const bool drop = committed ? key.second == kGoneDirectoryKind : key.second == kNewDirectoryKind;
  auto directory = pin_directory(me, id, kFirstDirectoryPin);
  if (!directory.ok() && directory.code() != Code::kNotFound) return directory.status();
  DirectoryRecord* const dir = directory.ok() ? directory->record : nullptr;
  if (drop && dir != nullptr) {
    // From here on nobody adds a chunk to what is dropped.
    Transaction change(*segment_, me);
    IMSS_RETURN_IF_ERROR(change.lock(dir->lock));
    change.store(dir->removed, 1);
    IMSS_RETURN_IF_ERROR(change.commit());
    fault_point("changes.directory_dropping");
  }
  if (drop) IMSS_RETURN_IF_ERROR(drop_directory_records(me, id));
  const Status status = segment::edit_one(
      services_, me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& values) -> Status {
        if (entry == nullptr) return Code::kNotFound;  // by somebody else
        edit.erase(key, entry);
        if (drop || dir == nullptr) return {};
        IMSS_RETURN_IF_ERROR(change.lock(dir->lock));
        if (dir->claim.load() != key.first) return Code::kCorrupt;
        if (committed && key.second == kMovedDirectoryKind) change.store(dir->parent, values.value2);
        change.store(dir->claim, 0);
        return {};
      });
  if (status.code() == Code::kNotFound) return {};
  IMSS_RETURN_IF_ERROR(status);
  fault_point("changes.directory_finished");
  mark_dirty(*segment_, DirtyKind::kDirectory, directory_key(id));
  mark_dirty(*segment_, DirtyKind::kChange, key);
  return {};
}

Result<RenameResult> Namespace::finish_change(std::uint64_t change, bool committed) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  for (const std::uint64_t kind : {kNewDirectoryKind, kGoneDirectoryKind, kMovedDirectoryKind}) {
    IMSS_RETURN_IF_ERROR(finish_directory(*me, {change, kind}, committed));
  }
  return finish_name(*me, change, committed);
}

}  // namespace imss::metadata
