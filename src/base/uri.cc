#include "base/uri.h"

#include "base/text.h"

namespace imss {
namespace {

Status check_name(std::string_view name) {
  if (name.size() > kMaxNameBytes) {
    return Status(Code::kNameTooLong,
                  concat("the name ", quoted(name), " has ", std::to_string(name.size()),
                         " bytes, at most 255 are possible"));
  }
  return {};
}

Status check_text(std::string_view text) {
  if (text.size() > kMaxUriBytes) {
    return Status(Code::kNameTooLong, concat("the URI has ", std::to_string(text.size()),
                                             " bytes, at most 4096 are possible"));
  }
  if (text.find('\0') != std::string_view::npos) {
    return Status(Code::kInvalidArgument, "a URI cannot hold a NUL byte");
  }
  return {};
}

}  // namespace

std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> names;
  std::size_t begin = 0;
  while (begin < path.size()) {
    std::size_t end = path.find('/', begin);
    if (end == std::string_view::npos) end = path.size();
    if (end > begin) names.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

Result<std::string> normalize_path(std::string_view path) {
  IMSS_RETURN_IF_ERROR(check_text(path));
  std::string normal;
  normal.reserve(path.size());
  for (const std::string_view name : split_path(path)) {
    if (name == ".") continue;
    if (name == "..") {
      return Status(Code::kInvalidArgument,
                    "'..' has no meaning in a URI; write the path from the root of the instance");
    }
    IMSS_RETURN_IF_ERROR(check_name(name));
    if (!normal.empty()) normal += '/';
    normal += name;
  }
  return normal;
}

Result<Uri> parse_uri(std::string_view text) {
  IMSS_RETURN_IF_ERROR(check_text(text));
  if (!text.starts_with(kUriScheme)) {
    return Status(Code::kInvalidArgument,
                  concat(quoted(text),
                         " is not a URI of IMSS: write imss://INSTANCE or imss://INSTANCE/path"));
  }
  std::string_view rest = text.substr(kUriScheme.size());
  const std::string_view instance = rest.substr(0, rest.find('/'));
  rest.remove_prefix(instance.size());
  // Instances name files and log lines, where these two would mean a folder.
  if (instance == "." || instance == "..") {
    return Status(Code::kInvalidArgument,
                  concat("an instance cannot be called ", quoted(instance)));
  }
  IMSS_RETURN_IF_ERROR(check_name(instance));
  IMSS_ASSIGN_OR_RETURN(std::string path, normalize_path(rest));
  return Uri{std::string(instance), std::move(path)};
}

std::string format_uri(const Uri& uri) {
  std::string text(kUriScheme);
  text += uri.instance;
  if (!uri.path.empty()) {
    text += '/';
    text += uri.path;
  }
  return text;
}

}  // namespace imss
