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

#include "segment/robust_mutex.h"
#include "segment/segment_files.h"

namespace imss::segment {
namespace {

std::atomic<int> wait_limit_ms{kDefaultDeadlineMs};
thread_local int thread_wait_limit_ms = 0;
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
int deadline_ms() {
  return thread_wait_limit_ms != 0 ? thread_wait_limit_ms : wait_limit_ms.load(std::memory_order_relaxed);
}
void set_thread_deadline_ms(int milliseconds) { thread_wait_limit_ms = milliseconds; }

Result<std::shared_ptr<Segment>> Segment::create(const CreateOptions& options) {
  if (options.capacity_bytes < kMinCapacity || options.capacity_bytes > kMaxAddressBytes / 2) {
    return Status(Code::kInvalidArgument, "the storage size must be between 16 MiB and 32 TiB, not " +
                                              std::to_string(options.capacity_bytes) + " bytes");
  }
  std::shared_ptr<Segment> segment(new Segment());
  const std::string where = directory();
  segment->fd_ = ::open(where.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (segment->fd_ < 0) return Status::from_errno(errno, "cannot create a segment in " + where);
  const std::uint64_t address_bytes = address_bytes_for(options.capacity_bytes);
  if (::ftruncate(segment->fd_, static_cast<off_t>(address_bytes)) != 0) {
    return Status::from_errno(errno, "cannot size a segment in " + where);
  }
  IMSS_RETURN_IF_ERROR(segment->map(address_bytes));
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

Status Segment::map(std::uint64_t size) {
  // Reserve one arena more than needed, so that arenas are aligned to huge pages in memory too.
  reservation_bytes_ = size + kArenaBytes;
  void* reserved = ::mmap(nullptr, reservation_bytes_, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return Status::from_errno(errno, "cannot reserve addresses for a segment");
  reservation_ = static_cast<std::byte*>(reserved);
  const auto start = reinterpret_cast<std::uintptr_t>(reserved);
  void* wanted = reservation_ + (round_up(start, kArenaBytes) - start);
  void* mapped = ::mmap(wanted, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd_, 0);
  if (mapped == MAP_FAILED) return Status::from_errno(errno, "cannot map a segment");
  base_ = static_cast<std::byte*>(mapped);
  size_ = size;
  ::madvise(base_, size, MADV_DONTDUMP);
  serial_ = next_serial.fetch_add(1);
  local_index_ = next_local_index.fetch_add(1);
  return {};
}

Result<std::shared_ptr<Segment>> Segment::open(const std::string& name) {
  std::shared_ptr<Segment> segment(new Segment());
  const std::string path = path_of(name);
  segment->fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
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
  IMSS_RETURN_IF_ERROR(segment->map(static_cast<std::uint64_t>(status.st_size)));
  IMSS_RETURN_IF_ERROR(segment->validate());
  return segment;
}

Status Segment::validate() const {
  const Superblock& block = super();
  const std::string path = path_of(name_);
  if (block.magic != kMagic) return Status(Code::kCorrupt, path + " is not a segment (bad magic)");
  if (block.layout_version != kLayoutVersion || (block.incompatible & ~kKnownIncompatible) != 0 ||
      (block.read_only_compatible & ~kKnownReadOnlyCompatible) != 0) {
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
  if (fd_ >= 0) ::close(fd_);
}

Status Segment::publish(const std::string& name) {
  const std::string path = path_of(name);
  const std::string self = "/proc/self/fd/" + std::to_string(fd_);
  if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    if (errno == EEXIST) return Status(Code::kExists, "segment " + path + " exists already");
    return Status::from_errno(errno, "cannot name segment " + path);
  }
  name_ = name;
  return {};
}

void Segment::unlink_name() {
  if (name_.empty()) return;
  struct stat mine {};
  struct stat named {};
  const std::string path = path_of(name_);
  if (::fstat(fd_, &mine) == 0 && ::stat(path.c_str(), &named) == 0 && mine.st_ino == named.st_ino &&
      mine.st_dev == named.st_dev) {
    ::unlink(path.c_str());
  }
}

bool Segment::valid_ref(Ref ref) const {
  if (ref.none() || ref.size_class() >= kClasses) return false;
  const Superblock& block = super();
  return ref.offset() >= block.arenas_offset && contains(ref.offset(), ref.bytes());
}

}  // namespace imss::segment
