// The command line of the program `server`: the positional forms that users know and the readable
// options. Plain values; read once by main().
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/data_server.h"
#include "server/metadata_server.h"

namespace imss::tools {

struct ServerOptions {
  bool is_metadata = false;
  server::MetadataServerOptions metadata;
  server::DataServerOptions data;
  bool daemonize = false;
  std::string log_file;
  std::string pid_file;
  int ready_fd = -1;
  std::string report_label;  // for the report on standard output; empty: none there
  std::string run_dir;       // to make for this user alone; empty: none
};

// Fills the options. Returns the exit code when the program shall end now, with the message
// printed.
std::optional<int> read_server_options(int argc, char** argv, ServerOptions* options);

}  // namespace imss::tools
