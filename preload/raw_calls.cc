// What comes by syscall(2), descriptors that are passed through sockets, and reads and writes in the background.
#include <dirent.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstring>

#include "calls.h"

namespace imss::preload {
namespace {

// getdents64(2): whole records, as many as there is room for. The position is the place after the last one.
ssize_t list_ours(int fd, Description& description, void* buffer, std::size_t room) {
  InStore guard;
  if (description.kind != Kind::kDirectory) return guard.fail(ENOTDIR);
  auto place = static_cast<std::uint64_t>(position(fd, description));
  std::size_t used = 0;
  bool too_small = false;
  const Status listed = connected_view()->paths->list(
      description.number(), place, [&](const posix::FileSystem::Listed& entry) {
        const std::size_t bytes = (offsetof(dirent64, d_name) + entry.name.size() + 1 + 7) & ~std::size_t{7};
        if (bytes > room - used) {
          too_small = used == 0;
          return false;
        }
        auto* const record = reinterpret_cast<dirent64*>(static_cast<char*>(buffer) + used);
        std::memset(record, 0, bytes);
        record->d_ino = entry.number;
        record->d_off = static_cast<off64_t>(entry.offset);
        record->d_reclen = static_cast<unsigned short>(bytes);
        record->d_type = static_cast<unsigned char>(IFTODT(entry.mode));
        std::memcpy(record->d_name, entry.name.data(), entry.name.size());
        used += bytes;
        place = entry.offset;
        return true;
      });
  if (too_small) return guard.fail(EINVAL);
  if (!listed.ok() && listed.code() != Code::kNotFound) return guard.fail(listed.error_number());
  set_position(fd, description, static_cast<std::int64_t>(place));
  return static_cast<ssize_t>(used);
}

// The descriptors that a message carries.
template <typename Visit>
void each_passed(msghdr* message, Visit visit) {
  for (cmsghdr* part = CMSG_FIRSTHDR(message); part != nullptr; part = CMSG_NXTHDR(message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      visit(fd);
    }
  }
}

void before_passing(const msghdr* message) {
  if (message == nullptr || message->msg_controllen == 0) return;
  each_passed(const_cast<msghdr*>(message), [](int fd) {
    if (const Use used = use(fd)) share_position(*used);
  });
}

void after_passing(msghdr* message) {
  if (message->msg_controllen == 0) return;
  each_passed(message, [](int fd) {
    leave_if_ours(fd);
    find_number(fd);
  });
}

template <typename T>
T* pointer(long argument) {
  return reinterpret_cast<T*>(argument);
}

struct Arguments {
  long at[6];
};

// What programs are known to ask for in this way. False: it is the kernel's.
bool is_answered(long number, const Arguments& arguments, long* answer) {
  const auto* const a = arguments.at;
  const int fd = static_cast<int>(a[0]);
  switch (number) {
    case SYS_read: *answer = ::read(fd, pointer<void>(a[1]), static_cast<std::size_t>(a[2])); return true;
    case SYS_write: *answer = ::write(fd, pointer<void>(a[1]), static_cast<std::size_t>(a[2])); return true;
    case SYS_pread64: *answer = ::pread64(fd, pointer<void>(a[1]), static_cast<std::size_t>(a[2]), a[3]); return true;
    case SYS_pwrite64: *answer = ::pwrite64(fd, pointer<void>(a[1]), static_cast<std::size_t>(a[2]), a[3]); return true;
    case SYS_readv: *answer = ::readv(fd, pointer<iovec>(a[1]), static_cast<int>(a[2])); return true;
    case SYS_writev: *answer = ::writev(fd, pointer<iovec>(a[1]), static_cast<int>(a[2])); return true;
    case SYS_preadv2: *answer = ::preadv64v2(fd, pointer<iovec>(a[1]), static_cast<int>(a[2]), a[3], static_cast<int>(a[5])); return true;
    case SYS_pwritev2: *answer = ::pwritev64v2(fd, pointer<iovec>(a[1]), static_cast<int>(a[2]), a[3], static_cast<int>(a[5])); return true;
    case SYS_lseek: *answer = ::lseek64(fd, a[1], static_cast<int>(a[2])); return true;
    case SYS_close: *answer = ::close(fd); return true;
    case SYS_open: *answer = open_anywhere(AT_FDCWD, pointer<char>(a[0]), static_cast<int>(a[1]), static_cast<mode_t>(a[2])); return true;
    case SYS_openat: *answer = open_anywhere(fd, pointer<char>(a[1]), static_cast<int>(a[2]), static_cast<mode_t>(a[3])); return true;
    case SYS_dup: *answer = ::dup(fd); return true;
    case SYS_dup2: *answer = ::dup2(fd, static_cast<int>(a[1])); return true;
    case SYS_dup3: *answer = ::dup3(fd, static_cast<int>(a[1]), static_cast<int>(a[2])); return true;
    case SYS_fcntl: *answer = ::fcntl(fd, static_cast<int>(a[1]), a[2]); return true;
    case SYS_fsync:
    case SYS_fdatasync: *answer = ::fsync(fd); return true;
    case SYS_ftruncate: *answer = ::ftruncate64(fd, a[1]); return true;
    case SYS_fallocate: *answer = ::fallocate64(fd, static_cast<int>(a[1]), a[2], a[3]); return true;
    case SYS_close_range: *answer = ::close_range(static_cast<unsigned>(a[0]), static_cast<unsigned>(a[1]), static_cast<int>(a[2])); return true;
    case SYS_copy_file_range:
      *answer = ::copy_file_range(fd, pointer<off64_t>(a[1]), static_cast<int>(a[2]), pointer<off64_t>(a[3]),
                                  static_cast<std::size_t>(a[4]), static_cast<unsigned>(a[5]));
      return true;
    case SYS_getdents64: *answer = ::getdents64(fd, pointer<void>(a[1]), static_cast<std::size_t>(a[2])); return true;
    default: return false;
  }
}

bool is_answered_by_path(long number, const Arguments& arguments, long* answer) {
  const auto* const a = arguments.at;
  const int fd = static_cast<int>(a[0]);
  switch (number) {
    case SYS_statx:
      *answer = ::statx(fd, pointer<char>(a[1]), static_cast<int>(a[2]), static_cast<unsigned>(a[3]), pointer<struct statx>(a[4]));
      return true;
    case SYS_newfstatat: *answer = stat_anywhere(fd, pointer<char>(a[1]), pointer<struct stat>(a[2]), static_cast<int>(a[3])); return true;
    case SYS_mkdirat: *answer = ::mkdirat(fd, pointer<char>(a[1]), static_cast<mode_t>(a[2])); return true;
    case SYS_unlinkat: *answer = ::unlinkat(fd, pointer<char>(a[1]), static_cast<int>(a[2])); return true;
    case SYS_renameat2:
      *answer = ::renameat2(fd, pointer<char>(a[1]), static_cast<int>(a[2]), pointer<char>(a[3]), static_cast<unsigned>(a[4]));
      return true;
    case SYS_faccessat: *answer = ::faccessat(fd, pointer<char>(a[1]), static_cast<int>(a[2]), 0); return true;
    case SYS_faccessat2: *answer = ::faccessat(fd, pointer<char>(a[1]), static_cast<int>(a[2]), static_cast<int>(a[3])); return true;
    case SYS_readlinkat: *answer = ::readlinkat(fd, pointer<char>(a[1]), pointer<char>(a[2]), static_cast<std::size_t>(a[3])); return true;
    case SYS_openat2: {
      Place place;
      const Where where = locate(fd, pointer<char>(a[1]), true, &place);
      if (where == Where::kOutside) return false;
      errno = ENOSYS;  // as of a kernel that does not know it; programs then use openat
      *answer = -1;
      return true;
    }
    case SYS_linkat:
      *answer = ::linkat(fd, pointer<char>(a[1]), static_cast<int>(a[2]), pointer<char>(a[3]), static_cast<int>(a[4]));
      return true;
    case SYS_symlinkat: *answer = ::symlinkat(pointer<char>(a[0]), static_cast<int>(a[1]), pointer<char>(a[2])); return true;
    case SYS_fchmodat: *answer = ::fchmodat(fd, pointer<char>(a[1]), static_cast<mode_t>(a[2]), 0); return true;
    case SYS_utimensat:
      *answer = ::utimensat(fd, pointer<char>(a[1]), pointer<timespec>(a[2]), static_cast<int>(a[3]));
      return true;
    default: return false;
  }
}

// The calls that newer processors no longer have.
bool is_answered_by_old_path(long number, const Arguments& arguments, long* answer) {
  const auto* const a = arguments.at;
  const char* const path = pointer<char>(a[0]);
  switch (number) {
    case SYS_stat: *answer = ::stat(path, pointer<struct stat>(a[1])); return true;
    case SYS_lstat: *answer = ::lstat(path, pointer<struct stat>(a[1])); return true;
    case SYS_access: *answer = ::access(path, static_cast<int>(a[1])); return true;
    case SYS_creat: *answer = ::creat(path, static_cast<mode_t>(a[1])); return true;
    case SYS_truncate: *answer = ::truncate(path, a[1]); return true;
    case SYS_mkdir: *answer = ::mkdir(path, static_cast<mode_t>(a[1])); return true;
    case SYS_rmdir: *answer = ::rmdir(path); return true;
    case SYS_unlink: *answer = ::unlink(path); return true;
    case SYS_rename: *answer = ::rename(path, pointer<char>(a[1])); return true;
    case SYS_link: *answer = ::link(path, pointer<char>(a[1])); return true;
    case SYS_symlink: *answer = ::symlink(path, pointer<char>(a[1])); return true;
    case SYS_readlink: *answer = ::readlink(path, pointer<char>(a[1]), static_cast<std::size_t>(a[2])); return true;
    case SYS_chmod: *answer = ::chmod(path, static_cast<mode_t>(a[1])); return true;
    case SYS_chown: *answer = ::chown(path, static_cast<uid_t>(a[1]), static_cast<gid_t>(a[2])); return true;
    case SYS_lchown: *answer = ::lchown(path, static_cast<uid_t>(a[1]), static_cast<gid_t>(a[2])); return true;
    case SYS_chdir: *answer = ::chdir(path); return true;
    default: return false;
  }
}

}  // namespace
}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

IMSS_INTERCEPT long syscall(long number, ...) noexcept {
  std::va_list list;
  va_start(list, number);
  Arguments arguments;
  for (long& argument : arguments.at) argument = va_arg(list, long);
  va_end(list);
  long answer = 0;
  const bool answered = !in_store() && (is_answered(number, arguments, &answer) || is_answered_by_path(number, arguments, &answer) ||
                                        is_answered_by_old_path(number, arguments, &answer));
  if (answered) return answer;
  const auto* const a = arguments.at;
  return IMSS_REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
IMSS_INTERCEPT ssize_t getdents64(int fd, void* buffer, size_t room) noexcept {
  if (is_ours(fd)) {
    if (const Use used = use(fd)) return list_ours(fd, *used, buffer, room);
  }
  return IMSS_REAL(getdents64)(fd, buffer, room);
}

IMSS_INTERCEPT ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  before_passing(message);
  return IMSS_REAL(sendmsg)(fd, message, flags);
}
IMSS_INTERCEPT int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  for (unsigned i = 0; i < count; ++i) before_passing(&messages[i].msg_hdr);
  return IMSS_REAL(sendmmsg)(fd, messages, count, flags);
}
IMSS_INTERCEPT ssize_t recvmsg(int fd, msghdr* message, int flags) {
  const ssize_t received = IMSS_REAL(recvmsg)(fd, message, flags);
  if (received >= 0) after_passing(message);
  return received;
}

IMSS_INTERCEPT int inotify_add_watch(int fd, const char* path, std::uint32_t mask) noexcept {
  return by_path(
      AT_FDCWD, path, (mask & IN_DONT_FOLLOW) == 0,
      [=](int, const char* where) { return IMSS_REAL(inotify_add_watch)(fd, where, mask); },
      [](const posix::Spot& spot) {
        errno = spot.is_there() ? ENOSPC : ENOENT;  // programs then look from time to time
        return -1;
      });
}
