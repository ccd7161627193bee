// How the host obtains the memory of its segment and hands it out.
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
#include "segment/segment_files.h"
#include "segment/table.h"
#include "segment/transaction.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace imss::segment {
namespace {

constexpr std::uint64_t kSmallCapacity = 512 << 20; // below: memory in small steps, no huge pages
constexpr std::uint64_t kSmallStep = 128 << 10;
constexpr std::uint64_t kCompletedFrom = 512;       // buckets: from here on a table's first arena is obtained whole
constexpr std::uint64_t kNodeReserve = 64 << 20;    // what must stay free on the node
constexpr std::uint64_t kFileSystemReserve = 4 << 20;  // what must stay free in the segment's file system
// What is obtained without another look, at most; half of what is left where that is less: others obtain too.
constexpr std::uint64_t kCheckEvery = 64 << 20;

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
  // Before looking at the arenas, which making room may give up, and not again while they are worked on.
  IMSS_RETURN_IF_ERROR(check_room(step * extent));
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
  IMSS_RETURN_IF_ERROR(populate(segment_->arena_offset(arena) + from * extent, (to - from) * extent));
  Pool& pool = segment_->super().pools[0][size_class];
  Transaction change(*segment_, *me_);
  IMSS_RETURN_IF_ERROR(change.lock(pool.lock));
  std::uint64_t header = container.class_and_count.load();
  std::uint64_t bits[16];
  for (int i = 0; i < 16; ++i) bits[i] = container.free_bits[i].load();
  for (std::uint32_t i = from; i < to; ++i) bits[i / 64] |= 1ULL << i % 64;
  for (std::uint32_t i = from / 64; i <= (to - 1) / 64; ++i) change.store(container.free_bits[i], bits[i]);
  if ((header & kInList) == 0) {
    change.store(container.next, pool.head.load());
    change.store(pool.head, segment_->offset_of(&container));
  }
  header = (header & 0xffffffff) | kInList | static_cast<std::uint64_t>(to) << 32;
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
  // Doubles up to a whole arena at a time. Where arenas are huge pages the first one is completed early, because
  // all lookups of a table that is not large go there.
  const bool huge = segment_->super().capacity_bytes >= kSmallCapacity;
  const std::uint64_t rest = kBucketsPerArena - in_arena;
  const std::uint64_t step = root.buckets.load() == 0 ? Table::kFirstBuckets : std::max<std::uint64_t>(ready, 16);
  const std::uint64_t count = huge && ready >= kCompletedFrom ? rest : std::min(step, rest);
  const std::uint64_t offset = arenas[ready / kBucketsPerArena].load() + in_arena * sizeof(Bucket);
  IMSS_RETURN_IF_ERROR(obtain(offset, count * sizeof(Bucket)));
  // A whole arena is huge already; one that was obtained in pieces is made so.
  if (huge && in_arena != 0 && count == rest) to_collapse_.push_back(segment_->arena_of(offset));
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
  if (bytes > unchecked_bytes_) {
    std::uint64_t room = kCheckEvery;
    struct statvfs file_system {};
    if (::fstatvfs(segment_->fd(), &file_system) == 0 && file_system.f_blocks != 0) {
      const std::uint64_t free_bytes = file_system.f_bavail * file_system.f_frsize;
      if (free_bytes < bytes + kFileSystemReserve) {
        return Status(Code::kNoSpace, directory() + " has only " + std::to_string(free_bytes >> 20) +
                                          " MiB left; make it larger (mount -o remount,size=...) or name another "
                                          "memory file system in IMSS_SHM_DIR");
      }
      room = std::min(room, (free_bytes - kFileSystemReserve) / 2);
    }
    if (available_memory() < bytes + kCheckEvery + kNodeReserve) {
      return Status(Code::kNoSpace, "the node has no memory left");
    }
    unchecked_bytes_ = std::max(room, bytes);
  }
  unchecked_bytes_ -= bytes;
  return {};
}

Status Host::obtain(std::uint64_t offset, std::uint64_t bytes) {
  IMSS_RETURN_IF_ERROR(check_room(bytes));
  return populate(offset, bytes);
}

// Obtains the memory of a range within one arena. REQUIRES: check_room(). A whole arena becomes one huge page: touching a page and
// collapsing is several times cheaper than 512 small pages.
Status Host::populate(std::uint64_t offset, std::uint64_t bytes) {
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

}  // namespace imss::segment
