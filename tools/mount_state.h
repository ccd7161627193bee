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
  std::string label;  // "metadata server" or "data server 0"
  bool is_metadata = false;
  std::uint16_t port = 0;
  std::string pid_file;
  std::string segment;  // name of its segment file
};

struct MountState {
  std::string instance;  // URI
  std::string log_dir;
  std::vector<DaemonRecord> daemons;  // the metadata server first
};

class RunDirectory {
 public:
  // The default place for an instance: one folder per instance below $XDG_RUNTIME_DIR/imss or
  // /tmp/imss-UID.
  static std::string default_path(const std::string& instance);

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
