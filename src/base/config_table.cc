// The table of configuration keys, and the check of a value against its row.
#include "base/config_table.h"

#include <array>
#include <charconv>

#include "base/size.h"
#include "base/text.h"
#include "base/uri.h"

namespace imss {
namespace {

constexpr std::uint64_t kMaxServers = 1'000'000;
constexpr std::uint64_t kMaxStorageBytes = std::uint64_t{1} << 60;
constexpr std::string_view kPolicies = "RR BUCKETS HASH CRC16b CRC64b LOCAL HRW ZCOPY";
constexpr std::string_view kSharing = "rw ro none";
constexpr std::string_view kLevels = "none=0 error=1 warn=2 info=3 debug=4 trace=5";

using enum ConfigType;
constexpr std::array<ConfigRow, kConfigKeyCount> kRows = {{
    {ConfigKey::kUri, "URI", kUri, "imss://", 0, 0, 1, "", "the instance to use"},
    {ConfigKey::kBlockSize, "BLOCK_SIZE", kSize, "512", kKiB, 64 * kMiB, kKiB, "",
     "bytes of a block of new files; a bare number is KiB"},
    {ConfigKey::kMountPoint, "MOUNT_POINT", kText, "/mnt/imss", 0, 0, 1, "",
     "the folder under which programs see the instance"},
    {ConfigKey::kMetadataPort, "METADATA_PORT", kInteger, "5569", 1, 65535, 1, "",
     "TCP port of the metadata servers"},
    {ConfigKey::kDataPort, "DATA_PORT", kInteger, "5555", 1, 65535, 1, "",
     "TCP port of the data servers"},
    {ConfigKey::kNumDataServers, "NUM_DATA_SERVERS", kInteger, "1", 1, kMaxServers, 1, "",
     "number of data servers"},
    {ConfigKey::kNumMetaServers, "NUM_META_SERVERS", kInteger, "1", 1, kMaxServers, 1, "",
     "number of metadata servers"},
    {ConfigKey::kThreadPool, "THREAD_POOL", kInteger, "1", 1, 1024, 1, "",
     "worker threads of a server"},
    {ConfigKey::kStorageSize, "STORAGE_SIZE", kSize, "0", 0, kMaxStorageBytes, kGiB, "",
     "memory of a data server; a bare number is GiB, 0 is 75 % of the node's memory"},
    {ConfigKey::kPolicy, "POLICY", kChoice, "RR", 0, 0, 1, kPolicies,
     "distribution policy of new datasets"},
    {ConfigKey::kMetadataHostfile, "METADATA_HOSTFILE", kText, "", 0, 0, 1, "",
     "host file of the metadata servers; none is this machine"},
    {ConfigKey::kDataHostfile, "DATA_HOSTFILE", kText, "", 0, 0, 1, "",
     "host file of the data servers; none is this machine"},
    {ConfigKey::kMetadataFile, "METADATA_FILE", kText, "./metadata", 0, 0, 1, "",
     "file in which a metadata server keeps the namespace"},
    {ConfigKey::kReplFactor, "REPL_FACTOR", kInteger, "1", 1, 3, 1, "NONE=1 DRM=2 TRM=3",
     "copies of each block of new datasets"},
    {ConfigKey::kReplType, "REPL_TYPE", kInteger, "SYNC", 0, 1, 1, "SYNC=0 ASYNC=1",
     "whether a write waits for all copies"},
    {ConfigKey::kAsyncIo, "ASYNC_IO", kFlag, "0", 0, 1, 1, "",
     "whether files are written behind the program"},
    {ConfigKey::kPrefetchSize, "PREFETCH_SIZE", kSize, "0", 0, 64 * kGiB, kMiB, "",
     "bytes read ahead of sequential readers; a bare number is MiB, 0 is none"},
    {ConfigKey::kDebugLevel, "DEBUG_LEVEL", kInteger, "warn", 0, 5, 1, kLevels, "what is logged"},
    {ConfigKey::kDeadline, "DEADLINE", kInteger, "30", 1, 86400, 1, "",
     "seconds after which an operation ends with an error"},
    {ConfigKey::kAddress, "ADDRESS", kText, "", 0, 0, 1, "",
     "where servers listen for other nodes: a host name or address of this one, * for all; none is nowhere, with keys all"},
    {ConfigKey::kKeyFile, "KEY_FILE", kText, "", 0, 0, 1, "",
     "file with the instance's keys, see imss keygen; none is no encryption"},
    {ConfigKey::kShare, "SHARE", kChoice, "rw", 0, 0, 1, kSharing,
     "what other processes of a server's node do with its memory: rw is work on it, ro is read it, none is ask the server"},
}};

constexpr bool rows_are_in_order() {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<std::size_t>(kRows[i].key) != i) return false;
  }
  return true;
}
static_assert(rows_are_in_order(), "a key indexes its row");

struct Word {
  std::string_view name;
  std::string_view number;
};

// Takes the first word off the front of a row's words.
Word take_word(std::string_view& words) {
  const std::string_view word = words.substr(0, words.find(' '));
  words.remove_prefix(std::min(word.size() + 1, words.size()));
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos) return {word, ""};
  return {word.substr(0, equals), word.substr(equals + 1)};
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Status refuse(std::string_view text, std::string_view expected) {
  return Status(Code::kInvalidArgument, concat(quoted(text), " is not ", expected));
}

Result<CheckedValue> check_integer(const ConfigRow& row, std::string_view text) {
  for (std::string_view words = row.words; !words.empty();) {
    const Word word = take_word(words);
    if (equal_ignoring_case(word.name, text))
      return CheckedValue{std::string(word.name), *parse_number(word.number)};
  }
  const auto number = parse_number(text);
  if (!number || *number < row.least || *number > row.most) {
    return refuse(
        text, concat("a number from ", std::to_string(row.least), " to ", std::to_string(row.most),
                     row.words.empty() ? "" : " or one of ", row.words));
  }
  return CheckedValue{std::string(text), *number};
}

Result<CheckedValue> check_size(const ConfigRow& row, std::string_view text) {
  IMSS_ASSIGN_OR_RETURN(const std::uint64_t bytes, parse_size(text, row.unit_bytes));
  if (bytes < row.least || bytes > row.most) {
    return refuse(text,
                  concat("a size from ", format_size(row.least), " to ", format_size(row.most)));
  }
  return CheckedValue{std::string(text), bytes};
}

Result<CheckedValue> check_flag(std::string_view text) {
  for (const std::string_view word : {"1", "yes", "true", "on"}) {
    if (equal_ignoring_case(word, text)) return CheckedValue{std::string(text), 1};
  }
  for (const std::string_view word : {"0", "no", "false", "off"}) {
    if (equal_ignoring_case(word, text)) return CheckedValue{std::string(text), 0};
  }
  return refuse(text, "yes or no");
}

Result<CheckedValue> check_choice(const ConfigRow& row, std::string_view text) {
  std::uint64_t position = 0;
  for (std::string_view words = row.words; !words.empty(); ++position) {
    const Word word = take_word(words);
    if (equal_ignoring_case(word.name, text)) return CheckedValue{std::string(word.name), position};
  }
  return refuse(text, concat("one of ", row.words));
}

}  // namespace

std::span<const ConfigRow> config_rows() { return kRows; }

const ConfigRow& config_row(ConfigKey key) { return kRows[static_cast<std::size_t>(key)]; }

Result<CheckedValue> check_config_value(const ConfigRow& row, std::string_view text) {
  if (text.find_first_of(std::string_view("\0\n\r", 3)) != std::string_view::npos) {
    return Status(Code::kInvalidArgument, "a value cannot hold line ends or NUL bytes");
  }
  switch (row.type) {
    case kInteger:
      return check_integer(row, text);
    case kSize:
      return check_size(row, text);
    case kFlag:
      return check_flag(text);
    case kChoice:
      return check_choice(row, text);
    case kUri: {
      const Result<Uri> uri = parse_uri(text);
      if (!uri.ok()) return uri.status();
      break;
    }
    case kText:
      break;
  }
  return CheckedValue{std::string(text), 0};
}

}  // namespace imss
