#include "segment/segment.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "segment/robust_mutex.h"
#include "segment/segment_files.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace imss::segment {
namespace {

std::atomic<int> wait_limit_ms{kDefaultDeadlineMs};
thread_local int thread_wait_limit_ms = 0;
// Of the operation under way in this thread, see OneDeadline: when nothing waits for it any longer.
constexpr std::int64_t kNoOperation = 0;
constexpr std::int64_t kNotStarted = -1;
thread_local std::int64_t operation_end_ns = kNoOperation;
std::atomic<std::uint64_t> next_serial{1};
std::atomic<std::uint32_t> next_local_index{0};

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Addresses are cheap and full ranges reserve them, so there are many more than pages.
std::uint64_t address_bytes_for(std::uint64_t capacity) {
  constexpr std::uint64_t kFloor = 64ULL << 30;
  constexpr std::uint64_t kUsual = 16ULL << 40;
  const std::uint64_t wanted = std::max(kFloor, std::min(capacity * 16, kUsual));
  return round_up(std::max(wanted, capacity * 2), kArenaBytes);
}

std::uint32_t participants_for(std::uint64_t capacity) {
  const std::uint64_t count = std::clamp<std::uint64_t>(capacity >> 20, 64, kMaxParticipants);
  return static_cast<std::uint32_t>(count / 64 * 64);
}

}  // namespace

void set_deadline_ms(int milliseconds) { wait_limit_ms.store(milliseconds); }
void set_thread_deadline_ms(int milliseconds) { thread_wait_limit_ms = milliseconds; }
int deadline_ms() {
  const int limit = thread_wait_limit_ms != 0 ? thread_wait_limit_ms : wait_limit_ms.load(std::memory_order_relaxed);
  if (operation_end_ns == kNoOperation) return limit;
  if (operation_end_ns == kNotStarted) {
    operation_end_ns = Deadline::from_now(limit).at_ns();
    return limit;
  }
  return std::max(Deadline::at_ns(operation_end_ns).remaining_ms(), std::min(limit, OneDeadline::kLastStepMs));
}

OneDeadline::OneDeadline() : outermost_(operation_end_ns == kNoOperation) {
  if (outermost_) operation_end_ns = kNotStarted;
}
OneDeadline::~OneDeadline() {
  if (outermost_) operation_end_ns = kNoOperation;
}

std::string_view sharing_name(Sharing sharing) {
  return sharing == Sharing::kReadWrite ? "rw" : sharing == Sharing::kReadOnly ? "ro" : "none";
}

std::optional<Sharing> sharing_of(std::string_view name) {
  for (const Sharing each : {Sharing::kReadWrite, Sharing::kReadOnly, Sharing::kNothing}) {
    if (sharing_name(each) == name) return each;
  }
  return std::nullopt;
}

Result<std::shared_ptr<Segment>> Segment::create(const CreateOptions& options) {
  if (options.capacity_bytes < kMinCapacity || options.capacity_bytes > kMaxAddressBytes / 2) {
    return Status(Code::kInvalidArgument, "the storage size must be between 16 MiB and 32 TiB, not " +
                                              std::to_string(options.capacity_bytes) + " bytes");
  }
  std::shared_ptr<Segment> segment(new Segment());
  const std::string where = directory();
  segment->access_ = O_RDWR;
  segment->fd_ = ::open(where.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (segment->fd_ < 0) return Status::from_errno(errno, "cannot create a segment in " + where);
  IMSS_RETURN_IF_ERROR(segment->identify());
  const std::uint64_t address_bytes = address_bytes_for(options.capacity_bytes);
  if (::ftruncate(segment->fd_, static_cast<off_t>(address_bytes)) != 0) {
    return Status::from_errno(errno, "cannot size a segment in " + where);
  }
  IMSS_RETURN_IF_ERROR(segment->map(address_bytes, MAP_SHARED));
  if (::fallocate(segment->fd_, 0, 0, 2 * kPageBytes) != 0) {
    return Status::from_errno(errno, "no memory for a segment in " + where);
  }
  segment->format(options, address_bytes);
  IMSS_RETURN_IF_ERROR(segment->obtain_fixed_regions());
  return segment;
}

void Segment::format(const CreateOptions& options, std::uint64_t address_bytes) {
  Superblock& block = super();
  block.layout_version = kLayoutVersion;
  block.role = static_cast<std::uint32_t>(options.role);
  block.server_id = options.server_id;
  block.max_participants = participants_for(options.capacity_bytes);
  block.capacity_bytes = options.capacity_bytes;
  block.address_bytes = address_bytes;
  block.port = options.port;
  block.rank = options.rank;
  block.owner_pid = static_cast<std::uint32_t>(::getpid());
  block.attached = options.attached ? 1 : 0;
  std::strncpy(block.host_name, options.host_name.c_str(), sizeof(block.host_name) - 1);
  [[maybe_unused]] const auto filled = ::getrandom(&block.nonce, sizeof(block.nonce), 0);
  std::uint64_t offset = 2 * kPageBytes;
  block.liveness_offset = offset;
  offset = round_up(offset + block.max_participants * kLivenessBytes, kPageBytes);
  block.participants_offset = offset;
  offset += block.max_participants * sizeof(Participant);
  for (TableRoot& table : block.tables) {
    table.arenas_offset = offset;
    offset += kMaxTableArenas * sizeof(Word);
  }
  block.descriptors_offset = offset;
  // Descriptors for every arena that fits behind the descriptors themselves.
  const std::uint64_t most = (address_bytes - offset) / (kArenaBytes + sizeof(ArenaDescriptor));
  offset = round_up(offset + most * sizeof(ArenaDescriptor), kArenaBytes);
  block.arenas_offset = offset;
  block.arena_count = (address_bytes - offset) / kArenaBytes;
  block.magic = kMagic;
}

Status Segment::obtain_fixed_regions() {
  Superblock& block = super();
  const std::uint64_t end = block.participants_offset + block.max_participants * sizeof(Participant);
  if (::fallocate(fd_, 0, 0, static_cast<off_t>(end)) != 0) {
    return Status::from_errno(errno, "no memory for a segment in " + directory());
  }
  for (std::uint32_t slot = 0; slot < block.max_participants; ++slot) {
    RobustMutex::initialize(at<std::byte>(block.liveness_offset + slot * kLivenessBytes));
  }
  return {};
}

Status Segment::map(std::uint64_t size, int sharing) {
  // Reserve one arena more than needed, so that arenas are aligned to huge pages in memory too.
  reservation_bytes_ = size + kArenaBytes;
  void* reserved = ::mmap(nullptr, reservation_bytes_, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return Status::from_errno(errno, "cannot reserve addresses for a segment");
  reservation_ = static_cast<std::byte*>(reserved);
  const auto start = reinterpret_cast<std::uintptr_t>(reserved);
  void* wanted = reservation_ + (round_up(start, kArenaBytes) - start);
  const int rights = read_only_ ? PROT_READ : PROT_READ | PROT_WRITE;
  void* mapped = ::mmap(wanted, size, rights, sharing | MAP_FIXED | MAP_NORESERVE, fd_, 0);
  if (mapped == MAP_FAILED) return Status::from_errno(errno, "cannot map a segment");
  base_ = static_cast<std::byte*>(mapped);
  size_ = size;
  ::madvise(base_, size, MADV_DONTDUMP);
  touched_.reserve(size);
  serial_ = next_serial.fetch_add(1);
  local_index_ = next_local_index.fetch_add(1);
  return {};
}

Result<std::shared_ptr<Segment>> Segment::open(const std::string& name) {
  IMSS_ASSIGN_OR_RETURN(auto segment, open_file(name, O_RDWR, MAP_SHARED));
  IMSS_RETURN_IF_ERROR(segment->validate(false));
  return segment;
}

Result<std::shared_ptr<Segment>> Segment::open_read_only(const std::string& name) {
  IMSS_ASSIGN_OR_RETURN(auto segment, open_file(name, O_RDONLY, MAP_SHARED));
  IMSS_RETURN_IF_ERROR(segment->validate(false));
  return segment;
}

Result<std::shared_ptr<Segment>> Segment::open_private(const std::string& name) {
  IMSS_ASSIGN_OR_RETURN(auto segment, open_file(name, O_RDONLY, MAP_PRIVATE));
  IMSS_RETURN_IF_ERROR(segment->validate(true));
  IMSS_ASSIGN_OR_RETURN([[maybe_unused]] Participant* const me, segment->self());
  for (std::uint32_t slot = 0; slot < segment->super().max_participants; ++slot) segment->probe(slot);
  return segment;
}

Result<std::shared_ptr<Segment>> Segment::open_file(const std::string& name, int access, int sharing) {
  std::shared_ptr<Segment> segment(new Segment());
  const std::string path = path_of(name);
  segment->access_ = access;
  segment->read_only_ = access == O_RDONLY && sharing == MAP_SHARED;
  segment->fd_ = ::open(path.c_str(), access | O_CLOEXEC | O_NOFOLLOW);
  if (segment->fd_ < 0) {
    if (errno == ENOENT) return Status(Code::kNotFound, "there is no segment " + path);
    return Status::from_errno(errno, "cannot open segment " + path);
  }
  struct stat status {};
  if (::fstat(segment->fd_, &status) != 0) return Status::from_errno(errno, "cannot stat " + path);
  if (!S_ISREG(status.st_mode) || static_cast<std::uint64_t>(status.st_size) < kArenaBytes) {
    return Status(Code::kCorrupt, path + " is too short for a segment");
  }
  segment->name_ = name;
  IMSS_RETURN_IF_ERROR(segment->identify());
  IMSS_RETURN_IF_ERROR(segment->map(static_cast<std::uint64_t>(status.st_size), sharing));
  return segment;
}

Status Segment::validate(bool any_features) const {
  const Superblock& block = super();
  const std::string path = path_of(name_);
  if (block.magic != kMagic) return Status(Code::kCorrupt, path + " is not a segment (bad magic)");
  if (block.layout_version != kLayoutVersion || (unknown_features() && !any_features)) {
    return Status(Code::kIncompatible, path + " has layout " + std::to_string(block.layout_version) +
                                           " with features this program does not know; use the IMSS "
                                           "version that made it");
  }
  const bool sound =
      block.address_bytes == size_ && block.max_participants >= 64 &&
      block.max_participants <= kMaxParticipants && block.max_participants % 64 == 0 &&
      (block.role == static_cast<std::uint32_t>(Role::kMetadata) ||
       block.role == static_cast<std::uint32_t>(Role::kData)) &&
      block.capacity_bytes >= kMinCapacity && block.capacity_bytes <= size_ &&
      block.liveness_offset >= 2 * kPageBytes && block.liveness_offset % kLivenessBytes == 0 &&
      block.participants_offset % kPageBytes == 0 &&
      block.participants_offset >= block.liveness_offset + block.max_participants * kLivenessBytes &&
      block.descriptors_offset % alignof(ArenaDescriptor) == 0 &&
      block.arenas_offset >= block.descriptors_offset + block.arena_count * sizeof(ArenaDescriptor) &&
      block.next_arena.load() <= block.arena_count && block.state.load() <= 3 &&
      contains(block.liveness_offset, block.max_participants * kLivenessBytes) &&
      contains(block.participants_offset, block.max_participants * sizeof(Participant)) &&
      block.arenas_offset % kArenaBytes == 0 && block.arena_count <= size_ / kArenaBytes &&
      contains(block.descriptors_offset, block.arena_count * sizeof(ArenaDescriptor)) &&
      contains(block.arenas_offset, block.arena_count * kArenaBytes) &&
      std::all_of(std::begin(block.tables), std::end(block.tables), [&](const TableRoot& table) {
        return contains(table.arenas_offset, kMaxTableArenas * sizeof(Word)) && sound_table(table);
      });
  if (!sound) return Status(Code::kCorrupt, path + " has a damaged superblock");
  return {};
}

// Table::bucket() follows these offsets without looking again.
bool Segment::sound_table(const TableRoot& table) const {
  const std::uint64_t ready = table.ready_buckets.load();
  if (table.arenas_offset % kPageBytes != 0 || ready == 0 || ready > kMaxTableArenas * kBucketsPerArena) return false;
  if (table.buckets.load() == 0 || table.buckets.load() > ready) return false;
  const Word* arenas = at<Word>(table.arenas_offset);
  for (std::uint64_t i = 0; i * kBucketsPerArena < ready; ++i) {
    const std::uint64_t offset = arenas[i].load();
    if (offset % kArenaBytes != 0 || offset < super().arenas_offset || !contains(offset, kArenaBytes)) return false;
  }
  return true;
}

Segment::~Segment() {
  if (reservation_ != nullptr) ::munmap(reservation_, reservation_bytes_);
  close_file();
}

void Segment::close_file() const {
  const int descriptor = fd_.exchange(-1);
  if (is_this_file(descriptor)) ::close(descriptor);
}

void Segment::expect_write(std::uint64_t offset, std::uint64_t bytes) {
  constexpr std::uint64_t kFewPages = 4 * kPageBytes;  // below, the call costs as much as the faults
  if (bytes < kFewPages || touched_.note(offset, bytes)) return;
  // An arena all of which has memory is made one huge page by the host, or soon will be.
  const auto& populated = descriptor(arena_of(offset)).populated;
  if (std::all_of(std::begin(populated), std::end(populated),
                  [](const Word& word) { return word.load(std::memory_order_relaxed) == ~0ULL; })) {
    return;
  }
  const std::uint64_t first = offset / kPageBytes * kPageBytes;
  // What it cannot do the faults do.
  ::madvise(base_ + first, offset + bytes - first, MADV_POPULATE_WRITE);
}

// --- The file ----------------------------------------------------------------------------------------

Status Segment::identify() {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) return Status::from_errno(errno, "cannot stat a segment");
  device_ = status.st_dev;
  inode_ = status.st_ino;
  return {};
}

bool Segment::is_this_file(int descriptor) const {
  struct stat status {};
  return descriptor >= 0 && ::fstat(descriptor, &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
}

int Segment::fd() const {
  int known = fd_.load(std::memory_order_relaxed);
  if (is_this_file(known)) [[likely]] return known;
  if (name_.empty()) return -1;
  const int again = ::open(path_of(name_).c_str(), access_ | O_CLOEXEC | O_NOFOLLOW);
  if (!is_this_file(again)) {
    if (again >= 0) ::close(again);
    return -1;
  }
  if (fd_.compare_exchange_strong(known, again)) return again;
  ::close(again);  // another thread was faster
  return is_this_file(known) ? known : -1;
}

Status Segment::read_file(std::uint64_t offset, std::span<std::byte> out) const {
  const int descriptor = fd();
  if (descriptor < 0) return Status(Code::kIo, "the file of segment " + name_ + " cannot be reached any more");
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Status(Code::kIo, "cannot read the file of segment " + name_);
    offset += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

// The words are also looked at by who has the segment mapped already.
Status Segment::share(Sharing sharing) {
  mode_t mode = 0600;
  if (sharing == Sharing::kReadOnly) {
    // What the umask leaves, which cannot be asked for without changing it for other threads.
    const int probe = ::open(directory().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
    struct stat status {};
    const bool known = probe >= 0 && ::fstat(probe, &status) == 0;
    if (probe >= 0) ::close(probe);
    if (known) mode = (status.st_mode & 0044) | 0600;
  }
  if (::fchmod(fd(), mode) != 0) return Status::from_errno(errno, "cannot set the mode of a segment");
  Superblock& block = super();
  std::atomic_ref(block.read_only_compatible).store(sharing == Sharing::kReadWrite ? 0 : kOnlyServerWrites);
  const std::uint64_t others = std::atomic_ref(block.incompatible).load() & ~kOnlyServerMaps;
  std::atomic_ref(block.incompatible).store(others | (sharing == Sharing::kNothing ? kOnlyServerMaps : 0));
  return {};
}

Sharing Segment::sharing() const {
  if (std::atomic_ref(super().incompatible).load(std::memory_order_relaxed) & kOnlyServerMaps) return Sharing::kNothing;
  const bool read_only =
      std::atomic_ref(super().read_only_compatible).load(std::memory_order_relaxed) & kOnlyServerWrites;
  return read_only ? Sharing::kReadOnly : Sharing::kReadWrite;
}

Status Segment::publish(const std::string& name) {
  const std::string path = path_of(name);
  const std::string self = "/proc/self/fd/" + std::to_string(fd());
  if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    if (errno == EEXIST) return Status(Code::kExists, "segment " + path + " exists already");
    return Status::from_errno(errno, "cannot name segment " + path);
  }
  name_ = name;
  return {};
}

void Segment::unlink_name() {
  if (name_.empty()) return;
  struct stat named {};
  const std::string path = path_of(name_);
  if (::stat(path.c_str(), &named) == 0 && named.st_ino == inode_ && named.st_dev == device_) {
    ::unlink(path.c_str());
  }
}

}  // namespace imss::segment
