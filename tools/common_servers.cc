#include "common_servers.h"

#include <cstddef>
#include <utility>

#include "client/local_host.h"
#include "client/unmapped.h"

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

Result<std::vector<ServerState>> states_of(const std::vector<metadata::ServerInfo>& servers,
                                           const std::string& key_file) {
  std::vector<ServerState> states;
  std::vector<client::ServerAddress> addresses;
  std::vector<std::size_t> asked;  // positions in `states`
  for (const metadata::ServerInfo& server : servers) {
    states.push_back(state_of(server));
    client::ServerAddress address{server.host, static_cast<std::uint16_t>(server.port)};
    const ServerState& state = states.back();
    if (state.stored && !state.served) continue;
    if (client::is_local_host(server.host)) {
      // Servers of this node need not listen; most of them are known without the network module.
      const auto name = client::listening_name(server.host, address.port);
      if (!name) continue;
      address.host = *name;
    }
    addresses.push_back(address);
    asked.push_back(states.size() - 1);
  }
  IMSS_ASSIGN_OR_RETURN(auto answers, client::ask_status(addresses, key_file, kAnswerMs));
  for (std::size_t i = 0; i < asked.size(); ++i) {
    ServerState& state = states[asked[i]];
    // Another server may have taken the port.
    if (!answers[i] || answers[i]->nonce != state.server.nonce) continue;
    state.answer = std::move(answers[i]);
    state.served = true;
  }
  return states;
}

namespace {

Result<ServerState> only_metadata_state(const segment::Segment* segment, const std::string& host,
                                        std::uint16_t port, const std::string& key_file) {
  metadata::ServerInfo record;
  record.host = host;
  record.port = port;
  if (segment != nullptr) {
    record.segment_name = segment->name();
    record.nonce = segment->super().nonce;
    record.capacity_bytes = segment->super().capacity_bytes;
    IMSS_ASSIGN_OR_RETURN(auto states, states_of({record}, key_file));
    return std::move(states.front());
  }
  IMSS_ASSIGN_OR_RETURN(auto answers, client::ask_status({{host, port}}, key_file, kAnswerMs));
  ServerState state;
  state.server = record;
  state.answer = std::move(answers.front());
  state.served = state.answer.has_value();
  if (state.answer) state.server.capacity_bytes = state.answer->capacity_bytes;
  return state;
}

}  // namespace

Result<std::vector<ServerState>> metadata_states(client::Session& session, const std::string& host,
                                                 std::uint16_t port, const std::string& key_file) {
  const metadata::ClusterMap map = session.known_map();
  if (map.servers.empty()) {
    IMSS_ASSIGN_OR_RETURN(
        auto state, only_metadata_state(session.metadata_segment(), host, port, key_file));
    return std::vector<ServerState>{std::move(state)};
  }
  std::vector<metadata::ServerInfo> records;
  for (const metadata::MapServer& server : map.servers) {
    metadata::ServerInfo record;
    record.id = server.index;
    record.rank = server.index;
    record.nonce = server.nonce;
    record.host = server.host;
    record.port = server.port;
    record.segment_name = server.segment_name;
    records.push_back(std::move(record));
  }
  IMSS_ASSIGN_OR_RETURN(auto states, states_of(records, key_file));
  for (ServerState& state : states) {
    state.server.capacity_bytes = state.answer   ? state.answer->capacity_bytes
                                  : state.stored ? state.segment.capacity_bytes
                                                 : 0;
  }
  return states;
}

std::string sharing_word(const ServerState& state) {
  if (state.answer) return state.answer->sharing;
  return state.stored ? std::string(segment::sharing_name(state.segment.sharing)) : "-";
}

std::string_view state_word(const ServerState& state) {
  if (state.answer) return state.answer->state;
  if (state.served) return "serving";
  return state.stored ? "stopped" : "gone";
}

}  // namespace imss::tools
