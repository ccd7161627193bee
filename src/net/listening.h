// Whether something accepts connections at a port, without the network module. Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace imss::net {

// Tries all addresses of the host, within `timeout_ms`. A port that refuses is known at once.
bool is_listening(const std::string& host, std::uint16_t port, int timeout_ms);

}  // namespace imss::net
