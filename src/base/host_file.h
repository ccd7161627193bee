// Host files: the nodes that servers run on, one per line.
//
//   # comment                 node01                 node02:5556                 node03 port=5557
//   [fe80::1]:5555
//
// Blank lines and what follows a '#' are skipped. Names are checked for their characters, not
// resolved. Plain values: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace imss {

struct Host {
  std::string name;        // host name or address, without the brackets of an IPv6 address
  std::uint16_t port = 0;  // 0: the default port of the service

  bool operator==(const Host&) const = default;
};

// The hosts of a text, in order; `file_name` is for messages only.
// Errors: kInvalidArgument with file:line for a line that is not a host, and for a text without
// hosts.
Result<std::vector<Host>> parse_host_file(std::string_view text, std::string_view file_name);

// The same for a file. Errors: also kNotFound with advice, and kSystem when it cannot be read.
Result<std::vector<Host>> read_host_file(const std::string& path);

}  // namespace imss
