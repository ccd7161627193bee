#include "segment/check_pass.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>

namespace imss::segment {
namespace {


ArenaKind kind_of(const Container& container) {
  return static_cast<ArenaKind>(container.class_and_count.load() >> 16 & 0xff);
}

std::string pool_name(std::uint32_t size_class, bool sparse) {
  return std::string(sparse ? "sparse" : "dense") + " pool of " +
         std::to_string(class_bytes(size_class)) + " bytes";
}

std::uint64_t bits_of(const Word (&words)[8], std::uint64_t bit) {
  return words[bit / 64].load() >> bit % 64 & 1;
}

}  // namespace

void CheckPass::error(const std::string& place, const std::string& sentence) {
  errors_.emplace(place + ": " + sentence, place + ": " + sentence);
}

void CheckPass::look() {
  look_at_superblock();
  look_at_arenas();
  look_at_pools();
  look_at_tables();
  look_at_pages();
  look_at_participants();
}

void CheckPass::look_at_superblock() {
  const Superblock& block = segment_.super();
  arena_count_ = std::min(block.next_arena.load(), block.arena_count);
  if (block.next_arena.load() > block.arena_count) {
    error("superblock", "more arenas are in use than there are");
  }
  struct stat status {};
  if (::fstat(segment_.fd(), &status) == 0 &&
      static_cast<std::uint64_t>(status.st_blocks) * 512 > block.capacity_bytes) {
    error("superblock", "more memory is in use than the capacity");
  }
  look_at_lock(block.limbo_lock, "limbo");
}

// A lock that names nobody alive would never be released.
void CheckPass::look_at_lock(const Word& word, const std::string& place) {
  const std::uint64_t holder = word.load();
  if (holder == 0) return;
  const std::uint64_t slot = (holder & 0xffff) - 1;
  if (slot < segment_.super().max_participants &&
      segment_.participant(static_cast<std::uint32_t>(slot)).id.load() == holder) {
    return;
  }
  if (word.load() == holder) error(place, "its lock is held by nobody");
}

// --- Arenas and containers ------------------------------------------------------------------------

void CheckPass::add_box(std::uint64_t container_offset, const std::string& place) {
  const auto& container = *segment_.at<Container>(container_offset);
  Box box;
  box.offset = container_offset;
  box.size_class = Extents::container_class(container);
  box.sparse = Extents::container_sparse(container);
  box.total = Extents::container_total(container);
  box.first = extents_.first_extent(container);
  box.owners.assign(box.total, Owner::kNobody);
  std::uint64_t free_bits = 0;
  for (std::uint32_t word = 0; word < 16; ++word) {
    for (std::uint64_t bits = container.free_bits[word].load(); bits != 0; bits &= bits - 1) {
      const std::uint32_t index = word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
      ++free_bits;
      if (index < box.total) {
        box.owners[index] = Owner::kFree;
      } else {
        error(place, "an extent beyond its end is free");
      }
    }
  }
  if (free_bits != container.free_count.load()) error(place, "its count of free extents is wrong");
  const bool says_listed = (container.class_and_count.load() & kInList) != 0;
  if (says_listed != (container.free_count.load() != 0)) {
    error(place, says_listed ? "it is full and in its pool's list" : "it is lost to its pool");
  }
  box_at_[container_offset] = boxes_.size();
  boxes_.push_back(std::move(box));
}

void CheckPass::look_at_extents_arena(std::uint64_t arena, ArenaKind kind) {
  const std::string place = "arena " + std::to_string(arena);
  const Container& container = segment_.descriptor(arena).container;
  const std::uint32_t size_class = Extents::container_class(container);
  const std::uint32_t total = Extents::container_total(container);
  if (size_class < kClass4K || size_class >= kClasses) {
    return error(place, "it holds extents of no known class");
  }
  const std::uint64_t bytes = class_bytes(size_class);
  const bool is_run = kind == ArenaKind::kRun;
  if (is_run != (bytes > kArenaBytes)) return error(place, "its kind and its class do not agree");
  if (total == 0 || total > std::max<std::uint64_t>(1, kArenaBytes / bytes)) {
    return error(place, "it holds an impossible number of extents");
  }
  for (std::uint64_t i = 1; is_run && i < bytes / kArenaBytes; ++i) {
    const bool tail = arena + i < arena_count_ && covered_[arena + i] == 0 &&
                      kind_of(segment_.descriptor(arena + i).container) == ArenaKind::kRunTail;
    if (!tail) return error(place, "its run is cut off");
    covered_[arena + i] = 1;
  }
  add_box(segment_.offset_of(&container), place);
}

void CheckPass::look_at_arenas() {
  covered_.assign(arena_count_, 0);
  std::uint64_t unused = 0;
  for (std::uint64_t arena = 0; arena < arena_count_; ++arena) {
    const ArenaDescriptor& descriptor = segment_.descriptor(arena);
    const ArenaKind kind = kind_of(descriptor.container);
    look_at_lock(descriptor.lock, "arena " + std::to_string(arena));
    if (kind == ArenaKind::kExtents || kind == ArenaKind::kRun) look_at_extents_arena(arena, kind);
    if (kind == ArenaKind::kUnused) ++unused;
    if (static_cast<std::uint32_t>(kind) > static_cast<std::uint32_t>(ArenaKind::kTable)) {
      error("arena " + std::to_string(arena), "it is of no known kind");
    }
    if (kind == ArenaKind::kRunTail && covered_[arena] == 0) {
      // The host that is setting a run up, or died doing so: its successor collects them.
      notes_.push_back("arena " + std::to_string(arena) + " belongs to no run");
    }
  }
  if (unused != 0) notes_.push_back(std::to_string(unused) + " arenas are unused");
}

// Memory of dense extents is there; a page holds data only where there is memory; a page is claimed
// by whoever says so.
void CheckPass::look_at_pages() {
  std::unordered_map<std::uint64_t, std::array<std::uint64_t, 8>> claims;
  for (std::uint32_t slot = 0; slot < segment_.super().max_participants; ++slot) {
    const Participant& participant = segment_.participant(slot);
    if (participant.claim_ref.load() == 0) continue;
    auto& mine = claims[(participant.claim_pages.load() >> 16) / kPagesPerArena];
    for (std::size_t i = 0; i < 8; ++i) mine[i] |= participant.claim_bits[i].load();
  }
  for (std::uint64_t arena = 0; arena < arena_count_; ++arena) {
    const ArenaDescriptor& descriptor = segment_.descriptor(arena);
    const std::string place = "arena " + std::to_string(arena);
    const auto claim = claims.find(arena);
    for (std::size_t i = 0; i < 8; ++i) {
      const std::uint64_t claimed = descriptor.claimed[i].load();
      const std::uint64_t known = claim == claims.end() ? 0 : claim->second[i];
      if ((claimed & ~known) != 0) error(place, "a page is claimed by nobody");
      if ((descriptor.valid[i].load() & ~descriptor.populated[i].load()) != 0) {
        error(place, "a page holds data and has no memory");
      }
    }
  }
}

// A dense extent has memory, unless the host has set it aside: then it has none at all and no owner.
void CheckPass::look_at_dense_memory(Box& box) {
  if (box.sparse || box.size_class < kClass4K) return;
  const std::uint64_t pages = class_bytes(box.size_class) / kPageBytes;
  const std::uint64_t first = (box.first - segment_.super().arenas_offset) / kPageBytes;
  for (std::uint32_t i = 0; i < box.total; ++i) {
    if (box.owners[i] == Owner::kHost) continue;
    std::uint64_t there = 0;
    for (std::uint64_t page = first + i * pages; page < first + (i + 1) * pages; ++page) {
      there += bits_of(segment_.descriptor(page / kPagesPerArena).populated, page % kPagesPerArena);
    }
    if (there == pages) continue;
    if (there == 0 && box.owners[i] == Owner::kNobody) {
      box.owners[i] = Owner::kHost;
    } else {
      error("arena " + std::to_string(segment_.arena_of(box.first)), "a dense extent has no memory");
    }
  }
}

// --- Pools ----------------------------------------------------------------------------------------

void CheckPass::walk_list(Pool& pool, std::uint32_t size_class, bool sparse) {
  const std::string place = pool_name(size_class, sparse);
  std::uint64_t next = pool.head.load();
  while (next != 0) {
    if (!segment_.contains(next, sizeof(Container)) || next % sizeof(Word) != 0) {
      return error(place, "its list leads out of the segment");
    }
    const auto& container = *segment_.at<Container>(next);
    if (size_class < kSmallClasses) {
      const Ref slab(next, kClass64K, false);
      if (next % kSlabBytes != 0 || !segment_.valid_ref(slab)) {
        return error(place, "its list leads to what is no slab");
      }
      if (!box_at_.contains(next)) find_slab(next, size_class);
    }
    const auto found = box_at_.find(next);
    if (found == box_at_.end()) return error(place, "its list leads to what is no container");
    Box& box = boxes_[found->second];
    if (box.listed) return error(place, "its list visits a container twice");
    if (box.size_class != size_class || box.sparse != sparse) {
      return error(place, "its list holds a container of another class");
    }
    box.listed = true;
    listed_bytes_[sparse ? 1 : 0][size_class] += container.free_count.load() * class_bytes(size_class);
    next = container.next.load();
  }
}

void CheckPass::look_at_pools() {
  for (std::uint32_t size_class = kClasses; size_class-- > 0;) {
    for (const bool sparse : {false, true}) {
      Pool& pool = segment_.super().pools[sparse ? 1 : 0][size_class];
      look_at_lock(pool.lock, pool_name(size_class, sparse));
      walk_list(pool, size_class, sparse);
    }
  }
}

// The slab at `offset` when it holds extents of this class; its 64 KiB extent is owned from now on.
CheckPass::Box* CheckPass::find_slab(std::uint64_t offset, std::uint32_t size_class) {
  const auto found = box_at_.find(offset);
  if (found != box_at_.end()) return &boxes_[found->second];
  const Ref slab(offset, kClass64K, false);
  if (!segment_.valid_ref(slab)) return nullptr;
  Box* outer = box_of(slab);
  if (outer == nullptr) return nullptr;
  const auto& container = *segment_.at<Container>(offset);
  const std::uint32_t total = Extents::container_total(container);
  if (Extents::container_class(container) != size_class ||
      total != Extents::slab_extents(size_class)) {
    return nullptr;
  }
  own(slab, Owner::kSlab);
  ++slabs_;
  add_box(offset, "slab at " + std::to_string(offset));
  return &boxes_.back();
}

CheckPass::Box* CheckPass::box_of(Ref ref) {
  if (ref.size_class() < kSmallClasses) {
    return find_slab(ref.offset() / kSlabBytes * kSlabBytes, ref.size_class());
  }
  const std::uint64_t arena = segment_.arena_of(ref.offset());
  if (arena >= arena_count_) return nullptr;
  const auto found = box_at_.find(segment_.offset_of(&segment_.descriptor(arena).container));
  return found == box_at_.end() ? nullptr : &boxes_[found->second];
}

void CheckPass::own(Ref ref, Owner owner) {
  const std::string place = "extent at " + std::to_string(ref.offset()) + " of " +
                            std::to_string(ref.size_class() < kClasses ? ref.bytes() : 0) + " bytes";
  Box* box = segment_.valid_ref(ref) ? box_of(ref) : nullptr;
  if (box == nullptr || box->size_class != ref.size_class() || box->sparse != ref.sparse() ||
      ref.offset() < box->first || (ref.offset() - box->first) % ref.bytes() != 0 ||
      (ref.offset() - box->first) / ref.bytes() >= box->total) {
    return error(place, "something refers to it, but it is no extent");
  }
  Owner& present = box->owners[(ref.offset() - box->first) / ref.bytes()];
  if (present != Owner::kNobody) {
    error(place, present == Owner::kFree ? "it is in use and free" : "it is owned twice");
  }
  present = owner;
}

// --- Participants ---------------------------------------------------------------------------------

void CheckPass::look_at_participants() {
  const Superblock& block = segment_.super();
  for (std::uint32_t slot = 0; slot < block.max_participants; ++slot) {
    const Participant& participant = segment_.participant(slot);
    const std::string place = "participant " + std::to_string(slot);
    const std::uint64_t id = participant.id.load();
    if (id != 0 && (id & 0xffff) != slot + 1) error(place, "its id names another slot");
    if (id != 0 && (block.active[slot / 64].load() >> slot % 64 & 1) == 0) {
      error(place, "it is in use and not active");
    }
    bool owns = participant.claim_ref.load() != 0 || participant.moving_key0.load() != 0;
    for (const Word& word : participant.hand) {
      const Ref ref(word.load());
      if (ref.none()) continue;
      owns = true;
      own(ref.bare(), Owner::kHand);
    }
    if (id == 0 && owns) error(place, "it is free and owns something");
  }
  for (const Word& word : block.limbo) {
    const Ref ref(word.load());
    if (!ref.none()) own(ref.bare(), Owner::kLimbo);
  }
  look_at_changing_memory();
}

// Extents whose memory the host, or one that died, takes or gives back right now.
void CheckPass::look_at_changing_memory() {
  const Superblock& block = segment_.super();
  const std::uint64_t arena = block.changing_arena.load(std::memory_order_acquire) - 1;
  if (arena == ~0ULL) return;
  const auto found = arena < arena_count_ ? box_at_.find(segment_.offset_of(&segment_.descriptor(arena).container))
                                          : box_at_.end();
  if (found == box_at_.end()) return error("superblock", "the host changes the memory of what is no arena of extents");
  const Box& box = boxes_[found->second];
  for (std::uint32_t i = 0; i < std::min<std::uint32_t>(box.total, kPagesPerArena); ++i) {
    if ((block.changing_extents[i / 64].load() >> i % 64 & 1) == 0) continue;
    own(Ref(box.first + i * class_bytes(box.size_class), box.size_class, box.sparse), Owner::kHost);
  }
}

// --- The end ----------------------------------------------------------------------------------------

void CheckPass::finish() {
  std::uint64_t extents[2][kClasses] = {};
  for (Box& box : boxes_) {
    look_at_dense_memory(box);
    extents[box.sparse ? 1 : 0][box.size_class] += box.total;
    const auto& container = *segment_.at<Container>(box.offset);
    if (!box.listed && container.free_count.load() != 0) {
      error("container at " + std::to_string(box.offset), "it has free extents and is in no list");
    }
  }
  for (std::uint32_t size_class = 0; size_class < kClasses; ++size_class) {
    for (const bool sparse : {false, true}) {
      const Pool& pool = segment_.super().pools[sparse ? 1 : 0][size_class];
      const std::string place = pool_name(size_class, sparse);
      if (pool.free_bytes.load() != listed_bytes_[sparse ? 1 : 0][size_class]) {
        error(place, "its count of free bytes is wrong");
      }
      // A full slab is known only from what refers into it.
      const std::uint64_t counted = extents[sparse ? 1 : 0][size_class];
      if (pool.extents.load() < counted ||
          (size_class >= kSmallClasses && pool.extents.load() != counted)) {
        error(place, "its count of extents is wrong");
      }
    }
  }
}

std::vector<Ref> CheckPass::unowned() const {
  std::vector<Ref> refs;
  for (const Box& box : boxes_) {
    for (std::uint32_t i = 0; i < box.total; ++i) {
      if (box.owners[i] != Owner::kNobody) continue;
      refs.emplace_back(box.first + i * class_bytes(box.size_class), box.size_class, box.sparse);
    }
  }
  return refs;
}

std::uint64_t CheckPass::extents() const {
  std::uint64_t count = 0;
  for (const Box& box : boxes_) count += box.total;
  return count;
}

std::uint64_t CheckPass::free_extents() const {
  std::uint64_t count = 0;
  for (const Box& box : boxes_) {
    count += static_cast<std::uint64_t>(std::count(box.owners.begin(), box.owners.end(), Owner::kFree));
  }
  return count;
}

}  // namespace imss::segment
