// How the host takes memory back from extents that nobody uses, when room is needed for others.
#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "segment/extents.h"
#include "segment/fault.h"
#include "segment/host.h"
#include "segment/pages.h"
#include "segment/transaction.h"

namespace imss::segment {

// Frees arenas all of whose extents are free. Returns the bytes gained.
std::uint64_t Host::reclaim(std::uint64_t wanted_bytes) {
  for (std::uint32_t size_class = 0; size_class < kSmallClasses; ++size_class) {
    while (unlink_free_slab(size_class)) {
    }
  }
  // Not what it holds: the host may be in the middle of an operation of its own.
  Extents(*segment_).return_free(*me_);
  std::uint64_t freed = 0;
  for (std::uint32_t size_class = kClass4K; size_class < kClasses; ++size_class) {
    for (const bool sparse : {false, true}) {
      while (freed < wanted_bytes && unlink_free_arena(size_class, sparse, &freed)) {
      }
    }
  }
  for (std::uint32_t size_class = kClass4K; size_class < kClassArena; ++size_class) {
    for (const bool sparse : {false, true}) {
      while (freed < wanted_bytes && set_aside(size_class, sparse, wanted_bytes - freed, &freed)) {
      }
    }
  }
  return freed;
}

namespace {

// Of the free bits of an arena's container: it has at most 512 extents.
constexpr std::uint32_t kArenaBitWords = 8;

struct Unlinked {
  Container* container = nullptr;
  Word* link = nullptr;  // the word that points to it
};

// The first container of a pool with a free extent that has pages. REQUIRES: the pool's lock, class < 2 MiB.
Unlinked find_with_memory(Segment& segment, Pool& pool, std::uint64_t extent) {
  constexpr int kMaxSteps = 4096;
  Word* link = &pool.head;
  for (int step = 0; step < kMaxSteps && link->load() != 0; ++step) {
    if (!segment.contains(link->load(), sizeof(Container))) return {};
    auto* container = segment.at<Container>(link->load());
    const std::uint64_t arena =
        (link->load() - segment.super().descriptors_offset) / sizeof(ArenaDescriptor);
    for (std::uint32_t i = 0; i < Extents::container_total(*container); ++i) {
      const bool is_free = (container->free_bits[i / 64].load() >> i % 64 & 1) != 0;
      if (is_free && has_memory(segment, arena, i, extent)) return {container, link};
    }
    link = &container->next;
  }
  return {};
}

// The first container of a pool all of whose extents are free. REQUIRES: the pool's lock.
Unlinked find_all_free(Segment& segment, Pool& pool) {
  constexpr int kMaxSteps = 4096;
  Word* link = &pool.head;
  for (int step = 0; step < kMaxSteps && link->load() != 0; ++step) {
    if (!segment.contains(link->load(), sizeof(Container))) return {};
    auto* container = segment.at<Container>(link->load());
    if (container->free_count.load() == Extents::container_total(*container)) return {container, link};
    link = &container->next;
  }
  return {};
}

}  // namespace

// Free extents of one container lose their memory, although others of it are in use. Dense ones leave the pool:
// an extent that nobody owns and that has no memory is set aside by the host, until restore(). Sparse ones are
// free again at once. False: there are none. The superblock names them from the transaction that takes them from
// their pool on, so that the next host goes on should this one die.
bool Host::set_aside(std::uint32_t size_class, bool sparse, std::uint64_t wanted_bytes, std::uint64_t* freed) {
  if (!finish_memory_change().ok()) return false;
  Superblock& block = segment_->super();
  Pool& pool = block.pools[sparse ? 1 : 0][size_class];
  const std::uint64_t extent = class_bytes(size_class);
  const std::uint64_t limit = (wanted_bytes + extent - 1) / extent;
  std::uint64_t arena = 0;
  {
    Transaction change(*segment_, *me_);
    if (!change.lock(pool.lock).ok()) return false;
    const Unlinked found = find_with_memory(*segment_, pool, extent);
    if (found.container == nullptr) return false;
    Container& container = *found.container;
    arena = (segment_->offset_of(&container) - block.descriptors_offset) / sizeof(ArenaDescriptor);
    std::uint64_t taken = 0;
    for (std::uint32_t word = 0; word < kArenaBitWords; ++word) {
      const std::uint64_t before = container.free_bits[word].load();
      std::uint64_t out = 0;
      for (std::uint64_t bits = before; bits != 0 && taken < limit; bits &= bits - 1) {
        const std::uint32_t index = word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
        if (!has_memory(*segment_, arena, index, extent)) continue;
        ++taken;
        out |= 1ULL << index % 64;
      }
      if (out != 0) change.store(container.free_bits[word], before & ~out);
      change.store(block.changing_extents[word], out);
    }
    change.store(block.changing_arena, arena + 1);
    const std::uint64_t remaining = container.free_count.load() - taken;
    change.store(container.free_count, remaining);
    change.store(pool.free_bytes, pool.free_bytes.load() - taken * extent);
    if (remaining == 0) {
      change.store(*found.link, container.next.load());
      change.store(container.class_and_count, container.class_and_count.load() & ~kInList);
    }
    if (!change.commit().ok()) return false;
  }
  fault_point("host.set_aside");
  const std::uint64_t before = block.used_bytes.load();
  if (!finish_memory_change().ok()) return false;
  *freed += before - std::min(before, block.used_bytes.load());
  return true;
}

// What the superblock names loses its memory, as far as it still has it, and is set aside, or free when it is
// sparse. Every step may be repeated. Errors: those of a lock whose holder is stopped; then it stays named.
Status Host::finish_memory_change() {
  Superblock& block = segment_->super();
  const std::uint64_t arena = block.changing_arena.load() - 1;
  if (arena == ~0ULL) return {};
  if (arena >= block.next_arena.load()) return Status(Code::kCorrupt, "the superblock names an arena that is not there");
  const Container& container = segment_->descriptor(arena).container;
  const std::uint32_t size_class = Extents::container_class(container);
  const std::uint32_t total = Extents::container_total(container);
  if (size_class < kClass4K || size_class >= kClassArena || total > kArenaBytes / class_bytes(size_class)) {
    return Status(Code::kCorrupt, "the superblock names an arena without extents");
  }
  std::vector<std::uint32_t> named;
  for (std::uint32_t index = 0; index < total; ++index) {
    if ((block.changing_extents[index / 64].load() >> index % 64 & 1) != 0) named.push_back(index);
  }
  const std::uint64_t extent = class_bytes(size_class);
  for (const std::uint32_t index : named) drop_memory(segment_->arena_offset(arena) + index * extent, extent);
  if (Extents::container_sparse(container)) {
    IMSS_RETURN_IF_ERROR(add_free(arena, named));
  } else {
    block.changing_arena.store(0);
    auto& arenas = set_aside_[size_class];
    const bool known = std::find(arenas.begin(), arenas.end(), arena) != arenas.end();
    if (!free_if_all_aside(arena) && !known) arenas.push_back(arena);
  }
  refresh_used();
  return {};
}

// From here on the extents are the next host's business, should this one die. REQUIRES: nothing is named, and
// nobody else owns them.
void Host::name_changing(std::uint64_t arena, const std::vector<std::uint32_t>& indices) {
  Superblock& block = segment_->super();
  std::uint64_t bits[kArenaBitWords] = {};
  for (const std::uint32_t index : indices) bits[index / 64] |= 1ULL << index % 64;
  for (std::uint32_t word = 0; word < kArenaBitWords; ++word) block.changing_extents[word].store(bits[word]);
  // Published last: the bits count only with it.
  block.changing_arena.store(arena + 1, std::memory_order_release);
}

// An arena whose extents are all set aside can serve any class again.
bool Host::free_if_all_aside(std::uint64_t arena) {
  Container& container = segment_->descriptor(arena).container;
  const std::uint32_t size_class = Extents::container_class(container);
  const std::uint32_t total = Extents::container_total(container);
  for (std::uint32_t i = 0; i < total; ++i) {
    if (has_memory(*segment_, arena, i, class_bytes(size_class))) return false;
  }
  Pool& pool = segment_->super().pools[0][size_class];
  Transaction change(*segment_, *me_);
  if (!change.lock(pool.lock).ok()) return false;
  change.store(pool.extents, pool.extents.load() - total);
  change.store(container.class_and_count, 0);
  if (!change.commit().ok()) return false;
  std::erase(set_aside_[size_class], arena);
  if (partial_arena_[size_class] == arena + 1) partial_arena_[size_class] = 0;
  free_arenas(arena, 1);
  return true;
}

// Extents that were set aside get memory again and go back to their pool. Errors: kAgain when the last arena of
// the class had none left and was taken off the list. REQUIRES: the list is not empty, and check_room().
Status Host::restore(std::uint32_t size_class, std::uint32_t count) {
  IMSS_RETURN_IF_ERROR(finish_memory_change());
  if (set_aside_[size_class].empty()) return Code::kAgain;
  const std::uint64_t arena = set_aside_[size_class].back();
  const std::uint64_t extent = class_bytes(size_class);
  const std::uint32_t total = Extents::container_total(segment_->descriptor(arena).container);
  std::vector<std::uint32_t> aside;
  for (std::uint32_t i = 0; i < total && aside.size() < count; ++i) {
    if (!has_memory(*segment_, arena, i, extent)) aside.push_back(i);
  }
  if (aside.size() < count) set_aside_[size_class].pop_back();
  if (aside.empty()) return Code::kAgain;
  name_changing(arena, aside);
  Status status;
  for (std::size_t i = 0; i < aside.size() && status.ok(); ++i) {
    status = populate(segment_->arena_offset(arena) + aside[i] * extent, extent);
  }
  if (status.ok()) status = add_free(arena, aside);
  if (status.ok()) return {};
  // Aside again, now or before the next change.
  [[maybe_unused]] const Status undone = finish_memory_change();
  return status;
}

// Extents that the superblock names become free. REQUIRES: `indices` is all that it names.
Status Host::add_free(std::uint64_t arena, const std::vector<std::uint32_t>& indices) {
  Container& container = segment_->descriptor(arena).container;
  const std::uint32_t size_class = Extents::container_class(container);
  Pool& pool = segment_->super().pools[Extents::container_sparse(container) ? 1 : 0][size_class];
  Transaction change(*segment_, *me_);
  IMSS_RETURN_IF_ERROR(change.lock(pool.lock));
  std::uint64_t bits[16] = {};
  for (const std::uint32_t index : indices) bits[index / 64] |= 1ULL << index % 64;
  for (std::uint32_t word = 0; word < 16; ++word) {
    if (bits[word] != 0) change.store(container.free_bits[word], container.free_bits[word].load() | bits[word]);
  }
  change.store(segment_->super().changing_arena, 0);
  change.store(container.free_count, container.free_count.load() + indices.size());
  change.store(pool.free_bytes, pool.free_bytes.load() + indices.size() * class_bytes(size_class));
  if ((container.class_and_count.load() & kInList) == 0) {
    change.store(container.next, pool.head.load());
    change.store(pool.head, segment_->offset_of(&container));
    change.store(container.class_and_count, container.class_and_count.load() | kInList);
  }
  return change.commit();
}

// The pages of an extent that nobody owns go back to the node.
void Host::drop_memory(std::uint64_t offset, std::uint64_t bytes) {
  const std::uint64_t first = (offset - segment_->super().arenas_offset) / kPageBytes;
  ArenaDescriptor& arena = segment_->descriptor(first / kPagesPerArena);
  for (std::uint64_t page = first; page < first + bytes / kPageBytes; ++page) {
    const std::uint64_t word = page % kPagesPerArena / 64;
    arena.populated[word].fetch_and(~(1ULL << page % 64));
    arena.valid[word].fetch_and(~(1ULL << page % 64));
  }
  fault_point("host.memory_dropping");
  ::fallocate(segment_->fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
              static_cast<off_t>(bytes));
}

bool Host::unlink_free_arena(std::uint32_t size_class, bool sparse, std::uint64_t* freed) {
  Pool& pool = segment_->super().pools[sparse ? 1 : 0][size_class];
  Transaction change(*segment_, *me_);
  if (!change.lock(pool.lock).ok()) return false;
  const Unlinked found = find_all_free(*segment_, pool);
  if (found.container == nullptr) return false;
  const std::uint32_t total = Extents::container_total(*found.container);
  const std::uint64_t arena =
      (segment_->offset_of(found.container) - segment_->super().descriptors_offset) / sizeof(ArenaDescriptor);
  change.store(*found.link, found.container->next.load());
  change.store(pool.free_bytes, pool.free_bytes.load() - total * class_bytes(size_class));
  change.store(pool.extents, pool.extents.load() - total);
  // An unused arena that is in no list is found again after a restart.
  change.store(found.container->class_and_count, 0);
  if (!change.commit().ok()) return false;
  fault_point("host.reclaimed");
  if (partial_arena_[size_class] == arena + 1 && !sparse) partial_arena_[size_class] = 0;
  if (!sparse) std::erase(set_aside_[size_class], arena);
  const std::uint64_t before = segment_->super().used_bytes.load();
  free_arenas(arena, std::max<std::uint64_t>(1, class_bytes(size_class) / kArenaBytes));
  *freed += before - segment_->super().used_bytes.load();
  return true;
}

// Gives the extent of an empty slab back to its pool, by way of the host's hand.
bool Host::unlink_free_slab(std::uint32_t size_class) {
  Pool& pool = segment_->super().pools[0][size_class];
  auto slot = Extents(*segment_).empty_slot(*me_);
  if (!slot.ok()) return false;
  Transaction change(*segment_, *me_);
  if (!change.lock(pool.lock).ok()) return false;
  const Unlinked found = find_all_free(*segment_, pool);
  if (found.container == nullptr) return false;
  const std::uint32_t total = Extents::container_total(*found.container);
  change.store(*found.link, found.container->next.load());
  change.store(pool.free_bytes, pool.free_bytes.load() - total * class_bytes(size_class));
  change.store(pool.extents, pool.extents.load() - total);
  change.store(me_->hand[*slot], Ref(segment_->offset_of(found.container), kClass64K, false).word());
  return change.commit().ok();
}

}  // namespace imss::segment
