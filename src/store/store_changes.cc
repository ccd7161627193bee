// Which inodes changed, for the metadata file: a ring of dataset ids in the segment.
//
// An inode that is marked as changed is in the ring, or the ring overflowed, or whoever marked it died in between; in
// the last two cases all inodes are looked at. So a change costs one load when the inode is marked already, and one
// place of the ring when it is not.
#include <cstring>
#include <unordered_set>

#include "store/store_internal.h"

namespace imss::store {

using segment::Extents;
using segment::Held;
using segment::Participant;
using segment::Transaction;
using segment::Values;

namespace {

constexpr std::uint64_t kLargeCapacity = 1 << 30;
constexpr std::uint64_t kLargeRingBytes = 1 << 20;
constexpr std::uint64_t kSmallRingBytes = 64 << 10;

}  // namespace

Status Store::note_changes() {
  auto& root = segment_->super().service_root;
  if (root[kDirtyRing].load() != 0) return {};
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  const bool large = segment_->super().capacity_bytes >= kLargeCapacity;
  const std::uint64_t bytes = large ? kLargeRingBytes : kSmallRingBytes;
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(*me, segment::class_for(bytes), false));
  std::memset(segment_->base() + held.ref.offset(), 0, bytes);
  Transaction change(*segment_, *me);
  change.store(root[kDirtyPlaces], bytes / sizeof(DirtyInode));
  change.store(root[kDirtyRing], held.ref.offset());
  change.store(me->hand[held.slot], 0);
  const Status status = change.commit();
  if (!status.ok()) extents.put_back(*me, held);
  return status;
}

void Store::note_change(std::uint64_t dataset) {
  auto& root = segment_->super().service_root;
  const std::uint64_t ring = root[kDirtyRing].load(std::memory_order_acquire);
  if (ring == 0) return;
  const std::uint64_t places = root[kDirtyPlaces].load(std::memory_order_relaxed);
  const std::uint64_t turn = root[kDirtyHead].fetch_add(1);
  if (turn - root[kDirtyTail].load() >= places) {
    root[kDirtyOverflow].store(1);
    return;
  }
  auto& place = segment_->at<DirtyInode>(ring)[turn % places];
  place.dataset.store(dataset, std::memory_order_relaxed);
  place.turn.store(turn + 1, std::memory_order_release);
}

std::vector<std::uint64_t> Store::take_changed(std::size_t limit, bool* lost) {
  auto& root = segment_->super().service_root;
  const std::uint64_t ring = root[kDirtyRing].load(std::memory_order_acquire);
  std::vector<std::uint64_t> taken;
  if (ring == 0) return taken;
  if (root[kDirtyOverflow].load() != 0) {
    // Marks from here on count; what the ring held is marked in the inodes too.
    root[kDirtyTail].store(root[kDirtyHead].load());
    root[kDirtyOverflow].store(0);
    *lost = true;
    return taken;
  }
  const std::uint64_t places = root[kDirtyPlaces].load(std::memory_order_relaxed);
  const auto* places_of_ring = segment_->at<DirtyInode>(ring);
  std::uint64_t tail = root[kDirtyTail].load();
  while (taken.size() < limit && tail < root[kDirtyHead].load()) {
    const DirtyInode& place = places_of_ring[tail % places];
    // Its author is about to fill it, or died; or one of an earlier turn was stopped and wrote over it.
    if (place.turn.load(std::memory_order_acquire) != tail + 1) break;
    taken.push_back(place.dataset.load(std::memory_order_relaxed));
    ++tail;
  }
  root[kDirtyTail].store(tail, std::memory_order_release);
  return taken;
}

bool Store::changes_pending() const {
  const auto& root = segment_->super().service_root;
  return root[kDirtyHead].load() != root[kDirtyTail].load() || root[kDirtyOverflow].load() != 0;
}

void Store::lose_changes() { segment_->super().service_root[kDirtyOverflow].store(1); }

Status Store::for_each_inode(bool changed_only, const std::function<bool(std::uint64_t dataset)>& visit) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Status status;
  IMSS_RETURN_IF_ERROR(blocks_.for_each([&](segment::Key key, const Values&) {
    if (key.second != 0) return true;
    if (changed_only) {
      Pinned pinned;
      auto inode = pin_inode(*me, key.first, &pinned);
      if (inode.code() == Code::kNotFound) return true;
      status = inode.status();
      if (!status.ok()) return false;
      if (((*inode)->type.load() & kInodeDirty) == 0) return true;
    }
    return visit(key.first);
  }));
  return status;
}

Result<Attributes> Store::take_attributes(std::uint64_t dataset) {
  {
    IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
    Pinned pinned;
    IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
    // Before the attributes are read: who changes them after that finds no mark and makes a new one.
    inode->type.fetch_and(~kInodeDirty);
  }
  return attributes(dataset);
}

}  // namespace imss::store
