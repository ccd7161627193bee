#include "df_command.h"

#include <string>
#include <vector>

#include "base/size.h"
#include "client/local_host.h"
#include "common_output.h"
#include "common_servers.h"
#include "common_session.h"

namespace imss::tools {
namespace {

struct Row {
  std::string instance;
  metadata::ServerInfo server;
  bool known = false;  // its segment is on this node, or it answered
  std::uint64_t capacity_bytes = 0;
  std::uint64_t used_bytes = 0;   // by contents and tables
  std::uint64_t ready_bytes = 0;  // obtained, and free for new contents
};

std::uint64_t free_in_pools(const segment::Superblock& block) {
  std::uint64_t bytes = 0;
  for (const segment::Pool& pool : block.pools[0]) bytes += pool.free_bytes.load();
  return bytes;
}

Row read_row(const std::string& instance, const metadata::ServerInfo& server) {
  Row row{instance, server, false, server.capacity_bytes, 0, 0};
  auto segment = segment::Segment::open(server.segment_name);
  if (!segment.ok() || (*segment)->super().nonce != server.nonce) return row;
  const segment::Superblock& block = (*segment)->super();
  row.known = true;
  row.capacity_bytes = block.capacity_bytes;
  const std::uint64_t obtained = block.used_bytes.load();
  row.ready_bytes = std::min(free_in_pools(block), obtained);
  row.used_bytes = obtained - row.ready_bytes;
  return row;
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? "-" : std::to_string((part * 100 + whole - 1) / whole) + "%";
}

void print_table(const std::vector<Row>& rows) {
  using enum Table::Align;
  Table table({kLeft, kLeft, kRight, kRight, kRight, kRight, kRight});
  table.row({"INSTANCE", "HOST", "PORT", "CAPACITY", "USED", "FREE", "USE"});
  for (const Row& row : rows) {
    const auto size = [&](std::uint64_t bytes) { return row.known ? format_size(bytes) : "-"; };
    table.row({format_uri(Uri{row.instance, ""}), row.server.host, std::to_string(row.server.port),
               format_size(row.capacity_bytes), size(row.used_bytes),
               size(row.capacity_bytes - std::min(row.used_bytes, row.capacity_bytes)),
               row.known ? percent(row.used_bytes, row.capacity_bytes) : "-"});
  }
  table.print();
}

void print_json(const std::vector<Row>& rows) {
  Json json;
  json.begin_array();
  for (const Row& row : rows) {
    json.begin_object().key("instance").value(format_uri(Uri{row.instance, ""}));
    json.key("server").value(row.server.id).key("host").value(row.server.host);
    json.key("port").value(row.server.port).key("reachable").value(row.known);
    json.key("capacity_bytes").value(row.capacity_bytes);
    json.key("used_bytes").value(row.used_bytes).key("ready_bytes").value(row.ready_bytes);
    json.end_object();
  }
  json.end_array().print();
}

// Servers on other nodes say themselves what they use; what they have ready counts as used.
Status ask_others(const std::string& key_file, std::vector<Row>* rows) {
  std::vector<client::ServerAddress> addresses;
  std::vector<Row*> asked;
  for (Row& row : *rows) {
    if (row.known || client::is_local_host(row.server.host)) continue;
    addresses.push_back({row.server.host, static_cast<std::uint16_t>(row.server.port)});
    asked.push_back(&row);
  }
  if (asked.empty()) return {};
  IMSS_ASSIGN_OR_RETURN(const auto answers, client::ask_status(addresses, key_file, kAnswerMs));
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (!answers[i]) continue;
    asked[i]->known = true;
    asked[i]->capacity_bytes = answers[i]->capacity_bytes;
    asked[i]->used_bytes = answers[i]->used_bytes;
  }
  return {};
}

Status add_instance(client::Session& session, const std::string& name, const std::string& key_file,
                    std::vector<Row>* rows) {
  IMSS_ASSIGN_OR_RETURN(const auto instance, session.names().instance(name));
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.names().servers());
  for (const std::uint32_t id : instance.servers) {
    for (const metadata::ServerInfo& server : servers) {
      if (server.id == id) rows->push_back(read_row(name, server));
    }
  }
  return ask_others(key_file, rows);
}

}  // namespace

int run_df(int argc, char** argv) {
  CommandLine line(
      "imss df", "[URI...]",
      "Show how much memory the servers of instances have and use; without URI, of all "
      "instances.",
      "Examples:\n  imss df\n  imss df --json imss://x");
  bool json = false;
  line.flag("json", 'j', "Print JSON", &json);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = connection.open()) return *code;
  const std::string key_file = connection.config().text(ConfigKey::kKeyFile);
  std::vector<Row> rows;
  int code = kExitOk;
  for (const std::string& argument : line.arguments()) {
    const auto uri = connection.uri(argument);
    if (!uri) return kExitUsage;
    const Status status = add_instance(connection.session(), uri->instance, key_file, &rows);
    if (!status.ok()) code = connection.fail_at(*uri, status);
  }
  if (line.arguments().empty()) {
    const auto instances = connection.session().names().instances();
    if (!instances.ok()) return fail(line.program(), instances.status());
    for (const metadata::InstanceInfo& instance : *instances) {
      const Status status = add_instance(connection.session(), instance.name, key_file, &rows);
      if (!status.ok()) code = fail(line.program(), status);
    }
  }
  if (json) {
    print_json(rows);
  } else {
    print_table(rows);
  }
  return code;
}

}  // namespace imss::tools
