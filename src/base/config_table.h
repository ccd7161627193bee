// The check of configuration values against the table of keys. Pure functions: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/config.h"

namespace imss {

struct CheckedValue {
  std::string text;  // as written; words as the table spells them
  std::uint64_t number =
      0;  // of integers, sizes in bytes and flags; of choices the word's position
};

// Errors: kInvalidArgument with a sentence that says what the row accepts.
Result<CheckedValue> check_config_value(const ConfigRow& row, std::string_view text);

}  // namespace imss
