// Configuration: one table of keys, and for each key its value and where that came from.
//
// Layers, each stronger than the one before: built-in < file < environment < command line. They can
// be applied in any order. A Config is an ordinary value: load it once, then any thread may read
// it. Values are checked when they are set, so that reading one cannot fail.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace imss {

enum class ConfigKey : std::uint8_t {
  kUri,
  kBlockSize,
  kMountPoint,
  kMetadataPort,
  kDataPort,
  kNumDataServers,
  kNumMetaServers,
  kThreadPool,
  kStorageSize,
  kPolicy,
  kMetadataHostfile,
  kDataHostfile,
  kMetadataFile,
  kReplFactor,
  kReplType,
  kAsyncIo,
  kPrefetchSize,
  kDebugLevel,
  kDeadline,
  kAddress,
  kKeyFile,
  kShare,
};
inline constexpr std::size_t kConfigKeyCount = static_cast<std::size_t>(ConfigKey::kShare) + 1;

enum class ConfigType : std::uint8_t {
  kText,     // anything without NUL and line ends
  kUri,      // what parse_uri accepts
  kInteger,  // a number within limits, or one of the row's words
  kSize,     // what parse_size accepts; a bare number counts in the row's unit
  kFlag,     // 0/1, no/yes, false/true, off/on
  kChoice,   // one of the row's words
};

struct ConfigRow {
  ConfigKey key;
  std::string_view name;
  ConfigType type;
  std::string_view built_in;
  std::uint64_t least;  // of integers, and of sizes in bytes
  std::uint64_t most;
  std::uint64_t unit_bytes;  // of sizes
  std::string_view words;    // separated by blanks: "RR BUCKETS", or "NONE=1 DRM=2" for integers
  std::string_view description;  // a phrase with the unit
};

// All keys, in the order of ConfigKey.
std::span<const ConfigRow> config_rows();
const ConfigRow& config_row(ConfigKey key);
// The key of that name in any case, if there is one.
std::optional<ConfigKey> find_config_key(std::string_view name);

enum class ConfigOrigin : std::uint8_t { kBuiltIn, kFile, kEnvironment, kCommandLine };

class Config {
 public:
  // The built-in values.
  Config();

  // Built-in values, the first configuration file found and the environment. Files are searched in
  // this order: what the variable IMSS_CONF names (it must exist), /etc/imss.conf, ./imss.conf, the
  // installation's configuration folder. Errors: a sentence with the file and line, or the
  // variable, and the key.
  static Result<Config> load();

  // The file's layer. Without a group header all lines count as one group. Errors: kNotFound,
  // kSystem, kInvalidArgument with file, line and key; for an unknown key also the nearest one that
  // exists.
  Status read_file(const std::string& path);
  Status read_text(std::string_view text, const std::string& file_name);

  // IMSS_KEY, or else HERCULES_KEY, for every key; else the same with the key's name of earlier versions (META_PORT,
  // SRV_PORT, HOSTFILE, META_HOSTFILE, N_SERVERS, META_SERVERS, BLKSIZE). A variable that is empty counts as not set.
  Status read_environment();

  // The command line's layer; `name` in any case, '-' counts as '_'.
  Status set(std::string_view name, std::string_view value);

  // REQUIRES: the key's type fits the accessor.
  const std::string& text(ConfigKey key) const;  // every type: the value as it was written
  std::uint64_t integer(ConfigKey key) const;    // kInteger
  std::uint64_t bytes(ConfigKey key) const;      // kSize
  bool flag(ConfigKey key) const;                // kFlag

  // The memory a data server may use, in bytes: STORAGE_SIZE, or 75 % of this node's memory where
  // it is 0.
  std::uint64_t storage_bytes() const;

  ConfigOrigin origin(ConfigKey key) const;
  // "built-in", "file /etc/imss.conf", "environment IMSS_URI" or "command line".
  std::string origin_text(ConfigKey key) const;

 private:
  struct Value {
    std::string text;
    std::uint64_t number = 0;
    ConfigOrigin origin = ConfigOrigin::kBuiltIn;
    std::string source;  // the file or the variable
  };

  // The variables of one name. Returns whether one was set.
  Result<bool> read_variables(ConfigKey key, std::string_view name);
  Status apply(ConfigKey key, std::string_view text, ConfigOrigin origin, std::string_view source);
  const Value& value(ConfigKey key) const { return values_[static_cast<std::size_t>(key)]; }

  std::array<Value, kConfigKeyCount> values_;
};

}  // namespace imss
