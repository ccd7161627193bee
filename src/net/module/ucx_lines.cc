// How connections begin: listening, the line between two ports and their greetings; and how its end
// is noticed.
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/clock.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "net/module/greeting.h"
#include "net/module/sockets.h"
#include "net/module/ucx_port.h"
#include "net/module/ucx_settings.h"

namespace imss::net {
namespace {

// A peer that has connected says who it is within this time, and only so many may be about to at
// once.
constexpr std::int64_t kGreetingTimeNs = 10'000'000'000;
constexpr std::size_t kMaxGreeting = 1024;
// Accepted in one go, so that a flood of peers does not keep a port from its connections.
constexpr int kMaxAcceptedAtOnce = 16;
// A message that was sent before the line ended is taken first; a peer that keeps sending is not
// waited for.
constexpr int kLastRounds = 1000;

}  // namespace

void UcxPort::watch(int fd, std::uint32_t epoll_events, bool known) {
  epoll_event event = {};
  event.events = epoll_events;
  event.data.fd = fd;
  if (epoll_ctl(epoll_fd_, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0) {
    // Only the kernel's memory or limits can be the reason; deadlines end what hangs for it.
    IMSS_LOG_ERROR("a port cannot watch one of its sockets: %s",
                   Status::from_errno(errno, "epoll_ctl").message().c_str());
  }
}

Result<std::uint16_t> UcxPort::listen(const std::string& address, std::uint16_t port_number) {
  auto found = find_host(address, port_number, AddressUse::kListen);
  if (!found.ok()) return Status(Code::kInvalidArgument, found.status().message());
  IMSS_ASSIGN_OR_RETURN(const int listener, open_listener(*found));
  listeners_.push_back(listener);
  watch(listener, EPOLLIN, false);
  return port_number_of(listener);
}

Result<Connection*> UcxPort::connect(const std::string& host, std::uint16_t port_number) {
  IMSS_ASSIGN_OR_RETURN(const HostAddress address,
                        find_host(host, port_number, AddressUse::kConnect));
  IMSS_ASSIGN_OR_RETURN(const int line, open_line(address));
  UcxConnection& connection =
      add_connection(line, host + ":" + std::to_string(port_number), EPOLLIN | EPOLLOUT);
  greet(connection, 0);
  return static_cast<Connection*>(&connection);
}

UcxConnection& UcxPort::add_connection(int line, std::string peer, std::uint32_t epoll_events) {
  auto owner = std::make_unique<UcxConnection>();
  UcxConnection& connection = *owner;
  connection.port = this;
  connection.peer = std::move(peer);
  connection.line = line;
  connection.id = next_id_++;
  connections_[&connection] = std::move(owner);
  by_line_[line] = &connection;
  by_id_[connection.id] = &connection;
  watch(line, epoll_events, false);
  return connection;
}

void UcxPort::accept_lines(int listener) {
  for (int i = 0; i < kMaxAcceptedAtOnce; ++i) {
    std::string peer;
    const Result<int> line = accept_line(listener, peer);
    if (line.code() == Code::kTooManyOpen && spare_fd_ >= 0) {
      // The peer would wait, and the listening socket would wake us, for ever.
      ::close(spare_fd_);
      const Result<int> unwanted = accept_line(listener, peer);
      if (unwanted.ok()) close_socket(*unwanted);
      spare_fd_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
      IMSS_LOG_WARN_BOUNDED("%s was turned away: no descriptors are left", peer.c_str());
      continue;
    }
    if (!line.ok()) return;
    if (greeting_.size() >= kMaxGreeting) {
      fail(*greeting_.front(), Status(Code::kIo, "it said nothing while others came"));
      greeting_.pop_front();
    }
    UcxConnection& connection = add_connection(*line, peer, EPOLLIN);
    connection.accepting = true;
    connection.silent = true;
    connection.greeting_deadline_ns = monotonic_ns() + kGreetingTimeNs;
    greeting_.push_back(&connection);
  }
}

bool UcxPort::look_at_lines() {
  lines_due_ = false;
  drop_late_greetings();
  std::array<epoll_event, 32> events = {};
  const int count = epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()), 0);
  bool any = false;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const int fd = event.data.fd;
    if (fd == worker_fd_ || fd == wake_fd_) continue;
    any = true;
    const auto found = by_line_.find(fd);
    if (found != by_line_.end()) {
      line_ready(*found->second, event.events);
    } else if (std::find(listeners_.begin(), listeners_.end(), fd) != listeners_.end()) {
      accept_lines(fd);
    }
  }
  return any;
}

void UcxPort::drop_late_greetings() {
  const std::int64_t now = greeting_.empty() ? 0 : monotonic_ns();
  while (!greeting_.empty() && greeting_.front()->greeting_deadline_ns <= now) {
    fail(*greeting_.front(), Status(Code::kTimedOut, "it connected and said nothing"));
    greeting_.pop_front();
  }
}

void UcxPort::line_ready(UcxConnection& connection, std::uint32_t epoll_events) {
  if (connection.state == UcxConnection::State::kFailed) return;
  if ((epoll_events & (EPOLLERR | EPOLLHUP)) != 0) {
    const Status error = socket_error(connection.line);
    if (!error.ok()) {
      line_ended(connection, error.message());
      return;
    }
  }
  if ((epoll_events & EPOLLOUT) != 0) write_line(connection);
  if (connection.line >= 0 && (epoll_events & (EPOLLIN | EPOLLHUP)) != 0) read_line(connection);
}

void UcxPort::greet(UcxConnection& connection, std::uint16_t port_number) {
  connection.unwritten = encode_greeting({connection.id, port_number});
}

void UcxPort::write_line(UcxConnection& connection) {
  auto& rest = connection.unwritten;
  while (!rest.empty()) {
    const Result<std::size_t> written = write_some(connection.line, rest);
    if (written.code() == Code::kAgain) return;
    if (!written.ok()) {
      line_ended(connection, written.status().message());
      return;
    }
    rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(*written));
  }
  watch(connection.line, EPOLLIN, true);
}

void UcxPort::read_line(UcxConnection& connection) {
  std::array<std::byte, 256> bytes;
  const Result<std::size_t> read = read_some(connection.line, bytes);
  if (read.code() == Code::kAgain) return;
  if (!read.ok()) {
    line_ended(connection, read.status().message());
    return;
  }
  if (*read == 0) {
    line_ended(connection, "it has closed the connection or is gone");
    return;
  }
  if (connection.greeted) {
    line_ended(connection, "it greeted twice");
    return;
  }
  connection.unread.insert(connection.unread.end(), bytes.begin(),
                           bytes.begin() + static_cast<std::ptrdiff_t>(*read));
  auto greeting = decode_greeting(connection.unread);
  if (!greeting.ok()) {
    line_ended(connection, greeting.status().message());
    return;
  }
  if (!greeting->has_value()) return;
  connection.unread = {};
  connection.greeted = true;
  connection.peer_id = (*greeting)->connection;
  if (!connection.accepting) {
    connect_endpoint(connection, (*greeting)->port_number);
    return;
  }
  std::uint16_t port_number = 0;
  const Status listening = listen_by_ucx(connection.line, port_number);
  if (!listening.ok()) {
    line_ended(connection, listening.message());
    return;
  }
  greet(connection, port_number);
  watch(connection.line, EPOLLIN | EPOLLOUT, true);
}

void UcxPort::line_ended(UcxConnection& connection, const std::string& how) {
  // What it has sent before may still be on its way through UCX.
  for (int i = 0; i < kLastRounds && ucp_worker_progress(worker_) != 0; ++i) {
  }
  const Status why(Code::kIo, "the connection to " + connection.peer + " ended: " + how);
  // Of a peer that was never more than a line nobody else will speak.
  if (connection.silent) IMSS_LOG_WARN_BOUNDED("%s", why.message().c_str());
  fail(connection, why);
}

}  // namespace imss::net
