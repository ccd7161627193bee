// `imss ls`: names in directories of the store.
//
// Called once, by main(). argv[0] is the command's name. Returns the exit code: 0, 1 failed, 2
// usage.
#pragma once

namespace imss::tools {

int run_ls(int argc, char** argv);

}  // namespace imss::tools
