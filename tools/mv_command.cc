#include "mv_command.h"

#include "common_session.h"

namespace imss::tools {

int run_mv(int argc, char** argv) {
  CommandLine line("imss mv", "FROM TO",
                   "Rename a dataset or directory, atomically; TO may be a directory to move into.",
                   "Examples:\n  imss mv imss://x/a imss://x/b\n  imss mv imss://x/a imss://x/dir");
  bool no_clobber = false;
  line.flag("no-clobber", 'n', "Fail when TO exists already", &no_clobber);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(2, 2)) return *code;
  if (const auto code = connection.open()) return *code;
  const auto from = connection.uri(line.arguments()[0]);
  if (!from) return kExitUsage;
  auto to = connection.uri(line.arguments()[1]);
  if (!to) return kExitUsage;
  const auto target = connection.session().resolve(*to);
  if (target.ok() && target->directory != 0) *to = child_of(*to, base_name(*from));
  const Status status = connection.session().rename(*from, *to, no_clobber);
  return status.ok() ? kExitOk : connection.fail_at(*from, status);
}

}  // namespace imss::tools
