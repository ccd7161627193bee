// Stream sockets of ports: the line on which two ports find each other, and whose end tells each
// that the other is gone.
//
// None of these outlives fork(): a child closes its copies at once, so that a peer notices the end
// of the parent although the child lives. Any thread; calls do not wait, but for the resolver
// behind find_host().
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace imss::net {

struct HostAddress {
  sockaddr_storage storage = {};
  socklen_t bytes = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

enum class AddressUse { kConnect, kListen };

// The address of a host name or a numeric address, the older address family first; empty: any
// address of this node (kListen). Errors: kIo for a name that is unknown.
Result<HostAddress> find_host(const std::string& host, std::uint16_t port_number, AddressUse use);

// Descriptors are the caller's and end by close_socket().
// Errors: kBusy for a port in use, kInvalidArgument for an address that is not this node's.
Result<int> open_listener(const HostAddress& address);
Result<std::uint16_t> port_number_of(int socket);
std::uint16_t port_number_of(const sockaddr_storage& address);
// Begins to connect. Whether it succeeds shows when the socket can be written, by socket_error().
Result<int> open_line(const HostAddress& address);
// A peer of a listening socket; kAgain when there is none (any more). `peer` becomes its address as
// text. Errors: kTooManyOpen, kSystem.
Result<int> accept_line(int listener, std::string& peer);
// The address of the other end of a line, with another port number.
Result<HostAddress> peer_of(int line, std::uint16_t port_number);
// Any address of this node of the family that the line has, with a port number that the system
// shall choose.
Result<HostAddress> any_like(int line);
Status socket_error(int socket);
void close_socket(int socket);

// What could be read or written now; kAgain when nothing could. Reading: 0 at the end of the line.
Result<std::size_t> read_some(int socket, std::span<std::byte> into);
Result<std::size_t> write_some(int socket, std::span<const std::byte> from);

}  // namespace imss::net
