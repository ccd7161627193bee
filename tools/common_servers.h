// What is known about servers: their record at the metadata service, their segment on this node,
// and what they say when they are asked.
//
// Plain values; reads only. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/server_control.h"
#include "client/session.h"
#include "metadata/namespace.h"
#include "segment/segment.h"
#include "segment/segment_files.h"

namespace imss::tools {

// A server that does not answer for so long is gone.
inline constexpr int kAnswerMs = 1500;

struct ServerState {
  metadata::ServerInfo server;
  bool served = false;        // its process lives: its segment is here, or it answered
  bool stored = false;        // its segment is here
  segment::FileInfo segment;  // meaningful when stored
  std::optional<net::StatusAnswer> answer = {};  // of servers that listen for other nodes
};

// From what is on this node only.
ServerState state_of(const metadata::ServerInfo& server);
// Also of servers on other nodes, which are asked side by side. Errors: the network module or the
// key file cannot be used.
Result<std::vector<ServerState>> states_of(const std::vector<metadata::ServerInfo>& servers,
                                           const std::string& key_file);

// The same of the metadata servers, by index. `host` and `port` are where a single one was reached;
// of several the cluster map tells. The records have only what can be known.
Result<std::vector<ServerState>> metadata_states(client::Session& session, const std::string& host,
                                                 std::uint16_t port, const std::string& key_file);

// How the memory is shared with processes of the server's node: rw, ro or none, "-" when nobody says.
std::string sharing_word(const ServerState& state);
// "serving", "stopped" (the segment waits for a new server) or "gone", or what the server says.
std::string_view state_word(const ServerState& state);

}  // namespace imss::tools
