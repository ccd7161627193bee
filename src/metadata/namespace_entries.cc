// Names: lookup, creation, removal and directories. Rename is in namespace_rename.cc.
#include <algorithm>

#include "base/clock.h"
#include "base/hash.h"
#include "metadata/authority.h"
#include "metadata/names_edit.h"
#include "metadata/namespace_internal.h"

namespace imss::metadata {

using segment::Extents;
using segment::fault_point;
using segment::Held;
using segment::Participant;
using segment::Ref;
using segment::Transaction;
using segment::Values;
using segment::Word;

namespace {

std::atomic<std::uint64_t> name_hash_mask{~0ULL};

}  // namespace

void set_name_hash_mask(std::uint64_t mask) { name_hash_mask.store(mask); }

segment::Key name_key(std::uint64_t parent, std::string_view name, std::uint32_t salt) {
  const std::uint64_t hash = hash_text(name) & name_hash_mask.load(std::memory_order_relaxed);
  return {parent, salt == 0 ? hash : ~hash};
}

Status check_name(std::uint64_t parent, std::string_view name) {
  // The unnamed instance, imss://, is the one thing with an empty name.
  if (name.empty() && parent != kInstancesDirectory) return Status(Code::kInvalidArgument, "a name is empty");
  if (name.size() > 255) return Status(Code::kNameTooLong, "a name is longer than 255 bytes");
  if (name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos) {
    return Status(Code::kInvalidArgument, "a name cannot contain '/' or NUL");
  }
  return {};
}

bool read_entry(const segment::Segment& segment, Ref ref, EntryInfo* info) {
  if (!segment.valid_ref(ref.bare()) || ref.bytes() < sizeof(EntryRecord)) return false;
  const auto& record = *segment.at<EntryRecord>(ref.offset());
  if (sizeof(EntryRecord) + record.name_length > ref.bytes()) return false;
  info->parent = record.parent;
  info->link = record.link;
  info->id = record.id;
  info->type = static_cast<NodeType>(record.type);
  info->layout = {record.policy,      record.replicas,    record.server_count,
                  record.home_server, record.block_bytes, record.block_count};
  info->created_ns = record.created_ns;
  info->mode = record.mode;
  info->cookie = record.slot + 1;
  info->name.assign(reinterpret_cast<const char*>(&record + 1), record.name_length);
  return true;
}

bool entry_is(const segment::Segment& segment, Ref ref, std::string_view name) {
  if (!segment.valid_ref(ref.bare()) || ref.bytes() < sizeof(EntryRecord) + name.size()) return false;
  const auto& record = *segment.at<EntryRecord>(ref.offset());
  return record.name_length == name.size() && std::memcmp(&record + 1, name.data(), name.size()) == 0;
}

Namespace::Namespace(std::shared_ptr<segment::Segment> segment)
    : segment_(std::move(segment)),
      entries_(*segment_, segment::kEntryTable),
      directories_(*segment_, segment::kDirectoryTable),
      services_(*segment_, segment::kServiceTable),
      attributes_(*segment_, segment::kAttributeTable) {}

Status Namespace::format(std::uint32_t index, std::uint32_t count) {
  if (count == 0 || count > kMaxMetadataServers || index >= count) {
    return Status(Code::kInvalidArgument, "a namespace has between 1 and 4096 metadata servers");
  }
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  auto& root = segment_->super().service_root;
  root[kNextId].store(first_id_of(index) + kFirstFreeId);
  root[kNextServer].store(1);
  root[kServerIndex].store(index);
  root[kServerCount].store(count);
  if (count > 1) std::atomic_ref(segment_->super().incompatible).fetch_or(segment::kPartOfNamespace);
  segment_->super().map_epoch.store(1);
  if (index != 0) return {};
  return make_directory_record(*me, kInstancesDirectory, 0, {});
}

Result<std::uint64_t> Namespace::new_id() { return new_ids(1); }

Result<std::uint64_t> Namespace::new_ids(std::uint64_t count) {
  return segment_->super().service_root[kNextId].fetch_add(count);
}

void Namespace::reserve_ids(std::uint64_t last) {
  Word& next = segment_->super().service_root[kNextId];
  std::uint64_t seen = next.load();
  if (giver_of(last) != giver_of(seen)) return;  // another server gives those out
  while (seen <= last && !next.compare_exchange_weak(seen, last + 1)) {
  }
}

bool Namespace::elsewhere(std::uint64_t directory) const {
  const Place here = place();
  return here.count > 1 && authority_of(directory, here.count) != here.index;
}

Result<PinnedDirectory> Namespace::pin_directory(Participant& me, std::uint64_t id, std::uint32_t pin_slot) {
  for (;;) {
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(directories_.find(directory_key(id), &snapshot));
    if (snapshot.entry == nullptr) return Status(Code::kNotFound, "the directory is not there any more");
    const Ref ref = Ref(snapshot.values.value0).bare();
    if (!segment_->valid_ref(ref)) return Status(Code::kCorrupt, "a directory has a damaged reference");
    PinGuard guard(me.pins[pin_slot], ref);
    if (!directories_.unchanged(snapshot)) continue;
    return PinnedDirectory{segment_->at<DirectoryRecord>(ref.offset()), ref, std::move(guard)};
  }
}

Result<Namespace::Found> Namespace::find_entry(Participant& me, std::uint64_t parent, std::string_view name,
                                               const IdKnown& id_known) {
  for (std::uint32_t salt = 0;;) {
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(entries_.find(name_key(parent, name, salt), &snapshot));
    if (snapshot.entry != nullptr) {
      const Ref ref = Ref(snapshot.values.value0).bare();
      const auto* record = segment_->base() + ref.offset();
      __builtin_prefetch(record);
      __builtin_prefetch(record + sizeof(EntryRecord));
      if (id_known) id_known(snapshot.values.value2);
      fault_point("names.found");
      const PinGuard guard(me.pins[kEntryPin], ref);
      if (!entries_.unchanged(snapshot)) continue;
      Found found;
      if (!read_entry(*segment_, ref, &found.info)) return Status(Code::kCorrupt, "a directory entry is damaged");
      if (found.info.name == name) {
        IMSS_RETURN_IF_ERROR(check_claim(snapshot.values));
        found.exists = true;
        return found;
      }
    }
    if (salt == 1 || segment_->super().service_root[kCollisions].load() == 0) return Found{};
    salt = 1;
  }
}

Result<EntryInfo> Namespace::lookup(std::uint64_t parent, std::string_view name, const IdKnown& id_known) {
  IMSS_RETURN_IF_ERROR(check_name(parent, name));
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(Found found, find_entry(*me, parent, name, id_known));
  if (!found.exists) return Code::kNotFound;
  return std::move(found.info);
}

// --- slots -------------------------------------------------------------------------------------------

Word* Namespace::slot_word(std::uint64_t directory, std::uint64_t slot) {
  segment::Snapshot snapshot;
  if (!directories_.find(chunk_key(directory, slot), &snapshot).ok() || snapshot.entry == nullptr) return nullptr;
  const Ref ref = Ref(snapshot.values.value0).bare();
  if (!segment_->valid_ref(ref) || ref.bytes() < kSlotsPerChunk * sizeof(Word)) return nullptr;
  return segment_->at<Word>(ref.offset()) + slot % kSlotsPerChunk;
}

// Under the directory's lock, so that no chunk is added to a directory that was removed meanwhile.
Status Namespace::ensure_chunk(Participant& me, std::uint64_t id, DirectoryRecord& directory,
                               std::uint64_t slot) {
  Extents extents(*segment_);
  constexpr std::uint64_t kBytes = kSlotsPerChunk * sizeof(Word);
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(me, segment::class_for(kBytes), false));
  std::memset(segment_->base() + held.ref.offset(), 0, kBytes);
  fault_point("names.chunk_made");
  const segment::Key key = chunk_key(id, slot);
  const Status status = segment::edit_one(
      directories_, me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values&) -> Status {
        if (entry != nullptr) return Code::kExists;
        IMSS_RETURN_IF_ERROR(change.lock(directory.lock));
        if (directory.removed.load() != 0) return Status(Code::kNotFound, "the directory was removed");
        change.store(me.hand[held.slot], 0);
        return edit.insert(me, key, {held.ref.word(), 1, 0});
      });
  if (!status.ok()) extents.put_back(me, held);
  return status.code() == Code::kExists ? Status() : status;
}

// Finds a free slot and stores the directory's new slot counters. REQUIRES: the directory's lock.
// kBusy: the chunk of the next slot has to be made first; *slot says which.
Status Namespace::take_slot(Transaction& change, std::uint64_t id, DirectoryRecord& directory,
                            std::uint64_t* slot, Word** word) {
  const std::uint64_t free_head = directory.free_head.load();
  *slot = free_head != 0 ? free_head - 1 : directory.next_slot.load();
  *word = slot_word(id, *slot);
  if (*word == nullptr) return Code::kBusy;
  if (free_head != 0) {
    change.store(directory.free_head, (*word)->load() & ~kFreeSlot);
  } else {
    change.store(directory.next_slot, *slot + 1);
  }
  return {};
}

// --- creation and removal ------------------------------------------------------------------------------

Result<PendingEntry> Namespace::prepare_record(Participant& me, const EntryInfo& info, std::uint64_t flags) {
  IMSS_RETURN_IF_ERROR(check_name(info.parent, info.name));
  Extents extents(*segment_);
  const std::uint64_t bytes = sizeof(EntryRecord) + info.name.size();
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(me, segment::class_for(bytes), false));
  auto& record = *segment_->at<EntryRecord>(held.ref.offset());
  record = {};
  record.parent = info.parent;
  record.link = info.link;
  record.id = info.id;
  record.block_bytes = info.layout.block_bytes;
  record.block_count = info.layout.block_count;
  record.created_ns = info.created_ns;
  record.mode = info.mode;
  record.server_count = info.layout.server_count;
  record.home_server = static_cast<std::uint16_t>(info.layout.home_server);
  record.type = static_cast<std::uint8_t>(info.type);
  record.policy = info.layout.policy;
  record.replicas = info.layout.replicas;
  record.name_length = static_cast<std::uint8_t>(info.name.size());
  std::memcpy(&record + 1, info.name.data(), info.name.size());
  // From here on our death makes somebody remove what the record names.
  me.hand[held.slot].store(held.ref.with(flags).word(), std::memory_order_release);
  return PendingEntry{held, info, {}};
}

Result<PendingEntry> Namespace::prepare(const EntryInfo& info) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  EntryInfo complete = info;
  if (complete.id == 0) {
    IMSS_ASSIGN_OR_RETURN(complete.id, new_id());
  }
  if (complete.link == 0) {
    IMSS_ASSIGN_OR_RETURN(complete.link, new_id());
  }
  if (complete.created_ns == 0) complete.created_ns = now_ns();
  IMSS_ASSIGN_OR_RETURN(const Permissions above, permissions_of(*me, complete.parent));
  auto pending = prepare_record(*me, complete, Ref::kReap);
  if (pending.ok() && (above.mode & kSetGroupBit) != 0) pending->group = above.gid;
  fault_point("names.prepared");
  return pending;
}

void Namespace::abandon(PendingEntry& pending) {
  auto me = segment_->self();
  if (!me.ok()) return;
  forget_attributes(pending.info);
  Extents(*segment_).put_back(**me, pending.record);
}

// A prepared entry becomes one of the directory, as part of a change. kBusy: the chunk of `*slot` is missing.
Status Namespace::show_entry(Participant& me, Transaction& change, segment::TableEdit& edit, const NamePlaces& places,
                             const PendingEntry& pending, DirectoryRecord& dir, std::uint64_t* slot) {
  const EntryInfo& info = pending.info;
  if (places.entry[0] != nullptr) return Code::kExists;
  IMSS_RETURN_IF_ERROR(change.lock(dir.lock));
  if (dir.id.load() != info.parent || dir.removed.load() != 0) {
    return Status(Code::kNotFound, "the directory was removed");
  }
  if (dir.claim.load() != 0) return Status::claimed(dir.claim.load());
  Word* word = nullptr;
  IMSS_RETURN_IF_ERROR(take_slot(change, info.parent, dir, slot, &word));
  segment_->at<EntryRecord>(pending.record.ref.offset())->slot = *slot;  // nobody sees the record yet
  IMSS_RETURN_IF_ERROR(edit.insert(me, places.key[0], {pending.record.ref.word(), 1, info.id}));
  change.store(*word, pending.record.ref.word());
  change.store(dir.entries, dir.entries.load() + 1);
  if (info.type == NodeType::kDirectory) change.store(dir.subdirectories, dir.subdirectories.load() + 1);
  stamp(change, dir);
  change.store(me.hand[pending.record.slot], 0);
  return {};
}

Status Namespace::publish(PendingEntry& pending) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  const EntryInfo& info = pending.info;
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(const PinnedDirectory directory, pin_directory(*me, info.parent, kFirstDirectoryPin));
    DirectoryRecord& dir = *directory.record;
    std::uint64_t slot = 0;
    segment::Key key;
    const Status status = edit_names(
        *me, {{info.parent, info.name}},
        [&](Transaction& change, segment::TableEdit& edit, const NamePlaces& places) -> Status {
          key = places.key[0];
          // Linearisation point of the creation: the transaction that makes the entry findable.
          IMSS_RETURN_IF_ERROR(show_entry(*me, change, edit, places, pending, dir, &slot));
          return segment::store_outcome(change, {.word0 = info.id, .word1 = slot + 1});
        });
    if (status.code() == Code::kBusy) {
      IMSS_RETURN_IF_ERROR(ensure_chunk(*me, info.parent, dir, slot));
      continue;
    }
    IMSS_RETURN_IF_ERROR(status);
    mark_dirty(*segment_, DirtyKind::kEntry, key);
    return {};
  }
}

Result<RemovedEntry> Namespace::remove(std::uint64_t parent, std::string_view name) {
  IMSS_RETURN_IF_ERROR(check_name(parent, name));
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory directory, pin_directory(*me, parent, kFirstDirectoryPin));
  DirectoryRecord& dir = *directory.record;
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const std::uint32_t hand_slot, extents.empty_slot(*me));
  RemovedEntry removed;
  segment::Key key;
  const Status status = edit_names(
      *me, {{parent, name}},
      [&](Transaction& change, segment::TableEdit& edit, const NamePlaces& places) -> Status {
        if (places.entry[0] == nullptr) return Code::kNotFound;
        const Ref ref = Ref(places.values[0].value0).bare();
        if (!read_entry(*segment_, ref, &removed.info)) return Code::kCorrupt;
        if (removed.info.type == NodeType::kDirectory || removed.info.type == NodeType::kInstance) {
          return Code::kIsDirectory;
        }
        IMSS_RETURN_IF_ERROR(change.lock(dir.lock));
        const std::uint64_t slot = removed.info.cookie - 1;
        Word* word = slot_word(parent, slot);
        if (word == nullptr) return Code::kCorrupt;
        key = places.key[0];
        edit.erase(key, places.entry[0]);
        change.store(*word, kFreeSlot | dir.free_head.load());
        change.store(dir.free_head, slot + 1);
        change.store(dir.entries, dir.entries.load() - 1);
        stamp(change, dir);
        change.store(me->hand[hand_slot], ref.with(Ref::kReap).word());
        removed.record = {ref, hand_slot};
        return segment::store_outcome(change, {});
      });
  IMSS_RETURN_IF_ERROR(status);
  fault_point("names.removed");
  mark_dirty(*segment_, DirtyKind::kEntry, key);
  return removed;
}

void Namespace::forget(RemovedEntry& removed) {
  auto me = segment_->self();
  if (!me.ok()) return;
  forget_attributes(removed.info);
  (*me)->hand[removed.record.slot].store(Extents::retired(removed.record.ref), std::memory_order_release);
  Extents(*segment_).trim(**me);
}

// --- directories ---------------------------------------------------------------------------------------

void Namespace::fill_directory_record(Ref ref, std::uint64_t id, std::uint64_t parent, const Permissions& permissions) {
  std::memset(segment_->base() + ref.offset(), 0, sizeof(DirectoryRecord));
  auto& directory = *segment_->at<DirectoryRecord>(ref.offset());
  directory.id.store(id);
  directory.parent.store(parent);
  directory.mode.store(permissions.mode);
  directory.owner.store(std::uint64_t{permissions.uid} << 32 | permissions.gid);
  const std::uint64_t now = now_ns();
  for (Word* time : {&directory.modified_ns, &directory.created_ns, &directory.accessed_ns, &directory.changed_ns}) {
    time->store(now);
  }
}

Status Namespace::make_directory_record(Participant& me, std::uint64_t id, std::uint64_t parent,
                                        const Permissions& permissions) {
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const Held held,
                        extents.take(me, segment::class_for(sizeof(DirectoryRecord)), false));
  fill_directory_record(held.ref, id, parent, permissions);
  const segment::Key key = directory_key(id);
  const Status status = segment::edit_one(
      directories_, me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values&) -> Status {
        if (entry != nullptr) return Code::kExists;
        change.store(me.hand[held.slot], 0);
        return edit.insert(me, key, {held.ref.word(), 1, parent});
      });
  if (!status.ok()) extents.put_back(me, held);
  if (status.ok()) mark_dirty(*segment_, DirtyKind::kDirectory, key);
  return status;
}

Status Namespace::make_directory(std::uint64_t parent, std::string_view name, const Permissions& wanted,
                                 std::uint64_t* id) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const Permissions above, permissions_of(*me, parent));
  const Permissions permissions = inherited(above, wanted);
  EntryInfo info;
  info.parent = parent;
  info.name = name;
  info.type = NodeType::kDirectory;
  info.mode = permissions.mode;
  if (id != nullptr) info.id = *id;
  if (info.id != 0 && elsewhere(info.id)) return Status(Code::kNotSupported, "the directory belongs to another server");
  IMSS_ASSIGN_OR_RETURN(PendingEntry pending, prepare(info));
  Status status = make_directory_record(*me, pending.info.id, parent, permissions);
  if (status.ok()) {
    status = publish(pending);
    if (!status.ok()) {
      // What could not be dropped now is found again by the pending name, which then stays.
      IMSS_RETURN_IF_ERROR(drop_directory_records(*me, pending.info.id));
    }
  }
  if (!status.ok()) {
    abandon(pending);
    return status;
  }
  if (id != nullptr) *id = pending.info.id;
  return {};
}

Status Namespace::remove_directory(std::uint64_t parent, std::string_view name) {
  IMSS_RETURN_IF_ERROR(check_name(parent, name));
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const Found found, find_entry(*me, parent, name));
  if (!found.exists) return Code::kNotFound;
  if (found.info.type != NodeType::kDirectory && found.info.type != NodeType::kInstance) return Code::kNotDirectory;
  if (elsewhere(found.info.id)) return Status(Code::kNotSupported, "the directory lies on another server");
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory above, pin_directory(*me, parent, kFirstDirectoryPin));
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory victim, pin_directory(*me, found.info.id, kSecondDirectoryPin));
  fault_point("names.directory_found");
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const std::uint32_t hand_slot, extents.empty_slot(*me));
  DirectoryRecord& dir = *above.record;
  DirectoryRecord& gone = *victim.record;
  bool names_claimed = false;
  RemovedEntry removed;
  segment::Key key;
  const Status status = edit_names(
      *me, {{parent, name}},
      [&](Transaction& change, segment::TableEdit& edit, const NamePlaces& places) -> Status {
        if (places.entry[0] == nullptr) return Code::kNotFound;
        const Ref ref = Ref(places.values[0].value0).bare();
        if (!read_entry(*segment_, ref, &removed.info)) return Code::kCorrupt;
        if (removed.info.link != found.info.link) return Code::kFenced;
        DirectoryRecord* first = std::min(&dir, &gone);
        DirectoryRecord* second = std::max(&dir, &gone);
        IMSS_RETURN_IF_ERROR(change.lock(first->lock));
        IMSS_RETURN_IF_ERROR(change.lock(second->lock));
        if (gone.removed.load() != 0) return Code::kNotFound;
        if (gone.claim.load() != 0) return Status::claimed(gone.claim.load());
        if (gone.entries.load() != 0) return Code::kNotEmpty;
        names_claimed = gone.name_claims.load() != 0;
        if (names_claimed) return Code::kNotEmpty;
        const std::uint64_t slot = removed.info.cookie - 1;
        Word* word = slot_word(parent, slot);
        if (word == nullptr) return Code::kCorrupt;
        key = places.key[0];
        edit.erase(key, places.entry[0]);
        change.store(gone.removed, 1);
        change.store(*word, kFreeSlot | dir.free_head.load());
        change.store(dir.free_head, slot + 1);
        change.store(dir.entries, dir.entries.load() - 1);
        if (removed.info.type == NodeType::kDirectory) {
          change.store(dir.subdirectories, dir.subdirectories.load() - 1);
        }
        stamp(change, dir);
        // Should we die before the directory's records are dropped, its name in our hand says so.
        change.store(me->hand[hand_slot], ref.with(Ref::kReap).word());
        removed.record = {ref, hand_slot};
        return segment::store_outcome(change, {});
      });
  if (names_claimed) IMSS_RETURN_IF_ERROR(claim_within(*me, found.info.id));
  if (names_claimed || (status.code() == Code::kFenced && segment_->serving())) {
    return remove_directory(parent, name);  // what was found before the locks has changed meanwhile
  }
  IMSS_RETURN_IF_ERROR(status);
  fault_point("names.directory_removed");
  mark_dirty(*segment_, DirtyKind::kEntry, key);
  return drop_directory(*me, removed);
}

// What is left of a directory or instance whose name is gone.
Status Namespace::drop_directory(Participant& me, RemovedEntry& removed) {
  if (removed.info.type == NodeType::kInstance) {
    const Status dropped = drop_service({removed.info.id, kInstanceKind});
    if (!dropped.ok() && dropped.code() != Code::kNotFound) return dropped;
  }
  IMSS_RETURN_IF_ERROR(drop_directory_records(me, removed.info.id));
  forget(removed);
  return {};
}

Result<DirectoryInfo> Namespace::directory(std::uint64_t id) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory pinned, pin_directory(*me, id, kFirstDirectoryPin));
  const DirectoryRecord& record = *pinned.record;
  if (const std::uint64_t claim = record.claim.load(); claim != 0) return Status::claimed(claim);
  DirectoryInfo info;
  info.id = id;
  info.parent = record.parent.load();
  info.entries = record.entries.load();
  info.subdirectories = record.subdirectories.load();
  const Permissions permissions = permissions_in(record);
  info.mode = permissions.mode;
  info.uid = permissions.uid;
  info.gid = permissions.gid;
  info.modified_ns = record.modified_ns.load();
  info.created_ns = record.created_ns.load();
  info.accessed_ns = record.accessed_ns.load();
  info.changed_ns = record.changed_ns.load();
  return info;
}

Result<bool> Namespace::list(std::uint64_t id, std::uint64_t cookie, std::size_t limit,
                             std::vector<EntryInfo>* out) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory pinned, pin_directory(*me, id, kFirstDirectoryPin));
  const DirectoryRecord& directory = *pinned.record;
  Word* chunk = nullptr;
  std::size_t listed = 0;
  for (std::uint64_t slot = cookie; slot < directory.next_slot.load(); ++slot) {
    if (listed == limit) return true;
    if (chunk == nullptr || slot % kSlotsPerChunk == 0) {
      Word* word = slot_word(id, slot);
      if (word == nullptr) return directory.removed.load() == 0 ? Result<bool>(Code::kCorrupt) : false;
      chunk = word - slot % kSlotsPerChunk;
    }
    Word& word = chunk[slot % kSlotsPerChunk];
    for (;;) {
      const std::uint64_t value = word.load();
      // Chunks are reused only after the directory says that it was removed.
      if (directory.removed.load() != 0) return false;
      if (value == 0 || (value & kFreeSlot) != 0) break;
      const Ref ref = Ref(value).bare();
      const PinGuard guard(me->pins[kEntryPin], ref);
      if (word.load() != value || directory.removed.load() != 0) continue;
      EntryInfo info;
      if (!read_entry(*segment_, ref, &info)) return Status(Code::kCorrupt, "a directory entry is damaged");
      if ((value & kClaimedSlot) != 0) {
        // What comes before is listed; the next call begins with the claim.
        if (listed != 0) return true;
        IMSS_RETURN_IF_ERROR(find_entry(*me, id, info.name).status());
        continue;
      }
      out->push_back(std::move(info));
      ++listed;
      break;
    }
  }
  return false;
}

}  // namespace imss::metadata
