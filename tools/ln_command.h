// `imss ln`: gives a dataset a further name, or makes a symbolic link.
//
// Called once, by main(). argv[0] is the command's name. Returns the exit code: 0, 1 failed, 2
// usage.
#pragma once

namespace imss::tools {

int run_ln(int argc, char** argv);

}  // namespace imss::tools
