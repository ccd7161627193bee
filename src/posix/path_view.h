// The tree of an instance as paths show it: walks, checks what the caller may do, and does it.
//
// For callers that have no kernel before them which does this. Concurrent: any thread may call any method. Nothing is
// remembered between calls but the session's own; errors are those of the kernel's tmpfs, as Status::error_number() says.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/session.h"
#include "posix/file_system.h"

namespace imss::posix {

// On whose behalf.
struct Caller {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups = {};  // besides gid
  bool all_mighty() const { return uid == 0; }
  bool is_in_group(std::uint32_t group) const;
};

// Whether the mode allows all of `wanted`, bits of R_OK, W_OK and X_OK.
bool may(const Caller& caller, const struct stat& status, int wanted);

// Where a walk ended.
struct Spot {
  InodeNumber directory = 0;                     // of the last name; 0: the path leads out of the instance
  std::string name = {};                         // empty: `directory` itself, after ".", ".." or nothing
  std::optional<metadata::EntryInfo> entry = {};  // what has the name; none: nothing has, or `name` is empty
  bool names_directory = false;                  // the path ends in '/'
  bool up = false;                               // the last part of the path is ".."
  // Of a path that leads out: by a link to an absolute path, or from the root upwards.
  std::string outside = {};                      // the rest, from "/" or from the instance's root ("../...")

  bool is_outside() const { return directory == 0; }
  bool is_there() const { return entry.has_value() || name.empty(); }
  bool is_directory() const { return name.empty() || (entry && entry->type == metadata::NodeType::kDirectory); }
  InodeNumber number() const { return name.empty() ? directory : entry ? entry->id : 0; }
};

class PathView {
 public:
  // REQUIRES: both live longer.
  PathView(client::Session& session, FileSystem& files) : session_(session), files_(files) {}
  InodeNumber root() const { return files_.root(); }

  static constexpr int kMostLinks = 40;  // as the kernel's MAXSYMLINKS
  // Walks from a directory. `links_left` counts down over the parts of one path. A missing last name is no error.
  Result<Spot> walk(const Caller& caller, InodeNumber start, std::string_view path, bool follow_last, int* links_left);
  // The path of a directory from the root, as "/a/b"; "" is the root. Errors: kNotFound when it was removed.
  Result<std::string> path_of(InodeNumber directory);

  Result<struct stat> status(const Spot& spot);
  // Errors: EACCES.
  Status check(const Caller& caller, const Spot& spot, int wanted);

  struct Opened {
    std::unique_ptr<OpenFile> file;  // none for a directory and with O_PATH
    metadata::EntryInfo entry;       // `id` alone for a directory
    FileSystem::Held held;  // of a directory
  };
  // Flags as of open(2); O_APPEND and descriptors are the caller's. `mode` is less the umask.
  Result<Opened> open(const Caller& caller, const Spot& spot, int flags, std::uint32_t mode);
  // An open file of another process, which this one goes on with. It may have lost its name.
  Result<Opened> adopt(const std::string& instance, const metadata::EntryInfo& entry, int flags);

  Status make_directory(const Caller& caller, const Spot& spot, std::uint32_t mode);
  Status make_symlink(const Caller& caller, const Spot& spot, const std::string& target);
  Status make_node(const Caller& caller, const Spot& spot, std::uint32_t mode, std::uint64_t device);
  Status link(const Caller& caller, const Spot& from, const Spot& to);
  Status unlink(const Caller& caller, const Spot& spot);
  Status remove_directory(const Caller& caller, const Spot& spot);
  Status rename(const Caller& caller, const Spot& from, const Spot& to, unsigned flags);
  Result<std::string> read_symlink(const Spot& spot);
  // `touches`: only times, and only to the present.
  Status change(const Caller& caller, const Spot& spot, AttributeChange change, bool touches = false);
  Status list(InodeNumber directory, std::uint64_t offset, const std::function<bool(const FileSystem::Listed&)>& take) {
    return files_.list(directory, offset, take);
  }
  // Errors: as FileSystem's; EPERM, EACCES, and ENODATA for what is not the caller's to see.
  Result<std::vector<std::uint8_t>> xattr(const Caller& caller, const Spot& spot, std::string_view name);
  Result<std::vector<std::uint8_t>> list_xattrs(const Caller& caller, const Spot& spot);
  Status set_xattr(const Caller& caller, const Spot& spot, std::string_view name, std::span<const std::byte> value, int flags);
  Status remove_xattr(const Caller& caller, const Spot& spot, std::string_view name);
  Result<struct statvfs> space() { return files_.space(); }

 private:
  struct Walk;
  Status take_name(const Caller& caller, Walk* walk);
  Status go_up(Walk* walk);
  Status check_directory(const Caller& caller, InodeNumber directory, int wanted);
  // Whether a name may be taken out of its directory, which has to do with the sticky bit.
  Status check_removal(const Caller& caller, const Spot& spot);
  Result<bool> lies_below(InodeNumber directory, InodeNumber above);
  Status check_new(const Caller& caller, const Spot& spot);
  Status check_xattr(const Caller& caller, const Spot& spot, std::string_view name, bool writes);
  // Its number is known as long.
  FileSystem::Held hold(const Spot& spot);
  Owner owner_of(const Caller& caller) const { return {caller.uid, caller.gid}; }

  client::Session& session_;
  FileSystem& files_;
};

}  // namespace imss::posix
