// Reading a small text file as a whole. Any thread.
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"

namespace imss {

// The contents of a file. Errors: kNotFound, kSystem with the call's errno, kRange above
// `limit_bytes`.
Result<std::string> read_text_file(const std::string& path, std::size_t limit_bytes);

}  // namespace imss
