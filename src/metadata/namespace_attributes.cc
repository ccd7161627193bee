// What inodes said last: told by the data servers in batches, kept for the metadata file, and shown for datasets
// whose data is gone.
#include "metadata/namespace_internal.h"
#include "metadata/state_records.h"

namespace imss::metadata {

using segment::Key;
using segment::Participant;
using segment::Ref;

namespace {

Key attribute_key(std::uint64_t dataset) { return {dataset, 0}; }

}  // namespace

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
  return {};
}

}  // namespace imss::metadata
