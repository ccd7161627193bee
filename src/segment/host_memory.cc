// How the host obtains, hands out and gives back the memory of its segment.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <fstream>
#include <string>

#include "segment/extents.h"
#include "segment/fault.h"
#include "segment/host.h"
#include "segment/table.h"
#include "segment/transaction.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace imss::segment {
namespace {

constexpr std::uint64_t kSmallCapacity = 512 << 20; // below: memory in small steps, no huge pages
constexpr std::uint64_t kSmallStep = 128 << 10;
constexpr std::uint64_t kNodeReserve = 64 << 20;    // what must stay free on the node
constexpr std::uint64_t kCheckEvery = 64 << 20;
constexpr std::uint64_t kInListBit = 1ULL << 9;
constexpr std::uint64_t kMaxRunArenas = kMaxExtentBytes / kArenaBytes;

std::uint64_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::uint64_t kibibytes = 0;
  while (file >> key >> kibibytes) {
    if (key == "MemAvailable:") return kibibytes * 1024;
    file.ignore(64, '\n');
  }
  return ~0ULL;
}

std::uint32_t run_order(std::uint64_t arenas) {
  return static_cast<std::uint32_t>(std::countr_zero(std::bit_ceil(arenas)));
}

ArenaKind kind_of(const ArenaDescriptor& arena) {
  return static_cast<ArenaKind>(arena.container.class_and_count.load() >> 16 & 0xff);
}

}  // namespace

Status Host::provide_extents(std::uint32_t size_class, bool sparse) {
  if (!sparse && class_bytes(size_class) < kArenaBytes) return extend_dense(size_class);
  return new_container(size_class, sparse);
}

std::uint64_t Host::step_bytes() const {
  return segment_->super().capacity_bytes >= kSmallCapacity ? kArenaBytes : kSmallStep;
}

// Cuts more extents of a class below 2 MiB from its partial arena, or starts a new one.
Status Host::extend_dense(std::uint32_t size_class) {
  const std::uint64_t extent = class_bytes(size_class);
  const auto most = static_cast<std::uint32_t>(kArenaBytes / extent);
  const auto step = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, step_bytes() / extent));
  // Before looking at the partial arena, which making room may give up.
  IMSS_RETURN_IF_ERROR(make_room(step * extent));
  while (!set_aside_[size_class].empty()) {
    const Status status = restore(size_class, step);
    if (status.code() != Code::kAgain) return status;
  }
  if (partial_arena_[size_class] == 0) {
    IMSS_ASSIGN_OR_RETURN(const std::uint64_t arena, take_arenas(1));
    const std::uint32_t first = std::min(step, most);
    if (const Status status = obtain(segment_->arena_offset(arena), first * extent); !status.ok()) {
      free_arenas(arena, 1);
      return status;
    }
    const Status status = Extents(*segment_).add_container(*me_, segment_->descriptor(arena).container, size_class,
                                                           false, first, ArenaKind::kExtents);
    if (!status.ok()) {
      free_arenas(arena, 1);
    } else if (first < most) {
      partial_arena_[size_class] = arena + 1;
    }
    return status;
  }
  const std::uint64_t arena = partial_arena_[size_class] - 1;
  Container& container = segment_->descriptor(arena).container;
  const std::uint32_t from = Extents::container_total(container);
  const std::uint32_t to = std::min(from + step, most);
  IMSS_RETURN_IF_ERROR(obtain(segment_->arena_offset(arena) + from * extent, (to - from) * extent));
  Pool& pool = segment_->super().pools[0][size_class];
  Transaction change(*segment_, *me_);
  IMSS_RETURN_IF_ERROR(change.lock(pool.lock));
  std::uint64_t header = container.class_and_count.load();
  std::uint64_t bits[16];
  for (int i = 0; i < 16; ++i) bits[i] = container.free_bits[i].load();
  for (std::uint32_t i = from; i < to; ++i) bits[i / 64] |= 1ULL << i % 64;
  for (std::uint32_t i = from / 64; i <= (to - 1) / 64; ++i) change.store(container.free_bits[i], bits[i]);
  if ((header & kInListBit) == 0) {
    change.store(container.next, pool.head.load());
    change.store(pool.head, segment_->offset_of(&container));
  }
  header = (header & 0xffffffff) | kInListBit | static_cast<std::uint64_t>(to) << 32;
  change.store(container.class_and_count, header);
  change.store(container.free_count, container.free_count.load() + (to - from));
  change.store(pool.free_bytes, pool.free_bytes.load() + (to - from) * extent);
  change.store(pool.extents, pool.extents.load() + (to - from));
  IMSS_RETURN_IF_ERROR(change.commit());
  if (to == most) partial_arena_[size_class] = 0;
  return {};
}

Status Host::new_container(std::uint32_t size_class, bool sparse) {
  const std::uint64_t extent = class_bytes(size_class);
  const std::uint64_t arenas = std::max<std::uint64_t>(1, extent / kArenaBytes);
  IMSS_ASSIGN_OR_RETURN(const std::uint64_t arena, take_arenas(arenas));
  if (!sparse) {
    for (std::uint64_t i = 0; i < arenas; ++i) {
      const Status status = obtain(segment_->arena_offset(arena + i), kArenaBytes);
      if (status.ok()) continue;
      free_arenas(arena, arenas);
      return status;
    }
  }
  for (std::uint64_t i = 1; i < arenas; ++i) {
    segment_->descriptor(arena + i)
        .container.class_and_count.store(static_cast<std::uint64_t>(ArenaKind::kRunTail) << 16);
    fault_point("host.run_marked");
  }
  const auto total = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, kArenaBytes / extent));
  const Status status =
      Extents(*segment_).add_container(*me_, segment_->descriptor(arena).container, size_class, sparse, total,
                                       arenas > 1 ? ArenaKind::kRun : ArenaKind::kExtents);
  if (!status.ok()) free_arenas(arena, arenas);
  return status;
}

Status Host::provide_pages(std::uint64_t offset, std::uint64_t bytes) {
  const Superblock& block = segment_->super();
  if (offset < block.arenas_offset || bytes == 0 || !segment_->contains(offset, bytes)) {
    return Code::kInvalidArgument;
  }
  const std::uint64_t arena = segment_->arena_of(offset);
  if (segment_->arena_of(offset + bytes - 1) != arena || arena >= block.next_arena.load()) {
    return Code::kInvalidArgument;
  }
  IMSS_RETURN_IF_ERROR(obtain(offset, bytes));
  const auto& populated = segment_->descriptor(arena).populated;
  const bool full = std::all_of(std::begin(populated), std::end(populated),
                                [](const Word& word) { return word.load() == ~0ULL; });
  if (full && block.capacity_bytes >= kSmallCapacity) to_collapse_.push_back(arena);
  return {};
}

Status Host::provide_buckets(std::uint32_t index) {
  TableRoot& root = segment_->super().tables[index];
  const std::uint64_t ready = root.ready_buckets.load();
  if (ready != 0 && Table::enough_ready(root.buckets.load(), ready)) return {};
  const std::uint64_t in_arena = ready % kBucketsPerArena;
  Word* arenas = segment_->at<Word>(root.arenas_offset);
  if (in_arena == 0) {
    if (ready / kBucketsPerArena >= kMaxTableArenas) return Code::kNoSpace;
    IMSS_RETURN_IF_ERROR(make_room(kPageBytes));
    const std::uint64_t slot_offset = root.arenas_offset + ready / kBucketsPerArena * sizeof(Word);
    if (::fallocate(segment_->fd(), 0, static_cast<off_t>(slot_offset / kPageBytes * kPageBytes), kPageBytes) != 0) {
      return Code::kNoSpace;
    }
    // One that an earlier attempt has left is used again.
    if (arenas[ready / kBucketsPerArena].load() == 0) {
      IMSS_ASSIGN_OR_RETURN(const std::uint64_t arena, take_arenas(1));
      segment_->descriptor(arena).container.class_and_count.store(
          static_cast<std::uint64_t>(ArenaKind::kTable) << 16);
      arenas[ready / kBucketsPerArena].store(segment_->arena_offset(arena));
    }
  }
  // Doubles up to a whole arena at a time.
  const std::uint64_t first = root.buckets.load() == 0 ? Table::kFirstBuckets : std::max<std::uint64_t>(ready, 16);
  const std::uint64_t count = std::min(first, kBucketsPerArena - in_arena);
  const std::uint64_t offset = arenas[ready / kBucketsPerArena].load() + in_arena * sizeof(Bucket);
  IMSS_RETURN_IF_ERROR(obtain(offset, count * sizeof(Bucket)));
  root.ready_buckets.store(ready + count);
  if (root.buckets.load() == 0) root.buckets.store(Table::kFirstBuckets);
  return {};
}

// --- Memory ----------------------------------------------------------------------------------------

void Host::refresh_used() {
  struct stat status {};
  if (::fstat(segment_->fd(), &status) == 0) {
    segment_->super().used_bytes.store(static_cast<std::uint64_t>(status.st_blocks) * 512);
  }
}

// Room for `bytes` below the capacity, if need be by giving up arenas that nobody uses.
Status Host::make_room(std::uint64_t bytes) {
  const Superblock& block = segment_->super();
  if (block.used_bytes.load() + bytes <= block.capacity_bytes) return {};
  // What the count holds back may be stale: pages of descriptors come without it.
  refresh_used();
  if (block.used_bytes.load() + bytes <= block.capacity_bytes) return {};
  reclaim(block.used_bytes.load() + bytes - block.capacity_bytes);
  if (block.used_bytes.load() + bytes > block.capacity_bytes) return Code::kNoSpace;
  return {};
}

Status Host::check_room(std::uint64_t bytes) {
  IMSS_RETURN_IF_ERROR(make_room(bytes));
  if (obtained_since_check_ >= kCheckEvery) {
    struct statvfs file_system {};
    if (::fstatvfs(segment_->fd(), &file_system) == 0 && file_system.f_blocks != 0 &&
        file_system.f_bavail * file_system.f_frsize < bytes + kCheckEvery) {
      return Code::kNoSpace;
    }
    if (available_memory() < bytes + kCheckEvery + kNodeReserve) return Code::kNoSpace;
    obtained_since_check_ = 0;
  }
  obtained_since_check_ += bytes;
  return {};
}

// Obtains the memory of a range within one arena. A whole arena becomes one huge page: touching a page and
// collapsing is several times cheaper than 512 small pages.
Status Host::obtain(std::uint64_t offset, std::uint64_t bytes) {
  IMSS_RETURN_IF_ERROR(check_room(bytes));
  const bool whole = bytes == kArenaBytes && offset % kArenaBytes == 0;
  const std::uint64_t first = whole ? kPageBytes : bytes;
  if (::fallocate(segment_->fd(), 0, static_cast<off_t>(offset), static_cast<off_t>(first)) != 0) {
    return errno == ENOSPC || errno == ENOMEM ? Status(Code::kNoSpace) : Status::from_errno(errno, "fallocate");
  }
  if (whole && ::madvise(segment_->base() + offset, kArenaBytes, MADV_COLLAPSE) != 0 &&
      ::fallocate(segment_->fd(), 0, static_cast<off_t>(offset), kArenaBytes) != 0) {
    return Code::kNoSpace;
  }
  mark_populated(offset, bytes);
  refresh_used();
  fault_point("host.obtained");
  return {};
}

void Host::mark_populated(std::uint64_t offset, std::uint64_t bytes) {
  const std::uint64_t base = segment_->super().arenas_offset;
  const std::uint64_t end = (offset + bytes - base + kPageBytes - 1) / kPageBytes;
  for (std::uint64_t page = (offset - base) / kPageBytes; page < end; ++page) {
    Word& word = segment_->descriptor(page / kPagesPerArena).populated[page % kPagesPerArena / 64];
    word.fetch_or(1ULL << page % 64);
  }
}

Result<std::uint64_t> Host::take_arenas(std::uint64_t count) {
  Superblock& block = segment_->super();
  std::uint64_t& list = block.free_runs[run_order(count)];
  if (list != 0) {
    const std::uint64_t arena = list - 1;
    list = segment_->descriptor(arena).next_free.load();
    segment_->descriptor(arena).next_free.store(0);
    return arena;
  }
  const std::uint64_t arena = block.next_arena.load();
  if (arena + count > block.arena_count) return Status(Code::kNoSpace, "the segment's addresses are used up");
  const std::uint64_t from = block.descriptors_offset + arena * sizeof(ArenaDescriptor);
  const std::uint64_t to = from + count * sizeof(ArenaDescriptor);
  const std::uint64_t first_page = from / kPageBytes * kPageBytes;
  IMSS_RETURN_IF_ERROR(make_room(to - first_page));
  if (::fallocate(segment_->fd(), 0, static_cast<off_t>(first_page), static_cast<off_t>(to - first_page)) != 0) {
    return Code::kNoSpace;
  }
  refresh_used();
  block.next_arena.store(arena + count);
  fault_point("host.taken");
  return arena;
}

// Returns the memory of unused arenas to the node and keeps their addresses.
void Host::free_arenas(std::uint64_t arena, std::uint64_t count) {
  Superblock& block = segment_->super();
  for (std::uint64_t i = 0; i < count; ++i) {
    ArenaDescriptor& descriptor = segment_->descriptor(arena + i);
    descriptor.container.class_and_count.store(0);
    for (int word = 0; word < 8; ++word) {
      descriptor.populated[word].store(0);
      descriptor.valid[word].store(0);
      descriptor.claimed[word].store(0);
    }
  }
  ::fallocate(segment_->fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              static_cast<off_t>(segment_->arena_offset(arena)), static_cast<off_t>(count * kArenaBytes));
  segment_->descriptor(arena).next_free.store(block.free_runs[run_order(count)]);
  block.free_runs[run_order(count)] = arena + 1;
  refresh_used();
}

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

struct Unlinked {
  Container* container = nullptr;
  Word* link = nullptr;  // the word that points to it
};

// Whether an extent of an arena has pages.
bool has_memory(const Segment& segment, std::uint64_t arena, std::uint32_t index, std::uint64_t extent) {
  const auto& populated = segment.descriptor(arena).populated;
  const std::uint64_t first = index * extent / kPageBytes;
  for (std::uint64_t page = first; page < first + extent / kPageBytes; ++page) {
    if ((populated[page / 64].load() >> page % 64 & 1) != 0) return true;
  }
  return false;
}

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
// free again at once. False: there are none. A host that dies in between leaks them, which a check finds.
bool Host::set_aside(std::uint32_t size_class, bool sparse, std::uint64_t wanted_bytes, std::uint64_t* freed) {
  Pool& pool = segment_->super().pools[sparse ? 1 : 0][size_class];
  const std::uint64_t extent = class_bytes(size_class);
  const std::uint64_t limit = (wanted_bytes + extent - 1) / extent;
  std::vector<std::uint32_t> taken;
  std::uint64_t arena = 0;
  {
    Transaction change(*segment_, *me_);
    if (!change.lock(pool.lock).ok()) return false;
    const Unlinked found = find_with_memory(*segment_, pool, extent);
    if (found.container == nullptr) return false;
    Container& container = *found.container;
    arena = (segment_->offset_of(&container) - segment_->super().descriptors_offset) / sizeof(ArenaDescriptor);
    for (std::uint32_t word = 0; word < 16 && taken.size() < limit; ++word) {
      std::uint64_t left = container.free_bits[word].load();
      for (std::uint64_t bits = left; bits != 0 && taken.size() < limit; bits &= bits - 1) {
        const std::uint32_t index = word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
        if (!has_memory(*segment_, arena, index, extent)) continue;
        taken.push_back(index);
        left &= ~(1ULL << index % 64);
      }
      if (left != container.free_bits[word].load()) change.store(container.free_bits[word], left);
    }
    const std::uint64_t remaining = container.free_count.load() - taken.size();
    change.store(container.free_count, remaining);
    change.store(pool.free_bytes, pool.free_bytes.load() - taken.size() * extent);
    if (remaining == 0) {
      change.store(*found.link, container.next.load());
      change.store(container.class_and_count, container.class_and_count.load() & ~kInListBit);
    }
    if (!change.commit().ok()) return false;
  }
  fault_point("host.set_aside");
  const std::uint64_t before = segment_->super().used_bytes.load();
  for (const std::uint32_t index : taken) drop_memory(segment_->arena_offset(arena) + index * extent, extent);
  if (sparse) {
    if (!add_free(arena, taken).ok()) return false;
  } else if (!free_if_all_aside(arena)) {
    auto& arenas = set_aside_[size_class];
    if (std::find(arenas.begin(), arenas.end(), arena) == arenas.end()) arenas.push_back(arena);
  }
  refresh_used();
  *freed += before - std::min(before, segment_->super().used_bytes.load());
  return true;
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
// the class had none left and was taken off the list. REQUIRES: the list is not empty.
Status Host::restore(std::uint32_t size_class, std::uint32_t count) {
  const std::uint64_t arena = set_aside_[size_class].back();
  const std::uint64_t extent = class_bytes(size_class);
  const std::uint32_t total = Extents::container_total(segment_->descriptor(arena).container);
  std::vector<std::uint32_t> aside;
  for (std::uint32_t i = 0; i < total && aside.size() < count; ++i) {
    if (!has_memory(*segment_, arena, i, extent)) aside.push_back(i);
  }
  Status status;
  for (std::size_t i = 0; i < aside.size() && status.ok(); ++i) {
    status = obtain(segment_->arena_offset(arena) + aside[i] * extent, extent);
    if (!status.ok()) aside.resize(i);
  }
  if (aside.size() < count && status.ok()) set_aside_[size_class].pop_back();
  if (aside.empty()) return status.ok() ? Status(Code::kAgain) : status;
  status = add_free(arena, aside);
  if (!status.ok()) {
    for (const std::uint32_t index : aside) drop_memory(segment_->arena_offset(arena) + index * extent, extent);
  }
  return status;
}

// Extents of one arena become free. REQUIRES: nobody owns them.
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
  change.store(container.free_count, container.free_count.load() + indices.size());
  change.store(pool.free_bytes, pool.free_bytes.load() + indices.size() * class_bytes(size_class));
  if ((container.class_and_count.load() & kInListBit) == 0) {
    change.store(container.next, pool.head.load());
    change.store(pool.head, segment_->offset_of(&container));
    change.store(container.class_and_count, container.class_and_count.load() | kInListBit);
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

bool Host::collapse_one() {
  if (to_collapse_.empty()) return false;
  const std::uint64_t arena = to_collapse_.back();
  to_collapse_.pop_back();
  // Collapsing fills holes, and the arena may have been given up meanwhile.
  const auto& populated = segment_->descriptor(arena).populated;
  if (!std::all_of(std::begin(populated), std::end(populated),
                   [](const Word& word) { return word.load() == ~0ULL; })) {
    return true;
  }
  // A failure costs speed only.
  ::madvise(segment_->base() + segment_->arena_offset(arena), kArenaBytes, MADV_COLLAPSE);
  refresh_used();
  return true;
}

// --- After a restart ---------------------------------------------------------------------------------

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
}

}  // namespace imss::segment
