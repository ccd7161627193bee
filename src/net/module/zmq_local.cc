#include "net/module/zmq_local.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/text.h"

namespace imss::net {
namespace {

constexpr int kLocalBacklog = 1024;

struct LocalAddress {
  sockaddr_un storage{};
  socklen_t length = 0;

  explicit LocalAddress(std::uint16_t port) {
    storage.sun_family = AF_UNIX;
    const std::string name = concat("imss-control-", std::to_string(port));
    name.copy(storage.sun_path + 1,
              sizeof(storage.sun_path) - 1);  // the NUL before it says: abstract
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

int make_socket() { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

}  // namespace

std::string local_endpoint(std::uint16_t port) {
  return concat("ipc://@imss-control-", std::to_string(port));
}

bool local_socket_answers(std::uint16_t port) {
  const int fd = make_socket();
  if (fd < 0) return false;
  const LocalAddress address(port);
  // A full backlog (EAGAIN) is somebody too.
  const bool there = connect(fd, address.get(), address.length) == 0 || errno == EAGAIN;
  close(fd);
  return there;
}

Result<int> listen_locally(std::uint16_t port) {
  const int fd = make_socket();
  const LocalAddress address(port);
  if (fd >= 0 && bind(fd, address.get(), address.length) == 0 && listen(fd, kLocalBacklog) == 0)
    return fd;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (error == EADDRINUSE) {
    return Status(Code::kBusy,
                  concat("the local socket of port ", std::to_string(port), " is in use"));
  }
  return Status::from_errno(
      error, concat("cannot listen on the local socket of port ", std::to_string(port)));
}

bool is_local_socket(int fd, std::uint16_t port) {
  const LocalAddress address(port);
  sockaddr_un own{};
  socklen_t length = sizeof(own);
  return getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
         length == address.length && std::memcmp(&own, &address.storage, length) == 0;
}

}  // namespace imss::net
