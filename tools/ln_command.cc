#include "ln_command.h"

#include "common_session.h"

namespace imss::tools {

int run_ln(int argc, char** argv) {
  CommandLine line(
      "imss ln", "TARGET URI",
      "Give the dataset TARGET, a URI, the further name URI. The data stays until its last name is "
      "removed.",
      "With -s URI is a symbolic link: TARGET is then a path, from the link's directory or, with a "
      "leading\n"
      "'/', from the root of the instance, and need not be there.\n\n"
      "Examples:\n  imss ln imss://x/a imss://x/dir/b\n  imss ln -s ../a imss://x/dir/link");
  bool symbolic = false;
  line.flag("symbolic", 's', "Make a symbolic link", &symbolic);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(2, 2)) return *code;
  if (const auto code = connection.open()) return *code;
  const auto uri = connection.uri(line.arguments()[1]);
  if (!uri) return kExitUsage;
  Status status;
  if (symbolic) {
    status = connection.session().make_symlink(line.arguments()[0], *uri);
  } else {
    const auto target = connection.uri(line.arguments()[0]);
    if (!target) return kExitUsage;
    status = connection.session().link(*target, *uri);
  }
  return status.ok() ? kExitOk : connection.fail_at(*uri, status);
}

}  // namespace imss::tools
