#include "ls_command.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "common_output.h"
#include "common_session.h"

namespace imss::tools {
namespace {

using metadata::EntryInfo;
using store::NodeType;

struct Options {
  bool long_format = false;
  bool recursive = false;
  bool all = false;
  bool json = false;
};

struct Row {
  Uri uri;
  EntryInfo entry;
  bool known = false;  // whether the inner metadata could be read
  store::Attributes attributes;
  std::string target = {};  // of a symbolic link
};

class Lister {
 public:
  Lister(Connection& connection, const Options& options)
      : connection_(connection), options_(options) {}

  // Lists one argument; `headed` puts the directory's name above its entries.
  int list(const Uri& uri, bool headed);
  void finish_json();

 private:
  Status list_directory(const Uri& uri, bool headed, std::vector<Uri>* subdirectories);
  Row read_row(Uri uri, EntryInfo entry);
  void print_rows(const std::vector<Row>& rows);
  void print_long(const std::vector<Row>& rows);
  void add_json(const Row& row);

  Connection& connection_;
  const Options options_;
  Json json_;
  bool json_begun_ = false;
  bool printed_ = false;
};

Row Lister::read_row(Uri uri, EntryInfo entry) {
  Row row;
  row.uri = std::move(uri);
  row.entry = std::move(entry);
  if (!options_.long_format && !options_.json) return row;
  auto attributes = connection_.session().attributes(row.uri);
  row.known = attributes.ok();
  if (row.known) row.attributes = *attributes;
  if (row.entry.type == NodeType::kSymlink) {
    const auto target = connection_.session().read_symlink(row.uri);
    row.target = target.ok() ? *target : "?";
  }
  return row;
}

void Lister::print_long(const std::vector<Row>& rows) {
  using enum Table::Align;
  Table table({kLeft, kRight, kLeft, kLeft, kRight, kLeft, kLeft});
  for (const Row& row : rows) {
    const store::Attributes& attributes = row.attributes;
    const std::uint32_t mode = row.known ? attributes.mode : row.entry.mode;
    const bool directory = type_letter(row.entry.type) == 'd';
    table.row(
        {format_mode(type_letter(row.entry.type), mode),
         row.known ? std::to_string(attributes.links) : "?",
         row.known ? user_name(attributes.uid) : "?", row.known ? group_name(attributes.gid) : "?",
         directory ? "-" : (row.known ? std::to_string(attributes.size) : "?"),
         row.known ? format_time(attributes.modified_ns) : "?",
         shown_name(row.entry.name) + (row.target.empty() ? "" : " -> " + shown_name(row.target))});
  }
  table.print();
}

void Lister::add_json(const Row& row) {
  if (!json_begun_) json_.begin_array();
  json_begun_ = true;
  json_.begin_object().key("uri").value(format_uri(row.uri)).key("name").value(row.entry.name);
  json_.key("type").value(type_word(row.entry.type)).key("id").value(row.entry.id);
  if (!row.target.empty()) json_.key("target").value(row.target);
  if (row.known) {
    json_.key("size").value(row.attributes.size).key("links").value(row.attributes.links);
    json_.key("mode").value(row.attributes.mode).key("uid").value(row.attributes.uid);
    json_.key("gid").value(row.attributes.gid);
    json_.key("modified_ns").value(row.attributes.modified_ns);
  }
  json_.end_object();
}

void Lister::finish_json() {
  if (!json_begun_) json_.begin_array();
  json_.end_array().print();
}

void Lister::print_rows(const std::vector<Row>& rows) {
  if (options_.json) {
    for (const Row& row : rows) add_json(row);
  } else if (options_.long_format) {
    print_long(rows);
  } else {
    for (const Row& row : rows) std::printf("%s\n", shown_name(row.entry.name).c_str());
  }
}

Status Lister::list_directory(const Uri& uri, bool headed, std::vector<Uri>* subdirectories) {
  IMSS_ASSIGN_OR_RETURN(auto entries, list_all(connection_.session(), uri));
  if (!options_.all) std::erase_if(entries, [](const EntryInfo& e) { return e.name[0] == '.'; });
  std::ranges::sort(entries, {}, &EntryInfo::name);
  if (headed && !options_.json) {
    std::printf("%s%s:\n", printed_ ? "\n" : "", shown_name(format_uri(uri)).c_str());
  }
  printed_ = true;
  std::vector<Row> rows;
  rows.reserve(entries.size());
  for (EntryInfo& entry : entries) {
    Uri child = child_of(uri, entry.name);
    if (entry.type == NodeType::kDirectory) subdirectories->push_back(child);
    rows.push_back(read_row(std::move(child), std::move(entry)));
  }
  print_rows(rows);
  return {};
}

int Lister::list(const Uri& uri, bool headed) {
  auto node = connection_.session().resolve(uri);
  if (!node.ok()) return connection_.fail_at(uri, node.status());
  if (node->directory == 0) {
    node->entry.name = format_uri(uri);
    print_rows({read_row(uri, node->entry)});
    printed_ = true;
    return kExitOk;
  }
  int code = kExitOk;
  std::vector<Uri> waiting = {uri};
  while (!waiting.empty()) {
    const Uri directory = std::move(waiting.back());
    waiting.pop_back();
    std::vector<Uri> subdirectories;
    const Status status = list_directory(directory, headed || options_.recursive, &subdirectories);
    if (!status.ok()) code = connection_.fail_at(directory, status);
    if (!options_.recursive) break;
    std::ranges::move(subdirectories.rbegin(), subdirectories.rend(), std::back_inserter(waiting));
  }
  return code;
}

}  // namespace

int run_ls(int argc, char** argv) {
  CommandLine line("imss ls", "[URI...]",
                   "List datasets and directories; without URI, the instance of the configuration.",
                   "Examples:\n  imss ls -l imss://x\n  imss ls -R imss://x/results");
  Options options;
  line.flag("long", 'l', "Show mode, links, owner, size and time", &options.long_format);
  line.flag("recursive", 'R', "List subdirectories too", &options.recursive);
  line.flag("all", 'a', "Show names that begin with a dot too", &options.all);
  line.flag("json", 'j', "Print JSON", &options.json);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = connection.open()) return *code;
  std::vector<std::string> arguments = line.arguments();
  if (arguments.empty()) arguments.push_back(connection.config().text(ConfigKey::kUri));
  Lister lister(connection, options);
  int code = kExitOk;
  for (const std::string& argument : arguments) {
    const auto uri = connection.uri(argument);
    if (!uri) return kExitUsage;
    code = std::max(code, lister.list(*uri, arguments.size() > 1));
  }
  if (options.json) lister.finish_json();
  return code;
}

}  // namespace imss::tools
