// Instances, the server list, what dead authors left behind, and restoring from the metadata file.
#include <algorithm>

#include "metadata/authority.h"
#include "metadata/names_edit.h"
#include "metadata/namespace_internal.h"
#include "segment/futex.h"

namespace imss::metadata {

using segment::Extents;
using segment::Held;
using segment::Key;
using segment::Participant;
using segment::Ref;
using segment::Transaction;
using segment::Values;
using segment::Word;

namespace {

constexpr std::uint32_t kMaxServersPerInstance = 8192;
// Offset of the server ids in an instance's record. They are read as words of two ids.
constexpr std::uint64_t kServerIds = sizeof(InstanceRecord) + kNameField;
static_assert(kServerIds % sizeof(Word) == 0);

std::vector<std::byte> encode(const InstanceInfo& info, bool restored) {
  std::vector<std::byte> bytes(sizeof(InstanceRecord) + kNameField + info.servers.size() * sizeof(std::uint32_t));
  InstanceRecord record{};
  record.root = info.root;
  record.block_bytes = info.block_bytes;
  record.deployment = info.deployment;
  record.server_count = static_cast<std::uint32_t>(info.servers.size());
  record.port = info.port;
  record.restored = restored ? 1 : 0;
  record.name_length = static_cast<std::uint8_t>(info.name.size());
  std::memcpy(bytes.data(), &record, sizeof(record));
  std::memcpy(bytes.data() + sizeof(record), info.name.data(), info.name.size());
  std::memcpy(bytes.data() + sizeof(record) + kNameField, info.servers.data(),
              info.servers.size() * sizeof(std::uint32_t));
  return bytes;
}

bool decode(const segment::Segment& segment, Ref ref, InstanceInfo* info, bool* restored) {
  if (!segment.valid_ref(ref) || ref.bytes() < sizeof(InstanceRecord) + kNameField) return false;
  const auto& record = *segment.at<InstanceRecord>(ref.offset());
  const std::uint64_t room = (ref.bytes() - sizeof(record) - kNameField) / sizeof(std::uint32_t);
  if (record.server_count > room) return false;
  info->root = record.root;
  info->block_bytes = record.block_bytes;
  info->deployment = record.deployment;
  info->port = record.port;
  const auto* name = reinterpret_cast<const char*>(&record + 1);
  info->name.assign(name, record.name_length);
  info->servers.clear();
  for (std::uint64_t index = 0; index < record.server_count; ++index) {
    const std::uint64_t offset = ref.offset() + kServerIds + index / 2 * sizeof(Word);
    const std::uint64_t pair = segment.at<Word>(offset)->load(std::memory_order_acquire);
    info->servers.push_back(static_cast<std::uint32_t>(pair >> index % 2 * 32));
  }
  if (restored != nullptr) *restored = record.restored != 0;
  return true;
}

}  // namespace

Status Namespace::put_service(Key key, const void* record, std::size_t bytes, PutOptions options) {
  return put_record(services_, key, record, bytes, options);
}

Status Namespace::drop_service(Key key, bool in_map) { return drop_record(services_, key, in_map); }

// Stores a record under a key.
Status Namespace::put_record(segment::Table& table, Key key, const void* record, std::size_t bytes,
                             PutOptions options) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(*me, segment::class_for(bytes), false));
  std::memcpy(segment_->base() + held.ref.offset(), record, bytes);
  const Status status = segment::edit_one(
      table, *me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& old) -> Status {
        if (entry != nullptr && !options.replace) return Code::kExists;
        if (options.in_map) IMSS_RETURN_IF_ERROR(raise_epoch(change));
        if (entry == nullptr) {
          change.store(me->hand[held.slot], 0);
          IMSS_RETURN_IF_ERROR(edit.insert(*me, key, {held.ref.word(), 1, 0}));
        } else {
          edit.update(key, entry, {held.ref.word(), segment::next_version(old.value1), 0});
          change.store(me->hand[held.slot], Extents::retired(Ref(old.value0)));
        }
        return options.effect ? segment::store_outcome(change, {}) : Status();
      });
  if (!status.ok()) extents.put_back(*me, held);
  return status;
}

Status Namespace::drop_record(segment::Table& table, Key key, bool in_map) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const std::uint32_t slot, extents.empty_slot(*me));
  const Status status = segment::edit_one(
      table, *me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& old) -> Status {
        if (entry == nullptr) return Code::kNotFound;
        if (in_map) IMSS_RETURN_IF_ERROR(raise_epoch(change));
        edit.erase(key, entry);
        change.store(me->hand[slot], Extents::retired(Ref(old.value0)));
        return {};
      });
  extents.trim(*me);
  return status;
}

// --- instances -----------------------------------------------------------------------------------------

Status Namespace::create_instance(const InstanceInfo& info, const Permissions& root) {
  IMSS_RETURN_IF_ERROR(check_name(kInstancesDirectory, info.name));
  if (info.servers.empty() || info.servers.size() > kMaxServersPerInstance) {
    return Status(Code::kInvalidArgument, "an instance has between 1 and 8192 data servers");
  }
  auto present = lookup(kInstancesDirectory, info.name);
  if (present.ok()) {
    InstanceInfo known;
    bool restored = false;
    IMSS_RETURN_IF_ERROR(read_service({present->id, kInstanceKind},
                                      [&](Ref ref) { return decode(*segment_, ref, &known, &restored); }));
    if (!restored) return Status(Code::kExists, "instance imss://" + info.name + " exists already");
    // Known from the metadata file: the names are back, the servers are new.
    InstanceInfo bound = info;
    bound.root = known.root;
    const auto bytes = encode(bound, false);
    IMSS_RETURN_IF_ERROR(put_service({known.root, kInstanceKind}, bytes.data(), bytes.size(), {.replace = true, .effect = true}));
    mark_dirty(*segment_, DirtyKind::kInstance, {known.root, kInstanceKind});
    return {};
  }
  if (present.code() != Code::kNotFound) return present.status();
  return make_instance(info, root, false);
}

Status Namespace::make_instance(const InstanceInfo& info, const Permissions& root, bool restored) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  EntryInfo entry;
  entry.parent = kInstancesDirectory;
  entry.name = info.name;
  entry.id = info.root;
  // Its root directory is here, with the instance's record, whose server is the first.
  const std::uint32_t count = place().count;
  while (entry.id == 0 || authority_of(entry.id, count) != 0) {
    IMSS_ASSIGN_OR_RETURN(entry.id, new_id());
  }
  entry.type = NodeType::kInstance;
  entry.mode = 0755;
  IMSS_ASSIGN_OR_RETURN(PendingEntry pending, prepare(entry));
  InstanceInfo complete = info;
  complete.root = pending.info.id;
  const Key key{complete.root, kInstanceKind};
  const auto bytes = encode(complete, restored);
  // Its id may be one that another directory has, which must stay then.
  const Status made = make_directory_record(*me, complete.root, kInstancesDirectory, root);
  Status status = made;
  if (status.ok()) status = put_service(key, bytes.data(), bytes.size(), {});
  const bool stored = status.ok();
  if (status.ok()) status = publish(pending);
  if (status.ok()) {
    mark_dirty(*segment_, DirtyKind::kInstance, key);
    return {};
  }
  abandon(pending);
  // What cannot be dropped has no name, so nobody meets it; the caller wants to know why the instance failed.
  if (stored) [[maybe_unused]] const Status dropped = drop_service(key);
  if (made.ok()) [[maybe_unused]] const Status removed = drop_directory_records(*me, complete.root);
  return status;
}

Result<InstanceInfo> Namespace::instance(std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, lookup(kInstancesDirectory, name));
  InstanceInfo info;
  IMSS_RETURN_IF_ERROR(read_service({entry.id, kInstanceKind},
                                    [&](Ref ref) { return decode(*segment_, ref, &info, &info.restored); }));
  return info;
}

// In place, so that it works also where nothing fits any more.
Result<InstanceInfo> Namespace::leave_instance(std::string_view name, std::uint32_t server_id) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, lookup(kInstancesDirectory, name));
  const Key key{entry.id, kInstanceKind};
  InstanceInfo info;
  IMSS_RETURN_IF_ERROR(segment::edit_one(
      services_, *me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* found, const Values& old) -> Status {
        if (found == nullptr) return Code::kNotFound;
        const Ref ref = Ref(old.value0).bare();
        if (!decode(*segment_, ref, &info, &info.restored)) return Code::kCorrupt;
        const auto member = std::find(info.servers.begin(), info.servers.end(), server_id);
        if (server_id == 0 || member == info.servers.end()) return Code::kNotFound;
        const auto position = static_cast<std::size_t>(member - info.servers.begin());
        // Two ids share a word, which changes under the lock of the entry only.
        Word& pair = *segment_->at<Word>(ref.offset() + kServerIds + position / 2 * sizeof(Word));
        const std::uint64_t mask = 0xffffffffULL << position % 2 * 32;
        change.store(pair, pair.load() & ~mask);
        edit.update(key, found, {old.value0, segment::next_version(old.value1), old.value2});
        *member = 0;
        return segment::store_outcome(change, {});
      }));
  mark_dirty(*segment_, DirtyKind::kInstance, key);
  return info;
}

Result<std::vector<InstanceInfo>> Namespace::instances() {
  if (elsewhere(kInstancesDirectory)) return std::vector<InstanceInfo>();  // the first server has them all
  std::vector<EntryInfo> entries;
  std::uint64_t cookie = 0;
  for (bool more = true; more;) {
    IMSS_ASSIGN_OR_RETURN(more, list(kInstancesDirectory, cookie, 256, &entries));
    if (!entries.empty()) cookie = entries.back().cookie;
  }
  std::vector<InstanceInfo> all;
  for (const EntryInfo& entry : entries) {
    auto info = instance(entry.name);
    if (info.ok()) all.push_back(std::move(*info));
  }
  return all;
}

Status Namespace::remove_instance(std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, lookup(kInstancesDirectory, name));
  IMSS_RETURN_IF_ERROR(remove_directory(kInstancesDirectory, name));
  mark_dirty(*segment_, DirtyKind::kInstance, {entry.id, kInstanceKind});
  return {};
}

// --- servers -------------------------------------------------------------------------------------------

Result<std::uint32_t> Namespace::join_server(ServerInfo info) {
  IMSS_ASSIGN_OR_RETURN(const std::vector<ServerInfo> known, servers());
  for (const ServerInfo& server : known) {
    if (server.segment_name == info.segment_name && server.host == info.host) info.id = server.id;
  }
  // A new segment under an old name is a new server: blocks of the old one are gone.
  for (const ServerInfo& server : known) {
    if (server.id == info.id && server.nonce != info.nonce) {
      IMSS_RETURN_IF_ERROR(leave_server(server.id));
      info.id = 0;
      break;
    }
  }
  if (info.id == 0) info.id = static_cast<std::uint32_t>(segment_->super().service_root[kNextServer].fetch_add(1));
  ServerRecord record{};
  record.nonce = info.nonce;
  record.capacity_bytes = info.capacity_bytes;
  record.id = info.id;
  record.port = info.port;
  record.rank = info.rank;
  record.attached = info.attached ? 1 : 0;
  copy_text(record.host, info.host);
  copy_text(record.segment_name, info.segment_name);
  copy_text(record.instance, info.instance);
  IMSS_RETURN_IF_ERROR(put_service({info.id, kServerKind}, &record, sizeof(record), {.replace = true, .in_map = true}));
  mark_dirty(*segment_, DirtyKind::kPlace, {});
  return info.id;
}

Status Namespace::leave_server(std::uint32_t id) { return drop_service({id, kServerKind}, true); }

Result<std::vector<ServerInfo>> Namespace::servers() {
  std::vector<std::uint32_t> ids;
  IMSS_RETURN_IF_ERROR(services_.for_each([&](Key key, const Values&) {
    if (key.second == kServerKind) ids.push_back(static_cast<std::uint32_t>(key.first));
    return true;
  }));
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  std::vector<ServerInfo> all;
  for (const std::uint32_t id : ids) {
    ServerInfo info;
    const Status status = read_service({id, kServerKind}, [&](Ref ref) {
      if (!segment_->valid_ref(ref) || ref.bytes() < sizeof(ServerRecord)) return false;
      const auto& record = *segment_->at<ServerRecord>(ref.offset());
      info = {record.id,
              record.nonce,
              record.port,
              record.rank,
              record.attached != 0,
              record.capacity_bytes,
              text_of(record.host),
              text_of(record.segment_name),
              text_of(record.instance)};
      return true;
    });
    if (status.code() == Code::kNotFound) continue;
    IMSS_RETURN_IF_ERROR(status);
    all.push_back(std::move(info));
  }
  return all;
}

// --- upkeep ----------------------------------------------------------------------------------------------

Status Namespace::reap_limbo(const std::function<Status(const EntryInfo&)>& reap) {
  segment::Superblock& block = segment_->super();
  const bool anything = std::any_of(std::begin(block.limbo), std::end(block.limbo),
                                    [](const Word& word) { return Ref(word.load()).has(Ref::kReap); });
  if (!anything) return {};
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Extents extents(*segment_);
  Status outcome;
  for (Word& place : block.limbo) {
    if (!Ref(place.load()).has(Ref::kReap)) continue;
    IMSS_ASSIGN_OR_RETURN(const std::uint32_t slot, extents.empty_slot(*me));
    Ref word;
    {
      // Into our own hand first: whoever holds the record is the one who reaps it.
      Transaction change(*segment_, *me);
      IMSS_RETURN_IF_ERROR(change.lock(block.limbo_lock));
      word = Ref(place.load());
      if (!word.has(Ref::kReap)) continue;
      change.store(place, 0);
      change.store(me->hand[slot], word.word());
      IMSS_RETURN_IF_ERROR(change.commit());
    }
    segment::fault_point("limbo.taken");
    RemovedEntry removed{{word.bare(), slot}, {}};
    const Status reaped = reap_one(*me, removed, reap);
    if (reaped.ok()) continue;
    outcome = reaped;
    leave_to_reaper(removed);
  }
  return outcome;
}

// Without room it stays in our hand, from where it gets there when we end.
void Namespace::leave_to_reaper(const RemovedEntry& removed) {
  auto me = segment_->self();
  if (!me.ok()) return;
  segment::Superblock& block = segment_->super();
  Transaction change(*segment_, **me);
  if (!change.lock(block.limbo_lock).ok()) return;
  for (Word& place : block.limbo) {
    if (place.load() != 0) continue;
    change.store(place, removed.record.ref.with(Ref::kReap).word());
    change.store((*me)->hand[removed.record.slot], 0);
    [[maybe_unused]] const Status committed = change.commit();  // or it stays in the hand
    return;
  }
}

Status Namespace::reap_one(Participant& me, RemovedEntry& removed,
                           const std::function<Status(const EntryInfo&)>& reap) {
  EntryInfo& info = removed.info;
  if (!read_entry(*segment_, removed.record.ref, &info)) {
    return Status(Code::kCorrupt, "a removed entry is damaged");
  }
  if (info.type == NodeType::kDirectory || info.type == NodeType::kInstance) return drop_directory(me, removed);
  IMSS_RETURN_IF_ERROR(reap(info));
  forget(removed);
  return {};
}

Status Namespace::restore_entry(const EntryInfo& info) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  reserve_ids(std::max(info.id, info.link));
  // Where there are several servers a directory's record may be on another one, and is in the file by itself.
  if (info.type == NodeType::kDirectory && !spread()) {
    const Status made = make_directory_record(*me, info.id, info.parent, {info.mode, 0, 0});
    if (!made.ok() && made.code() != Code::kExists) return made;
  }
  IMSS_ASSIGN_OR_RETURN(PendingEntry pending, prepare_record(*me, info, Ref::kHeld));
  const Status status = publish(pending);
  if (!status.ok()) abandon(pending);
  return status;
}

Status Namespace::restore_instance(const InstanceInfo& info) {
  reserve_ids(info.root);
  return make_instance(info, {}, true);
}

void mark_dirty(segment::Segment& segment, DirtyKind kind, Key key) {
  auto& root = segment.super().service_root;
  const std::uint64_t ring = root[kRingOffset].load(std::memory_order_acquire);
  if (ring == 0) return;
  const std::uint64_t places = root[kRingPlaces].load();
  const std::uint64_t turn = root[kRingHead].fetch_add(1);
  if (turn - root[kRingTail].load() >= places) {
    // The journaller is behind: it will write everything anew.
    root[kRingOverflow].store(1);
  } else {
    auto& dirty = segment.at<DirtyKey>(ring)[turn % places];
    dirty.first.store(key.first);
    dirty.second.store(key.second);
    dirty.kind_and_turn.store(static_cast<std::uint64_t>(kind) | (turn + 1) << 8, std::memory_order_release);
  }
  if (root[kRingSleeping].load() != 0) segment::futex_wake_all(root[kRingHead]);
}

}  // namespace imss::metadata
