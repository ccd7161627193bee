#include "mkdir_command.h"

#include "common_session.h"

namespace imss::tools {

int run_mkdir(int argc, char** argv) {
  CommandLine line("imss mkdir", "URI...", "Make directories.",
                   "Examples:\n  imss mkdir imss://x/results\n  imss mkdir -p imss://x/a/b/c");
  bool parents = false;
  line.flag("parents", 'p', "Make missing directories on the way; existing ones are fine",
            &parents);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(1, SIZE_MAX)) return *code;
  if (const auto code = connection.open()) return *code;
  int code = kExitOk;
  for (const std::string& argument : line.arguments()) {
    const auto uri = connection.uri(argument);
    if (!uri) return kExitUsage;
    const Status status = connection.session().make_directory(*uri, 0755, parents);
    if (status.ok()) continue;
    if (parents && status.code() == Code::kExists) {
      const auto node = connection.session().resolve(*uri);
      if (node.ok() && node->directory != 0) continue;
    }
    code = connection.fail_at(*uri, status);
  }
  return code;
}

}  // namespace imss::tools
