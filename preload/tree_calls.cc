// Functions that go through whole trees: the C library's own would use its own opendir.
#include <ftw.h>
#include <glob.h>

#include <cstring>
#include <dirent.h>
#include <set>
#include <string>
#include <unistd.h>
#include <utility>

#include "calls.h"

namespace imss::preload {
namespace {

// nftw(3) for a tree in the store. Working directories are not changed unless asked for.
struct TreeWalk {
  int (*visit)(const char*, const struct stat*, int, FTW*) = nullptr;
  int (*visit_short)(const char*, const struct stat*, int) = nullptr;  // of ftw(3)
  int flags = 0;
  dev_t device = 0;
  std::set<std::pair<dev_t, ino_t>> above;  // against loops of symbolic links
};

int tell(const TreeWalk& walk, const std::string& path, const struct stat& status, int type, int level) {
  if (walk.visit_short != nullptr) {
    return walk.visit_short(path.c_str(), &status, type == FTW_DP ? FTW_D : type == FTW_SLN ? FTW_NS : type);
  }
  FTW where = {static_cast<int>(path.rfind('/') + 1), level};
  return walk.visit(path.c_str(), &status, type, &where);
}

int walk_tree(TreeWalk& walk, const std::string& path, int level);

int walk_entries(TreeWalk& walk, const std::string& path, DIR* directory, int level) {
  int outcome = 0;
  while (const dirent* const entry = ::readdir(directory)) {
    if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
    outcome = walk_tree(walk, (path == "/" ? path : path + "/") + entry->d_name, level + 1);
    if (outcome == FTW_SKIP_SIBLINGS && (walk.flags & FTW_ACTIONRETVAL) != 0) return 0;
    if (outcome != 0) return outcome;
  }
  return 0;
}

int walk_directory(TreeWalk& walk, const std::string& path, const struct stat& status, int level) {
  if (!walk.above.insert({status.st_dev, status.st_ino}).second) return 0;
  DIR* const directory = ::opendir(path.c_str());
  int outcome = 0;
  if (directory == nullptr) {
    outcome = errno == EACCES ? tell(walk, path, status, FTW_DNR, level) : -1;
  } else {
    if ((walk.flags & FTW_DEPTH) == 0) outcome = tell(walk, path, status, FTW_D, level);
    const bool skip = (walk.flags & FTW_ACTIONRETVAL) != 0 && outcome == FTW_SKIP_SUBTREE;
    if (skip) outcome = 0;
    if (outcome == 0 && !skip) outcome = walk_entries(walk, path, directory, level);
    ::closedir(directory);
    if (outcome == 0 && (walk.flags & FTW_DEPTH) != 0) outcome = tell(walk, path, status, FTW_DP, level);
  }
  walk.above.erase({status.st_dev, status.st_ino});
  return outcome;
}

int walk_tree(TreeWalk& walk, const std::string& path, int level) {
  struct stat status = {};
  const bool physical = (walk.flags & FTW_PHYS) != 0;
  const int found = physical ? ::lstat(path.c_str(), &status) : ::stat(path.c_str(), &status);
  if (found != 0) {
    if (level == 0) return -1;
    const bool dangling = !physical && ::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
    return tell(walk, path, status, dangling ? FTW_SLN : FTW_NS, level);
  }
  if (level == 0) walk.device = status.st_dev;
  if ((walk.flags & FTW_MOUNT) != 0 && status.st_dev != walk.device) return 0;
  if (S_ISDIR(status.st_mode)) return walk_directory(walk, path, status, level);
  return tell(walk, path, status, S_ISLNK(status.st_mode) ? FTW_SL : FTW_F, level);
}

int walk_inside(const char* path, TreeWalk walk) {
  if ((walk.flags & FTW_CHDIR) != 0) {
    errno = ENOTSUP;
    return -1;
  }
  std::string top = path;
  while (top.size() > 1 && top.back() == '/') top.pop_back();
  return walk_tree(walk, top, 0);
}

template <typename Real>
int walk_anywhere(const char* path, TreeWalk walk, Real real) {
  return by_path(
      AT_FDCWD, path, true, [=](int, const char* where) { return real(where); },
      [&](const posix::Spot&) { return walk_inside(path, std::move(walk)); });
}

}  // namespace
}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

// The structures of 64 bits are the same.
IMSS_INTERCEPT int nftw(const char* path, int (*visit)(const char*, const struct stat*, int, FTW*), int most, int flags) {
  TreeWalk walk;
  walk.visit = visit;
  walk.flags = flags;
  return walk_anywhere(path, std::move(walk), [=](const char* where) { return IMSS_REAL(nftw)(where, visit, most, flags); });
}
IMSS_INTERCEPT int nftw64(const char* path, int (*visit)(const char*, const struct stat64*, int, FTW*), int most, int flags) {
  return nftw(path, reinterpret_cast<int (*)(const char*, const struct stat*, int, FTW*)>(visit), most, flags);
}
IMSS_INTERCEPT int ftw(const char* path, int (*visit)(const char*, const struct stat*, int), int most) {
  TreeWalk walk;
  walk.visit_short = visit;
  return walk_anywhere(path, std::move(walk), [=](const char* where) { return IMSS_REAL(ftw)(where, visit, most); });
}
IMSS_INTERCEPT int ftw64(const char* path, int (*visit)(const char*, const struct stat64*, int), int most) {
  return ftw(path, reinterpret_cast<int (*)(const char*, const struct stat*, int)>(visit), most);
}

// glob(3) takes the functions to use from the program; where it gives none, it shall use those of this library.
IMSS_INTERCEPT int glob(const char* pattern, int flags, int (*on_error)(const char*, int), glob_t* found) noexcept {
  if ((flags & GLOB_ALTDIRFUNC) != 0 || in_store()) return IMSS_REAL(glob)(pattern, flags, on_error, found);
  found->gl_closedir = [](void* directory) { ::closedir(static_cast<DIR*>(directory)); };
  found->gl_readdir = [](void* directory) { return ::readdir(static_cast<DIR*>(directory)); };
  found->gl_opendir = [](const char* path) -> void* { return ::opendir(path); };
  found->gl_lstat = [](const char* path, struct stat* status) { return ::lstat(path, status); };
  found->gl_stat = [](const char* path, struct stat* status) { return ::stat(path, status); };
  const int outcome = IMSS_REAL(glob)(pattern, flags | GLOB_ALTDIRFUNC, on_error, found);
  found->gl_flags &= ~GLOB_ALTDIRFUNC;
  return outcome;
}
IMSS_INTERCEPT int glob64(const char* pattern, int flags, int (*on_error)(const char*, int), glob64_t* found) noexcept {
  return glob(pattern, flags, on_error, reinterpret_cast<glob_t*>(found));
}
