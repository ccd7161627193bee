#include "rm_command.h"

#include <utility>
#include <vector>

#include "common_session.h"

namespace imss::tools {
namespace {

struct Options {
  bool recursive = false;
  bool force = false;
};

// Removes a directory with what is in it, without recursion so that depth has no limit. Returns the
// first error; what could be removed is removed.
Status remove_tree(client::Session& session, const Uri& top) {
  std::vector<Uri> path = {top};
  while (!path.empty()) {
    const Uri directory = path.back();
    IMSS_ASSIGN_OR_RETURN(const auto entries, list_all(session, directory));
    bool descended = false;
    for (const metadata::EntryInfo& entry : entries) {
      const Uri child = child_of(directory, entry.name);
      if (entry.type == store::NodeType::kDirectory) {
        path.push_back(child);
        descended = true;
        break;
      }
      const Status status = session.unlink(child);
      if (!status.ok() && status.code() != Code::kNotFound) return status;
    }
    if (descended) continue;
    const Status status = session.remove_directory(directory);
    if (!status.ok() && status.code() != Code::kNotFound) return status;
    path.pop_back();
  }
  return {};
}

Status remove_one(client::Session& session, const Uri& uri, const Options& options) {
  if (uri.path.empty()) {
    return Status(Code::kIsDirectory, "is a whole instance; umount.imss ends it");
  }
  const Status status = session.unlink(uri);
  if (status.code() == Code::kNotFound && options.force) return {};
  if (status.code() != Code::kIsDirectory) return status;
  if (!options.recursive) {
    return Status(Code::kIsDirectory, "is a directory; -r removes it with what is in it");
  }
  return remove_tree(session, uri);
}

}  // namespace

int run_rm(int argc, char** argv) {
  CommandLine line("imss rm", "URI...",
                   "Remove datasets. The memory is free again when no process has them open.",
                   "Examples:\n  imss rm imss://x/data\n  imss rm -r imss://x/results");
  Options options;
  line.flag("recursive", 'r', "Remove directories with what is in them", &options.recursive);
  line.flag("force", 'f', "What does not exist is fine", &options.force);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(options.force ? 0 : 1, SIZE_MAX)) return *code;
  if (const auto code = connection.open()) return *code;
  int code = kExitOk;
  for (const std::string& argument : line.arguments()) {
    const auto uri = connection.uri(argument);
    if (!uri) return kExitUsage;
    const Status status = remove_one(connection.session(), *uri, options);
    if (!status.ok()) code = connection.fail_at(*uri, status);
  }
  return code;
}

}  // namespace imss::tools
