// `imss stat`: everything that is known about a dataset, a directory or an instance.
//
// Called once, by main(). argv[0] is the command's name. Returns the exit code: 0, 1 failed, 2
// usage.
#pragma once

namespace imss::tools {

int run_stat(int argc, char** argv);

}  // namespace imss::tools
