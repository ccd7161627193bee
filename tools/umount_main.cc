// The program `umount.imss`: ends the daemons of an instance and removes what mount.imss made.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/config.h"
#include "base/text.h"
#include "base/uri.h"
#include "common_program.h"
#include "daemon.h"
#include "end_servers.h"
#include "mount_state.h"

namespace {

using namespace imss;
using namespace imss::tools;

constexpr const char* kProgram = "umount.imss";

struct Options {
  std::string instance;
  std::string run_dir;
  std::string report_label;
  bool keep_data = false;
  bool forget = false;
};

int unmount(const RunDirectory& directory, const MountState& state, const Options& options) {
  const auto problems =
      end_servers(kProgram, directory.path(), state, state.daemons, options.keep_data);
  for (const std::string& problem : problems) fail(kProgram, problem);
  if (problems.empty() || options.forget) directory.remove(state);
  return problems.empty() ? kExitOk : kExitFailed;
}

// The part of one node of an instance on several, for a umount.imss elsewhere: ends the given
// servers.
int unmount_here(const std::vector<std::string>& servers, const Options& options) {
  std::vector<DaemonRecord> daemons;
  for (const std::string& text : servers) {
    auto record = parse_server(text, options.run_dir);
    if (!record.ok()) return usage_error(kProgram, record.status().message());
    daemons.push_back(std::move(*record));
  }
  const Status status = end_here(kProgram, daemons, options.keep_data);
  if (status.ok()) RunDirectory::remove_part(options.run_dir, daemons);
  if (options.report_label.empty()) {
    return status.ok() ? kExitOk : fail(kProgram, status);
  }
  const std::string report =
      format_report({status.ok(), false, static_cast<int>(::getpid()), status.message()});
  std::printf("%s %s", options.report_label.c_str(), report.c_str());
  return kExitOk;
}

// Where the mount is: the folder that was named, or one of the defaults.
std::string find_run_dir(const Options& options, const std::string& instance) {
  if (!options.run_dir.empty()) {
    std::error_code error;
    const auto full = std::filesystem::absolute(options.run_dir, error).lexically_normal();
    return error ? options.run_dir : full.string();
  }
  const std::string here = RunDirectory::default_path(instance, false);
  const std::string several = RunDirectory::default_path(instance, true);
  return ::access(here.c_str(), F_OK) != 0 && ::access(several.c_str(), F_OK) == 0 ? several : here;
}

}  // namespace

int main(int argc, char** argv) {
  CommandLine line(kProgram, "[SERVER...]",
                   "Stop the servers of an instance that mount.imss started, on all of its nodes, "
                   "and remove its\ndata, segments and run directories. The metadata file stays.",
                   "Servers (data:PORT:RANK or metadata:PORT:RANK) are named only where an instance "
                   "is on several\nnodes, to end those of one node there; they need --run-dir.\n\n"
                   "Examples:\n  umount.imss --instance imss://x\n"
                   "  umount.imss --run-dir /tmp/run --keep-data");
  Options options;
  line.text("instance", 'u', "URI", "Instance to stop (URI)", &options.instance);
  line.text("run-dir", 0, "DIR", "Folder that mount.imss was given", &options.run_dir);
  line.flag("keep-data", 'k', "Keep the segments; mounting again goes on with them",
            &options.keep_data);
  line.flag("forget", 'f', "Remove the run directory also when servers cannot be reached",
            &options.forget);
  line.text("report", 0, "LABEL", "With servers: print LABEL and how it went",
            &options.report_label);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (!line.arguments().empty()) {
    if (options.run_dir.empty()) return usage_error(kProgram, "servers are named with --run-dir");
    return unmount_here(line.arguments(), options);
  }
  const auto config = Config::load();
  if (!config.ok()) return fail(kProgram, config.status());
  if (options.instance.empty()) options.instance = config->text(ConfigKey::kUri);
  const auto uri = parse_uri(options.instance);
  if (!uri.ok()) return usage_error(kProgram, uri.status().message());
  const std::string run_dir = find_run_dir(options, uri->instance);
  const auto directory = RunDirectory::open(run_dir, false);
  const auto state = directory.ok() ? directory->read() : Result<MountState>(directory.status());
  if (state.code() == Code::kNotFound) {
    return fail(kProgram,
                concat(options.instance, " is not mounted (run directory ", run_dir, ")"));
  }
  if (!state.ok()) return fail(kProgram, state.status());
  return unmount(*directory, *state, options);
}
