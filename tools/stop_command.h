// `imss stop`: ends servers, on this node and on others.
//
// Called once, by main(). argv[0] is the command's name. Returns the exit code: 0, 1 failed, 2
// usage.
#pragma once

namespace imss::tools {

int run_stop(int argc, char** argv);

}  // namespace imss::tools
