// Walking: from a directory along a path, over symbolic links, to a name.
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "posix/path_view.h"

namespace imss::posix {

using metadata::NodeType;

// A walk under way: at a directory, with a rest of the path.
struct PathView::Walk {
  Spot spot;
  std::string rest;       // holds what `left` shows, once a symbolic link was met
  std::string_view left;
  bool follow_last = false;
  int* links_left = nullptr;
  bool ended = false;
};

bool Caller::is_in_group(std::uint32_t group) const {
  return group == gid || std::ranges::find(groups, group) != groups.end();
}

bool may(const Caller& caller, const struct stat& status, int wanted) {
  if (caller.all_mighty()) return (wanted & X_OK) == 0 || S_ISDIR(status.st_mode) || (status.st_mode & 0111) != 0;
  std::uint32_t bits = status.st_mode;
  if (caller.uid == status.st_uid) {
    bits >>= 6;
  } else if (caller.is_in_group(status.st_gid)) {
    bits >>= 3;
  }
  return (static_cast<std::uint32_t>(wanted) & ~bits & 7) == 0;
}

Status PathView::check_directory(const Caller& caller, InodeNumber directory, int wanted) {
  if (caller.all_mighty()) return {};
  IMSS_ASSIGN_OR_RETURN(const struct stat status, files_.directory_status(directory));
  return may(caller, status, wanted) ? Status() : Status(Code::kPermission);
}

Status PathView::go_up(Walk* walk) {
  Spot& spot = walk->spot;
  if (spot.directory == root()) {
    spot.outside = "../" + std::string(walk->left);
    spot.directory = 0;
    walk->ended = true;
    return {};
  }
  IMSS_ASSIGN_OR_RETURN(const metadata::DirectoryInfo info, session_.names().directory(spot.directory));
  spot.directory = info.parent;
  return {};
}

// One name off the front, whatever it names.
Status PathView::take_name(const Caller& caller, Walk* walk) {
  Spot& spot = walk->spot;
  const std::size_t length = std::min(walk->left.find('/'), walk->left.size());
  const std::string_view name = walk->left.substr(0, length);
  const std::size_t next = std::min(walk->left.find_first_not_of('/', length), walk->left.size());
  const bool last = next == walk->left.size();
  spot.names_directory = last && next != length;
  spot.up = last && name == "..";
  IMSS_RETURN_IF_ERROR(check_directory(caller, spot.directory, X_OK));
  if (name == "." || name == "..") {
    walk->left.remove_prefix(next);
    return name.size() == 2 ? go_up(walk) : Status();
  }
  if (name.size() > kMaxNameBytes) return Code::kNameTooLong;
  auto entry = session_.names().lookup(spot.directory, name);
  if (!entry.ok()) {
    if (entry.code() != Code::kNotFound || !last) return entry.status();
    spot.name = name;
    walk->ended = true;
    return {};
  }
  if (entry->type == NodeType::kSymlink && (!last || walk->follow_last || spot.names_directory)) {
    if (--*walk->links_left < 0) return Code::kLoop;
    IMSS_ASSIGN_OR_RETURN(std::string target, files_.target_of(*entry));
    const bool absolute = target.front() == '/';
    target.append(walk->left.substr(length));
    if (absolute) {
      spot.outside = std::move(target);
      spot.directory = 0;
      walk->ended = true;
      return {};
    }
    walk->rest = std::move(target);
    walk->left = walk->rest;
    return {};
  }
  walk->left.remove_prefix(next);
  if (last) {
    if (spot.names_directory && entry->type != NodeType::kDirectory) return Code::kNotDirectory;
    spot.name = name;
    spot.entry = std::move(*entry);
    walk->ended = true;
    return {};
  }
  if (entry->type != NodeType::kDirectory) return Code::kNotDirectory;
  spot.directory = entry->id;
  return {};
}

Result<Spot> PathView::walk(const Caller& caller, InodeNumber start, std::string_view path, bool follow_last, int* links_left) {
  Walk walk;
  walk.spot.directory = start;
  walk.left = path;
  walk.left.remove_prefix(std::min(path.find_first_not_of('/'), path.size()));
  walk.follow_last = follow_last;
  walk.links_left = links_left;
  while (!walk.left.empty() && !walk.ended) IMSS_RETURN_IF_ERROR(take_name(caller, &walk));
  return std::move(walk.spot);
}

// Directories do not know their names: each is looked for in the one above it.
Result<std::string> PathView::path_of(InodeNumber directory) {
  std::string path;
  while (directory != root()) {
    IMSS_ASSIGN_OR_RETURN(const metadata::DirectoryInfo info, session_.names().directory(directory));
    std::string name;
    IMSS_RETURN_IF_ERROR(files_.list(info.parent, 2, [&](const FileSystem::Listed& listed) {
      if (listed.number != directory) return true;
      name = listed.name;
      return false;
    }));
    if (name.empty()) return Code::kNotFound;
    path.insert(0, "/" + name);
    directory = info.parent;
  }
  return path;
}

}  // namespace imss::posix
