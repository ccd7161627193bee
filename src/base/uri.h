// URIs of instances and datasets: imss://NAME and imss://NAME/path/to/dataset.
//
// NAME may be empty (the unnamed instance). Names hold any byte but '/' and NUL; they are never cut
// short, decoded or folded. Plain values without shared state: any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace imss {

inline constexpr std::string_view kUriScheme = "imss://";
inline constexpr std::size_t kMaxNameBytes = 255;
inline constexpr std::size_t kMaxUriBytes = 4096;

struct Uri {
  std::string instance;  // without slashes; "" is the unnamed instance
  std::string
      path;  // names joined by single slashes, none at either end; "" is the instance's root

  bool operator==(const Uri&) const = default;
};

// Reads `imss://NAME[/path]`. Repeated slashes, slashes at the end and "." are dropped.
// Errors: kInvalidArgument (no scheme, a NUL byte, ".." or an instance called "."), kNameTooLong (a
// name above kMaxNameBytes or the text above kMaxUriBytes).
Result<Uri> parse_uri(std::string_view text);

// The normal form of a path below an instance: the same rules as for the path of a URI.
Result<std::string> normalize_path(std::string_view path);

// The names of a path in order; the views point into `path`. Empty names are left out.
std::vector<std::string_view> split_path(std::string_view path);

// The text that parse_uri reads back to an equal value.
std::string format_uri(const Uri& uri);

}  // namespace imss
