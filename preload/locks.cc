#include "locks.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <unordered_map>

#include "base/thread_annotations.h"
#include "calls.h"

namespace imss::preload {
namespace {

// A position in the segment's file: {number of the file, position in it} for fcntl(2), {1, number of the file} for flock(2).
// Files whose numbers are the same in their lower bits share a range: they wait for each other without need.
constexpr int kWindowBits = 41;
constexpr std::int64_t kWindow = std::int64_t{1} << kWindowBits;
constexpr std::uint64_t kNumberMask = (std::uint64_t{1} << (62 - kWindowBits)) - 1;
constexpr std::int64_t kWholeFiles = std::int64_t{1} << 62;

std::int64_t window_of(posix::InodeNumber number) { return static_cast<std::int64_t>((number & kNumberMask) << kWindowBits); }

struct ProcessLocks {
  Mutex mutex;
  std::atomic<bool> any{false};
  std::unordered_map<posix::InodeNumber, int> files IMSS_GUARDED_BY(mutex);  // the segment's file, opened for this one
};
ProcessLocks& process_locks() {
  static ProcessLocks* const made = new ProcessLocks();
  return *made;
}

// Opens the file of the segment of the data server that has the inode. -1 when this node does not have it.
int open_lock_file(const Description& description) {
  constexpr int kHigh = 300;
  View& there = *connected_view();
  const auto servers = there.session->instance(there.instance);
  const std::uint32_t home = description.entry.layout.home_server;
  if (!servers.ok() || home >= (*servers)->mapped.size() || (*servers)->mapped[home] == nullptr) return -1;
  const auto& segment = (*servers)->mapped[home]->segment();
  char path[32];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", segment.fd());
  const int opened = IMSS_REAL(open64)(path, O_RDWR | O_CLOEXEC);
  segment.close_file();
  if (opened < 0) return -1;
  const int moved = IMSS_REAL(fcntl64)(opened, F_DUPFD_CLOEXEC, kHigh);
  if (moved < 0) return opened;
  IMSS_REAL(close)(opened);
  return moved;
}

int file_of_process(const Description& description) {
  ProcessLocks& mine = process_locks();
  const MutexLock lock(mine.mutex);
  const auto known = mine.files.find(description.number());
  if (known != mine.files.end()) return known->second;
  const int opened = open_lock_file(description);
  if (opened >= 0) mine.files[description.number()] = opened;
  if (opened >= 0) mine.any = true;
  return opened;
}

int file_of_description(Description& description) {
  int known = description.lock_file.load();
  if (known >= 0) return known;
  const int opened = open_lock_file(description);
  if (opened < 0 || description.lock_file.compare_exchange_strong(known, opened)) return opened;
  IMSS_REAL(close)(opened);
  return known;
}

// From what the program says to positions of the segment's file. Returns an error number.
int translate(int fd, Description& description, const struct flock& given, struct flock* wanted) {
  std::int64_t start = given.l_start;
  if (given.l_whence == SEEK_CUR) start += position(fd, description);
  if (given.l_whence == SEEK_END) {
    struct stat status = {};
    if (status_of_ours(description, &status) != 0) return errno;
    start += status.st_size;
  }
  std::int64_t bytes = given.l_len;
  if (bytes < 0) {
    start += bytes;
    bytes = -bytes;
  }
  if (start < 0 || given.l_whence < SEEK_SET || given.l_whence > SEEK_END) return EINVAL;
  if (start >= kWindow || bytes > kWindow - start) return EOVERFLOW;
  *wanted = {};
  wanted->l_type = given.l_type;
  wanted->l_whence = SEEK_SET;
  wanted->l_start = window_of(description.number()) + start;
  wanted->l_len = bytes == 0 ? kWindow - start : bytes;
  return 0;
}

}  // namespace

int lock_ours(int fd, Description& description, int command, struct flock* lock) {
  InStore guard;
  if (description.kind != Kind::kFile) return guard.fail(EBADF);
  const int access_mode = description.flags & O_ACCMODE;
  const bool asks = command == F_GETLK || command == F_OFD_GETLK;
  if (!asks && lock->l_type == F_RDLCK && access_mode == O_WRONLY) return guard.fail(EBADF);
  if (!asks && lock->l_type == F_WRLCK && access_mode == O_RDONLY) return guard.fail(EBADF);
  struct flock wanted = {};
  if (const int error_number = translate(fd, description, *lock, &wanted); error_number != 0) return guard.fail(error_number);
  const bool of_process = command == F_SETLK || command == F_SETLKW || command == F_GETLK;
  const int file = of_process ? file_of_process(description) : file_of_description(description);
  if (file < 0) return guard.fail(ENOLCK);
  const int of_description = asks ? F_OFD_GETLK : command == F_SETLKW || command == F_OFD_SETLKW ? F_OFD_SETLKW : F_OFD_SETLK;
  if (IMSS_REAL(fcntl64)(file, of_description, &wanted) != 0) return guard.keep_errno(-1);
  if (!asks) return 0;
  lock->l_type = wanted.l_type;
  if (wanted.l_type == F_UNLCK) return 0;
  lock->l_whence = SEEK_SET;
  lock->l_start = wanted.l_start - window_of(description.number());
  lock->l_len = lock->l_start + wanted.l_len >= kWindow ? 0 : wanted.l_len;
  lock->l_pid = -1;  // the kernel does not say whose
  return 0;
}

int flock_ours(Description& description, int operation) {
  InStore guard;
  if (description.kind == Kind::kPath) return guard.fail(EBADF);
  if (description.kind != Kind::kFile) return guard.fail(ENOLCK);  // directories are of the metadata servers
  struct flock wanted = {};
  const int kind = operation & ~LOCK_NB;
  if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN) return guard.fail(EINVAL);
  wanted.l_type = kind == LOCK_SH ? F_RDLCK : kind == LOCK_EX ? F_WRLCK : F_UNLCK;
  wanted.l_whence = SEEK_SET;
  wanted.l_start = kWholeFiles + static_cast<std::int64_t>(description.number() & static_cast<std::uint64_t>(kWholeFiles - 1));
  wanted.l_len = 1;
  const int file = file_of_description(description);
  if (file < 0) return guard.fail(ENOLCK);
  const int locked = IMSS_REAL(fcntl64)(file, (operation & LOCK_NB) != 0 ? F_OFD_SETLK : F_OFD_SETLKW, &wanted);
  if (locked == 0) return 0;
  return guard.fail(errno == EACCES || errno == EAGAIN ? EWOULDBLOCK : errno);
}

void end_process_locks(Description& description) {
  ProcessLocks& mine = process_locks();
  if (!mine.any.load(std::memory_order_relaxed)) return;
  const MutexLock lock(mine.mutex);
  const auto known = mine.files.find(description.number());
  if (known == mine.files.end()) return;
  IMSS_REAL(close)(known->second);
  mine.files.erase(known);
}

void end_description_locks(Description& description) {
  const int file = description.lock_file.exchange(-1);
  if (file >= 0) IMSS_REAL(close)(file);
}

void forget_process_locks() {
  ProcessLocks& mine = process_locks();
  const MutexLock lock(mine.mutex);
  for (const auto& [number, file] : mine.files) IMSS_REAL(close)(file);
  mine.files.clear();
  mine.any = false;
}

}  // namespace imss::preload
