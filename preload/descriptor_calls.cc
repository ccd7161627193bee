// Descriptors themselves: closing, copying, flags; sizes; and what moves bytes between two of them.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <vector>

#include "calls.h"
#include "locks.h"

namespace imss::preload {
namespace {

// The number was given out by the kernel for something that is not ours. The low ones are the program's, which takes them
// without looking (exec 3>file): what the network module opens goes up.
int kernels(int fd) {
  constexpr int kHigh = 300;
  if (fd < 0) return fd;
  leave_if_ours(fd);
  if (!in_store() || fd >= kHigh) return fd;
  const int moved = IMSS_REAL(fcntl64)(fd, F_DUPFD_CLOEXEC, kHigh);  // UCX would leave them to other programs
  if (moved < 0) return fd;
  IMSS_REAL(close)(fd);
  return moved;
}

// Makes `from` a second number, one that `to` gives or, for -1, any.
template <typename Dup>
int copy_number(int from, int to, Dup real) {
  if (to >= 0 && to == stand_in_number()) lose_stand_in();
  if (!is_ours(from) && (to < 0 || !is_ours(to))) {
    const int fd = kernels(real());
    if (fd >= 0) follow_if_standard(fd);
    return fd;
  }
  const Use used = use(from);
  int fd = -1;
  {
    const NumbersLock lock;
    fd = real();
    if (fd < 0) return fd;
    if (!used) leave_if_ours(fd);
    else if (fd != from) enter_again(fd, *used);
  }
  follow_if_standard(fd);
  return fd;
}

int fcntl_ours(int fd, Description& description, int command, long argument) {
  auto* const real = IMSS_REAL(fcntl64);
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      return copy_number(fd, -1, [=] { return real(fd, command, static_cast<int>(argument)); });
    case F_GETFL: {
      const int kept = is_shared(description) ? real(fd, F_GETFL) : description.status_flags.load();
      return (kept & (O_APPEND | O_NONBLOCK)) | (description.flags & (O_ACCMODE | O_DIRECTORY | O_PATH | O_NOFOLLOW));
    }
    case F_SETFL: {
      const int kept = static_cast<int>(argument) & (O_APPEND | O_NONBLOCK);
      const NumbersLock lock;  // the description does not get a file meanwhile
      if (is_shared(description) && real(fd, F_SETFL, kept) != 0) return -1;
      description.status_flags = kept;
      description.appends = (kept & O_APPEND) != 0;
      return 0;
    }
    case F_GETFD:
    case F_SETFD:
    case F_GETOWN:
    case F_SETOWN:
      return real(fd, command, argument);
    case F_SETLK:
    case F_SETLKW:
    case F_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
    case F_OFD_GETLK:
      return lock_ours(fd, description, command, reinterpret_cast<struct flock*>(argument));
    default:
      errno = EINVAL;
      return -1;
  }
}

// Copies until the end of the input or the first write that takes less.
ssize_t copy_bytes(int out, int in, off64_t* offset, std::size_t bytes) {
  constexpr std::size_t kPiece = 1 << 20;
  std::vector<std::byte> buffer(std::min(bytes, kPiece));
  std::size_t total = 0;
  while (total < bytes) {
    const std::size_t piece = std::min(bytes - total, buffer.size());
    const ssize_t got = offset != nullptr ? ::pread64(in, buffer.data(), piece, *offset) : ::read(in, buffer.data(), piece);
    if (got <= 0) return total > 0 ? static_cast<ssize_t>(total) : got;
    const ssize_t put = ::write(out, buffer.data(), static_cast<std::size_t>(got));
    if (offset == nullptr && put < got && is_ours(in)) ::lseek64(in, std::max<ssize_t>(put, 0) - got, SEEK_CUR);
    if (put < 0) return total > 0 ? static_cast<ssize_t>(total) : -1;
    total += static_cast<std::size_t>(put);
    if (offset != nullptr) *offset += put;
    if (put < got) break;
  }
  return static_cast<ssize_t>(total);
}

int allocate_ours(Description& description, int mode, off64_t offset, off64_t bytes) {
  InStore guard;
  if (description.kind == Kind::kPath) return guard.fail(EBADF);
  if (offset < 0 || bytes <= 0) return guard.fail(EINVAL);
  // A file does not get shorter by a hole; the kernel says so before it looks at the descriptor.
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) == FALLOC_FL_PUNCH_HOLE) return guard.fail(EOPNOTSUPP);
  if (description.kind == Kind::kDirectory) return guard.fail(EBADF);
  return guard.done(description.file->allocate(mode, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(bytes)));
}

int truncate_ours(Description& description, off64_t size) {
  InStore guard;
  if (description.kind == Kind::kPath) return guard.fail(EBADF);
  if (description.kind == Kind::kDirectory || size < 0) return guard.fail(EINVAL);
  if ((description.flags & O_ACCMODE) == O_RDONLY) return guard.fail(EINVAL);
  return guard.done(description.file->truncate(static_cast<std::uint64_t>(size)));
}

int refuse(int error_number) {
  errno = error_number;
  return -1;
}

// A mapping gets a copy of the bytes. Where it would show to others what is written to it that would be wrong.
void* map_ours(Description& description, void* address, std::size_t bytes, int protection, int flags, off64_t offset) {
  const int type = flags & MAP_TYPE;
  if (description.kind != Kind::kFile || (description.flags & O_ACCMODE) == O_WRONLY) {
    errno = description.kind == Kind::kFile ? EACCES : description.kind == Kind::kPath ? EBADF : ENODEV;
    return MAP_FAILED;
  }
  const bool only_reads = (description.flags & O_ACCMODE) == O_RDONLY && (protection & PROT_WRITE) == 0;
  if (type != MAP_PRIVATE && (protection & PROT_WRITE) != 0 && (description.flags & O_ACCMODE) == O_RDONLY) {
    errno = EACCES;
    return MAP_FAILED;
  }
  if ((type != MAP_PRIVATE && !only_reads) || offset < 0 || offset % ::sysconf(_SC_PAGESIZE) != 0) {
    errno = type != MAP_PRIVATE && !only_reads ? ENODEV : EINVAL;
    return MAP_FAILED;
  }
  auto* const real = IMSS_REAL(mmap64);
  const int copy_flags = (flags & ~MAP_TYPE) | MAP_PRIVATE | MAP_ANONYMOUS;
  void* const mapped = real(address, bytes, PROT_READ | PROT_WRITE, copy_flags, -1, 0);
  if (mapped == MAP_FAILED) return mapped;
  std::size_t filled = 0;
  while (filled < bytes) {
    const ssize_t got = read_ours_at(description, static_cast<std::byte*>(mapped) + filled, bytes - filled,
                                     offset + static_cast<off64_t>(filled));
    if (got < 0) {
      const int error_number = errno;
      ::munmap(mapped, bytes);
      errno = error_number;
      return MAP_FAILED;
    }
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  if (protection != (PROT_READ | PROT_WRITE)) ::mprotect(mapped, bytes, protection);
  return mapped;
}

}  // namespace

int close_anywhere(int fd) {
  if (fd >= 0 && fd == stand_in_number() && !in_store()) {
    errno = EBADF;  // programs close all numbers, not knowing what there is
    return -1;
  }
  const int closed = is_ours(fd) ? close_number(fd) : IMSS_REAL(close)(fd);
  follow_if_standard(fd);
  return closed;
}

}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

IMSS_INTERCEPT int close(int fd) { return close_anywhere(fd); }

IMSS_INTERCEPT int close_range(unsigned first, unsigned last, int flags) noexcept {
  if (in_store()) return IMSS_REAL(close_range)(first, last, flags);
  const NumbersLock lock;
  if ((flags & static_cast<int>(CLOSE_RANGE_CLOEXEC)) == 0 && first <= last) {
    const unsigned most = std::min<unsigned>(last, kMostNumbers - 1);
    for (unsigned fd = first; fd <= most; ++fd) {
      if (number_chunks[fd / kChunkNumbers].load(std::memory_order_acquire) == nullptr) {
        fd |= kChunkNumbers - 1;  // none of these
        continue;
      }
      leave_if_ours(static_cast<int>(fd));
    }
  }
  const int kept = stand_in_number();
  if (kept >= 0 && static_cast<unsigned>(kept) >= first && static_cast<unsigned>(kept) <= last) lose_stand_in();
  const int closed = IMSS_REAL(close_range)(first, last, flags);
  for (int fd = 0; fd <= 2; ++fd) follow_if_standard(fd);
  return closed;
}
IMSS_INTERCEPT void closefrom(int first) noexcept { close_range(static_cast<unsigned>(std::max(first, 0)), ~0U, 0); }

IMSS_INTERCEPT int dup(int fd) noexcept { return copy_number(fd, -1, [=] { return IMSS_REAL(dup)(fd); }); }
IMSS_INTERCEPT int dup2(int fd, int to) noexcept {
  return copy_number(fd, to, [=] { return IMSS_REAL(dup2)(fd, to); });
}
IMSS_INTERCEPT int dup3(int fd, int to, int flags) noexcept {
  return copy_number(fd, to, [=] { return IMSS_REAL(dup3)(fd, to, flags); });
}

IMSS_INTERCEPT int fcntl64(int fd, int command, ...) {
  std::va_list arguments;
  va_start(arguments, command);
  const long argument = va_arg(arguments, long);
  va_end(arguments);
  if (is_ours(fd)) {
    if (const Use used = use(fd)) return fcntl_ours(fd, *used, command, argument);
  }
  const auto real = [=] { return IMSS_REAL(fcntl64)(fd, command, argument); };
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copy_number(fd, -1, real) : real();
}
IMSS_INTERCEPT int fcntl(int fd, int command, ...) {
  std::va_list arguments;
  va_start(arguments, command);
  const long argument = va_arg(arguments, long);
  va_end(arguments);
  return fcntl64(fd, command, argument);
}
IMSS_INTERCEPT int flock(int fd, int operation) noexcept {
  if (is_ours(fd)) {
    if (const Use used = use(fd)) return flock_ours(*used, operation);
  }
  return IMSS_REAL(flock)(fd, operation);
}
IMSS_INTERCEPT int lockf64(int fd, int command, off64_t bytes) {
  const Use used = use(fd);
  if (!used) return IMSS_REAL(lockf64)(fd, command, bytes);
  struct flock lock = {};
  lock.l_type = command == F_ULOCK ? F_UNLCK : F_WRLCK;
  lock.l_whence = SEEK_CUR;
  lock.l_len = bytes;
  if (command == F_ULOCK || command == F_TLOCK) return lock_ours(fd, *used, F_SETLK, &lock);
  if (command == F_LOCK) return lock_ours(fd, *used, F_SETLKW, &lock);
  if (command != F_TEST) return refuse(EINVAL);
  if (lock_ours(fd, *used, F_GETLK, &lock) != 0) return -1;
  return lock.l_type == F_UNLCK ? 0 : refuse(EACCES);
}
IMSS_INTERCEPT int lockf(int fd, int command, off_t bytes) { return lockf64(fd, command, bytes); }

// What is made here is the kernel's. The numbers may have been ours, if they were closed behind our back.
IMSS_INTERCEPT int pipe2(int ends[2], int flags) noexcept {
  const int made = IMSS_REAL(pipe2)(ends, flags);
  if (made == 0) {
    ends[0] = kernels(ends[0]);
    ends[1] = kernels(ends[1]);
  }
  return made;
}
IMSS_INTERCEPT int socketpair(int domain, int type, int protocol, int ends[2]) noexcept {
  const int made = IMSS_REAL(socketpair)(domain, type, protocol, ends);
  if (made == 0) {
    ends[0] = kernels(ends[0]);
    ends[1] = kernels(ends[1]);
  }
  return made;
}
IMSS_INTERCEPT int pipe(int ends[2]) noexcept { return pipe2(ends, 0); }
IMSS_INTERCEPT int socket(int domain, int type, int protocol) noexcept {
  return kernels(IMSS_REAL(socket)(domain, type, protocol));
}
IMSS_INTERCEPT int accept4(int fd, struct sockaddr* address, socklen_t* bytes, int flags) {
  return kernels(IMSS_REAL(accept4)(fd, address, bytes, flags));
}
IMSS_INTERCEPT int accept(int fd, struct sockaddr* address, socklen_t* bytes) { return accept4(fd, address, bytes, 0); }
IMSS_INTERCEPT int epoll_create1(int flags) noexcept { return kernels(IMSS_REAL(epoll_create1)(flags)); }
IMSS_INTERCEPT int epoll_create(int size) noexcept { return kernels(IMSS_REAL(epoll_create)(size)); }
IMSS_INTERCEPT int timerfd_create(int clock, int flags) noexcept { return kernels(IMSS_REAL(timerfd_create)(clock, flags)); }
IMSS_INTERCEPT int shm_open(const char* name, int flags, mode_t mode) { return kernels(IMSS_REAL(shm_open)(name, flags, mode)); }
IMSS_INTERCEPT int eventfd(unsigned value, int flags) noexcept { return kernels(IMSS_REAL(eventfd)(value, flags)); }

IMSS_INTERCEPT int ftruncate64(int fd, off64_t size) noexcept {
  if (is_ours(fd)) {
    if (const Use used = use(fd)) return truncate_ours(*used, size);
  }
  return IMSS_REAL(ftruncate64)(fd, size);
}
IMSS_INTERCEPT int ftruncate(int fd, off_t size) noexcept { return ftruncate64(fd, size); }
IMSS_INTERCEPT int truncate64(const char* path, off64_t size) noexcept {
  if (size < 0) {
    errno = EINVAL;
    return -1;
  }
  return by_path(
      AT_FDCWD, path, true, [size](int, const char* where) { return IMSS_REAL(truncate64)(where, size); },
      [size](const posix::Spot& spot) {
        Inside inside;
        posix::AttributeChange change;
        change.size = static_cast<std::uint64_t>(size);
        return inside.done(inside.paths().change(inside.who(), spot, change));
      });
}
IMSS_INTERCEPT int truncate(const char* path, off_t size) noexcept { return truncate64(path, size); }

IMSS_INTERCEPT int fallocate64(int fd, int mode, off64_t offset, off64_t bytes) {
  if (is_ours(fd)) {
    if (const Use used = use(fd)) return allocate_ours(*used, mode, offset, bytes);
  }
  return IMSS_REAL(fallocate64)(fd, mode, offset, bytes);
}
IMSS_INTERCEPT int fallocate(int fd, int mode, off_t offset, off_t bytes) { return fallocate64(fd, mode, offset, bytes); }
IMSS_INTERCEPT int posix_fallocate64(int fd, off64_t offset, off64_t bytes) {
  if (!is_ours(fd)) return IMSS_REAL(posix_fallocate64)(fd, offset, bytes);
  const int before = errno;
  const int error_number = fallocate64(fd, 0, offset, bytes) == 0 ? 0 : errno;
  errno = before;
  return error_number;
}
IMSS_INTERCEPT int posix_fallocate(int fd, off_t offset, off_t bytes) { return posix_fallocate64(fd, offset, bytes); }

IMSS_INTERCEPT ssize_t sendfile64(int out, int in, off64_t* offset, size_t bytes) noexcept {
  if (is_ours(out) || is_ours(in)) return copy_bytes(out, in, offset, bytes);
  return IMSS_REAL(sendfile64)(out, in, offset, bytes);
}
IMSS_INTERCEPT ssize_t sendfile(int out, int in, off_t* offset, size_t bytes) noexcept {
  return sendfile64(out, in, offset, bytes);
}
// Programs copy by themselves where two files are not of one file system.
IMSS_INTERCEPT ssize_t copy_file_range(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t bytes, unsigned flags) {
  if (is_ours(in) || is_ours(out)) return refuse(EXDEV);
  return IMSS_REAL(copy_file_range)(in, in_offset, out, out_offset, bytes, flags);
}
IMSS_INTERCEPT ssize_t splice(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t bytes, unsigned flags) {
  if (is_ours(in) || is_ours(out)) return refuse(EINVAL);
  return IMSS_REAL(splice)(in, in_offset, out, out_offset, bytes, flags);
}

IMSS_INTERCEPT void* mmap64(void* address, size_t bytes, int protection, int flags, int fd, off64_t offset) noexcept {
  if (fd >= 0 && (flags & MAP_ANONYMOUS) == 0 && is_ours(fd)) {
    if (const Use used = use(fd)) return map_ours(*used, address, bytes, protection, flags, offset);
  }
  return IMSS_REAL(mmap64)(address, bytes, protection, flags, fd, offset);
}
IMSS_INTERCEPT void* mmap(void* address, size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  return mmap64(address, bytes, protection, flags, fd, offset);
}
