// Streams: their own reads and writes do not come by the functions that can be intercepted, so a stream on one of our
// files is made with functions of ours for them.
//
// That goes for the standard streams too, as soon as a number from 0 to 2 is ours for the first time: the variable
// stdout then points to a stream of ours, for good. It writes to number 1 whatever that is, so nothing is to be undone.
#include <stdio.h>
#include <stdio_ext.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string_view>

#include "base/thread_annotations.h"
#include "calls.h"

namespace imss::preload {
namespace {

struct Cookie {
  int fd = -1;
};

ssize_t cookie_read(void* cookie, char* buffer, std::size_t bytes) {
  return ::read(static_cast<Cookie*>(cookie)->fd, buffer, bytes);
}

// The C library takes fewer bytes than it gave for an error.
ssize_t cookie_write(void* cookie, const char* buffer, std::size_t bytes) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t written = ::write(static_cast<Cookie*>(cookie)->fd, buffer + done, bytes - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    done += static_cast<std::size_t>(written);
  }
  return static_cast<ssize_t>(done);
}

int cookie_seek(void* cookie, off64_t* offset, int whence) {
  const off64_t at = ::lseek64(static_cast<Cookie*>(cookie)->fd, *offset, whence);
  if (at < 0) return -1;
  *offset = at;
  return 0;
}

struct Standard {
  Mutex mutex;
  FILE* made[3] IMSS_GUARDED_BY(mutex) = {};
  bool closed[3] IMSS_GUARDED_BY(mutex) = {};
};
Standard& standard() {
  static Standard* const made = new Standard();
  return *made;
}

int cookie_close(void* cookie) {
  const std::unique_ptr<Cookie> mine(static_cast<Cookie*>(cookie));
  if (static_cast<unsigned>(mine->fd) <= 2) {
    const MutexLock lock(standard().mutex);
    standard().closed[mine->fd] = true;
  }
  return close_anywhere(mine->fd);
}

FILE* make_stream(int fd, const char* mode) {
  auto cookie = std::make_unique<Cookie>();
  cookie->fd = fd;
  FILE* const stream = ::fopencookie(cookie.get(), mode, {cookie_read, cookie_write, cookie_seek, cookie_close});
  if (stream == nullptr) return nullptr;
  cookie.release();
  stream->_fileno = fd;
  return stream;
}

// The flags of open(2) for a mode of fopen(3); -1 for what is none.
int flags_of(std::string_view mode) {
  if (mode.empty()) return -1;
  const bool both = mode.find('+') != std::string_view::npos;
  int flags = 0;
  switch (mode[0]) {
    case 'r':
      flags = both ? O_RDWR : O_RDONLY;
      break;
    case 'w':
      flags = (both ? O_RDWR : O_WRONLY) | O_CREAT | O_TRUNC;
      break;
    case 'a':
      flags = (both ? O_RDWR : O_WRONLY) | O_CREAT | O_APPEND;
      break;
    default:
      return -1;
  }
  const std::string_view letters = mode.substr(0, mode.find(','));
  if (letters.find('x') != std::string_view::npos) flags |= O_EXCL;
  if (letters.find('e') != std::string_view::npos) flags |= O_CLOEXEC;
  return flags;
}

FILE* open_stream(const char* path, const char* mode) {
  return by_path<Effect::kMakes>(
      AT_FDCWD, path, true,
      [mode](int, const char* where) {
        FILE* const stream = IMSS_REAL(fopen64)(where, mode);
        if (stream != nullptr) leave_if_ours(::fileno(stream));
        return stream;
      },
      [path, mode](const posix::Spot&) -> FILE* {
        const int flags = flags_of(mode);
        if (flags < 0) {
          errno = EINVAL;
          return nullptr;
        }
        const int fd = open_anywhere(AT_FDCWD, path, flags, 0666);
        if (fd < 0) return nullptr;
        FILE* const stream = make_stream(fd, mode);
        if (stream == nullptr) close_anywhere(fd);
        return stream;
      });
}

FILE** variable_of(int fd) { return fd == 0 ? &stdin : fd == 1 ? &stdout : &stderr; }

// The stream keeps its place in the program: for a standard one that is its variable.
FILE* reopen_inside(const char* path, const char* mode, FILE* stream) {
  const int flags = flags_of(mode);
  const int number = ::fileno(stream);
  const bool is_standard = number >= 0 && number <= 2 && *variable_of(number) == stream;
  if (flags < 0 || !is_standard) {
    errno = flags < 0 ? EINVAL : ENOTSUP;
    return nullptr;
  }
  ::fflush(stream);
  const int fd = open_anywhere(AT_FDCWD, path, flags, 0666);
  if (fd < 0) return nullptr;
  ::dup2(fd, number);
  close_anywhere(fd);
  return *variable_of(number);
}

FILE* reopen(const char* path, const char* mode, FILE* stream) {
  if (path == nullptr) {
    if (!is_ours(::fileno(stream))) return IMSS_REAL(freopen64)(path, mode, stream);
    errno = EBADF;  // as the C library says it of a stream that cannot change
    return nullptr;
  }
  return by_path(
      AT_FDCWD, path, true, [=](int, const char* where) { return IMSS_REAL(freopen64)(where, mode, stream); },
      [=](const posix::Spot&) { return reopen_inside(path, mode, stream); });
}

}  // namespace

void follow_standard_stream(int fd) {
  FILE** const variable = variable_of(fd);
  Standard& mine = standard();
  const MutexLock lock(mine.mutex);
  if (mine.made[fd] != nullptr || mine.closed[fd] || !is_ours(fd)) return;
  FILE* const before = *variable;
  if (before == nullptr || before->_fileno != fd) return;  // the program has made it something else
  FILE* const stream = make_stream(fd, fd == 0 ? "r" : "w");
  if (stream == nullptr) return;
  if (fd == 2) std::setvbuf(stream, nullptr, _IONBF, 0);
  if (fd != 0) {
    // What waits to be written goes where the number leads when it is flushed.
    const std::size_t waiting = ::__fpending(before);
    if (waiting > 0) std::fwrite(before->_IO_write_base, 1, waiting, stream);
    ::__fpurge(before);
  }
  mine.made[fd] = stream;
  *variable = stream;
}

}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

IMSS_INTERCEPT FILE* fopen(const char* path, const char* mode) { return open_stream(path, mode); }
IMSS_INTERCEPT FILE* fopen64(const char* path, const char* mode) { return open_stream(path, mode); }
IMSS_INTERCEPT FILE* fdopen(int fd, const char* mode) noexcept {
  return is_ours(fd) ? make_stream(fd, mode) : IMSS_REAL(fdopen)(fd, mode);
}
IMSS_INTERCEPT FILE* freopen(const char* path, const char* mode, FILE* stream) { return reopen(path, mode, stream); }
IMSS_INTERCEPT FILE* freopen64(const char* path, const char* mode, FILE* stream) { return reopen(path, mode, stream); }
