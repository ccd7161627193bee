// The intent that precedes the first of several copies of a block.
#include "segment/pages.h"
#include "segment/transaction.h"
#include "store/store_internal.h"

namespace imss::store {

using segment::kTornPlaces;
using segment::Participant;
using segment::Superblock;
using segment::Transaction;

Status Store::begin_copies(BlockId id) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  me->copying_block.store(id.block, std::memory_order_relaxed);
  // Release: whoever finds the dataset also finds the block.
  me->copying_dataset.store(id.dataset, std::memory_order_release);
  return {};
}

void Store::end_copies() {
  auto me = segment_->self();
  if (me.ok()) (*me)->copying_dataset.store(0, std::memory_order_release);
}

Status Store::note_torn(BlockId id) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  return segment::note_torn(*segment_, *me, id.dataset, id.block, nullptr) ? Status() : Status(Code::kNoSpace);
}

std::vector<BlockId> Store::torn_blocks() const {
  const Superblock& block = segment_->super();
  std::vector<BlockId> blocks;
  for (std::uint32_t i = 0; i < kTornPlaces; ++i) {
    const std::uint64_t dataset = block.torn[2 * i].load();
    if (dataset != 0) blocks.push_back({dataset, block.torn[2 * i + 1].load()});
  }
  return blocks;
}

Status Store::repaired(BlockId id) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Superblock& block = segment_->super();
  Transaction change(*segment_, *me);
  IMSS_RETURN_IF_ERROR(change.lock(block.torn_lock));
  for (std::uint32_t i = 0; i < kTornPlaces; ++i) {
    if (block.torn[2 * i].load() != id.dataset || block.torn[2 * i + 1].load() != id.block) continue;
    change.store(block.torn[2 * i], 0);
    break;
  }
  return change.commit();
}

}  // namespace imss::store
