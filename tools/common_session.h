// The connection of a command: options that all of them have, the configuration, and the session.
//
// Used by the main thread of a program only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/uri.h"
#include "client/session.h"
#include "common_program.h"

namespace imss::tools {

// What every command that talks to the store begins with.
class Connection {
 public:
  // Adds --host and --port. REQUIRES: `line` lives as long as this.
  explicit Connection(CommandLine& line);

  // Reads the configuration and connects. On failure prints why and returns the exit code.
  std::optional<int> open();

  client::Session& session() { return *session_; }
  const Config& config() const { return config_; }
  // Where the metadata server is, and the key file ("" without keys). REQUIRES: open() was called.
  const std::string& metadata_host() const { return options_.hosts.front().name; }
  std::uint16_t metadata_port() const {
    return options_.hosts.front().port != 0 ? options_.hosts.front().port : options_.port;
  }
  const std::string& key_file() const { return options_.key_file; }

  // Reads a URI argument. On failure prints why and returns nothing: end with kExitUsage.
  std::optional<Uri> uri(const std::string& text) const;
  // Prints "PROGRAM: URI: SENTENCE" and returns kExitFailed.
  int fail_at(const Uri& uri, const Status& status) const;

 private:
  CommandLine& line_;
  std::string host_;
  std::uint64_t port_ = 0;
  Config config_;
  client::ConnectOptions options_;
  std::unique_ptr<client::Session> session_;
};

// The URI of a name below a directory.
Uri child_of(const Uri& directory, std::string_view name);
// The last name of the path, "" for an instance's root.
std::string_view base_name(const Uri& uri);
// How many blocks are read or written together: enough to have servers on other nodes work at the same time.
std::uint64_t blocks_at_once(std::uint64_t block_bytes);
// All entries of a directory, in the order of the store.
Result<std::vector<metadata::EntryInfo>> list_all(client::Session& session, const Uri& uri);

}  // namespace imss::tools
