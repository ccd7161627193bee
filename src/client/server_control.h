// Questions to servers by their control ports: how they are, and that they shall end.
//
// Servers are asked side by side, each with a connection of its own that ends with the call.
// Functions without shared state; any thread. Errors: kNotSupported without the network module,
// kNotFound and kPermission for the key file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/messages.h"

namespace imss::client {

struct ServerAddress {
  std::string host;
  std::uint16_t port = 0;
};

// Whether something accepts connections there, within `timeout_ms`. Needs no network module.
bool is_listening(const ServerAddress& address, int timeout_ms);

// What each of the servers says about itself, nothing where none answered in `timeout_ms`. An empty
// `key_file` is no keys.
Result<std::vector<std::optional<net::StatusAnswer>>> ask_status(
    const std::vector<ServerAddress>& addresses, const std::string& key_file, int timeout_ms);

// Asks a server to end, and with `retire` to remove its segment with the data. On return it has
// agreed, and may have ended. Errors: also kTimedOut and kIo when it did not answer.
Status ask_to_stop(const ServerAddress& address, const std::string& key_file, bool retire,
                   int timeout_ms);

// Makes a file with new keys for an instance. Errors: kExists, kSystem.
Status make_key_file(const std::string& path);

}  // namespace imss::client
