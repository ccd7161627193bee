// What files are: stat and its relatives, access, and the changes of attributes.
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include <array>
#include <cstring>
#include <optional>

#include "calls.h"

namespace imss::preload {
namespace {

constexpr long kMagic = 0x65735546;  // f_type of statfs: that of FUSE, which is the other way to see an instance

int status_inside(const posix::Spot& spot, struct stat* status) {
  Inside inside;
  const auto found = inside.paths().status(spot);
  if (!found.ok()) return inside.fail(found.status().error_number());
  *status = *found;
  status->st_dev = makedev(0, kDevice);
  return 0;
}

statx_timestamp stamp_of(const timespec& time) {
  statx_timestamp stamp = {};
  stamp.tv_sec = time.tv_sec;
  stamp.tv_nsec = static_cast<std::uint32_t>(time.tv_nsec);
  return stamp;
}

void fill(const struct stat& from, struct statx* to) {
  *to = {};
  to->stx_mask = STATX_BASIC_STATS;
  to->stx_blksize = static_cast<std::uint32_t>(from.st_blksize);
  to->stx_nlink = static_cast<std::uint32_t>(from.st_nlink);
  to->stx_uid = from.st_uid;
  to->stx_gid = from.st_gid;
  to->stx_mode = static_cast<std::uint16_t>(from.st_mode);
  to->stx_ino = from.st_ino;
  to->stx_size = static_cast<std::uint64_t>(from.st_size);
  to->stx_blocks = static_cast<std::uint64_t>(from.st_blocks);
  to->stx_atime = stamp_of(from.st_atim);
  to->stx_mtime = stamp_of(from.st_mtim);
  to->stx_ctime = stamp_of(from.st_ctim);
  to->stx_rdev_major = major(from.st_rdev);
  to->stx_rdev_minor = minor(from.st_rdev);
  to->stx_dev_major = major(from.st_dev);
  to->stx_dev_minor = minor(from.st_dev);
}

// Changes of attributes of what a path or a number names.
int change(const posix::Spot& spot, const posix::AttributeChange& wanted, bool touches = false) {
  Inside inside;
  return inside.done(inside.paths().change(inside.who(), spot, wanted, touches));
}
int change_ours(Description& description, const posix::AttributeChange& wanted, bool touches = false) {
  if (description.kind == Kind::kPath) {
    errno = EBADF;
    return -1;
  }
  return change(description.spot(), wanted, touches);
}

posix::AttributeChange of_mode(mode_t mode) {
  posix::AttributeChange wanted;
  wanted.mode = mode & 07777;
  return wanted;
}
posix::AttributeChange of_owner(uid_t uid, gid_t gid) {
  posix::AttributeChange wanted;
  if (uid != static_cast<uid_t>(-1)) wanted.uid = uid;
  if (gid != static_cast<gid_t>(-1)) wanted.gid = gid;
  return wanted;
}

std::uint64_t nanoseconds(const timespec& time) {
  return time.tv_sec < 0 ? 0 : static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

// As utimensat(2) reads them. Returns whether both are the present. Errors: EINVAL.
std::optional<posix::AttributeChange> of_times(const timespec* times, bool* touches) {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  posix::AttributeChange wanted;
  *touches = true;
  int index = 0;
  for (std::optional<std::uint64_t>* const field : {&wanted.accessed_ns, &wanted.modified_ns}) {
    const timespec* const time = times == nullptr ? nullptr : &times[index++];
    if (time == nullptr || time->tv_nsec == UTIME_NOW) {
      *field = nanoseconds(now);
    } else if (time->tv_nsec == UTIME_OMIT) {
      continue;
    } else if (time->tv_nsec < 0 || time->tv_nsec > 999'999'999) {
      return std::nullopt;
    } else {
      *field = nanoseconds(*time);
      *touches = false;
    }
  }
  return wanted;
}

int times_inside(const posix::Spot& spot, const timespec* times) {
  bool touches = false;
  const auto wanted = of_times(times, &touches);
  if (!wanted) {
    errno = EINVAL;
    return -1;
  }
  return change(spot, *wanted, touches);
}

std::array<timespec, 2> of_microseconds(const timeval* times) {
  return {{{times[0].tv_sec, times[0].tv_usec * 1000}, {times[1].tv_sec, times[1].tv_usec * 1000}}};
}

int set_times(int directory_fd, const char* path, const timespec* times, int flags) {
  return by_path(
      directory_fd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0,
      [=](int at, const char* where) { return IMSS_REAL(utimensat)(at, where, times, flags); },
      [=](const posix::Spot& spot) { return times_inside(spot, times); });
}

int access_anywhere(int directory_fd, const char* path, int wanted, int flags) {
  return by_path(
      directory_fd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0,
      [=](int at, const char* where) { return IMSS_REAL(faccessat)(at, where, wanted, flags); },
      [=](const posix::Spot& spot) {
        Inside inside;
        if (!spot.is_there()) return inside.fail(ENOENT);
        posix::Caller who = inside.who();
        if ((flags & AT_EACCESS) == 0) {
          who.uid = ::getuid();
          who.gid = ::getgid();
        }
        return inside.done(inside.paths().check(who, spot, wanted));
      });
}

int fill_space(struct statvfs* space) {
  InStore guard;
  const auto found = connected_view()->paths->space();
  if (!found.ok()) return guard.fail(found.status().error_number());
  *space = *found;
  space->f_fsid = kDevice;
  return 0;
}
int fill_space(struct statfs* space) {
  struct statvfs found = {};
  if (fill_space(&found) != 0) return -1;
  *space = {};
  space->f_type = kMagic;
  space->f_bsize = static_cast<long>(found.f_bsize);
  space->f_frsize = static_cast<long>(found.f_frsize);
  space->f_blocks = found.f_blocks;
  space->f_bfree = found.f_bfree;
  space->f_bavail = found.f_bavail;
  space->f_namelen = static_cast<long>(found.f_namemax);
  return 0;
}

template <typename Real, typename T>
int space_of(const char* path, Real real, T* space) {
  return by_path(
      AT_FDCWD, path, true, [=](int, const char* where) { return real(where, space); },
      [=](const posix::Spot& spot) {
        if (spot.is_there()) return fill_space(space);
        errno = ENOENT;
        return -1;
      });
}

int refuse_unsupported() {
  errno = EOPNOTSUPP;
  return -1;
}

}  // namespace

int status_of_ours(Description& description, struct stat* status) { return status_inside(description.spot(), status); }

int stat_anywhere(int directory_fd, const char* path, struct stat* status, int flags) {
  if ((flags & AT_EMPTY_PATH) != 0 && path != nullptr && *path == '\0') {
    if (directory_fd == AT_FDCWD && works_inside()) path = ".";
    else if (const Use used = use(directory_fd)) return status_of_ours(*used, status);
  }
  return by_path(
      directory_fd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0,
      [=](int at, const char* where) {
        return IMSS_REAL(fstatat64)(at, where, reinterpret_cast<struct stat64*>(status), flags);
      },
      [=](const posix::Spot& spot) { return status_inside(spot, status); });
}

}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

namespace {

// Both structures are one on machines of 64 bits.
struct stat* plain(struct stat64* status) { return reinterpret_cast<struct stat*>(status); }

int status_of_number(int fd, struct stat* status) {
  if (is_ours(fd)) {
    if (const Use used = use(fd)) return status_of_ours(*used, status);
  }
  return IMSS_REAL(fstat64)(fd, reinterpret_cast<struct stat64*>(status));
}

}  // namespace

IMSS_INTERCEPT int stat(const char* path, struct stat* status) noexcept { return stat_anywhere(AT_FDCWD, path, status, 0); }
IMSS_INTERCEPT int stat64(const char* path, struct stat64* status) noexcept {
  return stat_anywhere(AT_FDCWD, path, plain(status), 0);
}
IMSS_INTERCEPT int lstat(const char* path, struct stat* status) noexcept {
  return stat_anywhere(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
IMSS_INTERCEPT int lstat64(const char* path, struct stat64* status) noexcept {
  return stat_anywhere(AT_FDCWD, path, plain(status), AT_SYMLINK_NOFOLLOW);
}
IMSS_INTERCEPT int fstat(int fd, struct stat* status) noexcept { return status_of_number(fd, status); }
IMSS_INTERCEPT int fstat64(int fd, struct stat64* status) noexcept { return status_of_number(fd, plain(status)); }
IMSS_INTERCEPT int fstatat(int fd, const char* path, struct stat* status, int flags) noexcept {
  return stat_anywhere(fd, path, status, flags);
}
IMSS_INTERCEPT int fstatat64(int fd, const char* path, struct stat64* status, int flags) noexcept {
  return stat_anywhere(fd, path, plain(status), flags);
}
// What programs call that were built with an older C library.
IMSS_INTERCEPT int __xstat(int, const char* path, struct stat* status) { return stat_anywhere(AT_FDCWD, path, status, 0); }
IMSS_INTERCEPT int __xstat64(int, const char* path, struct stat64* status) {
  return stat_anywhere(AT_FDCWD, path, plain(status), 0);
}
IMSS_INTERCEPT int __lxstat(int, const char* path, struct stat* status) {
  return stat_anywhere(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
IMSS_INTERCEPT int __lxstat64(int, const char* path, struct stat64* status) {
  return stat_anywhere(AT_FDCWD, path, plain(status), AT_SYMLINK_NOFOLLOW);
}
IMSS_INTERCEPT int __fxstat(int, int fd, struct stat* status) { return status_of_number(fd, status); }
IMSS_INTERCEPT int __fxstat64(int, int fd, struct stat64* status) { return status_of_number(fd, plain(status)); }
IMSS_INTERCEPT int __fxstatat(int, int fd, const char* path, struct stat* status, int flags) {
  return stat_anywhere(fd, path, status, flags);
}
IMSS_INTERCEPT int __fxstatat64(int, int fd, const char* path, struct stat64* status, int flags) {
  return stat_anywhere(fd, path, plain(status), flags);
}

IMSS_INTERCEPT int statx(int fd, const char* path, int flags, unsigned mask, struct statx* status) noexcept {
  const auto ours = [=](const posix::Spot& spot) {
    struct stat found = {};
    if (status_inside(spot, &found) != 0) return -1;
    fill(found, status);
    return 0;
  };
  if ((flags & AT_EMPTY_PATH) != 0 && *path == '\0') {
    if (fd == AT_FDCWD && works_inside()) path = ".";
    else if (const Use used = use(fd)) return ours(used->spot());
  }
  return by_path(
      fd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0,
      [=](int at, const char* where) { return IMSS_REAL(statx)(at, where, flags, mask, status); }, ours);
}

IMSS_INTERCEPT int access(const char* path, int wanted) noexcept { return access_anywhere(AT_FDCWD, path, wanted, 0); }
IMSS_INTERCEPT int faccessat(int fd, const char* path, int wanted, int flags) noexcept {
  return access_anywhere(fd, path, wanted, flags);
}
IMSS_INTERCEPT int euidaccess(const char* path, int wanted) noexcept {
  return access_anywhere(AT_FDCWD, path, wanted, AT_EACCESS);
}
IMSS_INTERCEPT int eaccess(const char* path, int wanted) noexcept {
  return access_anywhere(AT_FDCWD, path, wanted, AT_EACCESS);
}

IMSS_INTERCEPT int fchmodat(int fd, const char* path, mode_t mode, int flags) noexcept {
  return by_path(
      fd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0,
      [=](int at, const char* where) { return IMSS_REAL(fchmodat)(at, where, mode, flags); },
      [=](const posix::Spot& spot) {
        if (spot.entry && spot.entry->type == imss::metadata::NodeType::kSymlink) return refuse_unsupported();
        return change(spot, of_mode(mode));
      });
}
IMSS_INTERCEPT int chmod(const char* path, mode_t mode) noexcept { return fchmodat(AT_FDCWD, path, mode, 0); }
IMSS_INTERCEPT int fchmod(int fd, mode_t mode) noexcept {
  if (is_ours(fd)) {
    if (const Use used = use(fd)) return change_ours(*used, of_mode(mode));
  }
  return IMSS_REAL(fchmod)(fd, mode);
}
IMSS_INTERCEPT int fchownat(int fd, const char* path, uid_t uid, gid_t gid, int flags) noexcept {
  if ((flags & AT_EMPTY_PATH) != 0 && *path == '\0') {
    if (const Use used = use(fd)) return change(used->spot(), of_owner(uid, gid));
  }
  return by_path(
      fd, path, (flags & AT_SYMLINK_NOFOLLOW) == 0,
      [=](int at, const char* where) { return IMSS_REAL(fchownat)(at, where, uid, gid, flags); },
      [=](const posix::Spot& spot) { return change(spot, of_owner(uid, gid)); });
}
IMSS_INTERCEPT int chown(const char* path, uid_t uid, gid_t gid) noexcept { return fchownat(AT_FDCWD, path, uid, gid, 0); }
IMSS_INTERCEPT int lchown(const char* path, uid_t uid, gid_t gid) noexcept {
  return fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}
IMSS_INTERCEPT int fchown(int fd, uid_t uid, gid_t gid) noexcept {
  if (is_ours(fd)) {
    if (const Use used = use(fd)) return change_ours(*used, of_owner(uid, gid));
  }
  return IMSS_REAL(fchown)(fd, uid, gid);
}

IMSS_INTERCEPT int futimens(int fd, const timespec times[2]) noexcept {
  if (is_ours(fd)) {
    if (const Use used = use(fd)) return times_inside(used->spot(), times);
  }
  return IMSS_REAL(futimens)(fd, times);
}
IMSS_INTERCEPT int utimensat(int fd, const char* path, const timespec times[2], int flags) noexcept {
  const char* volatile given = path;  // some call it without a path, which the declaration does not foresee
  if (given == nullptr && is_ours(fd)) return futimens(fd, times);
  return set_times(fd, path, times, flags);
}
IMSS_INTERCEPT int utimes(const char* path, const timeval times[2]) noexcept {
  if (times == nullptr) return set_times(AT_FDCWD, path, nullptr, 0);
  return set_times(AT_FDCWD, path, of_microseconds(times).data(), 0);
}
IMSS_INTERCEPT int lutimes(const char* path, const timeval times[2]) noexcept {
  if (times == nullptr) return set_times(AT_FDCWD, path, nullptr, AT_SYMLINK_NOFOLLOW);
  return set_times(AT_FDCWD, path, of_microseconds(times).data(), AT_SYMLINK_NOFOLLOW);
}
IMSS_INTERCEPT int futimes(int fd, const timeval times[2]) noexcept {
  return times == nullptr ? futimens(fd, nullptr) : futimens(fd, of_microseconds(times).data());
}
IMSS_INTERCEPT int futimesat(int fd, const char* path, const timeval times[2]) noexcept {
  return times == nullptr ? set_times(fd, path, nullptr, 0) : set_times(fd, path, of_microseconds(times).data(), 0);
}
IMSS_INTERCEPT int utime(const char* path, const utimbuf* times) noexcept {
  if (times == nullptr) return set_times(AT_FDCWD, path, nullptr, 0);
  const std::array<timespec, 2> both = {{{times->actime, 0}, {times->modtime, 0}}};
  return set_times(AT_FDCWD, path, both.data(), 0);
}

IMSS_INTERCEPT int statfs(const char* path, struct statfs* space) noexcept { return space_of(path, IMSS_REAL(statfs), space); }
IMSS_INTERCEPT int statfs64(const char* path, struct statfs64* space) noexcept {
  return statfs(path, reinterpret_cast<struct statfs*>(space));
}
IMSS_INTERCEPT int fstatfs(int fd, struct statfs* space) noexcept {
  if (is_ours(fd) && use(fd)) return fill_space(space);
  return IMSS_REAL(fstatfs)(fd, space);
}
IMSS_INTERCEPT int fstatfs64(int fd, struct statfs64* space) noexcept {
  return fstatfs(fd, reinterpret_cast<struct statfs*>(space));
}
IMSS_INTERCEPT int statvfs(const char* path, struct statvfs* space) noexcept {
  return space_of(path, IMSS_REAL(statvfs), space);
}
IMSS_INTERCEPT int statvfs64(const char* path, struct statvfs64* space) noexcept {
  return statvfs(path, reinterpret_cast<struct statvfs*>(space));
}
IMSS_INTERCEPT int fstatvfs(int fd, struct statvfs* space) noexcept {
  if (is_ours(fd) && use(fd)) return fill_space(space);
  return IMSS_REAL(fstatvfs)(fd, space);
}
IMSS_INTERCEPT int fstatvfs64(int fd, struct statvfs64* space) noexcept {
  return fstatvfs(fd, reinterpret_cast<struct statvfs*>(space));
}
