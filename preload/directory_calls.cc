// Directory streams.
//
// A DIR is the C library's own business; what it and ours have in common is that the number comes first. By that, and by
// a mark behind it, ours are known.
#include <dirent.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "calls.h"

namespace imss::preload {
namespace {

constexpr std::uint32_t kMark = 0x53534D49;
constexpr std::size_t kBatch = 256;

struct Stream {
  int fd = -1;
  std::uint32_t mark = kMark;
  posix::InodeNumber directory = 0;
  std::uint64_t place = 0;          // after the entry that was given last
  std::vector<dirent64> ahead;      // what comes next, as far as it was asked for
  std::size_t next = 0;
  bool at_end = false;
  dirent64 given = {};
};

Stream* stream_of(DIR* directory) {
  auto* const stream = reinterpret_cast<Stream*>(directory);
  return is_ours(stream->fd) && stream->mark == kMark ? stream : nullptr;
}

DIR* open_stream(int fd) {
  const Use used = use(fd);
  if (!used || used->kind != Kind::kDirectory) {
    errno = used ? ENOTDIR : EBADF;
    return nullptr;
  }
  auto stream = std::make_unique<Stream>();
  stream->fd = fd;
  stream->directory = used->number();
  return reinterpret_cast<DIR*>(stream.release());
}

// Asks for the next entries. errno is set and false returned when that fails.
bool fill(Stream& stream) {
  InStore guard;
  stream.ahead.clear();
  stream.next = 0;
  const Status listed = connected_view()->paths->list(
      stream.directory, stream.place, [&](const posix::FileSystem::Listed& entry) {
        dirent64 one = {};
        one.d_ino = entry.number;
        one.d_off = static_cast<off64_t>(entry.offset);
        one.d_reclen = sizeof(dirent64);
        one.d_type = static_cast<unsigned char>(IFTODT(entry.mode));
        const std::size_t bytes = std::min(entry.name.size(), sizeof(one.d_name) - 1);
        std::memcpy(one.d_name, entry.name.data(), bytes);
        stream.ahead.push_back(one);
        return stream.ahead.size() < kBatch;
      });
  // A directory that was removed has no entries any more.
  if (!listed.ok() && listed.code() != Code::kNotFound) return guard.fail(listed.error_number()) == 0;
  stream.at_end = stream.ahead.size() < kBatch;
  return true;
}

dirent64* next_entry(Stream& stream) {
  if (stream.next == stream.ahead.size()) {
    if (stream.at_end || !fill(stream) || stream.ahead.empty()) return nullptr;
  }
  stream.given = stream.ahead[stream.next++];
  stream.place = static_cast<std::uint64_t>(stream.given.d_off);
  return &stream.given;
}

void seek_stream(Stream& stream, std::uint64_t place) {
  stream.place = place;
  stream.ahead.clear();
  stream.next = 0;
  stream.at_end = false;
}

// scandir(3) over the streams of this file.
int scan(int fd, dirent*** names, int (*select)(const dirent*), int (*compare)(const dirent**, const dirent**)) {
  DIR* const directory = ::fdopendir(fd);
  if (directory == nullptr) return -1;
  std::vector<dirent*> found;
  while (dirent* const entry = ::readdir(directory)) {
    if (select != nullptr && select(entry) == 0) continue;
    auto* const kept = static_cast<dirent*>(std::malloc(sizeof(dirent)));
    if (kept == nullptr) break;
    std::memcpy(kept, entry, offsetof(dirent, d_name) + std::strlen(entry->d_name) + 1);
    found.push_back(kept);
  }
  ::closedir(directory);
  *names = static_cast<dirent**>(std::malloc(std::max<std::size_t>(found.size(), 1) * sizeof(dirent*)));
  std::copy(found.begin(), found.end(), *names);
  if (compare != nullptr) {
    std::qsort(*names, found.size(), sizeof(dirent*), reinterpret_cast<int (*)(const void*, const void*)>(compare));
  }
  return static_cast<int>(found.size());
}

int scan_path(int at, const char* path, dirent*** names, int (*select)(const dirent*),
              int (*compare)(const dirent**, const dirent**)) {
  return by_path(
      at, path, true, [=](int from, const char* where) { return IMSS_REAL(scandirat)(from, where, names, select, compare); },
      [=](const posix::Spot&) {
        const int fd = open_anywhere(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd < 0) return -1;
        const int count = scan(fd, names, select, compare);
        if (count < 0) close_anywhere(fd);
        return count;
      });
}

}  // namespace
}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

IMSS_INTERCEPT DIR* opendir(const char* path) {
  return by_path<Effect::kMakes>(
      AT_FDCWD, path, true, [](int, const char* where) { return IMSS_REAL(opendir)(where); },
      [path](const imss::posix::Spot&) -> DIR* {
        const int fd = open_anywhere(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        return fd < 0 ? nullptr : open_stream(fd);
      });
}
IMSS_INTERCEPT DIR* fdopendir(int fd) { return is_ours(fd) ? open_stream(fd) : IMSS_REAL(fdopendir)(fd); }
IMSS_INTERCEPT int closedir(DIR* directory) {
  Stream* const stream = stream_of(directory);
  if (stream == nullptr) return IMSS_REAL(closedir)(directory);
  const int closed = close_anywhere(stream->fd);
  delete stream;
  return closed;
}
IMSS_INTERCEPT dirent64* readdir64(DIR* directory) {
  Stream* const stream = stream_of(directory);
  return stream == nullptr ? IMSS_REAL(readdir64)(directory) : next_entry(*stream);
}
IMSS_INTERCEPT dirent* readdir(DIR* directory) { return reinterpret_cast<dirent*>(readdir64(directory)); }
IMSS_INTERCEPT int readdir64_r(DIR* directory, dirent64* entry, dirent64** result) {
  Stream* const stream = stream_of(directory);
  if (stream == nullptr) {
    // The one that is not deprecated does the same.
    const int before = errno;
    errno = 0;
    dirent64* const read = IMSS_REAL(readdir64)(directory);
    const int error_number = errno;
    errno = before;
    *result = read == nullptr ? nullptr : static_cast<dirent64*>(std::memcpy(entry, read, read->d_reclen));
    return read == nullptr ? error_number : 0;
  }
  const dirent64* const read = next_entry(*stream);
  *result = read == nullptr ? nullptr : static_cast<dirent64*>(std::memcpy(entry, read, sizeof(dirent64)));
  return 0;
}
IMSS_INTERCEPT int readdir_r(DIR* directory, dirent* entry, dirent** result) {
  return readdir64_r(directory, reinterpret_cast<dirent64*>(entry), reinterpret_cast<dirent64**>(result));
}
IMSS_INTERCEPT void rewinddir(DIR* directory) noexcept {
  Stream* const stream = stream_of(directory);
  if (stream == nullptr) return IMSS_REAL(rewinddir)(directory);
  seek_stream(*stream, 0);
}
IMSS_INTERCEPT long telldir(DIR* directory) noexcept {
  Stream* const stream = stream_of(directory);
  return stream == nullptr ? IMSS_REAL(telldir)(directory) : static_cast<long>(stream->place);
}
IMSS_INTERCEPT void seekdir(DIR* directory, long place) noexcept {
  Stream* const stream = stream_of(directory);
  if (stream == nullptr) return IMSS_REAL(seekdir)(directory, place);
  seek_stream(*stream, static_cast<std::uint64_t>(place));
}
IMSS_INTERCEPT int dirfd(DIR* directory) noexcept {
  Stream* const stream = stream_of(directory);
  return stream == nullptr ? IMSS_REAL(dirfd)(directory) : stream->fd;
}

IMSS_INTERCEPT int scandirat(int at, const char* path, dirent*** names, int (*select)(const dirent*),
                             int (*compare)(const dirent**, const dirent**)) {
  return scan_path(at, path, names, select, compare);
}
IMSS_INTERCEPT int scandir(const char* path, dirent*** names, int (*select)(const dirent*),
                           int (*compare)(const dirent**, const dirent**)) {
  return scan_path(AT_FDCWD, path, names, select, compare);
}
// Both structures are one on machines of 64 bits.
IMSS_INTERCEPT int scandir64(const char* path, dirent64*** names, int (*select)(const dirent64*),
                             int (*compare)(const dirent64**, const dirent64**)) {
  return scan_path(AT_FDCWD, path, reinterpret_cast<dirent***>(names), reinterpret_cast<int (*)(const dirent*)>(select),
                   reinterpret_cast<int (*)(const dirent**, const dirent**)>(compare));
}
