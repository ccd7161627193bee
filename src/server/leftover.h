// Segments that were left by servers whose process is gone.
//
// Stateless functions; any thread.
#pragma once

#include <string>

#include "base/result.h"

namespace imss::server {

// Turns clients away from the segment of a server that is gone and removes its name; absent is
// fine. Errors: kBusy when a server alive serves it, kCorrupt and kIncompatible for a file that is
// no segment of this version.
Status remove_segment(const std::string& name);

}  // namespace imss::server
