#include "common_session.h"

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
  client::ConnectOptions options;
  if (!host_.empty()) {
    options.hosts = {host_};
  } else if (const std::string& path = config_.text(ConfigKey::kMetadataHostfile); !path.empty()) {
    auto hosts = read_host_file(path);
    if (!hosts.ok()) return fail(line_.program(), hosts.status());
    for (const Host& host : *hosts) options.hosts.push_back(host.name);
  } else {
    options.hosts = {"localhost"};
  }
  const std::uint64_t port = port_ != 0 ? port_ : config_.integer(ConfigKey::kMetadataPort);
  options.port = static_cast<std::uint16_t>(port);
  segment::set_deadline_ms(static_cast<int>(config_.integer(ConfigKey::kDeadline) * 1000));
  auto session = client::Session::connect(options);
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
  return fail(line_.program(), concat(format_uri(uri), ": ", status.message()));
}

Uri child_of(const Uri& directory, std::string_view name) {
  Uri child = directory;
  if (!child.path.empty()) child.path += '/';
  child.path += name;
  return child;
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
