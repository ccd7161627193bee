#include "base/config.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <vector>

#include "base/config_file.h"
#include "base/config_table.h"
#include "base/file_text.h"
#include "base/text.h"

#ifndef IMSS_CONF_DIR
#define IMSS_CONF_DIR "/usr/local/etc"
#endif

namespace imss {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;

// Edits (insert, remove, replace one character) between two names, ignoring case.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (to_lower(a[i - 1]) == to_lower(b[j - 1]) ? 0U : 1U);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

Status unknown_key(std::string_view place, std::string_view name) {
  // Longer names than any key cannot be near one; cut, they cost little to compare.
  const std::string_view compared = name.substr(0, 32);
  const ConfigRow* nearest = nullptr;
  std::size_t least = std::numeric_limits<std::size_t>::max();
  for (const ConfigRow& row : config_rows()) {
    const std::size_t distance = edit_distance(compared, row.name);
    if (distance < least) {
      least = distance;
      nearest = &row;
    }
  }
  const bool near = 2 * least <= compared.size();
  return Status(Code::kInvalidArgument,
                concat(place, "there is no key ", quoted(name),
                       near ? concat("; the nearest is ", nearest->name) : "; imss config lists all keys"));
}

// Names that variables had in earlier versions of the store, for keys that are called otherwise now.
struct EarlierName {
  ConfigKey key;
  std::string_view name;
};
constexpr EarlierName kEarlierNames[] = {
    {ConfigKey::kBlockSize, "BLKSIZE"},
    {ConfigKey::kDataHostfile, "HOSTFILE"},
    {ConfigKey::kMetadataHostfile, "META_HOSTFILE"},
    {ConfigKey::kDataPort, "SRV_PORT"},
    {ConfigKey::kMetadataPort, "META_PORT"},
    {ConfigKey::kNumDataServers, "N_SERVERS"},
    {ConfigKey::kNumMetaServers, "META_SERVERS"},
};

std::optional<std::string> environment(const std::string& variable) {
  const char* value = std::getenv(variable.c_str());
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

}  // namespace

std::optional<ConfigKey> find_config_key(std::string_view name) {
  for (const ConfigRow& row : config_rows()) {
    if (equal_ignoring_case(row.name, name)) return row.key;
  }
  return std::nullopt;
}

Config::Config() {
  for (const ConfigRow& row : config_rows()) {
    Result<CheckedValue> checked = check_config_value(row, row.built_in);
    // A test checks that every built-in value is valid.
    if (!checked.ok()) continue;
    Value& value = values_[static_cast<std::size_t>(row.key)];
    value.text = checked->text;
    value.number = checked->number;
  }
}

Result<Config> Config::load() {
  Config config;
  if (const auto named = environment("IMSS_CONF")) {
    Status status = config.read_file(*named);
    if (status.code() == Code::kNotFound) {
      return Status(Code::kNotFound,
                    concat(status.message(), ", which the variable IMSS_CONF names"));
    }
    IMSS_RETURN_IF_ERROR(std::move(status));
  } else {
    for (const char* path : {"/etc/imss.conf", "./imss.conf", IMSS_CONF_DIR "/imss.conf"}) {
      Status status = config.read_file(path);
      if (status.code() == Code::kNotFound) continue;
      IMSS_RETURN_IF_ERROR(std::move(status));
      break;
    }
  }
  IMSS_RETURN_IF_ERROR(config.read_environment());
  return config;
}

Status Config::read_file(const std::string& path) {
  IMSS_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kMaxFileBytes));
  return read_text(text, path);
}

Status Config::read_text(std::string_view text, const std::string& file_name) {
  IMSS_ASSIGN_OR_RETURN(const std::vector<ConfigPair> pairs, parse_config_file(text, file_name));
  for (const ConfigPair& pair : pairs) {
    const std::string place = concat(file_name, ":", std::to_string(pair.line), ": ");
    const auto key = find_config_key(pair.name);
    if (!key) return unknown_key(place, pair.name);
    const Status status = apply(*key, pair.value, ConfigOrigin::kFile, file_name);
    if (!status.ok())
      return Status(status.code(), concat(place, pair.name, ": ", status.message()));
  }
  return {};
}

Status Config::read_environment() {
  for (const ConfigRow& row : config_rows()) {
    std::vector<std::string_view> names = {row.name};
    for (const EarlierName& earlier : kEarlierNames) {
      if (earlier.key == row.key) names.push_back(earlier.name);
    }
    for (const std::string_view name : names) {
      IMSS_ASSIGN_OR_RETURN(const bool found, read_variables(row.key, name));
      if (found) break;
    }
  }
  return {};
}

Result<bool> Config::read_variables(ConfigKey key, std::string_view name) {
  for (const std::string_view prefix : {"IMSS_", "HERCULES_"}) {
    const std::string variable = concat(prefix, name);
    const auto text = environment(variable);
    if (!text) continue;
    const Status status = apply(key, *text, ConfigOrigin::kEnvironment, variable);
    if (!status.ok())
      return Status(status.code(), concat("variable ", variable, ": ", status.message()));
    return true;
  }
  return false;
}

Status Config::set(std::string_view name, std::string_view value) {
  std::string key_name(name);
  std::ranges::replace(key_name, '-', '_');
  const auto key = find_config_key(key_name);
  if (!key) return unknown_key("", name);
  const Status status = apply(*key, value, ConfigOrigin::kCommandLine, "");
  if (!status.ok())
    return Status(status.code(), concat(config_row(*key).name, ": ", status.message()));
  return {};
}

Status Config::apply(ConfigKey key, std::string_view text, ConfigOrigin origin,
                     std::string_view source) {
  IMSS_ASSIGN_OR_RETURN(CheckedValue checked, check_config_value(config_row(key), text));
  Value& value = values_[static_cast<std::size_t>(key)];
  if (origin < value.origin) return {};
  value = {std::move(checked.text), checked.number, origin, std::string(source)};
  return {};
}

const std::string& Config::text(ConfigKey key) const { return value(key).text; }
std::uint64_t Config::integer(ConfigKey key) const { return value(key).number; }
std::uint64_t Config::bytes(ConfigKey key) const { return value(key).number; }
bool Config::flag(ConfigKey key) const { return value(key).number != 0; }

std::uint64_t Config::storage_bytes() const {
  const std::uint64_t given = bytes(ConfigKey::kStorageSize);
  if (given != 0) return given;
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_bytes = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return 0;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes) / 4 * 3;
}

ConfigOrigin Config::origin(ConfigKey key) const { return value(key).origin; }

std::string Config::origin_text(ConfigKey key) const {
  const Value& current = value(key);
  switch (current.origin) {
    case ConfigOrigin::kFile:
      return concat("file ", current.source);
    case ConfigOrigin::kEnvironment:
      return concat("environment ", current.source);
    case ConfigOrigin::kCommandLine:
      return "command line";
    case ConfigOrigin::kBuiltIn:
      break;
  }
  return "built-in";
}

}  // namespace imss
