// The same as parse_config_file() without GLib, for a process in which GLib may not have begun yet: a library that is loaded
// first is called from other libraries' constructors. Any thread.
#pragma once

#include "base/config_file.h"

namespace imss {

Result<std::vector<ConfigPair>> parse_config_plainly(std::string_view text, std::string_view file_name);

}  // namespace imss
