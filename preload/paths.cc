// Which paths lead into the mount point, and to what there.
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/config.h"
#include "base/log.h"
#include "base/thread_annotations.h"
#include "descriptors.h"
#include "mount.h"
#include "real.h"

namespace imss::preload {
namespace {

// "/a//b/" becomes "/a/b"; empty for what cannot be a mount point.
std::string tidy(std::string_view text) {
  std::string path;
  if (!text.starts_with('/')) return path;
  for (const char c : text) {
    if (c != '/' || path.empty() || path.back() != '/') path += c;
  }
  while (!path.empty() && path.back() == '/') path.pop_back();
  return path;
}

std::string configured_mount_point() {
  for (const char* const variable : {"IMSS_MOUNT_POINT", "HERCULES_MOUNT_POINT"}) {
    const char* const text = std::getenv(variable);
    if (text != nullptr && *text != '\0') return text;
  }
  const auto config = Config::load();
  // What is wrong with it is said when the mount point is used.
  return (config.ok() ? *config : Config()).text(ConfigKey::kMountPoint);
}

const std::string* make_mount_point() {
  const InStore guard;
  const std::string text = configured_mount_point();
  auto made = std::make_unique<std::string>(tidy(text));
  if (made->empty()) IMSS_LOG_ERROR("the mount point '%s' is not an absolute path below /; no path leads to the store", text.c_str());
  return made.release();
}

std::string_view last_component() {
  const std::string_view mount = mount_point();
  return mount.substr(mount.rfind('/') + 1);
}

// Of an absolute path that begins with the mount point: what is left.
bool strip_mount_point(std::string_view path, std::string_view* rest) {
  const std::string_view mount = mount_point();
  if (mount.empty() || !path.starts_with(mount)) return false;
  if (path.size() > mount.size() && path[mount.size()] != '/') return false;
  *rest = path.substr(mount.size());
  return true;
}

// Whether the kernel has to say where the parts of it lead: it has "//", "." or "..".
bool is_plain(std::string_view path) {
  for (std::size_t at = path.find('/'); at != std::string_view::npos && at + 1 < path.size(); at = path.find('/', at + 1)) {
    if (path[at + 1] == '/' || path[at + 1] == '.') return false;
  }
  return true;
}

struct Start {
  posix::InodeNumber directory = 0;  // 0: the root of the instance
  std::string text = {};             // the rest of the path from there
};

std::string absolute_text(int directory_fd, std::string_view path) {
  if (path.starts_with('/')) return std::string(path);
  std::array<char, PATH_MAX> base = {};
  long length = 0;
  if (directory_fd == AT_FDCWD) {
    length = ::syscall(SYS_getcwd, base.data(), base.size()) - 1;
  } else {
    std::array<char, 32> link;
    std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", directory_fd);
    length = ::syscall(SYS_readlinkat, AT_FDCWD, link.data(), base.data(), base.size());
  }
  if (length <= 0 || base[0] != '/') return {};
  return std::string(base.data(), static_cast<std::size_t>(length)) + "/" + std::string(path);
}

// Walks an absolute path as the kernel would, until it is at the mount point. What is not there is taken as it reads.
bool walk_outside(std::string text, bool follow_last, int* links_left, std::string* rest) {
  std::string at;
  std::array<char, PATH_MAX> target;
  for (std::size_t next = 0; next < text.size();) {
    const std::size_t begin = std::min(text.find_first_not_of('/', next), text.size());
    const std::size_t end = std::min(text.find('/', begin), text.size());
    const std::string_view name = std::string_view(text).substr(begin, end - begin);
    next = end;
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      at.resize(at.empty() ? 0 : at.rfind('/'));
      continue;
    }
    std::string candidate = at + "/" + std::string(name);
    if (candidate == mount_point()) {
      *rest = text.substr(end);
      return true;
    }
    if (end == text.size() && !follow_last) return false;
    const long length = ::syscall(SYS_readlinkat, AT_FDCWD, candidate.c_str(), target.data(), target.size());
    if (length <= 0) {
      at = std::move(candidate);
      continue;
    }
    if (--*links_left < 0) return false;
    std::string replaced(target.data(), static_cast<std::size_t>(length));
    replaced += text.substr(end);
    if (replaced.front() == '/') at.clear();
    text = std::move(replaced);
    next = 0;
  }
  return false;
}

// Whether there may be a symbolic link on the way of a path, by one call of the kernel.
bool has_links(int directory_fd, const char* path) {
  open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  const long fd = ::syscall(SYS_openat2, directory_fd, path, &how, sizeof(how));
  if (fd >= 0) ::syscall(SYS_close, fd);
  return fd < 0 && errno != ENOENT;
}

// /proc/self/fd/N, /dev/fd/N, /dev/stdin and their like.
bool is_number_path(std::string_view path, int* fd) {
  if (path.size() < 8 || (path[1] != 'p' && path[1] != 'd')) return false;
  if (path == "/dev/stdin") *fd = 0;
  else if (path == "/dev/stdout") *fd = 1;
  else if (path == "/dev/stderr") *fd = 2;
  else {
    for (const std::string_view prefix : {"/proc/self/fd/", "/dev/fd/"}) {
      if (!path.starts_with(prefix) || path.size() == prefix.size()) continue;
      char* end = nullptr;
      *fd = static_cast<int>(std::strtol(path.data() + prefix.size(), &end, 10));
      return *end == '\0' && is_ours(*fd);
    }
    return false;
  }
  return is_ours(*fd);
}

// Of what a walk says. The kernel need not know the mount point, so ".." of it is taken off here.
std::string path_outside(const std::string& rest) {
  if (rest.starts_with('/')) return rest;
  return mount_point().substr(0, mount_point().rfind('/') + 1) + rest.substr(2);
}

Where walk_inside(Start start, bool follow_last, Place* place) {
  const InStore guard;
  View* const there = view(&place->error_number);
  if (there == nullptr) return Where::kFailed;
  const posix::Caller who = caller();
  int links_left = posix::PathView::kMostLinks;
  for (;;) {
    const posix::InodeNumber from = start.directory != 0 ? start.directory : there->paths->root();
    auto spot = there->paths->walk(who, from, start.text, follow_last, &links_left);
    if (!spot.ok()) {
      place->error_number = spot.status().error_number();
      return Where::kFailed;
    }
    if (!spot->is_outside()) {
      place->spot = std::move(*spot);
      return Where::kInside;
    }
    std::string text = path_outside(spot->outside);
    start.directory = 0;
    start.text.clear();
    if (walk_outside(text, follow_last, &links_left, &start.text)) continue;
    place->outside = std::move(text);
    return Where::kMoved;
  }
}

Where locate_slowly(int directory_fd, const char* path, bool follow_last, Place* place) {
  Start start;
  {
    const InStore guard;
    int links_left = posix::PathView::kMostLinks;
    const std::string text = absolute_text(directory_fd, path);
    if (text.empty() || !walk_outside(text, follow_last, &links_left, &start.text)) return Where::kOutside;
  }
  return walk_inside(std::move(start), follow_last, place);
}

struct Cwd {
  std::atomic<posix::InodeNumber> inode{0};
  std::atomic<bool> pending{false};  // `path` is to be looked up
  Mutex mutex;
  std::string path IMSS_GUARDED_BY(mutex);
};
Cwd& cwd() {
  static Cwd* const made = new Cwd();
  return *made;
}

}  // namespace

const std::string& mount_point() {
  static std::atomic<const std::string*> known{nullptr};
  const std::string* text = known.load(std::memory_order_acquire);
  if (text == nullptr) [[unlikely]] {
    const std::string* const made = make_mount_point();
    if (known.compare_exchange_strong(text, made)) text = made;
  }
  return *text;
}

bool mount_point_exists() {
  enum { kUnknown, kNo, kYes };
  static std::atomic<int> known{kUnknown};
  int now = known.load(std::memory_order_relaxed);
  if (now == kUnknown) {
    struct statx status = {};
    const InStore guard;
    const long found = ::syscall(SYS_statx, AT_FDCWD, mount_point().c_str(), AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status);
    now = found == 0 ? kYes : kNo;
    known.store(now, std::memory_order_relaxed);
  }
  return now == kYes;
}

Where locate(int directory_fd, const char* path, bool follow_last, Place* place) {
  if (path == nullptr || in_store()) return Where::kOutside;
  std::string_view rest;
  if (path[0] == '/') {
    if (strip_mount_point(path, &rest)) return walk_inside({0, std::string(rest)}, follow_last, place);
    if (int fd = -1; follow_last && is_number_path(path, &fd)) {
      const Use used = use(fd);
      if (!used) return Where::kOutside;
      place->spot = used->spot();
      return Where::kInside;
    }
    if (is_plain(path)) return Where::kOutside;
  } else if (directory_fd == AT_FDCWD ? works_inside() : is_ours(directory_fd)) {
    if (path[0] == '\0') {
      place->error_number = ENOENT;
      return Where::kFailed;
    }
    if (directory_fd == AT_FDCWD) return walk_inside(Start{working_directory(), std::string(path)}, follow_last, place);
    const Use used = use(directory_fd);
    if (!used) return Where::kOutside;
    if (used->entry.type != metadata::NodeType::kDirectory) {
      place->error_number = ENOTDIR;
      return Where::kFailed;
    }
    return walk_inside(Start{used->number(), std::string(path)}, follow_last, place);
  }
  const std::string_view last = last_component();
  if (last.empty() || std::string_view(path).find(last) == std::string_view::npos) return Where::kOutside;
  return locate_slowly(directory_fd, path, follow_last, place);
}

Where locate_by_links(int directory_fd, const char* path, bool follow_last, Place* place) {
  if (path == nullptr || *path == '\0' || in_store() || mount_point().empty()) return Where::kOutside;
  {
    const InStore guard;
    if (!has_links(directory_fd, path)) return Where::kOutside;
  }
  return locate_slowly(directory_fd, path, follow_last, place);
}

bool is_plainly_outside(const char* path) {
  std::string_view rest;
  // What begins so may be a number of ours.
  if (path == nullptr || path[0] != '/' || path[1] == 'p' || path[1] == 'd') return false;
  return is_plain(path) && !strip_mount_point(path, &rest);
}

Result<std::string> text_of(const posix::Spot& spot) {
  int error_number = 0;
  View* const there = view(&error_number);
  if (there == nullptr) return Status::from_errno(error_number, mount_point());
  IMSS_ASSIGN_OR_RETURN(std::string text, there->paths->path_of(spot.directory));
  text.insert(0, mount_point());
  if (!spot.name.empty()) text += "/" + spot.name;
  return text;
}

bool works_inside() {
  return cwd().inode.load(std::memory_order_relaxed) != 0 || cwd().pending.load(std::memory_order_acquire);
}

posix::InodeNumber working_directory() {
  Cwd& mine = cwd();
  if (mine.pending.load(std::memory_order_acquire)) {
    std::string path;
    {
      const MutexLock lock(mine.mutex);
      path = mine.path;
    }
    Place place;
    std::string_view rest;
    if (!strip_mount_point(path, &rest)) return 0;
    if (walk_inside({0, std::string(rest)}, true, &place) == Where::kInside && place.spot.is_directory()) {
      set_working_directory(place.spot.number());
    }
  }
  return mine.inode.load(std::memory_order_relaxed);
}

std::string working_directory_text() {
  if (cwd().pending.load(std::memory_order_acquire)) {
    const MutexLock lock(cwd().mutex);
    return cwd().path;
  }
  posix::Spot spot;
  spot.directory = working_directory();
  auto text = text_of(spot);
  return text.ok() ? std::move(*text) : std::string();
}

void set_working_directory(posix::InodeNumber directory) {
  cwd().inode.store(directory, std::memory_order_relaxed);
  cwd().pending.store(false, std::memory_order_release);
}

void inherit_working_directory(std::string path) {
  const MutexLock lock(cwd().mutex);
  cwd().path = std::move(path);
  cwd().pending.store(true, std::memory_order_release);
}

}  // namespace imss::preload
