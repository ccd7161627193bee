#include "status_command.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "base/size.h"
#include "base/text.h"
#include "common_output.h"
#include "common_servers.h"
#include "common_session.h"

namespace imss::tools {
namespace {

struct Report {
  std::uint64_t epoch = 0;            // of the cluster map
  std::vector<ServerState> metadata;  // by index
  std::vector<ServerState> servers;
  std::vector<metadata::InstanceInfo> instances;
  std::vector<segment::FileInfo> orphans;  // segments here whose server is gone
};

Result<Report> make_report(Connection& connection) {
  client::Session& session = connection.session();
  Report report;
  IMSS_ASSIGN_OR_RETURN(report.metadata,
                        metadata_states(session, connection.metadata_host(),
                                        connection.metadata_port(), connection.key_file()));
  report.epoch = session.newest_epoch();
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.names().servers());
  IMSS_ASSIGN_OR_RETURN(report.servers, states_of(servers, connection.key_file()));
  IMSS_ASSIGN_OR_RETURN(report.instances, session.names().instances());
  for (const std::string& name : segment::list_files()) {
    auto info = segment::inspect(name);
    if (info.ok() && info->state == segment::FileState::kOrphan) report.orphans.push_back(*info);
  }
  return report;
}

// What either the segment or the server itself says.
std::uint64_t used_bytes(const ServerState& state) {
  return state.answer ? state.answer->used_bytes : state.segment.used_bytes;
}

// The epoch of the cluster map that a server knows; 0 when it cannot be told.
std::uint64_t epoch_of(const ServerState& state) {
  return state.answer ? state.answer->epoch : state.segment.map_epoch;
}
std::string epoch_text(const ServerState& state) {
  return epoch_of(state) == 0 ? "-" : std::to_string(epoch_of(state));
}

std::uint32_t process_of(const ServerState& state) {
  if (!state.served) return 0;
  return state.answer ? state.answer->process : state.segment.owner_pid;
}

// Threads that have the segment mapped, without the server itself.
std::uint32_t local_users(const ServerState& state) {
  return std::max(state.segment.live_participants, 1U) - 1;
}

std::string id_list(const metadata::InstanceInfo& instance) {
  std::string text;
  for (const std::uint32_t id : instance.servers) {
    if (!text.empty()) text += ' ';
    text += std::to_string(id);
  }
  return text;
}

std::string uri_of(const std::string& instance) { return format_uri(Uri{instance, ""}); }

void print_servers(const Report& report) {
  using enum Table::Align;
  Table table({kRight, kLeft, kLeft, kRight, kRight, kLeft, kLeft, kRight, kRight, kRight, kRight, kRight,
               kRight, kRight});
  table.row({"ID", "INSTANCE", "HOST", "PORT", "RANK", "STATE", "SHARE", "EPOCH", "USED", "CAPACITY", "PID",
             "USERS", "CLIENTS", "REQUESTS"});
  for (const ServerState& state : report.servers) {
    const metadata::ServerInfo& server = state.server;
    const auto& answer = state.answer;
    const bool here = state.served && state.stored;
    table.row({std::to_string(server.id), server.attached ? "attached" : uri_of(server.instance),
               server.host, std::to_string(server.port), std::to_string(server.rank),
               std::string(state_word(state)), sharing_word(state), epoch_text(state),
               state.stored || answer ? format_size(used_bytes(state)) : "-",
               format_size(server.capacity_bytes),
               state.served ? std::to_string(process_of(state)) : "-",
               here ? std::to_string(local_users(state)) : "-",
               answer ? std::to_string(answer->clients) : "-",
               answer ? std::to_string(answer->requests) : "-"});
  }
  table.print();
}

void print_metadata(const Report& report) {
  for (const ServerState& state : report.metadata) {
    const std::string number =
        report.metadata.size() == 1 ? "" : concat(" ", std::to_string(state.server.rank));
    std::printf("Metadata server%s: %s port %u, %s, process %u, shared %s, epoch %s, %s of %s used",
                number.c_str(), state.server.host.c_str(), state.server.port,
                std::string(state_word(state)).c_str(), process_of(state), sharing_word(state).c_str(),
                epoch_text(state).c_str(), format_size(used_bytes(state)).c_str(),
                format_size(state.server.capacity_bytes).c_str());
    if (state.answer) {
      std::printf(", %u clients on other nodes, %" PRIu64 " requests", state.answer->clients,
                  state.answer->requests);
    }
    std::printf("\n");
  }
  std::printf("Cluster map: epoch %" PRIu64 "\n", report.epoch);
}

void print_report(const Report& report) {
  print_metadata(report);
  std::printf("\nInstances:%s\n", report.instances.empty() ? " none" : "");
  for (const metadata::InstanceInfo& instance : report.instances) {
    std::printf("  %s  %s, servers %s\n", uri_of(instance.name).c_str(),
                instance.deployment != 0 ? "attached" : "detached", id_list(instance).c_str());
  }
  std::printf("\nData servers:%s\n", report.servers.empty() ? " none" : "");
  if (!report.servers.empty()) print_servers(report);
  if (report.orphans.empty()) return;
  std::printf(
      "\nSegments whose server is gone (a server started on that port serves them again):\n");
  for (const segment::FileInfo& orphan : report.orphans) {
    std::printf("  %s  port %u, %s\n", segment::path_of(orphan.name).c_str(), orphan.port,
                format_size(orphan.used_bytes).c_str());
  }
}

void add_orphan(const segment::FileInfo& info, Json* json) {
  json->begin_object().key("segment").value(info.name).key("port").value(info.port);
  json->key("rank").value(info.rank).key("used_bytes").value(info.used_bytes);
  json->key("capacity_bytes").value(info.capacity_bytes).key("pid").value(info.owner_pid);
  json->key("served").value(info.state == segment::FileState::kServed).end_object();
}

// What a server has in any role. `clients` and `requests`, of clients on other nodes, are null for
// servers that do not listen for them.
void add_state(const ServerState& state, Json* json) {
  json->key("host").value(state.server.host).key("port").value(state.server.port);
  json->key("rank").value(state.server.rank).key("state").value(state_word(state));
  json->key("served").value(state.served).key("used_bytes").value(used_bytes(state));
  json->key("capacity_bytes").value(state.server.capacity_bytes);
  json->key("sharing").value(sharing_word(state));
  json->key("pid").value(process_of(state)).key("segment");
  json->value(state.answer ? state.answer->segment : state.server.segment_name);
  const auto number = [&](const char* key, std::uint64_t value) {
    json->key(key);
    state.answer ? json->value(value) : json->null();
  };
  const net::StatusAnswer none;
  const net::StatusAnswer& answer = state.answer ? *state.answer : none;
  json->key("epoch");
  epoch_of(state) != 0 ? json->value(epoch_of(state)) : json->null();
  number("clients", answer.clients);
  number("requests", answer.requests);
}

void print_json(const Report& report) {
  Json json;
  json.begin_object().key("epoch").value(report.epoch).key("metadata").begin_array();
  for (const ServerState& state : report.metadata) {
    json.begin_object();
    add_state(state, &json);
    json.end_object();
  }
  json.end_array();
  json.key("instances").begin_array();
  for (const metadata::InstanceInfo& instance : report.instances) {
    json.begin_object().key("uri").value(uri_of(instance.name));
    json.key("attached").value(instance.deployment != 0);
    json.key("block_bytes").value(instance.block_bytes).key("servers").begin_array();
    for (const std::uint32_t id : instance.servers) json.value(id);
    json.end_array().end_object();
  }
  json.end_array().key("servers").begin_array();
  for (const ServerState& state : report.servers) {
    const metadata::ServerInfo& server = state.server;
    json.begin_object().key("id").value(server.id).key("instance").value(uri_of(server.instance));
    json.key("attached").value(server.attached);
    add_state(state, &json);
    json.end_object();
  }
  json.end_array().key("orphans").begin_array();
  for (const segment::FileInfo& orphan : report.orphans) add_orphan(orphan, &json);
  json.end_array().end_object().print();
}

}  // namespace

int run_status(int argc, char** argv) {
  CommandLine line(
      "imss status", "",
      "Show the servers and instances of a metadata service, on all nodes. Fails when a metadata "
      "server or\na server of an instance does not run.",
      "Examples:\n  imss status\n  imss status --host node1 --port 5600 --json");
  bool json = false;
  line.flag("json", 'j', "Print JSON", &json);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(0, 0)) return *code;
  if (const auto code = connection.open()) return *code;
  const auto report = make_report(connection);
  if (!report.ok()) return fail(line.program(), report.status());
  if (json) {
    print_json(*report);
  } else {
    print_report(*report);
  }
  if (!std::ranges::all_of(report->metadata, &ServerState::served)) return kExitFailed;
  for (const metadata::InstanceInfo& instance : report->instances) {
    for (const ServerState& state : report->servers) {
      const bool member = std::ranges::count(instance.servers, state.server.id) != 0;
      if (member && !state.served) return kExitFailed;
    }
  }
  return kExitOk;
}

}  // namespace imss::tools
