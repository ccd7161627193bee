// Inodes: attributes, sizes, appends and truncation. Links and opens are in store_links.cc.
#include <algorithm>

#include "base/clock.h"
#include "segment/outcome.h"
#include "store/store_internal.h"

namespace imss::store {

using segment::Extents;
using segment::Held;
using segment::kDenseFlag;
using segment::Participant;
using segment::Transaction;

namespace {

bool is_pending(const Inode& inode) {
  const std::uint64_t intent = inode.truncation.load();
  return intent != 0 && generation_of_word(intent) == generation_of_word(inode.size_word.load());
}

}  // namespace

Status Store::create_inode(std::uint64_t dataset, const Attributes& attributes) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(*me, segment::class_for(sizeof(Inode)), false));
  std::byte* place = segment_->base() + held.ref.offset();
  std::memset(place, 0, sizeof(Inode));
  auto* inode = reinterpret_cast<Inode*>(place);
  inode->size_word.store(make_size_word(0, attributes.size));
  inode->links.store(attributes.links);
  inode->first_link.store(attributes.first_link);
  inode->mode.store(attributes.mode);
  inode->owner.store(static_cast<std::uint64_t>(attributes.uid) << 32 | attributes.gid);
  const std::uint64_t now = now_ns();
  for (segment::Word* time : {&inode->accessed_ns, &inode->modified_ns, &inode->changed_ns, &inode->created_ns}) {
    time->store(now);
  }
  inode->type.store(static_cast<std::uint64_t>(attributes.type) |
                    (segment_->super().service_root[kDirtyRing].load() != 0 ? kInodeDirty : 0) |
                    (attributes.links == 0 ? kInodeUnnamed : 0));
  inode->block_bytes.store(attributes.block_bytes);
  inode->block_count.store(attributes.block_count);
  inode->version.store(1);
  inode->placement.store(attributes.placement);
  segment::fault_point("inode.filled");
  IMSS_RETURN_IF_ERROR(insert_new(*me, {dataset, 0}, held, kDenseFlag));
  // By its number alone: from here on others may remove it.
  note_change(dataset);
  return {};
}

Result<Inode*> Store::pin_inode(Participant& me, std::uint64_t dataset, Pinned* pinned) {
  IMSS_RETURN_IF_ERROR(pin(me, {dataset, 0}, kInodePin, 0, pinned));
  if (pinned->ref.none()) return no_inode(dataset);
  return segment_->at<Inode>(pinned->ref.offset());
}

Result<Attributes> Store::attributes(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(const Inode* const inode, pin_inode(*me, dataset, &pinned));
  Attributes out;
  const std::uint64_t size_word = inode->size_word.load();
  out.size = size_of_word(size_word);
  out.generation = generation_of_word(size_word);
  out.links = inode->links.load();
  out.first_link = inode->first_link.load();
  out.opens = inode->opens.load();
  out.mode = static_cast<std::uint32_t>(inode->mode.load());
  out.uid = static_cast<std::uint32_t>(inode->owner.load() >> 32);
  out.gid = static_cast<std::uint32_t>(inode->owner.load());
  out.accessed_ns = inode->accessed_ns.load();
  out.modified_ns = inode->modified_ns.load();
  out.changed_ns = inode->changed_ns.load();
  out.created_ns = inode->created_ns.load();
  out.type = static_cast<NodeType>(inode->type.load() & ~kInodeFlags);
  out.block_bytes = inode->block_bytes.load();
  out.block_count = inode->block_count.load();
  out.version = inode->version.load();
  out.placement = inode->placement.load();
  out.highest_block = inode->highest_block.load();
  out.allocated = inode->allocated.load();
  return out;
}

Status Store::change_attributes(std::uint64_t dataset, const AttributeChange& wanted) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  if (wanted.has(AttributeChange::kTouched)) {
    advance(inode->accessed_ns, wanted.accessed_ns);
    note_change(*inode, dataset);
    if (wanted.fields == AttributeChange::kTouched) return {};  // done twice it is the same as once
  }
  Transaction change(*segment_, *me);
  IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
  if (wanted.has(AttributeChange::kMode)) change.store(inode->mode, wanted.mode);
  if (wanted.has(AttributeChange::kUid | AttributeChange::kGid)) {
    change.store(inode->owner, wanted.owner_after(inode->owner.load()));
  }
  if (wanted.has(AttributeChange::kAccessed)) change.store(inode->accessed_ns, wanted.accessed_ns);
  if (wanted.has(AttributeChange::kModified)) change.store(inode->modified_ns, wanted.modified_ns);
  change.store(inode->version, inode->version.load() + 1);
  IMSS_RETURN_IF_ERROR(segment::store_outcome(change, {}));
  IMSS_RETURN_IF_ERROR(change.commit());
  segment::fault_point("inode.attributes_changed");
  advance(inode->changed_ns, now_ns());
  note_change(*inode, dataset);
  return {};
}

Status Store::extend_size(std::uint64_t dataset, std::uint64_t end) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  if (size_of_word(inode->size_word.load()) < end) {
    Transaction change(*segment_, *me);
    IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
    const std::uint64_t word = inode->size_word.load();
    if (size_of_word(word) < end) change.store(inode->size_word, make_size_word(generation_of_word(word), end));
    IMSS_RETURN_IF_ERROR(change.commit());
  }
  const std::uint64_t now = now_ns();
  advance(inode->modified_ns, now);
  advance(inode->changed_ns, now);
  note_change(*inode, dataset);
  return {};
}

Status Store::announce_block(std::uint64_t dataset, std::uint64_t block) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  advance(inode->highest_block, block);
  segment::fault_point("inode.block_announced");
  return {};
}

Result<std::uint64_t> Store::reserve_append(std::uint64_t dataset, std::uint64_t bytes) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  Transaction change(*segment_, *me);
  IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
  const std::uint64_t word = inode->size_word.load();
  const std::uint64_t size = size_of_word(word);
  if (bytes > kSizeMask - size) return Status(Code::kInvalidArgument, "the dataset would become too large");
  change.store(inode->size_word, word + bytes);
  IMSS_RETURN_IF_ERROR(segment::store_outcome(change, {.word0 = size}));
  IMSS_RETURN_IF_ERROR(change.commit());
  segment::fault_point("append.reserved");
  note_change(*inode, dataset);
  return size;
}

Truncation begun_truncation(std::uint64_t size, const segment::Outcome& outcome) {
  return {size, size_of_word(outcome.word0), generation_of_word(outcome.word0), outcome.word1 != 0};
}

Result<Truncation> Store::begin_truncation(std::uint64_t dataset, std::uint64_t size) {
  if (size >= kSizeMask) return Status(Code::kInvalidArgument, "a dataset holds less than 256 TiB");
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  Transaction change(*segment_, *me);
  IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
  const std::uint64_t word = inode->size_word.load();
  const std::uint64_t old_size = size_of_word(word);
  std::uint64_t generation = generation_of_word(word);
  const bool shrinks = size < old_size;
  if (shrinks) {
    if (is_pending(*inode)) return Code::kBusy;  // the caller completes that one first
    generation = (generation + 1) & 0xffff;
    // The intent, from which whoever finds it can finish the removal.
    change.store(inode->truncation, make_size_word(generation, size + 1));
  }
  change.store(inode->size_word, make_size_word(generation, size));
  segment::fault_point("truncation.intended");
  // The old size has 48 bits, which leaves 16 for the generation.
  IMSS_RETURN_IF_ERROR(
      segment::store_outcome(change, {.word0 = make_size_word(generation, old_size), .word1 = shrinks ? 1U : 0U}));
  IMSS_RETURN_IF_ERROR(change.commit());
  if (shrinks) segment::fault_point("truncation.begun");
  advance(inode->modified_ns, now_ns());
  if (shrinks) advance(inode->changed_ns, now_ns());
  note_change(*inode, dataset);
  return Truncation{size, old_size, generation, shrinks};
}

Result<Truncation> Store::pending_truncation(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  const std::uint64_t intent = inode->truncation.load();
  if (intent == 0 || generation_of_word(intent) != generation_of_word(inode->size_word.load())) return Truncation{};
  return Truncation{size_of_word(intent) - 1, kSizeMask, generation_of_word(intent), true};
}

Status Store::finish_truncation(std::uint64_t dataset, const Truncation& truncation) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  // Only the truncation that was finished: another one may have begun.
  std::uint64_t intent = make_size_word(truncation.generation, truncation.size + 1);
  inode->truncation.compare_exchange_strong(intent, 0);
  return {};
}

// The inode last: it says that there may be extended attributes.
Status Store::erase_inode(std::uint64_t dataset) {
  bool has_xattrs = false;
  {
    IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
    Pinned pinned;
    const auto inode = pin_inode(*me, dataset, &pinned);
    if (!inode.ok() && inode.code() != Code::kNotFound) return inode.status();
    has_xattrs = inode.ok() && ((*inode)->type.load() & kInodeHasXattrs) != 0;
  }
  if (has_xattrs) IMSS_RETURN_IF_ERROR(erase({dataset, kXattrBlock}));
  segment::fault_point("inode.xattrs_erased");
  IMSS_RETURN_IF_ERROR(erase({dataset, 0}));
  note_change(dataset);
  return {};
}

Status Store::settle() {
  segment_->clean_up();
  return {};
}

}  // namespace imss::store
