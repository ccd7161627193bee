// Opening and making files.
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include <cstdarg>
#include <cstring>
#include <string_view>

#include "calls.h"

namespace imss::preload {
namespace {

int open_inside(const posix::Spot& spot, int flags, mode_t mode) {
  Inside inside;
  if ((flags & O_TMPFILE) == O_TMPFILE) return inside.fail(EOPNOTSUPP);
  const mode_t wanted = mode & ~static_cast<mode_t>(current_umask());
  auto opened = inside.paths().open(inside.who(), spot, flags, wanted);
  if (!opened.ok()) return inside.fail(opened.status().error_number());
  int error_number = 0;
  const int fd = enter(std::move(*opened), flags, &error_number);
  return fd < 0 ? inside.fail(error_number) : fd;
}

bool needs_mode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

constexpr int kTries = 100;

// Fills in the X of a template and makes the file or directory of that name. `make` returns -1 with EEXIST to go on.
template <typename Make>
int make_temporary(char* path, int suffix_bytes, Make make) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  constexpr int kPlaces = 6;
  const auto length = static_cast<int>(std::strlen(path));
  char* const places = path + length - suffix_bytes - kPlaces;
  if (length < suffix_bytes + kPlaces || suffix_bytes < 0 || std::string_view(places, kPlaces) != "XXXXXX") {
    errno = EINVAL;
    return -1;
  }
  for (int tried = 0; tried < kTries; ++tried) {
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof(random), 0) < 0) return -1;
    for (int i = 0; i < kPlaces; ++i) {
      places[i] = kLetters[random % kLetters.size()];
      random /= kLetters.size();
    }
    const int made = make(path);
    if (made >= 0 || errno != EEXIST) return made;
  }
  errno = EEXIST;
  return -1;
}

int temporary_file(char* path, int suffix_bytes, int flags) {
  return make_temporary(path, suffix_bytes, [flags](const char* name) {
    return open_anywhere(AT_FDCWD, name, (flags & ~O_ACCMODE) | O_RDWR | O_CREAT | O_EXCL, 0600);
  });
}

}  // namespace

int open_anywhere(int directory_fd, const char* path, int flags, mode_t mode) {
  const bool follow = (flags & O_NOFOLLOW) == 0 && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
  const auto real = [flags, mode](int at, const char* where) {
    const int opened = at == AT_FDCWD ? IMSS_REAL(open64)(where, flags, mode) : IMSS_REAL(openat64)(at, where, flags, mode);
    if (opened >= 0) leave_if_ours(opened);
    return opened;
  };
  const auto inside = [flags, mode](const posix::Spot& spot) { return open_inside(spot, flags, mode); };
  const bool makes = (flags & (O_CREAT | O_DIRECTORY)) != 0;
  const int fd = makes ? by_path<Effect::kMakes>(directory_fd, path, follow, real, inside)
                       : by_path(directory_fd, path, follow, real, inside);
  if (fd >= 0) follow_if_standard(fd);
  return fd;
}

}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

#define IMSS_OPTIONAL_MODE(flags)                \
  mode_t mode = 0;                               \
  if (needs_mode(flags)) {                       \
    std::va_list arguments;                      \
    va_start(arguments, flags);                  \
    mode = va_arg(arguments, mode_t);            \
    va_end(arguments);                           \
  }

IMSS_INTERCEPT int open(const char* path, int flags, ...) {
  IMSS_OPTIONAL_MODE(flags)
  return open_anywhere(AT_FDCWD, path, flags, mode);
}
IMSS_INTERCEPT int open64(const char* path, int flags, ...) {
  IMSS_OPTIONAL_MODE(flags)
  return open_anywhere(AT_FDCWD, path, flags, mode);
}
IMSS_INTERCEPT int openat(int directory_fd, const char* path, int flags, ...) {
  IMSS_OPTIONAL_MODE(flags)
  return open_anywhere(directory_fd, path, flags, mode);
}
IMSS_INTERCEPT int openat64(int directory_fd, const char* path, int flags, ...) {
  IMSS_OPTIONAL_MODE(flags)
  return open_anywhere(directory_fd, path, flags, mode);
}
IMSS_INTERCEPT int __open_2(const char* path, int flags) { return open_anywhere(AT_FDCWD, path, flags, 0); }
IMSS_INTERCEPT int __open64_2(const char* path, int flags) { return open_anywhere(AT_FDCWD, path, flags, 0); }
IMSS_INTERCEPT int __openat_2(int directory_fd, const char* path, int flags) {
  return open_anywhere(directory_fd, path, flags, 0);
}
IMSS_INTERCEPT int __openat64_2(int directory_fd, const char* path, int flags) {
  return open_anywhere(directory_fd, path, flags, 0);
}
IMSS_INTERCEPT int creat(const char* path, mode_t mode) {
  return open_anywhere(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
IMSS_INTERCEPT int creat64(const char* path, mode_t mode) {
  return open_anywhere(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

IMSS_INTERCEPT int mkstemp(char* path) { return temporary_file(path, 0, 0); }
IMSS_INTERCEPT int mkstemp64(char* path) { return temporary_file(path, 0, 0); }
IMSS_INTERCEPT int mkostemp(char* path, int flags) { return temporary_file(path, 0, flags); }
IMSS_INTERCEPT int mkostemp64(char* path, int flags) { return temporary_file(path, 0, flags); }
IMSS_INTERCEPT int mkstemps(char* path, int suffix_bytes) { return temporary_file(path, suffix_bytes, 0); }
IMSS_INTERCEPT int mkstemps64(char* path, int suffix_bytes) { return temporary_file(path, suffix_bytes, 0); }
IMSS_INTERCEPT int mkostemps(char* path, int suffix_bytes, int flags) { return temporary_file(path, suffix_bytes, flags); }
IMSS_INTERCEPT int mkostemps64(char* path, int suffix_bytes, int flags) { return temporary_file(path, suffix_bytes, flags); }
IMSS_INTERCEPT char* mkdtemp(char* path) noexcept {
  const int made = make_temporary(path, 0, [](const char* name) { return ::mkdir(name, 0700); });
  return made < 0 ? nullptr : path;
}
