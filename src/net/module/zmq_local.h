// The local socket of a control port, for clients of its own node: there the kernel says who asks.
//
// Its name is in the abstract name space, which belongs to the network name space as port numbers
// do, and goes with the socket. Functions without state; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace imss::net {

// As ZeroMQ writes it.
std::string local_endpoint(std::uint16_t port);
// Whether somebody listens there.
bool local_socket_answers(std::uint16_t port);
// A listening descriptor. Errors: kBusy, kSystem.
Result<int> listen_locally(std::uint16_t port);
// Whether the descriptor is such a socket of this port, or a connection to it.
bool is_local_socket(int fd, std::uint16_t port);

}  // namespace imss::net
