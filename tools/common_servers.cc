#include "common_servers.h"

namespace imss::tools {

ServerState state_of(const metadata::ServerInfo& server) {
  ServerState state;
  state.server = server;
  auto info = segment::inspect(server.segment_name);
  if (!info.ok() || info->nonce != server.nonce) return state;
  state.stored = info->state != segment::FileState::kForeign;
  state.served = info->state == segment::FileState::kServed;
  state.segment = std::move(*info);
  return state;
}

std::string_view state_word(const ServerState& state) {
  if (state.served) return "serving";
  return state.stored ? "stopped" : "gone";
}

}  // namespace imss::tools
