// What is done at the end of a walk.
#include "posix/path_view.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace imss::posix {

using metadata::EntryInfo;
using metadata::NodeType;

namespace {

Status not_permitted(const char* what) { return Status::from_errno(EPERM, what); }

}  // namespace

Result<struct stat> PathView::status(const Spot& spot) {
  if (spot.name.empty()) return files_.directory_status(spot.directory);
  if (!spot.entry) return Code::kNotFound;
  auto status = files_.status_of(*spot.entry);
  if (status.code() != Code::kNotFound) return status;
  return files_.lookup_once(spot.directory, spot.name);  // removed or replaced meanwhile
}

Status PathView::check(const Caller& caller, const Spot& spot, int wanted) {
  IMSS_ASSIGN_OR_RETURN(const struct stat found, status(spot));
  return may(caller, found, wanted) ? Status() : Status(Code::kPermission);
}

Status PathView::check_new(const Caller& caller, const Spot& spot) {
  if (spot.is_there()) return Code::kExists;
  return check_directory(caller, spot.directory, W_OK | X_OK);
}

Status PathView::check_removal(const Caller& caller, const Spot& spot) {
  if (caller.all_mighty()) return {};
  IMSS_ASSIGN_OR_RETURN(const struct stat above, files_.directory_status(spot.directory));
  if (!may(caller, above, W_OK | X_OK)) return Code::kPermission;
  if ((above.st_mode & S_ISVTX) == 0 || above.st_uid == caller.uid) return {};
  IMSS_ASSIGN_OR_RETURN(const struct stat found, status(spot));
  return found.st_uid == caller.uid ? Status() : not_permitted("a directory with the sticky bit");
}

Result<PathView::Opened> PathView::open(const Caller& caller, const Spot& spot, int flags, std::uint32_t mode) {
  Opened opened;
  if (!spot.is_there()) {
    if ((flags & O_CREAT) == 0) return Code::kNotFound;
    if (spot.names_directory) return Code::kIsDirectory;
    IMSS_RETURN_IF_ERROR(check_directory(caller, spot.directory, W_OK | X_OK));
    struct stat status = {};
    IMSS_ASSIGN_OR_RETURN(opened.file, files_.create(spot.directory, spot.name, flags & ~O_APPEND, mode & 07777,
                                                     owner_of(caller), &status));
    files_.forget(status.st_ino, 1);
    opened.entry.type = NodeType::kDataset;
    opened.entry.id = status.st_ino;
    opened.entry.parent = spot.directory;
    opened.entry.name = spot.name;
    opened.entry.layout = opened.file->dataset().layout;
    return opened;
  }
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return Code::kExists;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
  const bool path_only = (flags & O_PATH) != 0;
  if (spot.entry) opened.entry = *spot.entry;
  opened.entry.id = spot.number();
  if (spot.is_directory()) {
    opened.entry.type = NodeType::kDirectory;
    if (!path_only && (writes || (flags & O_CREAT) != 0)) return Code::kIsDirectory;
  }
  if (spot.entry && spot.entry->type == NodeType::kSymlink && !path_only) {
    return (flags & O_DIRECTORY) != 0 ? Code::kNotDirectory : Code::kLoop;
  }
  if (!path_only && !caller.all_mighty()) {
    const int access_mode = flags & O_ACCMODE;
    const int wanted = (access_mode != O_WRONLY ? R_OK : 0) | (writes ? W_OK : 0);
    IMSS_RETURN_IF_ERROR(check(caller, spot, wanted));
  }
  if (spot.is_directory()) {
    opened.held = files_.hold(opened.entry);
    return opened;
  }
  if ((flags & O_DIRECTORY) != 0) return Code::kNotDirectory;
  if (path_only) return opened;
  auto file = files_.open_entry(*spot.entry, flags & ~O_APPEND);
  if (file.code() == Code::kNotFound && (flags & O_CREAT) == 0) {
    IMSS_RETURN_IF_ERROR(files_.lookup_once(spot.directory, spot.name).status());  // its data is gone
    return Code::kNotFound;
  }
  IMSS_RETURN_IF_ERROR(file.status());
  opened.file = std::move(*file);
  return opened;
}

Result<PathView::Opened> PathView::adopt(const std::string& instance, const EntryInfo& entry, int flags) {
  Opened opened;
  opened.entry = entry;
  if (entry.type == NodeType::kDirectory) opened.held = files_.hold(entry);
  if (entry.type != NodeType::kDataset) return opened;
  IMSS_ASSIGN_OR_RETURN(const auto servers, session_.instance(instance));
  IMSS_ASSIGN_OR_RETURN(auto dataset, client::Session::peek(Uri{instance, entry.name}, {entry, 0, servers}));
  std::int32_t handle = -1;  // of a file that has lost its name: the opening of before counts, until the process ends
  auto again = session_.open_at({servers, entry.parent, entry.name}, entry);
  if (again.ok()) {
    handle = *again;
    IMSS_ASSIGN_OR_RETURN(dataset, session_.dataset(handle));
  }
  opened.file = std::make_unique<OpenFile>(session_, handle, std::move(dataset), flags & ~O_APPEND);
  return opened;
}

Status PathView::make_directory(const Caller& caller, const Spot& spot, std::uint32_t mode) {
  IMSS_RETURN_IF_ERROR(check_new(caller, spot));
  const Owner owner = owner_of(caller);
  return session_.names().make_directory(spot.directory, spot.name, {mode & 01777, owner.uid, owner.gid});
}

Status PathView::make_symlink(const Caller& caller, const Spot& spot, const std::string& target) {
  if (target.empty()) return Code::kNotFound;
  IMSS_RETURN_IF_ERROR(check_new(caller, spot));
  if (spot.names_directory) return Code::kNotFound;
  auto made = files_.make_symlink(spot.directory, spot.name, target, owner_of(caller));
  if (made.ok()) files_.forget(made->st_ino, 1);
  return made.status();
}

Status PathView::make_node(const Caller& caller, const Spot& spot, std::uint32_t mode, std::uint64_t device) {
  IMSS_RETURN_IF_ERROR(check_new(caller, spot));
  if (spot.names_directory) return Code::kNotFound;
  const std::uint32_t type = mode & S_IFMT;
  if ((type == S_IFCHR || type == S_IFBLK) && !caller.all_mighty()) return not_permitted("mknod");
  auto made = files_.make_node(spot.directory, spot.name, mode, device, owner_of(caller));
  if (made.ok()) files_.forget(made->st_ino, 1);
  return made.status();
}

Status PathView::link(const Caller& caller, const Spot& from, const Spot& to) {
  if (!from.is_there()) return Code::kNotFound;
  IMSS_RETURN_IF_ERROR(check_new(caller, to));
  if (from.is_directory()) return not_permitted("link of a directory");
  if (to.names_directory) return Code::kNotFound;
  auto made = files_.link_entry(*from.entry, to.directory, to.name);
  return made;
}

Status PathView::unlink(const Caller& caller, const Spot& spot) {
  if (!spot.is_there()) return Code::kNotFound;
  if (spot.is_directory()) return Code::kIsDirectory;
  IMSS_RETURN_IF_ERROR(check_removal(caller, spot));
  return files_.unlink(spot.directory, spot.name);
}

Status PathView::remove_directory(const Caller& caller, const Spot& spot) {
  if (spot.up) return Code::kNotEmpty;
  if (spot.name.empty()) return spot.directory == root() ? Code::kBusy : Code::kInvalidArgument;
  if (!spot.is_there()) return Code::kNotFound;
  if (!spot.is_directory()) return Code::kNotDirectory;
  IMSS_RETURN_IF_ERROR(check_removal(caller, spot));
  return files_.remove_directory(spot.directory, spot.name);
}

// Whether a directory is another one or lies below it.
Result<bool> PathView::lies_below(InodeNumber directory, InodeNumber above) {
  while (directory != above && directory != root()) {
    IMSS_ASSIGN_OR_RETURN(const metadata::DirectoryInfo info, session_.names().directory(directory));
    directory = info.parent;
  }
  return directory == above;
}

Status PathView::rename(const Caller& caller, const Spot& from, const Spot& to, unsigned flags) {
  const bool no_replace = (flags & RENAME_NOREPLACE) != 0;
  if (from.name.empty()) return Code::kBusy;
  if (to.name.empty()) return no_replace ? Code::kExists : Code::kBusy;
  if (!from.is_there()) return Code::kNotFound;
  if (no_replace && to.is_there()) return Code::kExists;
  if (to.is_directory() && (flags & RENAME_EXCHANGE) == 0) {
    IMSS_ASSIGN_OR_RETURN(const bool holds_source, lies_below(from.directory, to.entry->id));
    if (holds_source) return Code::kNotEmpty;
  }
  if (to.names_directory && !from.is_directory()) return Code::kNotDirectory;
  IMSS_RETURN_IF_ERROR(check_removal(caller, from));
  if (to.is_there()) {
    IMSS_RETURN_IF_ERROR(check_removal(caller, to));
  } else {
    IMSS_RETURN_IF_ERROR(check_directory(caller, to.directory, W_OK | X_OK));
  }
  return files_.rename({from.directory, from.name}, {to.directory, to.name}, flags);
}

Result<std::string> PathView::read_symlink(const Spot& spot) {
  if (!spot.is_there()) return Code::kNotFound;
  if (!spot.entry || spot.entry->type != NodeType::kSymlink) return Code::kInvalidArgument;
  return files_.target_of(*spot.entry);
}

Status PathView::change(const Caller& caller, const Spot& spot, AttributeChange change, bool touches) {
  if (!spot.is_there()) return Code::kNotFound;
  if (!caller.all_mighty()) {
    IMSS_ASSIGN_OR_RETURN(const struct stat found, status(spot));
    const bool owns = found.st_uid == caller.uid;
    if (change.size && !may(caller, found, W_OK)) return Code::kPermission;
    if (change.uid && *change.uid != found.st_uid) return not_permitted("chown");
    if (change.gid && *change.gid != found.st_gid && !(owns && caller.is_in_group(*change.gid))) return not_permitted("chown");
    if ((change.uid || change.gid) && !owns) return not_permitted("chown");
    if (change.mode && !owns) return not_permitted("chmod");
    if (change.mode && !S_ISDIR(found.st_mode) && !caller.is_in_group(found.st_gid)) *change.mode &= ~std::uint32_t{S_ISGID};
    if ((change.accessed_ns || change.modified_ns) && !owns) {
      if (!touches) return not_permitted("utimensat");
      if (!may(caller, found, W_OK)) return Code::kPermission;
    }
    if ((change.uid || change.gid) && !S_ISDIR(found.st_mode) && (found.st_mode & (S_ISUID | S_ISGID)) != 0) {
      change.mode = found.st_mode & 07777 & ~std::uint32_t{S_ISUID | S_ISGID};
    }
  }
  if (spot.name.empty()) return files_.change_directory(spot.directory, change);
  return files_.change_entry(*spot.entry, change).status();
}

}  // namespace imss::posix
