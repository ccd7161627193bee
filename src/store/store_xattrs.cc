// Extended attributes: a block of their own, which every change replaces.
#include <cstring>

#include "segment/edit_one.h"
#include "segment/outcome.h"
#include "store/store_internal.h"
#include "store/xattrs.h"

namespace imss::store {

using segment::Extents;
using segment::Held;
using segment::Participant;
using segment::Transaction;
using segment::Values;

namespace {

// A name or an opener keeps the inode; without either whoever had it last drops it.
bool is_kept(const Inode& inode) { return inode.links.load() != 0 || inode.opens.load() != 0; }

}  // namespace

// What is stored, and of which entry. No entry: none.
Result<std::vector<std::byte>> Store::stored_xattrs(Participant& me, std::uint64_t dataset, Values* seen, bool* present) {
  Pinned block;
  IMSS_RETURN_IF_ERROR(pin(me, {dataset, kXattrBlock}, kBlockPin, 0, &block));
  *present = !block.ref.none();
  if (!*present) return std::vector<std::byte>();
  *seen = block.snapshot.values;
  const std::byte* bytes = segment_->base() + block.ref.offset();
  return std::vector<std::byte>(bytes, bytes + block.ref.bytes());
}

Result<XattrValue> Store::xattr(std::uint64_t dataset, std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(const Inode* const inode, pin_inode(*me, dataset, &pinned));
  if ((inode->type.load() & kInodeHasXattrs) == 0) return xattr_in({}, name);
  Values seen;
  bool present = false;
  IMSS_ASSIGN_OR_RETURN(const auto stored, stored_xattrs(*me, dataset, &seen, &present));
  return xattr_in(stored, name);
}

Status Store::change_xattr(std::uint64_t dataset, const XattrChange& wanted) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  Extents extents(*segment_);
  const segment::Key key{dataset, kXattrBlock};
  for (;;) {
    Values seen;
    bool present = false;
    IMSS_ASSIGN_OR_RETURN(const auto stored, stored_xattrs(*me, dataset, &seen, &present));
    IMSS_ASSIGN_OR_RETURN(const auto fresh, changed_xattrs(stored, wanted));
    IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(*me, segment::class_for(fresh.size()), false));
    std::byte* const place = segment_->base() + held.ref.offset();
    std::memcpy(place, fresh.data(), fresh.size());
    std::memset(place + fresh.size(), 0, held.ref.bytes() - fresh.size());
    // Before the block can be seen: whoever drops the inode looks for it then.
    inode->type.fetch_or(kInodeHasXattrs);
    segment::fault_point("xattr.filled");
    const Status status = segment::edit_one(
        blocks_, *me, key,
        [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& now) -> Status {
          // The version counts the changes of this block, so that it cannot be another one in the same memory.
          const bool same = present ? entry != nullptr && now.value0 == seen.value0 && now.value1 == seen.value1
                                    : entry == nullptr;
          if (!same) return Code::kBusy;
          IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
          if (!is_kept(*inode)) return no_inode(dataset);
          const std::uint64_t version = present ? segment::version_of(now.value1) + 1 : 1;
          const Values values{held.ref.word(), version | segment::kDenseFlag, 0};
          if (present) {
            edit.update(key, entry, values);
            change.store(me->hand[held.slot], Extents::retired(segment::Ref(now.value0)));
          } else {
            change.store(me->hand[held.slot], 0);
            IMSS_RETURN_IF_ERROR(edit.insert(*me, key, values));
          }
          change.store(inode->version, inode->version.load() + 1);
          return segment::store_outcome(change, {});
        });
    if (!status.ok()) {
      extents.put_back(*me, held);
      if (status.code() == Code::kBusy) continue;  // another change came first
      return status;
    }
    segment::fault_point("xattr.changed");
    extents.trim(*me);
    advance(inode->changed_ns, now_ns());
    note_change(*inode, dataset);
    return {};
  }
}

}  // namespace imss::store
