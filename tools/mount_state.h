// What mount.imss remembers about the daemons it started, for umount.imss: a run directory.
//
// The directory belongs to its user alone (mode 0700) and holds `state`, one pid file per daemon
// and, unless told otherwise, `log/`. Whoever changes it holds its lock. Errors: sentences with the
// path.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "common_file.h"

namespace imss::tools {

struct DaemonRecord {
  std::string label;  // "metadata server", "metadata server 1" or "data server 0"
  std::string host;   // where the launcher started it; empty: on this node, by mount.imss itself
  bool is_metadata = false;
  std::uint16_t port = 0;
  std::uint32_t rank = 0;
  std::string pid_file;  // on its node
  std::string segment;   // name of its segment file
};

struct MountState {
  std::string instance;  // URI
  std::string log_dir;
  std::string launcher;               // for the daemons with a host, see find_launcher()
  std::string program;                // `server` on their nodes
  std::string key_file;               // empty: no keys
  std::vector<DaemonRecord> daemons;  // the metadata servers first
};

// The record of the server in a run directory: its pid file, label and segment follow from the
// rest.
DaemonRecord daemon_record(const std::string& run_dir, bool is_metadata, std::uint16_t port,
                           std::uint32_t rank);

class RunDirectory {
 public:
  // The default place for an instance: one folder per instance below $XDG_RUNTIME_DIR/imss or
  // /tmp/imss-UID. For an instance on several nodes, whose folders have the same path on all of
  // them, always the latter: the former need not be there without a login.
  static std::string default_path(const std::string& instance, bool several_nodes);

  // Makes the directory on a node where mount.imss does not run, without locking it, and the folder
  // of the log file (empty: none). Errors: kPermission, kSystem.
  static Status prepare(const std::string& path, const std::string& log_file);
  // Removes there what belongs to the servers, and the rest once nobody needs it.
  static void remove_part(const std::string& path, const std::vector<DaemonRecord>& daemons);

  // Makes the directory when `create`, checks that nobody else can reach it, and locks it.
  // Errors: kNotFound (not there), kBusy (another mount or umount is at work), kPermission,
  // kSystem.
  static Result<RunDirectory> open(const std::string& path, bool create);

  RunDirectory(RunDirectory&& other) noexcept : path_(std::move(other.path_)), fd_(other.fd_) {
    other.fd_ = -1;
  }
  RunDirectory& operator=(RunDirectory&&) = delete;
  ~RunDirectory();

  const std::string& path() const { return path_; }
  // Errors: kNotFound when nothing is mounted here.
  Result<MountState> read() const;
  Status write(const MountState& state) const;
  // Removes the state, the pid files, log/ and the directory itself, as far as they are empty.
  void remove(const MountState& state) const;

 private:
  RunDirectory(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_;
};

// Waits until the process behind the pid file is gone. Returns whether it is, after `milliseconds`
// at most.
bool wait_for_end(const std::string& pid_file, int milliseconds);

// Ends daemons: the signal to all of them, a wait, and SIGKILL for those that do not react.
// Returns the labels of those that had to be killed.
std::vector<std::string> end_daemons(const std::vector<DaemonRecord>& daemons, int signal_number);

}  // namespace imss::tools
