// Whether a host name means this node. Asks the resolver and the network interfaces; any thread.
#pragma once

#include <string>

namespace imss::client {

bool is_local_host(const std::string& host);
// The name of this node.
std::string local_host_name();

}  // namespace imss::client
