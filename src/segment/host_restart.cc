// What a host does first when it takes over the segment of one that died: arenas that were being set up are found
// again, so that no memory stays lost.
#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "segment/extents.h"
#include "segment/fault.h"
#include "segment/host.h"
#include "segment/pages.h"
#include "segment/transaction.h"

namespace imss::segment {
namespace {

constexpr std::uint64_t kMaxRunArenas = kMaxExtentBytes / kArenaBytes;

ArenaKind kind_of(const ArenaDescriptor& arena) {
  return static_cast<ArenaKind>(arena.container.class_and_count.load() >> 16 & 0xff);
}

}  // namespace

// The arenas that tables and containers own. An arena with a kind but without an owner is left from a host that
// died while it set a run or a table's arena up.
std::vector<bool> Host::owned_arenas() const {
  const Superblock& block = segment_->super();
  std::vector<bool> owned(block.next_arena.load(), false);
  for (const TableRoot& table : block.tables) {
    const Word* arenas = segment_->at<Word>(table.arenas_offset);
    const std::uint64_t count = (table.ready_buckets.load() + kBucketsPerArena - 1) / kBucketsPerArena;
    for (std::uint64_t i = 0; i < count && i < kMaxTableArenas; ++i) {
      const std::uint64_t arena = segment_->arena_of(arenas[i].load());
      if (arena < owned.size()) owned[arena] = true;
    }
  }
  for (std::uint64_t arena = 0; arena < owned.size(); ++arena) {
    const ArenaDescriptor& descriptor = segment_->descriptor(arena);
    const ArenaKind kind = kind_of(descriptor);
    if (kind == ArenaKind::kExtents) owned[arena] = true;
    if (kind != ArenaKind::kRun) continue;
    const std::uint64_t bytes = class_bytes(Extents::container_class(descriptor.container));
    for (std::uint64_t i = 0; i < bytes / kArenaBytes && arena + i < owned.size(); ++i) owned[arena + i] = true;
  }
  return owned;
}

void Host::find_set_aside(std::uint64_t arena) {
  const Container& container = segment_->descriptor(arena).container;
  const std::uint32_t size_class = Extents::container_class(container);
  if (kind_of(segment_->descriptor(arena)) != ArenaKind::kExtents || Extents::container_sparse(container) ||
      size_class >= kClassArena) {
    return;
  }
  for (std::uint32_t i = 0; i < Extents::container_total(container); ++i) {
    if (has_memory(*segment_, arena, i, class_bytes(size_class))) continue;
    set_aside_[size_class].push_back(arena);
    return;
  }
}

// Arenas that nobody owns become free again, in runs as long as they are found; arenas that are not entirely
// cut into extents are cut further.
void Host::rebuild_after_take_over() {
  Superblock& block = segment_->super();
  std::fill(std::begin(block.free_runs), std::end(block.free_runs), 0);
  // What an earlier attempt to grow has left would be taken for the table's by the next one.
  for (TableRoot& table : block.tables) {
    const std::uint64_t ready = table.ready_buckets.load();
    const std::uint64_t slot_offset = table.arenas_offset + ready / kBucketsPerArena * sizeof(Word);
    if (ready % kBucketsPerArena != 0 || ready / kBucketsPerArena >= kMaxTableArenas) continue;
    if (::fallocate(segment_->fd(), 0, static_cast<off_t>(slot_offset / kPageBytes * kPageBytes), kPageBytes) == 0) {
      segment_->at<Word>(slot_offset)->store(0);
    }
  }
  const std::vector<bool> owned = owned_arenas();
  for (std::uint64_t arena = 0; arena < owned.size();) {
    if (owned[arena]) {
      const Container& container = segment_->descriptor(arena).container;
      const std::uint32_t size_class = Extents::container_class(container);
      if (kind_of(segment_->descriptor(arena)) == ArenaKind::kExtents && !Extents::container_sparse(container) &&
          size_class < kClassArena &&
          Extents::container_total(container) < kArenaBytes / class_bytes(size_class)) {
        partial_arena_[size_class] = arena + 1;
      }
      find_set_aside(arena);
      ++arena;
      continue;
    }
    std::uint64_t length = 1;
    while (arena + length < owned.size() && !owned[arena + length] && length < kMaxRunArenas) ++length;
    length = std::bit_floor(length);
    free_arenas(arena, length);
    arena += length;
  }
  // A lock that it needs may be held by somebody who is stopped; then before the next change.
  [[maybe_unused]] const Status status = finish_memory_change();
}

}  // namespace imss::segment
