#include "net/module/zmq_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "net/module/zmq_local.h"

namespace imss::net {
namespace {

constexpr int kBacklog = 1024;
// How often another port is tried when the system's choice for the first address is taken on the
// second.
constexpr int kPortTries = 16;

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  bool both_families = false;  // an IPv6 socket that takes IPv4 too

  int family() const { return storage.ss_family; }
  bool is_any() const {
    if (family() == AF_INET6) return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr);
    return reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr.s_addr == htonl(INADDR_ANY);
  }
  bool is_loopback() const {
    if (family() == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr);
    return ntohl(reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr.s_addr) == INADDR_LOOPBACK;
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  bool operator==(const Address& other) const {
    return length == other.length && std::memcmp(&storage, &other.storage, length) == 0;
  }
  void set_port(std::uint16_t port) {
    if (family() == AF_INET6) {
      reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port = htons(port);
    } else {
      reinterpret_cast<sockaddr_in*>(&storage)->sin_port = htons(port);
    }
  }
};

// The name's addresses, IPv4 first, each once.
Result<std::vector<Address>> look_up(const std::string& host, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error != 0) {
    return Status(Code::kIo,
                  concat("the host ", quoted(host), " is unknown: ", gai_strerror(error)));
  }
  std::vector<Address> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    Address address;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    address.length = entry->ai_addrlen;
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(address);
  }
  freeaddrinfo(list);
  if (addresses.empty()) {
    return Status(Code::kIo, concat("the host ", quoted(host), " has no IPv4 or IPv6 address"));
  }
  std::stable_partition(addresses.begin(), addresses.end(),
                        [](const Address& a) { return a.family() == AF_INET; });
  if (addresses.size() > kMaxAddresses) addresses.resize(kMaxAddresses);
  return addresses;
}

// -1 with errno set. The port is the one given, or the system's choice for 0.
int listen_at(Address address, std::uint16_t port) {
  const int fd = socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  if (fd < 0) return -1;
  const int yes = 1;
  const int v6_only = address.both_families ? 0 : 1;
  address.set_port(port);
  // Connections of a former server that the kernel has not forgotten yet must not keep the next one
  // from its port.
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
      (address.family() != AF_INET6 ||
       setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) == 0) &&
      bind(fd, address.get(), address.length) == 0 && listen(fd, kBacklog) == 0) {
    return fd;
  }
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

std::uint16_t port_of(int fd) {
  Address address;
  address.length = sizeof(address.storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0)
    return 0;
  return ntohs(address.family() == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
}

// What a server is to listen on.
struct Wanted {
  std::vector<Address> addresses;
  bool first_is_enough = false;  // this node may lack the others
  bool one_of = false;           // the first that works is all
};

Result<Wanted> wanted_addresses(const std::string& address, bool loopback) {
  Wanted wanted;
  const bool all = address == "*" || (address.empty() && !loopback);
  if (all) {
    IMSS_ASSIGN_OR_RETURN(wanted.addresses, look_up("::", AI_NUMERICHOST));
    wanted.addresses.front().both_families = true;
    IMSS_ASSIGN_OR_RETURN(std::vector<Address> old, look_up("0.0.0.0", AI_NUMERICHOST));
    wanted.addresses.push_back(old.front());
    wanted.one_of = true;
  } else if (address.empty()) {
    IMSS_ASSIGN_OR_RETURN(wanted.addresses, look_up("127.0.0.1", AI_NUMERICHOST));
    IMSS_ASSIGN_OR_RETURN(std::vector<Address> v6, look_up("::1", AI_NUMERICHOST));
    wanted.addresses.push_back(v6.front());
    wanted.first_is_enough = true;
  } else {
    Result<std::vector<Address>> found = look_up(address, 0);
    if (!found.ok()) return Status(Code::kInvalidArgument, found.status().message());
    wanted.addresses = std::move(*found);
  }
  return wanted;
}

bool is_missing_address(int error) {
  return error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT;
}

Status bind_error(int error, const std::string& address, std::uint16_t port) {
  const std::string number = std::to_string(port);
  if (error == EADDRINUSE) return Status(Code::kBusy, concat("port ", number, " is in use"));
  if (error == EACCES) {
    return Status(Code::kPermission, concat("port ", number, " is reserved for the system"));
  }
  if (is_missing_address(error)) {
    return Status(Code::kInvalidArgument,
                  concat(quoted(address), " is not an address of this node"));
  }
  return Status::from_errno(error, concat("cannot listen on port ", number));
}

}  // namespace

Result<std::vector<std::string>> endpoints_of(const std::string& host, std::uint16_t port) {
  IMSS_ASSIGN_OR_RETURN(const std::vector<Address> addresses, look_up(host, 0));
  std::vector<std::string> endpoints;
  const bool here = std::ranges::any_of(addresses, [](const Address& a) { return a.is_loopback(); });
  if (here && local_socket_answers(port)) return std::vector<std::string>{local_endpoint(port)};
  for (const Address& address : addresses) {
    std::array<char, NI_MAXHOST> text{};
    if (getnameinfo(address.get(), address.length, text.data(), text.size(), nullptr, 0,
                    NI_NUMERICHOST) != 0) {
      continue;
    }
    const bool v6 = address.family() == AF_INET6;
    endpoints.push_back(
        concat("tcp://", v6 ? "[" : "", text.data(), v6 ? "]:" : ":", std::to_string(port)));
  }
  return endpoints;
}

bool is_loopback_endpoint(std::string_view endpoint) {
  return endpoint.starts_with("tcp://127.0.0.1:") || endpoint.starts_with("tcp://[::1]");
}

bool Listeners::on_loopback() const {
  return std::ranges::any_of(fds_, [](int fd) {
    Address address;
    address.length = sizeof(address.storage);
    return getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) == 0 &&
           (address.is_loopback() || address.is_any());
  });
}

Result<Listeners> Listeners::open(const std::string& address, bool loopback, std::uint16_t port) {
  IMSS_ASSIGN_OR_RETURN(const Wanted wanted, wanted_addresses(address, loopback));
  int error = 0;
  for (int tries = 0; tries < kPortTries; ++tries) {
    Listeners listeners;
    listeners.port_ = port;
    error = 0;
    for (const Address& each : wanted.addresses) {
      const int fd = listen_at(each, listeners.port_);
      if (fd < 0) {
        const bool can_do_without =
            (wanted.first_is_enough && !listeners.fds_.empty()) || wanted.one_of;
        if (can_do_without && is_missing_address(errno)) continue;
        error = errno;
        break;
      }
      listeners.fds_.push_back(fd);
      if (listeners.port_ == 0) listeners.port_ = port_of(fd);
      if (wanted.one_of) break;
    }
    if (error == 0 && !listeners.fds_.empty()) return listeners;
    if (error == 0) error = EADDRNOTAVAIL;
    // The number that the system chose may be taken on the next address: another choice is worth a
    // try.
    if (port != 0 || error != EADDRINUSE) break;
  }
  return bind_error(error, address, port);
}

Listeners& Listeners::operator=(Listeners&& other) noexcept {
  std::swap(fds_, other.fds_);
  std::swap(port_, other.port_);
  return *this;
}

int Listeners::take() {
  const int fd = fds_.back();
  fds_.pop_back();
  return fd;
}

Listeners::~Listeners() {
  for (const int fd : fds_) close(fd);
}

}  // namespace imss::net
