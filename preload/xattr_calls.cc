// Extended attributes.
#include <sys/xattr.h>

#include <cstring>
#include <span>

#include "calls.h"

namespace imss::preload {
namespace {

// `room` 0 asks how long the answer is.
ssize_t give(Inside& inside, const Result<std::vector<std::uint8_t>>& answer, void* buffer, std::size_t room) {
  if (!answer.ok()) return inside.fail(answer.status().error_number());
  if (room == 0) return static_cast<ssize_t>(answer->size());
  if (answer->size() > room) return inside.fail(ERANGE);
  std::memcpy(buffer, answer->data(), answer->size());
  return static_cast<ssize_t>(answer->size());
}

ssize_t get(const posix::Spot& spot, const char* name, void* value, std::size_t room) {
  Inside inside;
  return give(inside, inside.paths().xattr(inside.who(), spot, name), value, room);
}
ssize_t list(const posix::Spot& spot, char* names, std::size_t room) {
  Inside inside;
  return give(inside, inside.paths().list_xattrs(inside.who(), spot), names, room);
}
int set(const posix::Spot& spot, const char* name, const void* value, std::size_t bytes, int flags) {
  Inside inside;
  const std::span content(static_cast<const std::byte*>(value), bytes);
  return inside.done(inside.paths().set_xattr(inside.who(), spot, name, content, flags));
}
int remove(const posix::Spot& spot, const char* name) {
  Inside inside;
  return inside.done(inside.paths().remove_xattr(inside.who(), spot, name));
}

// By a path: `real` for what lies elsewhere.
template <typename Real, typename Store>
auto by_name(const char* path, bool follow, Real real, Store inside) {
  return by_path(AT_FDCWD, path, follow, [real](int, const char* where) { return real(where); }, inside);
}
// By a number. With O_PATH there is nothing to ask.
template <typename Real, typename Store>
auto by_file(int fd, Real real, Store inside) -> decltype(real()) {
  if (!is_ours(fd)) return real();
  const Use used = use(fd);
  if (!used) return real();
  if (used->kind == Kind::kPath) {
    errno = EBADF;
    return -1;
  }
  return inside(used->spot());
}

}  // namespace
}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

IMSS_INTERCEPT ssize_t getxattr(const char* path, const char* name, void* value, size_t room) noexcept {
  return by_name(path, true, [=](const char* where) { return IMSS_REAL(getxattr)(where, name, value, room); },
                 [=](const posix::Spot& spot) { return get(spot, name, value, room); });
}
IMSS_INTERCEPT ssize_t lgetxattr(const char* path, const char* name, void* value, size_t room) noexcept {
  return by_name(path, false, [=](const char* where) { return IMSS_REAL(lgetxattr)(where, name, value, room); },
                 [=](const posix::Spot& spot) { return get(spot, name, value, room); });
}
IMSS_INTERCEPT ssize_t fgetxattr(int fd, const char* name, void* value, size_t room) noexcept {
  return by_file(fd, [=] { return IMSS_REAL(fgetxattr)(fd, name, value, room); },
                 [=](const posix::Spot& spot) { return get(spot, name, value, room); });
}
IMSS_INTERCEPT ssize_t listxattr(const char* path, char* names, size_t room) noexcept {
  return by_name(path, true, [=](const char* where) { return IMSS_REAL(listxattr)(where, names, room); },
                 [=](const posix::Spot& spot) { return list(spot, names, room); });
}
IMSS_INTERCEPT ssize_t llistxattr(const char* path, char* names, size_t room) noexcept {
  return by_name(path, false, [=](const char* where) { return IMSS_REAL(llistxattr)(where, names, room); },
                 [=](const posix::Spot& spot) { return list(spot, names, room); });
}
IMSS_INTERCEPT ssize_t flistxattr(int fd, char* names, size_t room) noexcept {
  return by_file(fd, [=] { return IMSS_REAL(flistxattr)(fd, names, room); },
                 [=](const posix::Spot& spot) { return list(spot, names, room); });
}
IMSS_INTERCEPT int setxattr(const char* path, const char* name, const void* value, size_t bytes, int flags) noexcept {
  return by_name(path, true, [=](const char* where) { return IMSS_REAL(setxattr)(where, name, value, bytes, flags); },
                 [=](const posix::Spot& spot) { return set(spot, name, value, bytes, flags); });
}
IMSS_INTERCEPT int lsetxattr(const char* path, const char* name, const void* value, size_t bytes, int flags) noexcept {
  return by_name(path, false, [=](const char* where) { return IMSS_REAL(lsetxattr)(where, name, value, bytes, flags); },
                 [=](const posix::Spot& spot) { return set(spot, name, value, bytes, flags); });
}
IMSS_INTERCEPT int fsetxattr(int fd, const char* name, const void* value, size_t bytes, int flags) noexcept {
  return by_file(fd, [=] { return IMSS_REAL(fsetxattr)(fd, name, value, bytes, flags); },
                 [=](const posix::Spot& spot) { return set(spot, name, value, bytes, flags); });
}
IMSS_INTERCEPT int removexattr(const char* path, const char* name) noexcept {
  return by_name(path, true, [=](const char* where) { return IMSS_REAL(removexattr)(where, name); },
                 [=](const posix::Spot& spot) { return remove(spot, name); });
}
IMSS_INTERCEPT int lremovexattr(const char* path, const char* name) noexcept {
  return by_name(path, false, [=](const char* where) { return IMSS_REAL(lremovexattr)(where, name); },
                 [=](const posix::Spot& spot) { return remove(spot, name); });
}
IMSS_INTERCEPT int fremovexattr(int fd, const char* name) noexcept {
  return by_file(fd, [=] { return IMSS_REAL(fremovexattr)(fd, name); },
                 [=](const posix::Spot& spot) { return remove(spot, name); });
}
