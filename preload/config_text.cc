// Takes the place of base/config_file.cc, so that this library does not link GLib: it is called from other libraries'
// constructors, before GLib's, and programs that have their own GLib must not meet another one.
#include "base/config_plain.h"

namespace imss {

Result<std::vector<ConfigPair>> parse_config_file(std::string_view text, std::string_view file_name) {
  return parse_config_plainly(text, file_name);
}

}  // namespace imss
