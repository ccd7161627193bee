#include "check_command.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/size.h"
#include "base/text.h"
#include "check_export.h"
#include "client/local_host.h"
#include "common_output.h"
#include "common_session.h"
#include "metadata/reach.h"
#include "segment/check.h"
#include "segment/segment_files.h"
#include "store/reach.h"

namespace imss::tools {
namespace {

using segment::CheckReport;

struct Options {
  bool repair = false;
  bool json = false;
  std::string folder;  // to export into
};

// What was found in one segment.
struct Finding {
  std::string segment;
  Status status;  // why it could not be checked
  segment::Role role = segment::Role::kData;
  CheckReport report;
};

// Of the first of several metadata servers only: from it the others are found.
std::vector<std::string> metadata_segments() {
  std::vector<std::string> names = segment::list_files();
  std::erase_if(names, [](const std::string& name) {
    return !name.starts_with("imss-metadata-") || !name.ends_with("-0");
  });
  return names;
}

bool sound(const Finding& finding) { return finding.status.ok() && finding.report.clean(); }

Finding check_one(const std::string& name, const Options& options) {
  Finding finding;
  finding.segment = name;
  auto segment = segment::Segment::open(name);
  if (!segment.ok()) {
    finding.status = segment.status();
    return finding;
  }
  finding.role = static_cast<segment::Role>((*segment)->super().role);
  segment::CheckOptions check;
  check.repair = options.repair;
  check.reach = finding.role == segment::Role::kData ? store::visit : metadata::visit;
  auto report = segment::check_segment(**segment, check);
  finding.status = report.status();
  if (report.ok()) finding.report = std::move(*report);
  return finding;
}

// The segments of an instance's servers on this node, and of its metadata servers.
Status add_instance(client::Session& session, const std::string& name,
                    std::vector<std::string>* segments) {
  IMSS_ASSIGN_OR_RETURN(const auto instance, session.names().instance(name));
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.names().servers());
  for (const auto& names : session.mapped_names()) segments->push_back(names->segment().name());
  for (const metadata::MapServer& server : session.known_map().servers) {
    if (client::is_local_host(server.host)) continue;
    std::fprintf(stderr, "imss check: metadata server %u is on %s; check it there\n", server.index,
                 server.host.c_str());
  }
  for (const metadata::ServerInfo& server : servers) {
    if (std::ranges::count(instance.servers, server.id) == 0) continue;
    if (client::is_local_host(server.host)) {
      segments->push_back(server.segment_name);
    } else {
      std::fprintf(stderr, "imss check: data server %u is on %s; check it there\n", server.id,
                   server.host.c_str());
    }
  }
  return {};
}

// The segments that the arguments name: file names, or URIs of instances. All of the node without
// any. Returns an exit code when that fails.
std::optional<int> choose(const CommandLine& line, Connection& connection,
                          std::vector<std::string>* segments) {
  bool connected = false;
  for (const std::string& argument : line.arguments()) {
    if (!argument.starts_with(kUriScheme)) {
      segments->push_back(argument.substr(argument.rfind('/') + 1));
      continue;
    }
    const auto uri = connection.uri(argument);
    if (!uri) return kExitUsage;
    if (!connected) {
      if (const auto code = connection.open()) return code;
    }
    connected = true;
    const Status status = add_instance(connection.session(), uri->instance, segments);
    if (!status.ok()) return connection.fail_at(*uri, status);
  }
  if (line.arguments().empty()) *segments = segment::list_files();
  return std::nullopt;
}

void print_finding(const Finding& finding) {
  const CheckReport& report = finding.report;
  if (!finding.status.ok()) {
    std::printf("%s: cannot be checked: %s\n", finding.segment.c_str(),
                finding.status.message().c_str());
    return;
  }
  std::printf("%s: %s; %llu extents, %llu free, %llu arenas, %u participants%s\n",
              finding.segment.c_str(), sound(finding) ? "sound" : "DAMAGED",
              static_cast<unsigned long long>(report.extents),
              static_cast<unsigned long long>(report.free_extents),
              static_cast<unsigned long long>(report.arenas), report.participants,
              report.exclusive ? "" : " (in use while it was checked)");
  for (const std::string& error : report.errors) std::printf("  error: %s\n", error.c_str());
  for (const std::string& note : report.notes) std::printf("  note: %s\n", note.c_str());
  if (report.leaked_extents != 0) {
    std::printf("  %llu extents leaked, %s; %llu returned\n",
                static_cast<unsigned long long>(report.leaked_extents),
                format_size(report.leaked_bytes).c_str(),
                static_cast<unsigned long long>(report.repaired_extents));
  }
}

void add_json(const Finding& finding, Json* json) {
  const CheckReport& report = finding.report;
  json->begin_object().key("segment").value(finding.segment);
  json->key("checked").value(finding.status.ok()).key("sound").value(sound(finding));
  if (!finding.status.ok()) {
    json->key("reason").value(finding.status.message()).end_object();
    return;
  }
  json->key("role").value(finding.role == segment::Role::kData ? "data" : "metadata");
  json->key("exclusive").value(report.exclusive).key("extents").value(report.extents);
  json->key("free_extents").value(report.free_extents).key("arenas").value(report.arenas);
  json->key("slabs").value(report.slabs).key("leaked_extents").value(report.leaked_extents);
  json->key("leaked_bytes").value(report.leaked_bytes);
  json->key("repaired_extents").value(report.repaired_extents);
  json->key("participants").value(report.participants);
  json->key("errors").begin_array();
  for (const std::string& error : report.errors) json->value(error);
  json->end_array().key("notes").begin_array();
  for (const std::string& note : report.notes) json->value(note);
  json->end_array().end_object();
}

void print_export(const ExportReport& report, const Options& options) {
  if (options.json) {
    Json json;
    json.begin_object().key("datasets").value(report.datasets).key("bytes").value(report.bytes);
    json.key("incomplete").begin_array();
    for (const std::string& sentence : report.incomplete) json.value(sentence);
    json.end_array().key("notes").begin_array();
    for (const std::string& sentence : report.notes) json.value(sentence);
    json.end_array().end_object().print();
    return;
  }
  std::printf("%llu datasets, %s, written into %s\n",
              static_cast<unsigned long long>(report.datasets), format_size(report.bytes).c_str(),
              options.folder.c_str());
  for (const std::string& sentence : report.notes) std::printf("  note: %s\n", sentence.c_str());
  for (const std::string& sentence : report.incomplete)
    std::printf("  not written: %s\n", sentence.c_str());
}

// The instance of a URI is looked for in every metadata server's segment of the node.
Status export_instance(const std::string& name, const Options& options, ExportReport* report) {
  Status status(Code::kNotFound,
                "there is no instance imss://" + name + " in the segments of this node");
  for (const std::string& segment : metadata_segments()) {
    const Status exported = export_segment(segment, &name, options.folder, report);
    if (exported.ok()) return exported;
    if (exported.code() != Code::kNotFound) status = exported;
  }
  return status;
}

int run_export(const CommandLine& line, const Connection& connection, const Options& options) {
  if (options.repair)
    return usage_error(line.program(), "--export changes nothing, so it goes without --repair");
  std::vector<std::string> wanted = line.arguments();
  if (wanted.empty()) wanted = metadata_segments();
  if (wanted.empty())
    return fail(line.program(), "there is no metadata server's segment on this node");
  ExportReport report;
  bool complete = true;
  for (const std::string& argument : wanted) {
    Status status;
    if (argument.starts_with(kUriScheme)) {
      const auto uri = connection.uri(argument);
      if (!uri) return kExitUsage;
      status = export_instance(uri->instance, options, &report);
    } else {
      status = export_segment(argument.substr(argument.rfind('/') + 1), nullptr, options.folder,
                              &report);
    }
    if (status.ok()) continue;
    complete = false;
    fail(line.program(), status);
  }
  print_export(report, options);
  return complete && report.incomplete.empty() ? kExitOk : kExitFailed;
}

}  // namespace

int run_check(int argc, char** argv) {
  CommandLine line("imss check", "[SEGMENT|URI...]",
                   "Verify the structure of segments and find leaked memory, in use or left by a "
                   "dead server:\nof those named, of the servers of an instance, or of all on "
                   "this node.",
                   "Examples:\n  imss check\n  imss check imss://x\n  imss check "
                   "/dev/shm/imss-data-5555-0\n  imss check --export rescued imss://x");
  Options options;
  line.flag("repair", 'r', "Return leaked memory; nobody but its server may use the segment",
            &options.repair);
  line.text(
      "export", 'x', "DIR",
      "Write the datasets of instances, or of metadata servers' segments, into files below DIR",
      &options.folder);
  line.flag("json", 'j', "Print JSON", &options.json);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (!options.folder.empty()) return run_export(line, connection, options);
  std::vector<std::string> segments;
  if (const auto code = choose(line, connection, &segments)) return *code;
  int code = kExitOk;
  Json json;
  json.begin_array();
  for (const std::string& name : segments) {
    const Finding finding = check_one(name, options);
    if (!sound(finding)) code = kExitFailed;
    if (options.json) {
      add_json(finding, &json);
    } else {
      print_finding(finding);
    }
  }
  if (options.json) json.end_array().print();
  return code;
}

}  // namespace imss::tools
