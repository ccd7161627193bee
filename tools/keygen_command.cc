#include "keygen_command.h"

#include <cstdio>
#include <string>

#include "client/server_control.h"
#include "common_program.h"

namespace imss::tools {

int run_keygen(int argc, char** argv) {
  CommandLine line(
      "imss keygen", "FILE",
      "Make the keys of an instance: a file that only its owner can read. Servers and "
      "clients of\nall nodes need the same file (KEY_FILE, or server --keys); who has "
      "it may use the instance.\nRequests for data are let in by it, but travel in the clear.",
      "Examples:\n  imss keygen ./keys\n"
      "  mount.imss --instance imss://x --hostfile ./hostfile --keys ./keys\n"
      "  IMSS_KEY_FILE=./keys imss ls imss://x");
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(1, 1)) return *code;
  const std::string& path = line.arguments()[0];
  const Status status = client::make_key_file(path);
  if (!status.ok()) return fail(line.program(), status);
  std::printf("%s has new keys; every node of the instance needs this file\n", path.c_str());
  return kExitOk;
}

}  // namespace imss::tools
