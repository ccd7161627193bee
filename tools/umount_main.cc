// The program `umount.imss`: ends the daemons of an instance and removes what mount.imss made.
#include <signal.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/text.h"
#include "base/uri.h"
#include "common_program.h"
#include "mount_state.h"
#include "server/leftover.h"

namespace {

using namespace imss;
using namespace imss::tools;

constexpr const char* kProgram = "umount.imss";

// Data servers first: they use the metadata server until they are gone.
std::vector<std::string> end_all(const MountState& state, int signal_number) {
  std::vector<DaemonRecord> metadata;
  std::vector<DaemonRecord> data;
  for (const DaemonRecord& record : state.daemons) {
    (record.is_metadata ? metadata : data).push_back(record);
  }
  std::vector<std::string> killed = end_daemons(data, signal_number);
  for (const std::string& label : end_daemons(metadata, signal_number)) killed.push_back(label);
  return killed;
}

int unmount(const RunDirectory& directory, const MountState& state, bool keep_data) {
  for (const std::string& label : end_all(state, keep_data ? SIGTERM : SIGUSR1)) {
    std::fprintf(stderr, "%s: %s did not stop by itself and was killed\n", kProgram, label.c_str());
  }
  int code = kExitOk;
  if (!keep_data) {
    // Of servers that had died before, or were killed now.
    for (const DaemonRecord& record : state.daemons) {
      const Status status = server::remove_segment(record.segment);
      if (!status.ok()) code = fail(kProgram, status);
    }
  }
  if (code == kExitOk) directory.remove(state);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  CommandLine line(kProgram, "",
                   "Stop the servers of an instance that mount.imss started, and remove its data, "
                   "segments\nand run directory. The metadata file stays.",
                   "Examples:\n  umount.imss --instance imss://x\n"
                   "  umount.imss --run-dir /tmp/run --keep-data");
  std::string instance;
  std::string run_dir;
  bool keep_data = false;
  line.text("instance", 'u', "URI", "Instance to stop (URI)", &instance);
  line.text("run-dir", 0, "DIR", "Folder that mount.imss was given", &run_dir);
  line.flag("keep-data", 'k', "Keep the segments; mounting again goes on with them", &keep_data);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(0, 0)) return *code;
  const auto config = Config::load();
  if (!config.ok()) return fail(kProgram, config.status());
  if (instance.empty()) instance = config->text(ConfigKey::kUri);
  const auto uri = parse_uri(instance);
  if (!uri.ok()) return usage_error(kProgram, uri.status().message());
  if (run_dir.empty()) run_dir = RunDirectory::default_path(uri->instance);
  std::error_code error;
  const auto full = std::filesystem::absolute(run_dir, error).lexically_normal();
  const auto directory = RunDirectory::open(error ? run_dir : full.string(), false);
  const auto state = directory.ok() ? directory->read() : Result<MountState>(directory.status());
  if (state.code() == Code::kNotFound) {
    return fail(kProgram, concat(instance, " is not mounted (run directory ", run_dir, ")"));
  }
  if (!state.ok()) return fail(kProgram, state.status());
  return unmount(*directory, *state, keep_data);
}
