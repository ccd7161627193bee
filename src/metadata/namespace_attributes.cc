// What directories say, and what inodes said last: told by the data servers in batches, kept for the metadata file, and
// shown for datasets whose data is gone.
#include "metadata/namespace_internal.h"
#include "metadata/state_records.h"
#include "segment/outcome.h"

namespace imss::metadata {

using segment::Key;
using segment::Participant;
using segment::Ref;

namespace {

Key attribute_key(std::uint64_t dataset) { return {dataset, 0}; }

}  // namespace

Result<Permissions> Namespace::permissions_of(Participant& me, std::uint64_t directory) {
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory pinned, pin_directory(me, directory, kFirstDirectoryPin));
  return permissions_in(*pinned.record);
}

Status Namespace::change_directory(std::uint64_t id, const store::AttributeChange& wanted) {
  using Change = store::AttributeChange;
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  {
    IMSS_ASSIGN_OR_RETURN(const PinnedDirectory pinned, pin_directory(*me, id, kFirstDirectoryPin));
    DirectoryRecord& dir = *pinned.record;
    segment::Transaction change(*segment_, *me);
    IMSS_RETURN_IF_ERROR(change.lock(dir.lock));
    if (dir.id.load() != id || dir.removed.load() != 0) return Status(Code::kNotFound, "the directory was removed");
    if (dir.claim.load() != 0) return Status::claimed(dir.claim.load());
    if (wanted.has(Change::kMode)) change.store(dir.mode, (dir.mode.load() & ~std::uint64_t{0xffff'ffff}) | wanted.mode);
    if (wanted.has(Change::kUid | Change::kGid)) change.store(dir.owner, wanted.owner_after(dir.owner.load()));
    if (wanted.has(Change::kAccessed)) change.store(dir.accessed_ns, wanted.accessed_ns);
    if (wanted.has(Change::kModified)) change.store(dir.modified_ns, wanted.modified_ns);
    if (wanted.has(Change::kTouched)) change.store(dir.accessed_ns, std::max(dir.accessed_ns.load(), wanted.accessed_ns));
    if (wanted.fields != Change::kTouched) change.store(dir.changed_ns, std::max(dir.changed_ns.load(), now_ns()));
    IMSS_RETURN_IF_ERROR(segment::store_outcome(change, {}));
    IMSS_RETURN_IF_ERROR(change.commit());
  }
  segment::fault_point("names.directory_changed");
  mark_dirty(*segment_, DirtyKind::kDirectory, directory_key(id));
  return {};
}

Status Namespace::store_attributes(std::span<const InodeState> states) {
  if (states.size() > kMostInodeStates) return Status(Code::kInvalidArgument, "too many inodes at once");
  if (segment_->super().service_root[kRingOffset].load() == 0) return {};  // nobody writes a file
  for (const InodeState& state : states) {
    if (state.gone) {
      const Status dropped = drop_record(attributes_, attribute_key(state.dataset));
      if (!dropped.ok() && dropped.code() != Code::kNotFound) return dropped;
      if (dropped.ok()) mark_dirty(*segment_, DirtyKind::kAttributes, attribute_key(state.dataset));
      continue;
    }
    bool changed = false;
    IMSS_RETURN_IF_ERROR(put_inode(state, &changed));
    if (changed) mark_dirty(*segment_, DirtyKind::kAttributes, attribute_key(state.dataset));
  }
  return {};
}

Status Namespace::put_inode(const InodeState& state, bool* changed) {
  if (state.target.size() > kMaxTargetBytes) return Status(Code::kNameTooLong, "the target of a symbolic link is too long");
  const std::vector<std::byte> record = record_of(state);
  auto known = last_inode(state.dataset);
  if (known.ok() && record_of(*known) == record) return {};
  // A damaged one is replaced.
  if (!known.ok() && known.code() != Code::kNotFound && known.code() != Code::kCorrupt) return known.status();
  *changed = true;
  return put_record(attributes_, attribute_key(state.dataset), record.data(), record.size(), {.replace = true});
}

Result<InodeState> Namespace::last_inode(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  for (;;) {
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(attributes_.find(attribute_key(dataset), &snapshot));
    if (snapshot.entry == nullptr) return Code::kNotFound;
    const Ref ref = Ref(snapshot.values.value0).bare();
    const PinGuard guard(me->pins[kEntryPin], ref);
    if (!attributes_.unchanged(snapshot)) continue;
    if (!segment_->valid_ref(ref)) {
      return Status(Code::kCorrupt, "the attributes of a dataset have a damaged reference");
    }
    return inode_of(dataset, {segment_->base() + ref.offset(), ref.bytes()});
  }
}

// Of a dataset whose name is gone; what the file says about it counts for nothing then. One that had further names is
// told anew, or as gone, by its data server. A record that stays costs its memory until the next deployment.
void Namespace::forget_attributes(const EntryInfo& info) {
  if (info.type == NodeType::kDirectory || info.type == NodeType::kInstance || attributes_.entries() == 0) return;
  const auto known = last_inode(info.id);
  if (known.code() == Code::kNotFound || (known.ok() && known->attributes.links > 1)) return;
  [[maybe_unused]] const Status dropped = drop_record(attributes_, attribute_key(info.id));
}

Status Namespace::restore_inode(const InodeState& state) {
  bool changed = false;
  return put_inode(state, &changed);
}

// The segment is not published yet, so nobody else changes the directory.
Status Namespace::restore_directory(const DirectoryInfo& info) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory pinned, pin_directory(*me, info.id, kFirstDirectoryPin));
  DirectoryRecord& record = *pinned.record;
  record.mode.store(info.mode);
  record.owner.store(static_cast<std::uint64_t>(info.uid) << 32 | info.gid);
  record.modified_ns.store(info.modified_ns);
  record.created_ns.store(info.created_ns);
  record.accessed_ns.store(info.accessed_ns);
  record.changed_ns.store(info.changed_ns);
  return {};
}

}  // namespace imss::metadata
