// Where segment files live and what they are called: `imss-*` in the shared-memory file system.
//
// Stateless functions; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "segment/layout.h"

namespace imss::segment {

// IMSS_SHM_DIR, or /dev/shm.
std::string directory();
std::string path_of(const std::string& name);

// `imss-data-5555-0`: role, port and rank name a server on a node.
std::string file_name(Role role, std::uint32_t port, std::uint32_t rank);

// Names of all segment files, sorted.
std::vector<std::string> list_files();

enum class FileState {
  kServed,   // its host lives
  kOrphan,   // its host is dead; the content is good for a restart
  kForeign,  // not a segment that this program can read
};
struct FileInfo {
  std::string name;
  FileState state = FileState::kForeign;
  Role role = Role::kData;
  bool attached = false;
  Sharing sharing = Sharing::kReadWrite;
  std::uint32_t port = 0;
  std::uint32_t rank = 0;
  std::uint32_t owner_pid = 0;
  std::uint64_t nonce = 0;
  std::uint64_t capacity_bytes = 0;
  std::uint64_t used_bytes = 0;
  std::uint64_t map_epoch = 0;          // of the cluster map, as far as the server knows
  std::uint32_t live_participants = 0;  // threads that have it mapped, the host included
};
Result<FileInfo> inspect(const std::string& name);

// Removes the files of attached servers whose host is dead and returns their names. Whoever still maps one is
// turned away from then on. Detached servers' segments are kept: they survive their server.
std::vector<std::string> reclaim_dead_attached();

}  // namespace imss::segment
