// Reading the text of a configuration file into pairs. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace imss {

struct ConfigPair {
  std::string name;
  std::string value;  // without blanks and double quotes around it
  std::size_t line;   // where the name stands, from 1; 0 if it cannot be told
};

// The pairs of a key file. A file without a group header is one group; with headers only [imss] and
// [hercules] are known. Errors: kInvalidArgument with the file's name.
Result<std::vector<ConfigPair>> parse_config_file(std::string_view text,
                                                  std::string_view file_name);

}  // namespace imss
