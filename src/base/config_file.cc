#include "base/config_file.h"

#include <glib.h>

#include <memory>

#include "base/text.h"

namespace imss {
namespace {

struct KeyFileFree {
  void operator()(GKeyFile* file) const { g_key_file_free(file); }
};
struct StringsFree {
  void operator()(gchar** strings) const { g_strfreev(strings); }
};
struct MemoryFree {
  void operator()(void* memory) const { g_free(memory); }
};
using KeyFile = std::unique_ptr<GKeyFile, KeyFileFree>;
using Strings = std::unique_ptr<gchar*, StringsFree>;
using String = std::unique_ptr<gchar, MemoryFree>;

constexpr std::string_view kImplicitHeader = "[imss]\n";

// Whether the first line that says something is a group header.
bool has_header(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::string_view trimmed = trim(line);
    if (!trimmed.empty() && trimmed.front() != '#') return trimmed.front() == '[';
  }
  return false;
}

// The last line that assigns to `name`: GKeyFile lets the last one win.
std::size_t line_of(std::string_view text, std::string_view name) {
  std::size_t found = 0;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::size_t equals = line.find('=');
    if (equals != std::string_view::npos && trim(line.substr(0, equals)) == name) found = number;
  }
  return found;
}

Result<KeyFile> load(std::string_view text, std::string_view file_name) {
  const std::string whole = concat(has_header(text) ? "" : kImplicitHeader, text);
  KeyFile file(g_key_file_new());
  GError* error = nullptr;
  if (g_key_file_load_from_data(file.get(), whole.data(), whole.size(), G_KEY_FILE_NONE, &error) ==
      FALSE) {
    Status status(Code::kInvalidArgument, concat(file_name, ": ", error->message));
    g_error_free(error);
    return status;
  }
  return file;
}

void append_group(GKeyFile* file, const gchar* group, std::string_view text,
                  std::vector<ConfigPair>& pairs) {
  const Strings names(g_key_file_get_keys(file, group, nullptr, nullptr));
  for (gchar** name = names.get(); name != nullptr && *name != nullptr; ++name) {
    const String value(g_key_file_get_value(file, group, *name, nullptr));
    if (value == nullptr) continue;
    pairs.push_back({*name, std::string(unquote(value.get())), line_of(text, *name)});
  }
}

}  // namespace

Result<std::vector<ConfigPair>> parse_config_file(std::string_view text,
                                                  std::string_view file_name) {
  // GLib would take what follows a NUL byte for the end of a line or of the file.
  if (text.find('\0') != std::string_view::npos) {
    return Status(Code::kInvalidArgument,
                  concat(file_name, ": a configuration file cannot hold NUL bytes"));
  }
  IMSS_ASSIGN_OR_RETURN(const KeyFile file, load(text, file_name));
  std::vector<ConfigPair> pairs;
  const Strings groups(g_key_file_get_groups(file.get(), nullptr));
  for (gchar** group = groups.get(); *group != nullptr; ++group) {
    if (!equal_ignoring_case(*group, "imss") && !equal_ignoring_case(*group, "hercules")) {
      return Status(Code::kInvalidArgument,
                    concat(file_name, ": there is no group [", *group, "]: use [imss]"));
    }
    append_group(file.get(), *group, text, pairs);
  }
  return pairs;
}

}  // namespace imss
