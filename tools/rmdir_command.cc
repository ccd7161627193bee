#include "rmdir_command.h"

#include "common_session.h"

namespace imss::tools {

int run_rmdir(int argc, char** argv) {
  CommandLine line("imss rmdir", "URI...", "Remove empty directories.",
                   "Example:\n  imss rmdir imss://x/results");
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(1, SIZE_MAX)) return *code;
  if (const auto code = connection.open()) return *code;
  int code = kExitOk;
  for (const std::string& argument : line.arguments()) {
    const auto uri = connection.uri(argument);
    if (!uri) return kExitUsage;
    const Status status = connection.session().remove_directory(*uri);
    if (!status.ok()) code = connection.fail_at(*uri, status);
  }
  return code;
}

}  // namespace imss::tools
