#include "net/module/sockets.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>

namespace imss::net {
namespace {

// The sockets of this process. Its mutex is held during fork(), so that the child finds a whole
// set.
struct OpenSockets {
  std::mutex mutex;
  std::set<int> sockets;
};

OpenSockets& open_sockets() {
  static OpenSockets* const open = new OpenSockets;  // usable while the process ends
  return *open;
}

void lock_sockets() { open_sockets().mutex.lock(); }
void unlock_sockets() { open_sockets().mutex.unlock(); }
void close_copies() {
  for (const int one : open_sockets().sockets) ::close(one);
  open_sockets().sockets.clear();
  open_sockets().mutex.unlock();
}

void follow_forks() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(lock_sockets, unlock_sockets, close_copies); });
}

// Like socket() or accept(), but with the new descriptor in the set before a fork can happen.
template <typename Open>
int open_tracked(const Open& open) {
  follow_forks();
  const std::lock_guard lock(open_sockets().mutex);
  const int opened = open();
  if (opened >= 0) open_sockets().sockets.insert(opened);
  return opened;
}

std::string text_of(const sockaddr_storage& address, socklen_t bytes) {
  char host[NI_MAXHOST];
  char service[NI_MAXSERV];
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), bytes, host, sizeof host, service,
                  sizeof service, NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "an unknown address";
  }
  return std::string(host) + ":" + service;
}

// Not connected yet is as good as nothing to do yet.
bool would_wait(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ENOTCONN;
}

int new_socket(const HostAddress& address) {
  return open_tracked([&] {
    return socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  });
}

void set_option(int socket, int level, int option, int value) {
  // None of them is needed to be correct.
  (void)setsockopt(socket, level, option, &value, sizeof value);
}

// A node that vanishes without a word is noticed within half a minute, whatever UCX's transport
// notices.
void keep_alive(int socket) {
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

}  // namespace

Result<HostAddress> find_host(const std::string& host, std::uint16_t port_number, AddressUse use) {
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  if (use == AddressUse::kListen) wanted.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                std::to_string(port_number).c_str(), &wanted, &found);
  if (error != 0) {
    return Status(Code::kIo, "the host '" + host + "' is unknown here: " + gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> release(found, &freeaddrinfo);
  const addrinfo* best = nullptr;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
    if (best == nullptr || (best->ai_family == AF_INET6 && one->ai_family == AF_INET)) best = one;
  }
  if (best == nullptr) return Status(Code::kIo, "the host '" + host + "' has no IP address");
  HostAddress address;
  std::memcpy(&address.storage, best->ai_addr, best->ai_addrlen);
  address.bytes = best->ai_addrlen;
  return address;
}

Result<int> open_listener(const HostAddress& address) {
  const int listener = new_socket(address);
  if (listener < 0) return Status::from_errno(errno, "a socket to listen");
  // A server that starts again gets its port although connections of its predecessor linger.
  set_option(listener, SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(listener, address.get(), address.bytes) == 0 && listen(listener, SOMAXCONN) == 0) {
    return listener;
  }
  const int error = errno;
  close_socket(listener);
  const std::string sentence =
      "cannot listen on " + text_of(address.storage, address.bytes) + ": " + std::strerror(error);
  return Status(error == EADDRINUSE ? Code::kBusy : Code::kInvalidArgument, sentence);
}

Result<std::uint16_t> port_number_of(int socket) {
  sockaddr_storage address = {};
  socklen_t bytes = sizeof address;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) {
    return Status::from_errno(errno, "the address of a listening socket");
  }
  return port_number_of(address);
}

std::uint16_t port_number_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

Result<int> open_line(const HostAddress& address) {
  const int line = new_socket(address);
  if (line < 0) return Status::from_errno(errno, "a socket to connect");
  keep_alive(line);
  if (connect(line, address.get(), address.bytes) == 0 || errno == EINPROGRESS) return line;
  const int error = errno;
  close_socket(line);
  return Status(Code::kIo, "cannot connect to " + text_of(address.storage, address.bytes) + ": " +
                               std::strerror(error));
}

Result<int> accept_line(int listener, std::string& peer) {
  sockaddr_storage address = {};
  socklen_t bytes = sizeof address;
  const int line = open_tracked([&] {
    return accept4(listener, reinterpret_cast<sockaddr*>(&address), &bytes,
                   SOCK_CLOEXEC | SOCK_NONBLOCK);
  });
  if (line >= 0) {
    keep_alive(line);
    peer = text_of(address, bytes);
    return line;
  }
  if (errno == EMFILE || errno == ENFILE) return Code::kTooManyOpen;
  if (errno == EAGAIN || errno == EWOULDBLOCK) return Code::kAgain;
  return Status::from_errno(errno, "a connection that came");
}

Result<HostAddress> peer_of(int line, std::uint16_t port_number) {
  HostAddress address;
  address.bytes = sizeof address.storage;
  if (getpeername(line, reinterpret_cast<sockaddr*>(&address.storage), &address.bytes) != 0) {
    return Status(Code::kIo, std::strerror(errno));
  }
  if (address.storage.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_port = htons(port_number);
  } else {
    reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port = htons(port_number);
  }
  return address;
}

Result<HostAddress> any_like(int line) {
  IMSS_ASSIGN_OR_RETURN(const HostAddress peer, peer_of(line, 0));
  // Zero is any address in both families.
  HostAddress address;
  address.storage.ss_family = peer.storage.ss_family;
  address.bytes = peer.bytes;
  return address;
}

Status socket_error(int socket) {
  int error = 0;
  socklen_t bytes = sizeof error;
  if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0) error = errno;
  if (error == 0) return {};
  return Status(Code::kIo, std::strerror(error));
}

void close_socket(int socket) {
  const std::lock_guard lock(open_sockets().mutex);
  // A fork child has closed its copy already, and the number may be somebody else's.
  if (open_sockets().sockets.erase(socket) > 0) ::close(socket);
}

Result<std::size_t> read_some(int socket, std::span<std::byte> into) {
  const ssize_t bytes = recv(socket, into.data(), into.size(), 0);
  if (bytes >= 0) return static_cast<std::size_t>(bytes);
  if (would_wait(errno)) return Code::kAgain;
  return Status(Code::kIo, std::strerror(errno));
}

Result<std::size_t> write_some(int socket, std::span<const std::byte> from) {
  const ssize_t bytes = ::send(socket, from.data(), from.size(), MSG_NOSIGNAL);
  if (bytes >= 0) return static_cast<std::size_t>(bytes);
  if (would_wait(errno)) return Code::kAgain;
  return Status(Code::kIo, std::strerror(errno));
}

}  // namespace imss::net
