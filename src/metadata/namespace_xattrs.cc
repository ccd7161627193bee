// Extended attributes of directories: a record of their own beside the directory's, which every change replaces.
#include <cstring>

#include "metadata/namespace_internal.h"
#include "segment/edit_one.h"
#include "segment/outcome.h"
#include "store/xattrs.h"

namespace imss::metadata {

using segment::Extents;
using segment::Held;
using segment::Participant;
using segment::Ref;
using segment::Transaction;
using segment::Values;

// What is stored, and of which entry; nothing: `seen` has no reference.
Result<std::vector<std::byte>> Namespace::stored_xattrs(Participant& me, std::uint64_t directory, Values* seen) {
  for (;;) {
    *seen = {};
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(directories_.find(xattr_key(directory), &snapshot));
    if (snapshot.entry == nullptr) return std::vector<std::byte>();
    const Ref ref = Ref(snapshot.values.value0).bare();
    if (!segment_->valid_ref(ref)) return Status(Code::kCorrupt, "extended attributes have a damaged reference");
    const PinGuard guard(me.pins[kEntryPin], ref);
    if (!directories_.unchanged(snapshot)) continue;
    *seen = snapshot.values;
    const std::byte* bytes = segment_->base() + ref.offset();
    return std::vector<std::byte>(bytes, bytes + ref.bytes());
  }
}

Result<store::XattrValue> Namespace::directory_xattr(std::uint64_t id, std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory pinned, pin_directory(*me, id, kFirstDirectoryPin));
  Values seen;
  IMSS_ASSIGN_OR_RETURN(const auto stored, stored_xattrs(*me, id, &seen));
  return store::xattr_in(stored, name);
}

Status Namespace::change_directory_xattr(std::uint64_t id, const store::XattrChange& wanted) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory pinned, pin_directory(*me, id, kFirstDirectoryPin));
  DirectoryRecord& dir = *pinned.record;
  Extents extents(*segment_);
  const segment::Key key = xattr_key(id);
  for (;;) {
    Values seen;
    IMSS_ASSIGN_OR_RETURN(const auto stored, stored_xattrs(*me, id, &seen));
    IMSS_ASSIGN_OR_RETURN(const auto fresh, store::changed_xattrs(stored, wanted, kMostDirectoryXattrBytes));
    IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(*me, segment::class_for(fresh.size()), false));
    std::byte* const place = segment_->base() + held.ref.offset();
    std::memcpy(place, fresh.data(), fresh.size());
    std::memset(place + fresh.size(), 0, held.ref.bytes() - fresh.size());
    segment::fault_point("names.xattr_filled");
    const Status status = segment::edit_one(
        directories_, *me, key,
        [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& now) -> Status {
          IMSS_RETURN_IF_ERROR(change.lock(dir.lock));
          if (dir.id.load() != id || dir.removed.load() != 0) return Status(Code::kNotFound, "the directory was removed");
          if (dir.claim.load() != 0) return Status::claimed(dir.claim.load());
          // The version counts the changes of this record, so that it cannot be another one in the same memory.
          const bool present = entry != nullptr;
          if (present && (now.value0 != seen.value0 || now.value1 != seen.value1)) return Code::kBusy;
          if (!present && seen.value0 != 0) return Code::kBusy;
          if (present) {
            edit.update(key, entry, {held.ref.word(), segment::next_version(now.value1), 0});
            change.store(me->hand[held.slot], Extents::retired(Ref(now.value0)));
          } else {
            change.store(me->hand[held.slot], 0);
            IMSS_RETURN_IF_ERROR(edit.insert(*me, key, {held.ref.word(), 1, 0}));
          }
          change.store(dir.changed_ns, std::max(dir.changed_ns.load(), now_ns()));
          return segment::store_outcome(change, {});
        });
    if (!status.ok()) {
      extents.put_back(*me, held);
      if (status.code() == Code::kBusy) continue;  // another change came first
      return status;
    }
    segment::fault_point("names.xattr_changed");
    extents.trim(*me);
    mark_dirty(*segment_, DirtyKind::kDirectory, directory_key(id));
    return {};
  }
}

Status Namespace::restore_directory_xattrs(const DirectoryXattrs& xattrs) {
  return put_record(directories_, xattr_key(xattrs.directory), xattrs.stored.data(), xattrs.stored.size(),
                    {.replace = true});
}

// The extended attributes, the chunks and then the record, from which whoever goes on after our death learns how many
// chunks there are.
Status Namespace::drop_directory_records(Participant& me, std::uint64_t id) {
  std::uint64_t slots = 0;
  {
    auto directory = pin_directory(me, id, kEntryPin);
    if (directory.code() == Code::kNotFound) return {};
    if (!directory.ok()) return directory.status();
    slots = directory->record->next_slot.load();
  }
  const auto drop = [&](segment::Key key) -> Status {
    const Status status = drop_record(directories_, key);
    return status.code() == Code::kNotFound ? Status() : status;
  };
  segment::Snapshot xattrs;
  IMSS_RETURN_IF_ERROR(directories_.find(xattr_key(id), &xattrs));
  if (xattrs.entry != nullptr) IMSS_RETURN_IF_ERROR(drop(xattr_key(id)));
  // One chunk may have been made for a name that never came.
  const std::uint64_t chunks = slots / kSlotsPerChunk + 1;
  for (std::uint64_t i = chunks + 1; i-- > 0;) {
    IMSS_RETURN_IF_ERROR(drop({id, i}));
    segment::fault_point("names.records_dropping");
  }
  if (spread()) mark_dirty(*segment_, DirtyKind::kDirectory, directory_key(id));
  return {};
}

}  // namespace imss::metadata
