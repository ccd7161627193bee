// The table of numbers, and the kernel's files that stand for those of the store.
#include "descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/thread_annotations.h"
#include "locks.h"
#include "mount.h"
#include "real.h"

namespace imss::preload {
namespace {

using metadata::EntryInfo;
using metadata::NodeType;

constexpr std::string_view kPrefix = "imss:1:";
constexpr std::size_t kMostNameBytes = 249;  // of a memory file, see memfd_create(2)
static_assert(kMostInstanceBytes + 120 < kMostNameBytes, "the other fields take less than 120 bytes");

// Made once and never taken down, see mount.h.
struct Pool {
  Mutex numbers;  // see NumbersLock; taken before the other
  Mutex mutex;    // held for the list of free descriptions, and while one is taken over
  Description* free IMSS_GUARDED_BY(mutex) = nullptr;
};
Pool& pool() {
  static Pool* const made = new Pool();
  return *made;
}

Description* new_description() {
  const MutexLock lock(pool().mutex);
  Description* const found = pool().free;
  if (found == nullptr) return new Description();
  pool().free = found->next_free;
  return found;
}

std::atomic<Description*>* slot_of(int fd) {
  if (static_cast<unsigned>(fd) >= kMostNumbers) return nullptr;
  auto& chunk = number_chunks[fd / kChunkNumbers];
  NumberChunk* there = chunk.load(std::memory_order_acquire);
  if (there == nullptr) {
    auto made = std::make_unique<NumberChunk>();
    if (chunk.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel)) there = made.release();
  }
  return &there->descriptions[fd % kChunkNumbers];
}

void drop(Description* description) {
  if (description->users.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const InStore guard;
  end_description_locks(*description);
  description->file.reset();
  description->held.reset();
  description->entry = {};
  description->kind = Kind::kNone;
  const MutexLock lock(pool().mutex);
  description->next_free = pool().free;
  pool().free = description;
}

void put(int fd, Description* description) {
  std::atomic<Description*>* const slot = slot_of(fd);
  Description* const before = slot->exchange(description, std::memory_order_acq_rel);
  if (before == nullptr) return;
  end_process_locks(*before);
  drop(before);
}

// What the name of the memory file says: everything that is needed to go on with the file.
std::string name_of(const EntryInfo& entry, int flags, const std::string& instance) {
  std::array<char, 256> text;
  const metadata::Layout& layout = entry.layout;
  const int length = std::snprintf(text.data(), text.size(), "%s%x:%x:%lx:%lx:%x:%x:%x:%x:%lx:%lx:%s", kPrefix.data(),
                                   static_cast<unsigned>(entry.type), static_cast<unsigned>(flags), entry.id, entry.parent,
                                   layout.policy, layout.replicas, layout.server_count, layout.home_server,
                                   layout.block_bytes, layout.block_count, instance.c_str());
  return std::string(text.data(), std::min(static_cast<std::size_t>(std::max(length, 0)), kMostNameBytes));
}

// An empty memory file. A program that does not know it is told so (EPERM) instead of losing what it writes.
int make_sealed_file(const std::string& name) {
  const int fd = ::memfd_create(name.c_str(), MFD_ALLOW_SEALING | MFD_CLOEXEC);
  if (fd >= 0) IMSS_REAL(fcntl64)(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  return fd;
}

std::atomic<int> stand_in{-1};

// Far from the lowest numbers, which are the program's.
void make_stand_in() {
  constexpr int kHigh = 900;
  constexpr int kLow = 100;
  const NumbersLock lock;
  const int made = make_sealed_file("imss");
  if (made < 0) return;
  auto* const real_fcntl = IMSS_REAL(fcntl64);
  int moved = real_fcntl(made, F_DUPFD_CLOEXEC, kHigh);
  if (moved < 0) moved = real_fcntl(made, F_DUPFD_CLOEXEC, kLow);
  if (moved >= 0) IMSS_REAL(close)(made);
  stand_in.store(moved >= 0 ? moved : made, std::memory_order_relaxed);
}

struct Named {
  EntryInfo entry;
  int flags = 0;
  std::string instance;
};

bool read_name(std::string_view text, Named* named) {
  constexpr std::string_view kDeleted = " (deleted)";
  if (!text.starts_with(kPrefix)) return false;
  text.remove_prefix(kPrefix.size());
  if (text.ends_with(kDeleted)) text.remove_suffix(kDeleted.size());
  std::array<std::uint64_t, 10> fields = {};
  for (std::uint64_t& field : fields) {
    const auto read = std::from_chars(text.data(), text.data() + text.size(), field, 16);
    const auto used = static_cast<std::size_t>(read.ptr - text.data());
    if (read.ec != std::errc() || used == text.size() || text[used] != ':') return false;
    text.remove_prefix(used + 1);
  }
  EntryInfo& entry = named->entry;
  entry.type = static_cast<NodeType>(fields[0]);
  named->flags = static_cast<int>(fields[1]);
  entry.id = fields[2];
  entry.parent = fields[3];
  entry.layout.policy = static_cast<std::uint8_t>(fields[4]);
  entry.layout.replicas = static_cast<std::uint8_t>(fields[5]);
  entry.layout.server_count = static_cast<std::uint16_t>(fields[6]);
  entry.layout.home_server = static_cast<std::uint32_t>(fields[7]);
  entry.layout.block_bytes = fields[8];
  entry.layout.block_count = fields[9];
  named->instance = text;
  return true;
}

// The name of the memory file behind a number, if it is one of ours.
bool read_number(int fd, Named* named) {
  constexpr std::string_view kMemoryFile = "/memfd:";
  std::array<char, 320> text;
  std::array<char, 32> link;
  std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", fd);
  const long length = ::syscall(SYS_readlinkat, AT_FDCWD, link.data(), text.data(), text.size());
  if (length <= 0) return false;
  std::string_view target(text.data(), static_cast<std::size_t>(length));
  if (!target.starts_with(kMemoryFile)) return false;
  target.remove_prefix(kMemoryFile.size());
  return read_name(target, named);
}

Kind kind_of(NodeType type, int flags) {
  if ((flags & O_PATH) != 0) return Kind::kPath;
  return type == NodeType::kDirectory ? Kind::kDirectory : Kind::kFile;
}

// Completes a description that was found after an exec.
bool take_over(int fd, Description& description) {
  InStore guard;
  int error_number = 0;
  View* const there = view(&error_number);
  const MutexLock lock(pool().mutex);
  if (description.kind != Kind::kNone) return true;
  Named named;
  if (there == nullptr || !read_number(fd, &named) || named.instance != there->instance) return false;
  auto opened = there->paths->adopt(named.instance, named.entry, named.flags);
  if (!opened.ok()) return false;
  description.flags = named.flags;
  description.entry = std::move(opened->entry);
  description.file = std::move(opened->file);
  description.held = std::move(opened->held);
  const int kernel_flags = IMSS_REAL(fcntl64)(fd, F_GETFL);
  description.appends = kernel_flags > 0 && (kernel_flags & O_APPEND) != 0;
  description.kind = kind_of(named.entry.type, named.flags);
  return true;
}

}  // namespace

constinit std::atomic<NumberChunk*> number_chunks[kChunks] = {};

Use::~Use() {
  if (description_ != nullptr) drop(description_);
}

posix::Spot Description::spot() const {
  posix::Spot spot;
  if (entry.type == NodeType::kDirectory) {
    spot.directory = entry.id;
    return spot;
  }
  spot.directory = entry.parent;
  spot.name = entry.name.empty() ? "?" : entry.name;
  spot.entry = entry;
  return spot;
}

Use use(int fd) {
  if (!is_ours(fd)) return Use();
  std::atomic<Description*>& slot = *slot_of(fd);
  for (;;) {
    Description* const found = slot.load(std::memory_order_acquire);
    if (found == nullptr) return Use();
    // Nobody gives it to another file while it is counted. With no user it is on its way to the free ones.
    std::uint32_t users = found->users.load(std::memory_order_relaxed);
    while (users != 0 && !found->users.compare_exchange_weak(users, users + 1, std::memory_order_acq_rel)) {
    }
    if (users == 0) continue;
    Use used(found);
    if (slot.load(std::memory_order_acquire) != found) continue;
    if (found->kind == Kind::kNone && !take_over(fd, *found)) return Use();
    return used;
  }
}

int make_named_file(const Description& description) {
  const View* const there = connected_view();
  if (there == nullptr) return -1;
  return make_sealed_file(name_of(description.entry, description.flags, there->instance));
}

int stand_in_number() { return stand_in.load(std::memory_order_relaxed); }
void lose_stand_in() { stand_in.store(-1, std::memory_order_relaxed); }

int enter(posix::PathView::Opened opened, int flags, int* error_number) {
  auto* const real_fcntl = IMSS_REAL(fcntl64);
  const int copying = (flags & O_CLOEXEC) != 0 ? F_DUPFD_CLOEXEC : F_DUPFD;
  int fd = real_fcntl(stand_in_number(), copying, 0);
  if (fd < 0 && errno == EBADF) {
    make_stand_in();
    fd = real_fcntl(stand_in_number(), copying, 0);
  }
  if (fd < 0 || fd >= kMostNumbers) {
    *error_number = fd < 0 ? errno : EMFILE;
    if (fd >= 0) IMSS_REAL(close)(fd);
    return -1;
  }
  Description* const description = new_description();
  description->flags = flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC);
  description->status_flags = flags & (O_APPEND | O_NONBLOCK);
  description->appends = (flags & O_APPEND) != 0;
  description->offset = 0;
  description->file = std::move(opened.file);
  description->held = std::move(opened.held);
  description->entry = std::move(opened.entry);
  description->kind = kind_of(description->entry.type, flags);
  description->users.store(1, std::memory_order_release);
  put(fd, description);
  return fd;
}

void enter_again(int fd, Description& from) {
  from.users.fetch_add(1, std::memory_order_acq_rel);
  put(fd, &from);
}

void leave(int fd) { put(fd, nullptr); }

NumbersLock::NumbersLock() IMSS_NO_THREAD_ANALYSIS { pool().numbers.lock(); }
NumbersLock::~NumbersLock() IMSS_NO_THREAD_ANALYSIS { pool().numbers.unlock(); }

int close_number(int fd) {
  Description* before = nullptr;
  int closed = 0;
  {
    const NumbersLock lock;
    before = slot_of(fd)->exchange(nullptr, std::memory_order_acq_rel);
    closed = IMSS_REAL(close)(fd);
  }
  if (before != nullptr) {
    end_process_locks(*before);
    drop(before);
  }
  return closed;
}

void find_number(int fd) {
  const InStore guard;
  Named named;
  if (!read_number(fd, &named) || fd >= kMostNumbers) return;
  Description* const description = new_description();
  description->offset = kShared;
  description->users.store(1, std::memory_order_release);
  put(fd, description);
}

void find_inherited() {
  DIR* const numbers = IMSS_REAL(opendir)("/proc/self/fd");
  if (numbers == nullptr) return;
  auto* const real_readdir = IMSS_REAL(readdir64);
  while (const dirent64* const listed = real_readdir(numbers)) {
    if (listed->d_name[0] != '.') find_number(std::atoi(listed->d_name));
  }
  IMSS_REAL(closedir)(numbers);
}

void for_each_number(void (*visit)(int fd, Description& description)) {
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    NumberChunk* const there = number_chunks[chunk].load(std::memory_order_acquire);
    if (there == nullptr) continue;
    for (int index = 0; index < kChunkNumbers; ++index) {
      Description* const description = there->descriptions[index].load(std::memory_order_acquire);
      if (description != nullptr) visit(chunk * kChunkNumbers + index, *description);
    }
  }
}

bool anything_to_inherit(bool any) {
  static thread_local bool found;
  static thread_local bool counts_all;
  found = false;
  counts_all = any;
  for_each_number([](int fd, Description&) {
    const int flags = IMSS_REAL(fcntl64)(fd, F_GETFD);
    if (flags >= 0 && (counts_all || (flags & FD_CLOEXEC) == 0)) found = true;
  });
  return found;
}

// The two halves hold the mutexes over the fork between them.
void lock_descriptions_for_fork() IMSS_NO_THREAD_ANALYSIS {
  pool().numbers.lock();
  share_all_locked();
  pool().mutex.lock();
}

void unlock_descriptions_after_fork() IMSS_NO_THREAD_ANALYSIS {
  pool().mutex.unlock();
  pool().numbers.unlock();
}

}  // namespace imss::preload
