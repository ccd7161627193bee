// The command line of imfssfs. Plain values; read once by main().
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/uri.h"
#include "client/session.h"
#include "posix/file_system.h"

namespace imss::fuse {

struct MountOptions {
  Uri root;
  std::string mount_point;
  std::string fuse_options;          // of -o
  bool foreground = false;
  bool attached = false;             // servers inside this process
  std::uint16_t data_port = 0;
  std::uint64_t capacity_bytes = 0;  // of attached servers
  std::string metadata_file;
  client::ConnectOptions connect;
  posix::FileOptions files;
};

// Fills the options. Returns the exit code when the program shall end now, with the message printed.
std::optional<int> read_mount_options(int argc, char** argv, MountOptions* options);

}  // namespace imss::fuse
