#include "stat_command.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/size.h"
#include "base/text.h"
#include "common_output.h"
#include "common_session.h"

namespace imss::tools {
namespace {

using store::NodeType;

// What is known about one name.
struct Report {
  Uri uri;
  client::Session::Node node;
  store::Attributes attributes;
  std::uint64_t entries = 0;           // of a directory
  std::string target;                  // of a symbolic link
  std::vector<std::string> locations;  // of a dataset: "block: server server", when asked for
};

bool is_directory(const Report& report) { return report.node.directory != 0; }
bool is_symlink(const Report& report) {
  return report.node.entry.type == metadata::NodeType::kSymlink;
}

bool is_special(const Report& report) { return store::is_special(report.node.entry.type); }

std::uint64_t blocks_of(const Report& report) {
  const std::uint64_t block_bytes =
      std::max<std::uint64_t>(report.node.entry.layout.block_bytes, 1);
  const std::uint64_t used = (report.attributes.size + block_bytes - 1) / block_bytes;
  return std::max(report.node.entry.layout.block_count, used);
}

Status add_locations(client::Session& session, Report* report) {
  IMSS_ASSIGN_OR_RETURN(const std::int32_t handle, session.open(report->uri));
  const auto dataset = session.dataset(handle);
  Status status = dataset.status();
  for (std::uint64_t block = 1; status.ok() && block <= blocks_of(*report); ++block) {
    const auto positions = session.locate(**dataset, block);
    status = positions.status();
    if (!positions.ok()) break;
    std::string text;
    for (const std::uint32_t position : *positions) {
      if (!text.empty()) text += ' ';
      text += std::to_string(position);
    }
    report->locations.push_back(std::move(text));
  }
  const Status released = session.release(handle);
  return status.ok() ? released : status;
}

Result<Report> make_report(client::Session& session, const Uri& uri, bool locations) {
  Report report;
  report.uri = uri;
  IMSS_ASSIGN_OR_RETURN(report.node, session.resolve(uri));
  IMSS_ASSIGN_OR_RETURN(report.attributes, session.attributes(uri));
  if (is_directory(report)) {
    IMSS_ASSIGN_OR_RETURN(const auto directory, session.names().directory(report.node.directory));
    report.entries = directory.entries;
  } else if (is_symlink(report)) {
    IMSS_ASSIGN_OR_RETURN(report.target, session.read_symlink(uri));
  } else if (locations && !is_special(report)) {
    IMSS_RETURN_IF_ERROR(add_locations(session, &report));
  }
  return report;
}

std::string policy_text(const metadata::Layout& layout) {
  return std::string(policy_name(static_cast<Policy>(layout.policy)));
}

void print_report(const Report& report) {
  const store::Attributes& attributes = report.attributes;
  const metadata::Layout& layout = report.node.entry.layout;
  const auto line = [](const char* label, const std::string& value) {
    std::printf("%12s: %s\n", label, value.c_str());
  };
  line("URI", shown_name(format_uri(report.uri)));
  line("Type", std::string(type_word(report.node.entry.type)));
  const std::uint64_t id = is_directory(report) ? report.node.directory : report.node.entry.id;
  line("Id", std::to_string(id));
  if (is_directory(report)) {
    line("Entries", std::to_string(report.entries));
  } else if (is_symlink(report)) {
    line("Target", shown_name(report.target));
    line("Links", std::to_string(attributes.links));
  } else if (is_special(report)) {
    line("Links", std::to_string(attributes.links));
  } else {
    line("Size", std::to_string(attributes.size) + " (" + format_size(attributes.size) + ")");
    line("Block size",
         std::to_string(layout.block_bytes) + " (" + format_size(layout.block_bytes) + ")");
    line("Blocks", std::to_string(blocks_of(report)));
    line("Policy", policy_text(layout));
    line("Replicas", std::to_string(layout.replicas));
    line("Servers", std::to_string(layout.server_count));
    line("Home", "server " + std::to_string(layout.home_server));
    line("Links", std::to_string(attributes.links));
  }
  line("Mode", format_mode(type_letter(report.node.entry.type), attributes.mode));
  line("Owner", user_name(attributes.uid) + ":" + group_name(attributes.gid));
  line("Created", format_time(attributes.created_ns));
  line("Modified", format_time(attributes.modified_ns));
  for (std::size_t i = 0; i < report.locations.size(); ++i) {
    line(concat("Block ", std::to_string(i + 1)).c_str(), "servers " + report.locations[i]);
  }
}

void add_json(const Report& report, Json* json) {
  const store::Attributes& attributes = report.attributes;
  const metadata::Layout& layout = report.node.entry.layout;
  json->begin_object().key("uri").value(format_uri(report.uri));
  json->key("type").value(type_word(report.node.entry.type));
  json->key("id").value(is_directory(report) ? report.node.directory : report.node.entry.id);
  if (is_directory(report)) {
    json->key("entries").value(report.entries);
  } else if (is_symlink(report)) {
    json->key("target").value(report.target).key("links").value(attributes.links);
  } else if (is_special(report)) {
    json->key("links").value(attributes.links);
  } else {
    json->key("size").value(attributes.size).key("block_bytes").value(layout.block_bytes);
    json->key("blocks").value(blocks_of(report)).key("policy").value(policy_text(layout));
    json->key("replicas").value(static_cast<std::uint64_t>(layout.replicas));
    json->key("servers").value(static_cast<std::uint64_t>(layout.server_count));
    json->key("home_server").value(layout.home_server).key("links").value(attributes.links);
  }
  json->key("mode").value(attributes.mode).key("uid").value(attributes.uid);
  json->key("gid").value(attributes.gid).key("created_ns").value(attributes.created_ns);
  json->key("modified_ns").value(attributes.modified_ns);
  if (!report.locations.empty()) {
    json->key("locations").begin_array();
    for (const std::string& servers : report.locations) json->value(servers);
    json->end_array();
  }
  json->end_object();
}

}  // namespace

int run_stat(int argc, char** argv) {
  CommandLine line("imss stat", "URI...",
                   "Show what is known about datasets, directories and instances.",
                   "Examples:\n  imss stat imss://x/data\n  imss stat --locations imss://x/data");
  bool json_wanted = false;
  bool locations = false;
  line.flag("locations", 'L', "Show on which servers each block is", &locations);
  line.flag("json", 'j', "Print JSON", &json_wanted);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(1, SIZE_MAX)) return *code;
  if (const auto code = connection.open()) return *code;
  int code = kExitOk;
  Json json;
  json.begin_array();
  for (const std::string& argument : line.arguments()) {
    const auto uri = connection.uri(argument);
    if (!uri) return kExitUsage;
    const auto report = make_report(connection.session(), *uri, locations);
    if (!report.ok()) {
      code = connection.fail_at(*uri, report.status());
    } else if (json_wanted) {
      add_json(*report, &json);
    } else {
      if (&argument != &line.arguments().front()) std::printf("\n");
      print_report(*report);
    }
  }
  if (json_wanted) json.end_array().print();
  return code;
}

}  // namespace imss::tools
