#include "segment/host.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <optional>

#include "segment/extents.h"
#include "segment/fault.h"
#include "segment/futex.h"
#include "segment/segment_files.h"
#include "segment/table.h"
#include "segment/transaction.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace imss::segment {
namespace {

constexpr long kTickMs = 400;                       // dead participants are cleaned up within 2 s
constexpr std::uint64_t kSmallCapacity = 512 << 20; // below: memory in small steps, no huge pages
constexpr std::uint64_t kSmallStep = 128 << 10;
constexpr std::uint64_t kNodeReserve = 64 << 20;    // what must stay free on the node
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

ArenaKind kind_of(const ArenaDescriptor& arena) {
  return static_cast<ArenaKind>(arena.container.class_and_count.load() >> 16 & 0xff);
}

}  // namespace

// --- The client's side ---------------------------------------------------------------------------

void nudge_host(Segment& segment) {
  Superblock& block = segment.super();
  block.host_wake.fetch_add(1);
  if (block.host_sleeping.load() != 0) futex_wake_all(block.host_wake);
}

Status ask_host(Segment& segment, Participant& me, Request kind, std::uint64_t offset, std::uint64_t bytes) {
  Superblock& block = segment.super();
  const std::uint64_t sequence = (me.request.load() >> 8) + 1;
  me.request_offset.store(offset);
  me.request_bytes.store(bytes);
  me.request.store(sequence << 8 | static_cast<std::uint64_t>(kind), std::memory_order_seq_cst);
  nudge_host(segment);
  const auto answered = [&] { return me.reply.load(std::memory_order_acquire) >> 16 == sequence; };
  // The answer often comes within microseconds; sleeping and waking takes longer than that.
  for (int spin = 0; spin < 2000 && !answered(); ++spin) __builtin_ia32_pause();
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms());
  while (!answered()) {
    const auto wake = static_cast<std::uint32_t>(block.reply_wake.load());
    if (answered()) break;
    futex_wait(block.reply_wake, wake, 20);
    if (std::chrono::steady_clock::now() < end) continue;
    const bool alive = segment.probe(0) == Segment::Liveness::kAlive;
    return Status(Code::kTimedOut, "the server of segment " + segment.name() +
                                       (alive ? " does not answer" : " is not running"));
  }
  const auto code = static_cast<Code>(me.reply.load() & 0xffff);
  if (code == Code::kOk) return {};
  return code;
}

// --- Start and stop ----------------------------------------------------------------------------------

Result<std::unique_ptr<Host>> Host::start(HostOptions options) {
  std::unique_ptr<Host> host(new Host(std::move(options)));
  host->owner_pid_ = static_cast<std::uint32_t>(::getpid());
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Status> outcome;
  host->thread_ = std::thread([&, raw = host.get()] {
    raw->run([&](Status status) {
      const std::lock_guard lock(mutex);
      outcome = std::move(status);
      changed.notify_one();
    });
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return outcome.has_value(); });
  lock.unlock();
  if (!outcome->ok()) {
    host->thread_.join();
    return *outcome;
  }
  return host;
}

Host::~Host() { stop(false); }

Status Host::prepare() {
  auto existing = Segment::open(options_.name);
  if (existing.ok()) {
    const bool served = (*existing)->probe(0) == Segment::Liveness::kAlive;
    if (served || !options_.take_over) {
      return Status(served ? Code::kBusy : Code::kExists,
                    "segment " + path_of(options_.name) +
                        (served ? " is served already; stop that server first or choose another port"
                                : " is left from an earlier server"));
    }
    segment_ = *existing;
    took_over_ = true;
  } else if (existing.code() != Code::kNotFound) {
    return existing.status();
  } else {
    IMSS_ASSIGN_OR_RETURN(segment_, Segment::create(options_.create));
  }
  IMSS_ASSIGN_OR_RETURN(me_, segment_->register_host());
  segment_->super().owner_pid = static_cast<std::uint32_t>(::getpid());
  refresh_used();
  if (took_over_) {
    segment_->clean_up();
    rebuild_after_take_over();
    segment_->super().state.store(static_cast<std::uint64_t>(State::kServing));
    return {};
  }
  for (std::uint32_t table = 0; table < kTables; ++table) IMSS_RETURN_IF_ERROR(provide_buckets(table));
  return {};
}

void Host::run(std::function<void(Status)> ready) {
  ::pthread_setname_np(::pthread_self(), "imss-host");
  const Status status = prepare();
  ready(status);
  if (!status.ok()) {
    if (segment_) segment_->leave();
    segment_.reset();
    return;
  }
  Superblock& block = segment_->super();
  auto next_tick = std::chrono::steady_clock::now();
  while (!stopping_.load()) {
    const auto wake = static_cast<std::uint32_t>(block.host_wake.load());
    bool worked = serve_requests();
    worked = top_up_pools() || worked;
    const auto now = std::chrono::steady_clock::now();
    if (now >= next_tick) {
      next_tick = now + std::chrono::milliseconds(kTickMs);
      segment_->clean_up();
      empty_limbo();
      if (options_.periodic && segment_->serving()) options_.periodic(*segment_, *me_);
    }
    if (!worked) worked = collapse_one();
    if (worked) continue;
    block.host_sleeping.store(1);
    futex_wait(block.host_wake, wake, kTickMs);
    block.host_sleeping.store(0);
  }
  segment_->leave();
}

Status Host::publish() {
  if (!took_over_) IMSS_RETURN_IF_ERROR(segment_->publish(options_.name));
  segment_->super().state.store(static_cast<std::uint64_t>(State::kServing), std::memory_order_release);
  return {};
}

void Host::stop(bool retire) {
  // A forked child has the object but not the thread.
  if (owner_pid_ != static_cast<std::uint32_t>(::getpid())) {
    if (thread_.joinable()) thread_.detach();
    return;
  }
  if (!thread_.joinable()) return;
  if (retire) {
    segment_->super().state.store(static_cast<std::uint64_t>(State::kRetired));
    segment_->unlink_name();
  }
  stopping_.store(true);
  segment_->super().host_wake.fetch_add(1);
  futex_wake_all(segment_->super().host_wake);
  thread_.join();
}

// --- Requests ------------------------------------------------------------------------------------------

bool Host::serve_requests() {
  Superblock& block = segment_->super();
  bool worked = false;
  for (std::uint32_t slot = 1; slot < block.max_participants; ++slot) {
    if ((block.active[slot / 64].load() >> slot % 64 & 1) == 0) continue;
    Participant& client = segment_->participant(slot);
    const std::uint64_t request = client.request.load(std::memory_order_acquire);
    if (request >> 8 == client.reply.load() >> 16) continue;
    const Status status = answer(client, static_cast<Request>(request & 0xff));
    client.reply.store(request >> 8 << 16 | static_cast<std::uint64_t>(status.code()),
                       std::memory_order_release);
    worked = true;
  }
  if (worked) {
    block.reply_wake.fetch_add(1);
    futex_wake_all(block.reply_wake);
  }
  return worked;
}

Status Host::answer(Participant& client, Request kind) {
  const std::uint64_t offset = client.request_offset.load();
  const std::uint64_t bytes = client.request_bytes.load();
  switch (kind) {
    case Request::kExtents:
      if (offset >= kClasses) return Code::kInvalidArgument;
      if (segment_->super().pools[bytes != 0 ? 1 : 0][offset].head.load() != 0) return {};
      return provide_extents(static_cast<std::uint32_t>(offset), bytes != 0);
    case Request::kPages:
      return provide_pages(offset, bytes);
    case Request::kBuckets:
      if (offset >= kTables) return Code::kInvalidArgument;
      return provide_buckets(static_cast<std::uint32_t>(offset));
    case Request::kNone:
      break;
  }
  return Code::kInvalidArgument;
}

bool Host::top_up_pools() {
  Superblock& block = segment_->super();
  bool worked = false;
  for (std::uint32_t size_class = kClass4K; size_class < kClasses; ++size_class) {
    Pool& pool = block.pools[0][size_class];
    if (pool.wanted.load() == 0) continue;
    // Ahead of need only while memory is plentiful; a client that really needs it asks.
    const bool plentiful = block.used_bytes.load() + 4 * kArenaBytes + class_bytes(size_class) <
                           block.capacity_bytes / 16 * 15;
    if (plentiful && provide_extents(size_class, false).ok()) worked = true;
    pool.wanted.store(0);
  }
  return worked;
}

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
  if (partial_arena_[size_class] == 0) {
    IMSS_ASSIGN_OR_RETURN(const std::uint64_t arena, take_arenas(1));
    const std::uint32_t first = std::min(step, most);
    if (const Status status = obtain(segment_->arena_offset(arena), first * extent); !status.ok()) {
      free_arenas(arena, 1);
      return status;
    }
    if (first < most) partial_arena_[size_class] = arena + 1;
    return Extents(*segment_).add_container(*me_, segment_->descriptor(arena).container, size_class, false, first,
                                            ArenaKind::kExtents);
  }
  const std::uint64_t arena = partial_arena_[size_class] - 1;
  Container& container = segment_->descriptor(arena).container;
  const std::uint32_t from = Extents::container_total(container);
  const std::uint32_t to = std::min(from + step, most);
  IMSS_RETURN_IF_ERROR(obtain(segment_->arena_offset(arena) + from * extent, (to - from) * extent));
  Pool& pool = segment_->super().pools[0][size_class];
  Transaction change(*segment_, *me_);
  IMSS_RETURN_IF_ERROR(change.lock(pool.lock));
  constexpr std::uint64_t kInListBit = 1ULL << 9;
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
  }
  const auto total = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, kArenaBytes / extent));
  return Extents(*segment_).add_container(*me_, segment_->descriptor(arena).container, size_class, sparse, total,
                                          arenas > 1 ? ArenaKind::kRun : ArenaKind::kExtents);
}

Status Host::provide_pages(std::uint64_t offset, std::uint64_t bytes) {
  const Superblock& block = segment_->super();
  if (offset < block.arenas_offset || bytes == 0 || !segment_->contains(offset, bytes)) {
    return Code::kInvalidArgument;
  }
  IMSS_RETURN_IF_ERROR(obtain(offset, bytes));
  const std::uint64_t arena = segment_->arena_of(offset);
  const auto& populated = segment_->descriptor(arena).populated;
  const bool full = std::all_of(std::begin(populated), std::end(populated),
                                [](const Word& word) { return word.load() == ~0ULL; });
  if (full && block.capacity_bytes >= kSmallCapacity) to_collapse_.push_back(arena);
  return {};
}

Status Host::provide_buckets(std::uint32_t index) {
  TableRoot& root = segment_->super().tables[index];
  const std::uint64_t ready = root.ready_buckets.load();
  if (ready > root.buckets.load() && ready != 0) return {};
  const std::uint64_t in_arena = ready % kBucketsPerArena;
  Word* arenas = segment_->at<Word>(root.arenas_offset);
  if (in_arena == 0) {
    if (ready / kBucketsPerArena >= kMaxTableArenas) return Code::kNoSpace;
    const std::uint64_t slot_offset = root.arenas_offset + ready / kBucketsPerArena * sizeof(Word);
    if (::fallocate(segment_->fd(), 0, static_cast<off_t>(slot_offset / kPageBytes * kPageBytes), kPageBytes) != 0) {
      return Code::kNoSpace;
    }
    IMSS_ASSIGN_OR_RETURN(const std::uint64_t arena, take_arenas(1));
    segment_->descriptor(arena).container.class_and_count.store(
        static_cast<std::uint64_t>(ArenaKind::kTable) << 16);
    arenas[ready / kBucketsPerArena].store(segment_->arena_offset(arena));
  }
  // Doubles up to a whole arena at a time.
  const std::uint64_t first = root.buckets.load() == 0 ? Table::kFirstBuckets : std::max<std::uint64_t>(ready, 16);
  const std::uint64_t count = std::min(first, kBucketsPerArena - in_arena);
  const std::uint64_t offset = arenas[ready / kBucketsPerArena].load() + in_arena * sizeof(Bucket);
  IMSS_RETURN_IF_ERROR(obtain(offset, count * sizeof(Bucket)));
  root.ready_buckets.store(ready + count);
  if (root.buckets.load() == 0) root.buckets.store(count);
  return {};
}

// --- Memory ----------------------------------------------------------------------------------------

void Host::refresh_used() {
  struct stat status {};
  if (::fstat(segment_->fd(), &status) == 0) {
    segment_->super().used_bytes.store(static_cast<std::uint64_t>(status.st_blocks) * 512);
  }
}

Status Host::check_room(std::uint64_t bytes) {
  const Superblock& block = segment_->super();
  if (block.used_bytes.load() + bytes > block.capacity_bytes) {
    reclaim(block.used_bytes.load() + bytes - block.capacity_bytes);
    if (block.used_bytes.load() + bytes > block.capacity_bytes) return Code::kNoSpace;
  }
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
  if (::fallocate(segment_->fd(), 0, static_cast<off_t>(first_page), static_cast<off_t>(to - first_page)) != 0) {
    return Code::kNoSpace;
  }
  block.next_arena.store(arena + count);
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
  Extents(*segment_).give_back_hand(*me_);
  std::uint64_t freed = 0;
  for (std::uint32_t size_class = kClass4K; size_class < kClasses; ++size_class) {
    for (const bool sparse : {false, true}) {
      while (freed < wanted_bytes && unlink_free_arena(size_class, sparse, &freed)) {
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
  if (partial_arena_[size_class] == arena + 1 && !sparse) partial_arena_[size_class] = 0;
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
  // A failure costs speed only.
  ::madvise(segment_->base() + segment_->arena_offset(arena), kArenaBytes, MADV_COLLAPSE);
  refresh_used();
  return true;
}

// --- After a restart ---------------------------------------------------------------------------------

// The earlier host may have died between taking an arena and linking it: unused arenas are collected anew,
// and containers with free extents that hang in no list are linked again.
void Host::rebuild_after_take_over() {
  Superblock& block = segment_->super();
  std::fill(std::begin(block.free_runs), std::end(block.free_runs), 0);
  std::vector<bool> listed(block.next_arena.load(), false);
  for (std::uint32_t size_class = kClass4K; size_class < kClasses; ++size_class) {
    for (Pool& pool : {std::ref(block.pools[0][size_class]), std::ref(block.pools[1][size_class])}) {
      std::uint64_t next = pool.head.load();
      for (std::uint64_t step = 0; next != 0 && step < listed.size(); ++step) {
        if (!segment_->contains(next, sizeof(Container))) break;
        const std::uint64_t arena = (next - block.descriptors_offset) / sizeof(ArenaDescriptor);
        if (arena < listed.size()) listed[arena] = true;
        next = segment_->at<Container>(next)->next.load();
      }
    }
  }
  for (std::uint64_t arena = 0; arena < block.next_arena.load(); ++arena) {
    ArenaDescriptor& descriptor = segment_->descriptor(arena);
    Container& container = descriptor.container;
    const ArenaKind kind = kind_of(descriptor);
    if (kind == ArenaKind::kUnused) {
      free_arenas(arena, 1);
    } else if ((kind == ArenaKind::kExtents || kind == ArenaKind::kRun) && !listed[arena] &&
               container.free_count.load() > 0) {
      const std::uint32_t size_class = Extents::container_class(container);
      Pool& pool = block.pools[Extents::container_sparse(container) ? 1 : 0][size_class];
      Transaction change(*segment_, *me_);
      if (!change.lock(pool.lock).ok()) continue;
      change.store(container.next, pool.head.load());
      change.store(pool.head, segment_->offset_of(&container));
      [[maybe_unused]] const Status status = change.commit();
    }
  }
}

// Extents that were pinned when their owner ended go back once nobody pins them any more.
void Host::empty_limbo() {
  Superblock& block = segment_->super();
  Extents extents(*segment_);
  for (Word& place : block.limbo) {
    const Ref word(place.load());
    if (word.none() || word.has(Ref::kReap) || extents.pinned(word)) continue;
    auto slot = extents.empty_slot(*me_);
    if (!slot.ok()) return;
    Transaction change(*segment_, *me_);
    if (!change.lock(block.limbo_lock).ok()) return;
    change.store(place, 0);
    change.store(me_->hand[*slot], word.bare().word());
    if (!change.commit().ok()) return;
  }
  extents.give_back_hand(*me_);
}

}  // namespace imss::segment
