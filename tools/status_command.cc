#include "status_command.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "base/size.h"
#include "common_output.h"
#include "common_servers.h"
#include "common_session.h"

namespace imss::tools {
namespace {

struct Report {
  segment::FileInfo metadata;
  std::vector<ServerState> servers;
  std::vector<metadata::InstanceInfo> instances;
  std::vector<segment::FileInfo> orphans;  // segments here whose server is gone
};

Result<Report> make_report(client::Session& session) {
  Report report;
  const std::string own = session.names().segment().name();
  IMSS_ASSIGN_OR_RETURN(report.metadata, segment::inspect(own));
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.names().servers());
  for (const metadata::ServerInfo& server : servers) report.servers.push_back(state_of(server));
  IMSS_ASSIGN_OR_RETURN(report.instances, session.names().instances());
  for (const std::string& name : segment::list_files()) {
    auto info = segment::inspect(name);
    if (info.ok() && info->state == segment::FileState::kOrphan) report.orphans.push_back(*info);
  }
  return report;
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
  Table table({kRight, kLeft, kLeft, kRight, kRight, kLeft, kRight, kRight, kRight, kRight});
  table.row(
      {"ID", "INSTANCE", "HOST", "PORT", "RANK", "STATE", "USED", "CAPACITY", "PID", "USERS"});
  for (const ServerState& state : report.servers) {
    const metadata::ServerInfo& server = state.server;
    // The host is one of the threads that have the segment mapped.
    const std::uint32_t users = std::max(state.segment.live_participants, 1U) - 1;
    table.row({std::to_string(server.id), server.attached ? "attached" : uri_of(server.instance),
               server.host, std::to_string(server.port), std::to_string(server.rank),
               std::string(state_word(state)),
               state.stored ? format_size(state.segment.used_bytes) : "-",
               format_size(server.capacity_bytes),
               state.served ? std::to_string(state.segment.owner_pid) : "-",
               state.served ? std::to_string(users) : "-"});
  }
  table.print();
}

void print_report(const Report& report) {
  const segment::FileInfo& metadata = report.metadata;
  const bool served = metadata.state == segment::FileState::kServed;
  std::printf("Metadata server: port %u, %s, process %u, %s of %s used\n", metadata.port,
              served ? "serving" : "stopped", metadata.owner_pid,
              format_size(metadata.used_bytes).c_str(),
              format_size(metadata.capacity_bytes).c_str());
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

void add_segment(const segment::FileInfo& info, Json* json) {
  json->begin_object().key("segment").value(info.name).key("port").value(info.port);
  json->key("rank").value(info.rank).key("used_bytes").value(info.used_bytes);
  json->key("capacity_bytes").value(info.capacity_bytes).key("pid").value(info.owner_pid);
  json->key("served").value(info.state == segment::FileState::kServed).end_object();
}

void print_json(const Report& report) {
  Json json;
  json.begin_object().key("metadata");
  add_segment(report.metadata, &json);
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
    json.key("host").value(server.host).key("port").value(server.port);
    json.key("rank").value(server.rank).key("attached").value(server.attached);
    json.key("state").value(state_word(state)).key("used_bytes").value(state.segment.used_bytes);
    json.key("capacity_bytes").value(server.capacity_bytes);
    json.key("pid").value(state.served ? state.segment.owner_pid : 0).end_object();
  }
  json.end_array().key("orphans").begin_array();
  for (const segment::FileInfo& orphan : report.orphans) add_segment(orphan, &json);
  json.end_array().end_object().print();
}

}  // namespace

int run_status(int argc, char** argv) {
  CommandLine line(
      "imss status", "",
      "Show the servers and instances of a metadata service. Fails when a server of an "
      "instance\ndoes not run.",
      "Examples:\n  imss status\n  imss status --port 5600 --json");
  bool json = false;
  line.flag("json", 'j', "Print JSON", &json);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(0, 0)) return *code;
  if (const auto code = connection.open()) return *code;
  const auto report = make_report(connection.session());
  if (!report.ok()) return fail(line.program(), report.status());
  if (json) {
    print_json(*report);
  } else {
    print_report(*report);
  }
  for (const metadata::InstanceInfo& instance : report->instances) {
    for (const ServerState& state : report->servers) {
      const bool member = std::ranges::count(instance.servers, state.server.id) != 0;
      if (member && !state.served) return kExitFailed;
    }
  }
  return kExitOk;
}

}  // namespace imss::tools
