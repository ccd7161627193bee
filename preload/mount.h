// The mount point of this process and what lies behind it: the connection, made when it is first needed, and paths.
//
// The few things of a process that are global are here and in descriptors.h. Nothing of it is destroyed when the process
// ends: streams are flushed after everybody's destructors. Concurrent.
#pragma once

#include <string>
#include <string_view>

#include "client/session.h"
#include "posix/path_view.h"

namespace imss::preload {

// Everything of the store that a process uses.
struct View {
  std::unique_ptr<client::Session> session;
  std::unique_ptr<posix::FileSystem> files;
  std::unique_ptr<posix::PathView> paths;
  std::string instance;
};

// The connection; made by the first who asks. Null when there is none, with *error_number said and, the first time, one
// line in the log. REQUIRES: in_store().
View* view(int* error_number);
// The same as far as it is there already.
View* connected_view();

// The calling process, as the store checks its rights. It is asked anew after forget_caller().
posix::Caller caller();
void forget_caller();
std::uint32_t current_umask();
void set_current_umask(std::uint32_t mask);

inline constexpr unsigned kDevice = 0x494D;  // st_dev of all files of the instance: (0, kDevice), which no kernel gives out

// --- paths ---
const std::string& mount_point();
// Whether the kernel has a directory there too. Then what leads to it by symbolic links is looked at before the kernel
// makes something in it.
bool mount_point_exists();

struct Place {
  posix::Spot spot;
  std::string outside;  // where the path leads that begins inside and leaves
  int error_number = 0;
};
enum class Where { kOutside, kMoved, kInside, kFailed };
// kOutside: the call is the C library's, as it is. kMoved: it is the C library's, with `outside` for the path and
// AT_FDCWD. kInside: `spot` says what it names. kFailed: errno is `error_number`.
Where locate(int directory_fd, const char* path, bool follow_last, Place* place);
// Whether locate() would say kOutside, as far as a look at an absolute path tells.
bool is_plainly_outside(const char* path);
// The same for a path that the C library has not found: by a symbolic link it may lead inside nevertheless.
Where locate_by_links(int directory_fd, const char* path, bool follow_last, Place* place);
// The path of a spot as programs see it.
Result<std::string> text_of(const posix::Spot& spot);

// --- the working directory ---
// 0 when it is the kernel's.
posix::InodeNumber working_directory();
bool works_inside();
// Its path as far as it is known; empty when it cannot be told. REQUIRES: works_inside().
std::string working_directory_text();
void set_working_directory(posix::InodeNumber directory);  // 0: the kernel's
// By a path, which is looked up when it is needed.
void inherit_working_directory(std::string path);

}  // namespace imss::preload
