// Running commands on other nodes by ssh, by an MPI launcher or by Slurm's srun.
//
// Each command says how it went in one line on its standard output: its label, then a report (see
// daemon.h). All commands run side by side. Main thread of a program only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "daemon.h"

namespace imss::tools {

enum class LauncherKind : std::uint8_t { kLocal, kSsh, kOpenMpi, kHydra, kSrun };

struct Launcher {
  LauncherKind kind = LauncherKind::kLocal;
  std::string program;  // "" when local
};

// What `text` names: "local", or "ssh", "mpirun", "mpiexec" or "srun", also as a path and with an
// ending ("/opt/bin/mpirun.mpich"). "auto" is srun inside of a Slurm allocation, else ssh, else
// mpirun, whichever is installed. Errors: kInvalidArgument, kNotFound (not installed).
Result<Launcher> find_launcher(const std::string& text);

struct RemoteCommand {
  std::string host;
  std::string label;  // one word, different for each
  std::vector<std::string> words;
};

// Whether a command started by it has to stay in the foreground: Slurm ends what a step leaves
// behind.
inline bool keeps_foreground(const Launcher& launcher) {
  return launcher.kind == LauncherKind::kSrun;
}

// Runs the commands, with this process's IMSS_* variables, and waits until each has reported or
// ended. The report of one that said nothing has a sentence with the reason. Those of srun may go
// on, and what srun has to say goes to LOG_DIR/LABEL.srun.
std::vector<ReadyReport> run_on_hosts(const Launcher& launcher,
                                      const std::vector<RemoteCommand>& commands,
                                      const std::string& log_dir, int timeout_ms);

}  // namespace imss::tools
