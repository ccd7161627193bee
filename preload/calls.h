// What the intercepted calls share: the way from a path to the store or to the C library.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cerrno>
#include <string>
#include <type_traits>

#include "descriptors.h"
#include "mount.h"
#include "real.h"

namespace imss::preload {

// A call that goes on in the store. REQUIRES: locate() found a place there, so that the connection is made.
class Inside : public InStore {
 public:
  Inside() : view_(*connected_view()), caller_(caller()) {}
  posix::PathView& paths() { return *view_.paths; }
  posix::FileSystem& files() { return *view_.files; }
  client::Session& session() { return *view_.session; }
  const std::string& instance() const { return view_.instance; }
  const posix::Caller& who() const { return caller_; }

 private:
  View& view_;
  const posix::Caller caller_;
};

template <typename T>
constexpr T failure() {
  if constexpr (std::is_pointer_v<T>) return nullptr;
  else return static_cast<T>(-1);
}

// Whether a call changes what is there, or leads on from there.
enum class Effect { kLooks, kMakes };

// Calls real(directory_fd, path) or inside(spot), whichever the path is for.
template <Effect effect = Effect::kLooks, typename Real, typename Store>
auto by_path(int directory_fd, const char* path, bool follow_last, Real real, Store inside)
    -> decltype(real(directory_fd, path)) {
  using Outcome = decltype(real(directory_fd, path));
  if (in_store()) return real(directory_fd, path);
  if (effect == Effect::kLooks && is_plainly_outside(path)) {
    const Outcome outcome = real(directory_fd, path);
    if (outcome != failure<Outcome>() || errno != ENOENT) [[likely]] return outcome;
  }
  Place place;
  Where where = locate(directory_fd, path, follow_last, &place);
  if (effect == Effect::kMakes && where == Where::kOutside && mount_point_exists()) {
    where = locate_by_links(directory_fd, path, follow_last, &place);
  }
  if (where == Where::kOutside) {
    const Outcome outcome = real(directory_fd, path);
    if (outcome != failure<Outcome>() || errno != ENOENT) return outcome;
    where = locate_by_links(directory_fd, path, follow_last, &place);
    if (where == Where::kOutside) {
      errno = ENOENT;
      return outcome;
    }
  }
  if (where == Where::kMoved) return real(AT_FDCWD, place.outside.c_str());
  if (where == Where::kInside) return inside(place.spot);
  errno = place.error_number;
  return failure<Outcome>();
}

struct SourceRule {
  bool follow = false;         // a symbolic link
  bool must_be_there = false;  // before anything is said of the other path
};
// The same for two paths. Where only one of them leads into the store the call fails with EXDEV.
template <typename Real, typename Store>
int by_two_paths(int from_fd, const char* from, int to_fd, const char* to, SourceRule rule, Real real, Store inside) {
  Place source;
  Place target;
  const auto find = [](int fd, const char* path, bool follow, Place* place) {
    const Where where = locate(fd, path, follow, place);
    return where == Where::kOutside ? locate_by_links(fd, path, follow, place) : where;
  };
  const Where source_is = find(from_fd, from, rule.follow, &source);
  const Where target_is = find(to_fd, to, false, &target);
  if (rule.must_be_there && source_is == Where::kInside && !source.spot.is_there()) {
    errno = ENOENT;
    return -1;
  }
  if (source_is == Where::kFailed || target_is == Where::kFailed) {
    errno = source_is == Where::kFailed ? source.error_number : target.error_number;
    return -1;
  }
  if (source_is == Where::kInside && target_is == Where::kInside) return inside(source.spot, target.spot);
  if (source_is == Where::kInside || target_is == Where::kInside) {
    errno = source_is == Where::kInside && !source.spot.is_there() ? ENOENT : EXDEV;
    return -1;
  }
  if (source_is == Where::kMoved) from = source.outside.c_str();
  if (target_is == Where::kMoved) to = target.outside.c_str();
  return real(from_fd, from, to_fd, to);
}

// open(2) wherever the path leads; for those that are built on it. `mode` is as the program gave it.
int open_anywhere(int directory_fd, const char* path, int flags, mode_t mode);
int close_anywhere(int fd);
int stat_anywhere(int directory_fd, const char* path, struct stat* status, int flags);

// --- descriptors of the store; errno is set on failure ---
ssize_t read_ours(int fd, Description& description, void* buffer, std::size_t bytes);
ssize_t write_ours(int fd, Description& description, const void* buffer, std::size_t bytes);
ssize_t read_ours_at(Description& description, void* buffer, std::size_t bytes, std::int64_t offset);
ssize_t write_ours_at(Description& description, const void* buffer, std::size_t bytes, std::int64_t offset);
std::int64_t seek_ours(int fd, Description& description, std::int64_t offset, int whence);
int status_of_ours(Description& description, struct stat* status);

// The standard streams follow what their numbers mean (stdio_calls.cc).
void follow_standard_stream(int fd);
inline void follow_if_standard(int fd) {
  if (static_cast<unsigned>(fd) <= 2) [[unlikely]] follow_standard_stream(fd);
}

}  // namespace imss::preload
