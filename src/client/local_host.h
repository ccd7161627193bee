// Whether a host name means this node. Asks the resolver and the network interfaces; any thread.
#pragma once

#include <cstdint>
#include <string>

namespace imss::client {

bool is_local_host(const std::string& host);
// The name of this node.
std::string local_host_name();
// "localhost" and what else means this node on every node.
bool is_loopback_name(const std::string& host);
// The first address that a name means and that this node has, but none of the loopback device; as
// numbers. Empty when there is none.
std::string own_address_of(const std::string& host);
// The address of this node's interface that leads to a host; as numbers. Nothing is sent. Empty
// when the host is not known or there is no way.
std::string address_towards(const std::string& host, std::uint16_t port);

}  // namespace imss::client
