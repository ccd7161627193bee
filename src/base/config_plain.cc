#include "base/config_plain.h"

#include "base/text.h"

namespace imss {
namespace {

// A line that is no comment: a group's header, or a pair.
Status take_line(std::string_view line, std::size_t number, std::string_view file_name, std::vector<ConfigPair>* pairs) {
  if (line.front() == '[') {
    const std::string_view group = line.substr(1, line.find(']') - 1);
    const bool closed = line.back() == ']' && group.size() == line.size() - 2;
    if (closed && (equal_ignoring_case(group, "imss") || equal_ignoring_case(group, "hercules"))) return {};
    return Status(Code::kInvalidArgument, concat(file_name, ": there is no group ", line, ": use [imss]"));
  }
  const std::size_t equals = line.find('=');
  const std::string_view name = trim(line.substr(0, equals));
  if (equals == std::string_view::npos || name.empty()) {
    return Status(Code::kInvalidArgument, concat(file_name, ":", std::to_string(number), ": ", quoted(line),
                                                 " is no comment, no group and no KEY=VALUE"));
  }
  pairs->push_back({std::string(name), std::string(unquote(line.substr(equals + 1))), number});
  return {};
}

}  // namespace

Result<std::vector<ConfigPair>> parse_config_plainly(std::string_view text, std::string_view file_name) {
  if (text.find('\0') != std::string_view::npos) {
    return Status(Code::kInvalidArgument, concat(file_name, ": a configuration file cannot hold NUL bytes"));
  }
  std::vector<ConfigPair> pairs;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = trim(text.substr(0, text.find('\n')));
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    if (line.empty() || line.front() == '#') continue;
    IMSS_RETURN_IF_ERROR(take_line(line, number, file_name, &pairs));
  }
  return pairs;
}

}  // namespace imss
