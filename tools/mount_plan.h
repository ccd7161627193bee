// What mount.imss is told, and what follows: which servers to start where, with which arguments.
//
// Plain values; reads configuration and host files, starts nothing. Main thread of a program only.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/result.h"
#include "common_program.h"
#include "mount_state.h"
#include "remote_launch.h"

namespace imss::tools {

struct MountOptions {
  std::string instance;
  std::string hostfile;
  std::string metadata_hostfile;
  std::string metadata_file;
  std::string key_file;
  std::string share;
  std::string launcher = "auto";
  std::string program;
  std::string run_dir;
  std::string log_dir;
  std::uint64_t servers = 0;
  std::uint64_t metadata_servers = 0;
  std::uint64_t data_port = 0;
  std::uint64_t metadata_port = 0;
  std::uint64_t capacity = 0;
  std::uint64_t metadata_capacity = 0;
};

// One server to start: its record, and the arguments that `server` gets.
struct Launch {
  DaemonRecord record;
  std::vector<std::string> arguments;
  std::string log_file;
  bool runs = false;  // from an earlier mount
  int report_fd = -1;
  pid_t pid = 0;  // of the process that ends once the daemon is in the background
  ReadyReport report;
};

struct MountPlan {
  std::string run_dir;
  Launcher launcher;
  MountState state;
  std::vector<Launch> launches;  // in the order of state.daemons
};

// The program `server` beside this one, or else the one in PATH.
std::string server_program();
void add_mount_options(CommandLine& line, MountOptions* options);
// Values that were not on the command line come from the configuration.
void fill_from(const Config& config, MountOptions* options);
// REQUIRES: fill_from() was called. Errors: kInvalidArgument, kNotFound, kNotSupported with a
// sentence.
Result<MountPlan> make_mount_plan(MountOptions options);

}  // namespace imss::tools
