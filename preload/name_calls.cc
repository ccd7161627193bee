// Names: making, moving and removing them, links, and the working directory.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "calls.h"

namespace imss::preload {
namespace {

mode_t without_umask(mode_t mode) { return mode & ~static_cast<mode_t>(current_umask()); }

int make_directory(int fd, const char* path, mode_t mode) {
  return by_path<Effect::kMakes>(
      fd, path, false, [=](int at, const char* where) { return IMSS_REAL(mkdirat)(at, where, mode); },
      [=](const posix::Spot& spot) {
        Inside inside;
        return inside.done(inside.paths().make_directory(inside.who(), spot, without_umask(mode)));
      });
}

int make_node(int fd, const char* path, mode_t mode, dev_t device) {
  return by_path<Effect::kMakes>(
      fd, path, false, [=](int at, const char* where) { return IMSS_REAL(mknodat)(at, where, mode, device); },
      [=](const posix::Spot& spot) {
        Inside inside;
        const mode_t wanted = (mode & S_IFMT) | without_umask(mode & 07777);
        return inside.done(inside.paths().make_node(inside.who(), spot, wanted, device));
      });
}

int remove_name(int fd, const char* path, int flags) {
  return by_path(
      fd, path, false, [=](int at, const char* where) { return IMSS_REAL(unlinkat)(at, where, flags); },
      [=](const posix::Spot& spot) {
        Inside inside;
        if ((flags & AT_REMOVEDIR) != 0) return inside.done(inside.paths().remove_directory(inside.who(), spot));
        return inside.done(inside.paths().unlink(inside.who(), spot));
      });
}

int rename_names(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) {
  return by_two_paths(
      from_fd, from, to_fd, to, {},
      [=](int source_fd, const char* source, int target_fd, const char* target) {
        if (flags == 0) return IMSS_REAL(renameat)(source_fd, source, target_fd, target);
        return IMSS_REAL(renameat2)(source_fd, source, target_fd, target, flags);
      },
      [=](const posix::Spot& source, const posix::Spot& target) {
        Inside inside;
        return inside.done(inside.paths().rename(inside.who(), source, target, flags));
      });
}

int link_names(int from_fd, const char* from, int to_fd, const char* to, int flags) {
  const auto inside_link = [](const posix::Spot& source, const posix::Spot& target) {
    Inside inside;
    return inside.done(inside.paths().link(inside.who(), source, target));
  };
  return by_two_paths(
      from_fd, from, to_fd, to, {.follow = (flags & AT_SYMLINK_FOLLOW) != 0, .must_be_there = true},
      [=](int source_fd, const char* source, int target_fd, const char* target) {
        return IMSS_REAL(linkat)(source_fd, source, target_fd, target, flags);
      },
      inside_link);
}

ssize_t copy_text(const std::string& text, char* buffer, std::size_t room) {
  const std::size_t bytes = std::min(text.size(), room);
  std::memcpy(buffer, text.data(), bytes);
  return static_cast<ssize_t>(bytes);
}

// /proc/self/fd/N of a number that is ours: the path of its file.
bool text_of_number(const char* path, std::string* text) {
  Place place;
  if (path == nullptr || (std::strncmp(path, "/proc/self/fd/", 14) != 0 && std::strncmp(path, "/dev/fd/", 8) != 0)) return false;
  if (locate(AT_FDCWD, path, true, &place) != Where::kInside) return false;
  const InStore guard;
  auto found = text_of(place.spot);
  if (found.ok()) *text = std::move(*found);
  return found.ok();
}

ssize_t read_link(int fd, const char* path, char* buffer, std::size_t room) {
  std::string text;
  if (text_of_number(path, &text)) return copy_text(text, buffer, room);
  if (path != nullptr && *path == '\0' && is_ours(fd)) {
    // Of a symbolic link that was opened with O_PATH.
    if (const Use used = use(fd)) {
      Inside inside;
      const auto target = inside.paths().read_symlink(used->spot());
      if (!target.ok()) return inside.fail(target.code() == Code::kInvalidArgument ? ENOENT : target.status().error_number());
      return copy_text(*target, buffer, room);
    }
  }
  return by_path(
      fd, path, false, [=](int at, const char* where) { return IMSS_REAL(readlinkat)(at, where, buffer, room); },
      [=](const posix::Spot& spot) -> ssize_t {
        Inside inside;
        const auto target = inside.paths().read_symlink(spot);
        if (!target.ok()) return inside.fail(target.status().error_number());
        return copy_text(*target, buffer, room);
      });
}

// Where programs go that this library is not in: nothing can be made there by mistake.
constexpr const char* kKernelDirectory = "/proc";

int enter_directory(const posix::Spot& spot) {
  Inside inside;
  if (!spot.is_there()) return inside.fail(ENOENT);
  if (!spot.is_directory()) return inside.fail(ENOTDIR);
  const Status allowed = inside.paths().check(inside.who(), spot, X_OK);
  if (!allowed.ok()) return inside.done(allowed);
  if (IMSS_REAL(chdir)(kKernelDirectory) != 0) return inside.keep_errno(-1);
  set_working_directory(spot.number());
  return 0;
}

int leave_for(int outcome) {
  if (outcome == 0) set_working_directory(0);
  return outcome;
}

// Of the working directory inside.
char* working_path(char* buffer, std::size_t room) {
  InStore guard;
  posix::Spot spot;
  spot.directory = working_directory();
  if (spot.directory == 0) {
    guard.fail(ENOTCONN);
    return nullptr;
  }
  const auto text = text_of(spot);
  if (!text.ok()) {
    guard.fail(text.status().error_number());
    return nullptr;
  }
  if (buffer == nullptr) {
    if (room != 0 && room <= text->size()) {
      guard.fail(ERANGE);
      return nullptr;
    }
    return ::strdup(text->c_str());
  }
  if (room <= text->size()) {
    guard.fail(room == 0 ? EINVAL : ERANGE);
    return nullptr;
  }
  return static_cast<char*>(std::memcpy(buffer, text->c_str(), text->size() + 1));
}

// The path of a spot that is there, into the program's buffer or a new one.
char* real_path_inside(const posix::Spot& spot, char* buffer) {
  InStore guard;
  if (!spot.is_there()) {
    guard.fail(ENOENT);
    return nullptr;
  }
  const auto text = text_of(spot);
  if (!text.ok() || text->size() >= PATH_MAX) {
    guard.fail(text.ok() ? ENAMETOOLONG : text.status().error_number());
    return nullptr;
  }
  if (buffer == nullptr) return ::strdup(text->c_str());
  return static_cast<char*>(std::memcpy(buffer, text->c_str(), text->size() + 1));
}

}  // namespace
}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

IMSS_INTERCEPT int mkdir(const char* path, mode_t mode) noexcept { return make_directory(AT_FDCWD, path, mode); }
IMSS_INTERCEPT int mkdirat(int fd, const char* path, mode_t mode) noexcept { return make_directory(fd, path, mode); }
IMSS_INTERCEPT int mknod(const char* path, mode_t mode, dev_t device) noexcept {
  return make_node(AT_FDCWD, path, mode, device);
}
IMSS_INTERCEPT int mknodat(int fd, const char* path, mode_t mode, dev_t device) noexcept {
  return make_node(fd, path, mode, device);
}
IMSS_INTERCEPT int __xmknod(int, const char* path, mode_t mode, dev_t* device) {
  return make_node(AT_FDCWD, path, mode, *device);
}
IMSS_INTERCEPT int __xmknodat(int, int fd, const char* path, mode_t mode, dev_t* device) {
  return make_node(fd, path, mode, *device);
}
IMSS_INTERCEPT int mkfifo(const char* path, mode_t mode) noexcept { return make_node(AT_FDCWD, path, mode | S_IFIFO, 0); }
IMSS_INTERCEPT int mkfifoat(int fd, const char* path, mode_t mode) noexcept { return make_node(fd, path, mode | S_IFIFO, 0); }

IMSS_INTERCEPT int unlink(const char* path) noexcept { return remove_name(AT_FDCWD, path, 0); }
IMSS_INTERCEPT int unlinkat(int fd, const char* path, int flags) noexcept { return remove_name(fd, path, flags); }
IMSS_INTERCEPT int rmdir(const char* path) noexcept { return remove_name(AT_FDCWD, path, AT_REMOVEDIR); }
IMSS_INTERCEPT int remove(const char* path) noexcept {
  const int removed = remove_name(AT_FDCWD, path, 0);
  return removed != 0 && (errno == EISDIR || errno == EPERM) ? remove_name(AT_FDCWD, path, AT_REMOVEDIR) : removed;
}

IMSS_INTERCEPT int rename(const char* from, const char* to) noexcept { return rename_names(AT_FDCWD, from, AT_FDCWD, to, 0); }
IMSS_INTERCEPT int renameat(int from_fd, const char* from, int to_fd, const char* to) noexcept {
  return rename_names(from_fd, from, to_fd, to, 0);
}
IMSS_INTERCEPT int renameat2(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) noexcept {
  return rename_names(from_fd, from, to_fd, to, flags);
}
IMSS_INTERCEPT int link(const char* from, const char* to) noexcept { return link_names(AT_FDCWD, from, AT_FDCWD, to, 0); }
IMSS_INTERCEPT int linkat(int from_fd, const char* from, int to_fd, const char* to, int flags) noexcept {
  return link_names(from_fd, from, to_fd, to, flags);
}
IMSS_INTERCEPT int symlinkat(const char* target, int fd, const char* path) noexcept {
  return by_path<Effect::kMakes>(
      fd, path, false, [=](int at, const char* where) { return IMSS_REAL(symlinkat)(target, at, where); },
      [=](const posix::Spot& spot) {
        Inside inside;
        return inside.done(inside.paths().make_symlink(inside.who(), spot, target));
      });
}
IMSS_INTERCEPT int symlink(const char* target, const char* path) noexcept { return symlinkat(target, AT_FDCWD, path); }

IMSS_INTERCEPT ssize_t readlink(const char* path, char* buffer, size_t room) noexcept {
  return read_link(AT_FDCWD, path, buffer, room);
}
IMSS_INTERCEPT ssize_t readlinkat(int fd, const char* path, char* buffer, size_t room) noexcept {
  return read_link(fd, path, buffer, room);
}
IMSS_INTERCEPT ssize_t __readlink_chk(const char* path, char* buffer, size_t bytes, size_t room) {
  if (bytes > room) __builtin_trap();
  return read_link(AT_FDCWD, path, buffer, bytes);
}
IMSS_INTERCEPT ssize_t __readlinkat_chk(int fd, const char* path, char* buffer, size_t bytes, size_t room) {
  if (bytes > room) __builtin_trap();
  return read_link(fd, path, buffer, bytes);
}

IMSS_INTERCEPT char* realpath(const char* path, char* buffer) noexcept {
  return by_path(
      AT_FDCWD, path, true, [=](int, const char* where) { return IMSS_REAL(realpath)(where, buffer); },
      [=](const posix::Spot& spot) { return real_path_inside(spot, buffer); });
}
IMSS_INTERCEPT char* canonicalize_file_name(const char* path) noexcept { return realpath(path, nullptr); }
IMSS_INTERCEPT char* __realpath_chk(const char* path, char* buffer, size_t room) {
  if (room < PATH_MAX) __builtin_trap();
  return realpath(path, buffer);
}

IMSS_INTERCEPT int chdir(const char* path) noexcept {
  return by_path<Effect::kMakes>(
      AT_FDCWD, path, true, [](int, const char* where) { return leave_for(IMSS_REAL(chdir)(where)); }, enter_directory);
}
IMSS_INTERCEPT int fchdir(int fd) noexcept {
  if (is_ours(fd)) {
    if (const Use used = use(fd)) {
      if (used->entry.type == imss::metadata::NodeType::kDirectory) return enter_directory(used->spot());
      errno = ENOTDIR;
      return -1;
    }
  }
  return leave_for(IMSS_REAL(fchdir)(fd));
}
IMSS_INTERCEPT char* getcwd(char* buffer, size_t room) noexcept {
  return works_inside() && !in_store() ? working_path(buffer, room) : IMSS_REAL(getcwd)(buffer, room);
}
IMSS_INTERCEPT char* __getcwd_chk(char* buffer, size_t bytes, size_t room) {
  if (bytes > room) __builtin_trap();
  return getcwd(buffer, bytes);
}
IMSS_INTERCEPT char* get_current_dir_name() noexcept { return getcwd(nullptr, 0); }
IMSS_INTERCEPT char* getwd(char* buffer) noexcept { return getcwd(buffer, PATH_MAX); }
