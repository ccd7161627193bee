// What the file of one of several servers has besides names: whose it is, where its directories belong, and its parts of
// changes over servers.
#include <cstring>

#include "base/log.h"
#include "base/text.h"
#include "metadata/journaller_internal.h"
#include "metadata/namespace_internal.h"

namespace imss::metadata {

using segment::Key;
using segment::Participant;
using segment::Ref;
using segment::Values;

namespace {

// The file says that so many more ids may have been given out than were when it was written; more than that are not
// within the time that a server may lose.
constexpr std::uint64_t kIdsAhead = 1 << 24;

}  // namespace

// What one of several servers has is a part; put together in another way, the parts do not fit.
Status Journaller::check_place(const Remembered& remembered) const {
  const auto here = namespace_.place();
  const PlaceState& file = remembered.place_state;
  const bool used = !remembered.names.empty() || !remembered.instances.empty() || file.next_id != 0;
  if (!used || (file.index == here.index && file.count == here.count)) return {};
  return Status(Code::kInvalidArgument,
                concat(journal_.path(), " belongs to metadata server ", std::to_string(file.index), " of ",
                       std::to_string(file.count), ", and this is server ", std::to_string(here.index), " of ",
                       std::to_string(here.count), "; deploy as many as before, or use another file"));
}

PlaceState Journaller::place_state() const {
  const auto here = namespace_.place();
  const auto& block = segment_->super();
  return {here.index, here.count, block.map_epoch.load(), block.service_root[kNextId].load() + 2 * kIdsAhead};
}

// Ids are given out without anybody being told.
bool Journaller::place_due() const {
  const auto& block = segment_->super();
  return block.map_epoch.load() != written_place_.epoch ||
         block.service_root[kNextId].load() + kIdsAhead > written_place_.next_id;
}

// One of several servers has directories and names that hang together only with those of the others. Names whose
// directory is not here any more are left out.
Status Journaller::restore_part(const Remembered& remembered) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  for (const auto& [id, state] : remembered.parents) {
    namespace_.reserve_ids(id);
    const Status made = namespace_.make_directory_record(*me, id, state.parent, {state.mode, 0, 0});
    if (!made.ok() && made.code() != Code::kExists) return made;
  }
  for (const auto& [key, info] : remembered.names) {
    if (info.type == NodeType::kInstance) continue;
    const Status status = namespace_.restore_entry(info);
    if (status.code() == Code::kExists || status.code() == Code::kNotFound) continue;
    IMSS_RETURN_IF_ERROR(status);
    ++restored_names_;
  }
  // The name of an inode, and of a directory, may be in another server's file.
  for (const auto& [dataset, state] : remembered.inodes) IMSS_RETURN_IF_ERROR(namespace_.restore_inode(state));
  for (const auto& [id, info] : remembered.directories) {
    const Status status = restore_said(remembered, id);
    if (!status.ok() && status.code() != Code::kNotFound) return status;
  }
  return restore_changes(remembered);
}

// Committed intents and claims go on as in the segment that was lost: what is claimed again is settled by whoever
// meets it, and by the servers. A claim whose finish was written already finds its work done.
Status Journaller::restore_changes(const Remembered& remembered) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  for (const auto& [key, state] : remembered.changes) {
    namespace_.reserve_ids(state.change);
    Status status;
    if (state.kind == kIntentKind) {
      status = namespace_.services_.put(*me, key, {0, kIntentCommitted, state.participants}, true);
    } else if (state.kind == kNameClaimKind) {
      status = namespace_.claim_name({state.change, state.entry, false}).status();
    } else {
      DirectoryClaim claim{state.change, static_cast<DirectoryRole>(state.kind - kNewDirectoryKind), state.directory,
                           state.parent, state.parent, state.permissions};
      if (const auto known = remembered.parents.find(claim.id); known != remembered.parents.end()) {
        claim.parent = known->second.parent;
      }
      status = namespace_.claim_directory(claim);
    }
    if (status.code() == Code::kNoSpace) return status;
    if (!status.ok() && status.code() != Code::kExists && status.code() != Code::kNotFound) {
      IMSS_LOG_WARN("metadata file %s: an unfinished change could not be taken up again: %s", journal_.path().c_str(),
                    status.message().c_str());
    }
  }
  return {};
}

// The claim or the committed intent under a key; kNotFound when there is none that counts.
Result<ChangeState> Journaller::change_state(Key key) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  ChangeState state;
  state.change = key.first;
  state.kind = key.second;
  for (;;) {
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(namespace_.services_.find(key, &snapshot));
    if (snapshot.entry == nullptr) return Code::kNotFound;
    const Values& values = snapshot.values;
    if (key.second == kIntentKind) {
      if (values.value1 != kIntentCommitted) return Code::kNotFound;
      state.participants = values.value2;
      return state;
    }
    if (key.second != kNameClaimKind) {
      state.directory = values.value1;
      state.parent = values.value2;
      if (key.second != kNewDirectoryKind) return state;
      IMSS_ASSIGN_OR_RETURN(const PinnedDirectory made,
                            namespace_.pin_directory(*me, state.directory, kFirstDirectoryPin));
      state.permissions = permissions_in(*made.record);
      return state;
    }
    const Ref ref = Ref(values.value0).bare();
    const PinGuard guard(me->pins[kEntryPin], ref);
    if (!namespace_.services_.unchanged(snapshot)) continue;
    if (!read_entry(*segment_, ref, &state.entry)) return Status(Code::kCorrupt, "a claim of a name is damaged");
    return state;
  }
}

Status Journaller::write_change(Key key) {
  const auto state = change_state(key);
  if (state.code() == Code::kNotFound) return journal_.append(kChangeGone, encode_key(key));
  if (!state.ok()) return state.status();
  return journal_.append(kChangeState, encode_change(*state));
}

Status Journaller::stream_changes() {
  std::vector<Key> keys;
  IMSS_RETURN_IF_ERROR(namespace_.services_.for_each([&](Key key, const Values&) {
    if (key.second >= kIntentKind && key.second <= kMovedDirectoryKind) keys.push_back(key);
    return true;
  }));
  for (const Key key : keys) {
    const auto state = change_state(key);
    if (state.code() == Code::kNotFound) continue;
    if (!state.ok()) return state.status();
    IMSS_RETURN_IF_ERROR(journal_.append_snapshot(kChangeState, encode_change(*state)));
  }
  return {};
}

// Also of a directory that a change over several servers holds, unless the change is about to make it.
Result<ParentState> Journaller::parent_state(std::uint64_t id) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory directory, namespace_.pin_directory(*me, id, kFirstDirectoryPin));
  const DirectoryRecord& record = *directory.record;
  if (const std::uint64_t claim = record.claim.load(); claim != 0) {
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(namespace_.services_.find({claim, kNewDirectoryKind}, &snapshot));
    if (snapshot.entry != nullptr && snapshot.values.value1 == id) return Code::kNotFound;
  }
  return ParentState{id, record.parent.load(), static_cast<std::uint32_t>(record.mode.load()), 0};
}

Status Journaller::write_directory(Key key) {
  if (namespace_.place().count > 1) {
    const auto state = parent_state(key.first);
    if (state.code() == Code::kNotFound) return journal_.append(kDirectoryGone, encode_key(key));
    IMSS_RETURN_IF_ERROR(state.status());
    IMSS_RETURN_IF_ERROR(journal_.append(kParentState, encode_parent(*state)));
  }
  const auto info = namespace_.directory(key.first);
  // What is gone is said by its name. A claimed one is marked again when its change has finished.
  if (info.code() == Code::kNotFound || info.code() == Code::kClaimed) return {};
  IMSS_RETURN_IF_ERROR(info.status());
  IMSS_RETURN_IF_ERROR(journal_.append(kDirectoryState, encode_directory(*info)));
  IMSS_ASSIGN_OR_RETURN(const auto xattrs, xattr_record(key.first));
  return xattrs.empty() ? Status() : journal_.append(kDirectoryXattrs, xattrs);
}

// The record of a directory's extended attributes; empty when it never had any.
Result<std::vector<std::byte>> Journaller::xattr_record(std::uint64_t directory) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Values seen;
  IMSS_ASSIGN_OR_RETURN(auto stored, namespace_.stored_xattrs(*me, directory, &seen));
  std::uint64_t total = 0;
  if (stored.size() < sizeof(total)) return std::vector<std::byte>();
  std::memcpy(&total, stored.data(), sizeof(total));
  if (total > stored.size() || total > kMostDirectoryXattrBytes) return Status(Code::kCorrupt, "extended attributes are damaged");
  stored.resize(total);
  return encode_xattrs({directory, std::move(stored)});
}

Status Journaller::stream_parents() {
  std::vector<std::uint64_t> ids;
  IMSS_RETURN_IF_ERROR(namespace_.directories_.for_each([&](Key key, const Values&) {
    if (key.second == 0) ids.push_back(key.first);
    return true;
  }));
  for (const std::uint64_t id : ids) {
    const auto state = parent_state(id);
    if (state.code() == Code::kNotFound) continue;  // it went meanwhile, and that is in the ring
    if (!state.ok()) return state.status();
    IMSS_RETURN_IF_ERROR(journal_.append_snapshot(kParentState, encode_parent(*state)));
  }
  return {};
}

}  // namespace imss::metadata
