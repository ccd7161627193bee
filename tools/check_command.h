// `imss check`: verifies the structure of segments, live or dead.
//
// Called once, by main(). argv[0] is the command's name. Returns the exit code: 0 sound, 1 damaged
// or failed, 2 usage.
#pragma once

namespace imss::tools {

int run_check(int argc, char** argv);

}  // namespace imss::tools
