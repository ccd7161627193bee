#include "common_session.h"

#include <algorithm>

#include <utility>

#include "base/host_file.h"
#include "base/text.h"
#include "segment/segment.h"

namespace imss::tools {

Connection::Connection(CommandLine& line) : line_(line) {
  line.text("host", 0, "NAME", "Host of the metadata server (localhost)", &host_);
  line.number("port", 0, "PORT", "Port of the metadata server (METADATA_PORT, 5569)", 1, 65535,
              &port_);
}

std::optional<int> Connection::open() {
  auto config = Config::load();
  if (!config.ok()) return fail(line_.program(), config.status());
  config_ = std::move(*config);
  if (!host_.empty()) {
    options_.hosts = {Host{host_, 0}};
  } else if (const std::string& path = config_.text(ConfigKey::kMetadataHostfile); !path.empty()) {
    auto hosts = read_host_file(path);
    if (!hosts.ok()) return fail(line_.program(), hosts.status());
    options_.hosts = std::move(*hosts);
  } else {
    options_.hosts = {Host{"localhost", 0}};
  }
  const std::uint64_t port = port_ != 0 ? port_ : config_.integer(ConfigKey::kMetadataPort);
  options_.port = static_cast<std::uint16_t>(port);
  options_.key_file = config_.text(ConfigKey::kKeyFile);
  segment::set_deadline_ms(static_cast<int>(config_.integer(ConfigKey::kDeadline) * 1000));
  auto session = client::Session::connect(options_);
  if (session.ok()) {
    session_ = std::move(*session);
    return std::nullopt;
  }
  return fail(line_.program(), session.status());
}

std::optional<Uri> Connection::uri(const std::string& text) const {
  auto uri = parse_uri(text);
  if (uri.ok()) return std::move(*uri);
  usage_error(line_.program(), uri.status().message());
  return std::nullopt;
}

int Connection::fail_at(const Uri& uri, const Status& status) const {
  // Most sentences name it themselves.
  const std::string name = format_uri(uri);
  if (status.message().find(name) != std::string::npos) return fail(line_.program(), status.message());
  return fail(line_.program(), concat(name, ": ", status.message()));
}

Uri child_of(const Uri& directory, std::string_view name) {
  Uri child = directory;
  if (!child.path.empty()) child.path += '/';
  child.path += name;
  return child;
}

std::uint64_t blocks_at_once(std::uint64_t block_bytes) {
  constexpr std::uint64_t kBytes = 16 << 20;
  constexpr std::uint64_t kMost = 64;
  return std::clamp<std::uint64_t>(kBytes / std::max<std::uint64_t>(block_bytes, 1), 1, kMost);
}

std::string_view base_name(const Uri& uri) {
  const std::string_view path = uri.path;
  return path.substr(path.rfind('/') + 1);
}

Result<std::vector<metadata::EntryInfo>> list_all(client::Session& session, const Uri& uri) {
  constexpr std::size_t kBatch = 1024;
  std::vector<metadata::EntryInfo> entries;
  std::uint64_t cookie = 0;
  while (true) {
    IMSS_ASSIGN_OR_RETURN(const bool more, session.list(uri, cookie, kBatch, &entries));
    if (!more || entries.empty()) return entries;
    cookie = entries.back().cookie;
  }
}

}  // namespace imss::tools
