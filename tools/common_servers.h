// What a node knows about servers: their record at the metadata service beside their segment here.
//
// Plain values; reads only. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "metadata/namespace.h"
#include "segment/segment_files.h"

namespace imss::tools {

struct ServerState {
  metadata::ServerInfo server;
  bool served = false;        // its segment is here and its process lives
  bool stored = false;        // its segment is here
  segment::FileInfo segment;  // meaningful when stored
};

ServerState state_of(const metadata::ServerInfo& server);
// "serving", "stopped" (the segment waits for a new server) or "gone".
std::string_view state_word(const ServerState& state);

}  // namespace imss::tools
