#include "net/listening.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/clock.h"

namespace imss::net {
namespace {

bool accepts(const addrinfo& address, const Deadline& deadline) {
  const int fd = ::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  int error = ::connect(fd, address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd wait{fd, POLLOUT, 0};
    int ready = 0;
    while ((ready = ::poll(&wait, 1, deadline.remaining_ms())) < 0 && errno == EINTR) {
    }
    socklen_t size = sizeof(error);
    error = ETIMEDOUT;
    if (ready > 0) ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  ::close(fd);
  return error == 0;
}

}  // namespace

bool is_listening(const std::string& host, std::uint16_t port, int timeout_ms) {
  const Deadline deadline = Deadline::from_now(timeout_ms);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return false;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, ::freeaddrinfo);
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    if (accepts(*each, deadline)) return true;
  }
  return false;
}

}  // namespace imss::net
