#include "segment/segment_files.h"

#include <dirent.h>

#include <algorithm>
#include <cstdlib>

#include "segment/segment.h"

namespace imss::segment {

std::string directory() {
  const char* chosen = std::getenv("IMSS_SHM_DIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : "/dev/shm";
}

std::string path_of(const std::string& name) { return directory() + "/" + name; }

std::string file_name(Role role, std::uint32_t port, std::uint32_t rank) {
  return std::string("imss-") + (role == Role::kMetadata ? "metadata" : "data") + "-" +
         std::to_string(port) + "-" + std::to_string(rank);
}

std::vector<std::string> list_files() {
  std::vector<std::string> names;
  DIR* dir = ::opendir(directory().c_str());
  if (dir == nullptr) return names;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (name.starts_with("imss-metadata-") || name.starts_with("imss-data-")) names.push_back(name);
  }
  ::closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

Result<FileInfo> inspect(const std::string& name) {
  FileInfo info;
  info.name = name;
  auto segment = Segment::open(name);
  if (!segment.ok()) {
    if (segment.code() == Code::kNotFound) return segment.status();
    return info;
  }
  const Superblock& block = (*segment)->super();
  info.role = static_cast<Role>(block.role);
  info.attached = block.attached != 0;
  info.sharing = (*segment)->sharing();
  info.port = block.port;
  info.rank = block.rank;
  info.owner_pid = block.owner_pid;
  info.nonce = block.nonce;
  info.capacity_bytes = block.capacity_bytes;
  info.used_bytes = block.used_bytes.load();
  info.map_epoch = block.map_epoch.load();
  const bool served = (*segment)->probe(0) == Segment::Liveness::kAlive;
  info.state = served ? FileState::kServed : FileState::kOrphan;
  info.live_participants = (*segment)->live_participants();
  return info;
}

std::vector<std::string> reclaim_dead_attached() {
  std::vector<std::string> removed;
  for (const std::string& name : list_files()) {
    auto segment = Segment::open(name);
    if (!segment.ok() || (*segment)->super().attached == 0) continue;
    if ((*segment)->probe(0) == Segment::Liveness::kAlive) continue;
    // Late clients are turned away; the name goes, and the memory with the last mapping.
    (*segment)->super().state.store(static_cast<std::uint64_t>(State::kFenced));
    (*segment)->unlink_name();
    removed.push_back(name);
  }
  return removed;
}

}  // namespace imss::segment
