#include "client/local_host.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>

namespace imss::client {
namespace {

bool same_address(const sockaddr& a, const sockaddr& b) {
  if (a.sa_family != b.sa_family) return false;
  if (a.sa_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(a).sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in&>(b).sin_addr.s_addr;
  }
  return a.sa_family == AF_INET6 &&
         std::memcmp(&reinterpret_cast<const sockaddr_in6&>(a).sin6_addr,
                     &reinterpret_cast<const sockaddr_in6&>(b).sin6_addr, sizeof(in6_addr)) == 0;
}

bool is_loopback(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    return (ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24) == 127;
  }
  return address.sa_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
}

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;
using InterfaceList = std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)>;

// Null where the name is not known.
AddressList addresses_of(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0)
    found = nullptr;
  return {found, ::freeaddrinfo};
}

InterfaceList interfaces() {
  ifaddrs* found = nullptr;
  if (::getifaddrs(&found) != 0) found = nullptr;
  return {found, ::freeifaddrs};
}

bool is_own(const InterfaceList& mine, const sockaddr& address) {
  for (const ifaddrs* own = mine.get(); own != nullptr; own = own->ifa_next) {
    if (own->ifa_addr != nullptr && same_address(*own->ifa_addr, address)) return true;
  }
  return false;
}

std::string as_numbers(const sockaddr& address, socklen_t size) {
  char text[NI_MAXHOST] = {};
  if (::getnameinfo(&address, size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) != 0) return {};
  return text;
}

}  // namespace

std::string local_host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof(name) - 1) != 0) return "localhost";
  return name;
}

bool is_loopback_name(const std::string& host) {
  return host.empty() || host == "localhost" || host == "::1" || host.starts_with("127.");
}

bool is_local_host(const std::string& host) {
  if (is_loopback_name(host) || host == local_host_name()) return true;
  const AddressList addresses = addresses_of(host, 0);
  const InterfaceList mine = interfaces();
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    if (is_loopback(*address->ai_addr) || is_own(mine, *address->ai_addr)) return true;
  }
  return false;
}

std::string own_address_of(const std::string& host) {
  const AddressList addresses = addresses_of(host, 0);
  const InterfaceList mine = interfaces();
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    if (is_loopback(*address->ai_addr) || !is_own(mine, *address->ai_addr)) continue;
    return as_numbers(*address->ai_addr, address->ai_addrlen);
  }
  return {};
}

std::string address_towards(const std::string& host, std::uint16_t port) {
  const AddressList addresses = addresses_of(host, port);
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    const int fd = ::socket(address->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    // A datagram socket only chooses the way.
    sockaddr_storage own{};
    socklen_t size = sizeof(own);
    const bool known = ::connect(fd, address->ai_addr, address->ai_addrlen) == 0 &&
                       ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0;
    ::close(fd);
    if (known) return as_numbers(reinterpret_cast<const sockaddr&>(own), size);
  }
  return {};
}

}  // namespace imss::client
