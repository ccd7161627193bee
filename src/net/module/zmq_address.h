// Addresses of the control plane: host names to numeric addresses, and the sockets a server listens
// on.
//
// Names are looked up here and not by ZeroMQ, whose one I/O thread would wait for a slow name
// server. A lookup takes as long as the system's resolver takes. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace imss::net {

// The TCP endpoints of a host in ZeroMQ's notation, "tcp://10.0.0.1:5555" or
// "tcp://[fd00::1]:5555"; IPv4 first, at most kMaxAddresses. For a loopback address it is the port's
// local socket alone, where there is one. Errors: kIo for an unknown host.
inline constexpr std::size_t kMaxAddresses = 8;
Result<std::vector<std::string>> endpoints_of(const std::string& host, std::uint16_t port);
bool is_loopback_endpoint(std::string_view endpoint);

// Sockets that listen on one port. Closes those that are not taken.
class Listeners {
 public:
  // `address` as in ControlServerOptions, where `loopback` says what an empty one means. Port 0
  // lets the system choose. Errors: kBusy, kInvalidArgument.
  static Result<Listeners> open(const std::string& address, bool loopback, std::uint16_t port);

  Listeners() = default;
  Listeners(Listeners&& other) noexcept { *this = std::move(other); }
  Listeners& operator=(Listeners&& other) noexcept;
  ~Listeners();

  std::uint16_t port() const { return port_; }
  bool empty() const { return fds_.empty(); }
  // Whether 127.0.0.1 or ::1 is among the addresses.
  bool on_loopback() const;
  // The descriptor is the caller's from now on. REQUIRES: !empty().
  int take();

 private:
  std::vector<int> fds_;
  std::uint16_t port_ = 0;
};

}  // namespace imss::net
