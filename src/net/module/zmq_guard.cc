#include "net/module/zmq_guard.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/text.h"
#include "net/module/zmq_local.h"

namespace imss::net {
namespace {

constexpr std::size_t kKeyBytes = 32;
// The frames of a key check request: version, request id, domain, address, identity, mechanism,
// credentials.
constexpr std::size_t kRequestFrames = 7;
constexpr std::size_t kIdFrame = 1;
constexpr std::size_t kMechanismFrame = 5;
constexpr std::size_t kKeyFrame = 6;

// Connections of one server. Half of the process's descriptors at most: the others are the
// application's.
constexpr std::size_t kMaxConnections = 8192;
// One line in so much time: whoever is turned away mostly comes again at once.
constexpr int kLogPauseMs = 10'000;

std::size_t connection_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return kMaxConnections;
  return std::min<std::size_t>(kMaxConnections, limit.rlim_cur / 2);
}

const char* reason_of(std::uint16_t event, std::int32_t value) {
  if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH || value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC) {
    return "has other keys";
  }
  if (value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH) {
    return "has keys and the server has not, or the other way round";
  }
  return "does not speak the protocol";
}

bool send_text(void* socket, std::string_view text, int flags) {
  return zmq_send(socket, text.data(), text.size(), ZMQ_DONTWAIT | flags) >= 0;
}

// Whether the descriptor is a connection to this port of ours. ZeroMQ reports descriptors with a
// delay, in which the number may have become something else's.
bool is_connection_to(int fd, std::uint16_t port) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (is_local_socket(fd, port)) return true;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return false;
  if (storage.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port) == port;
  }
  return storage.ss_family == AF_INET6 &&
         ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port) == port;
}

}  // namespace

Result<KeyCheck> KeyCheck::make(void* context, const ControlKeys& keys) {
  KeyCheck check;
  std::array<std::uint8_t, kKeyBytes> key{};
  if (zmq_z85_decode(key.data(), keys.public_key.c_str()) == nullptr) return Code::kInvalidArgument;
  check.public_key_.assign(key.begin(), key.end());
  IMSS_ASSIGN_OR_RETURN(check.socket_, ZmqSocket::make(context, ZMQ_REP));
  // The name is fixed by ZeroMQ, which asks nobody, and lets everybody in, as long as it is not
  // there.
  if (zmq_bind(check.socket_.get(), "inproc://zeromq.zap.01") != 0) {
    return status_from_zmq(errno, "cannot check keys");
  }
  return check;
}

void KeyCheck::process() {
  for (;;) {
    ZmqFrames request = receive_frames(socket_.get(), kRequestFrames);
    std::vector<ZmqMessage>& frames = request.frames;
    if (frames.empty()) return;
    const bool whole = frames.size() == kRequestFrames && !request.too_many;
    const bool fits = whole && frames[kMechanismFrame].text() == "CURVE" &&
                      frames[kKeyFrame].text() == public_key_;
    const std::string_view id = whole ? frames[kIdFrame].text() : std::string_view();
    // Version, request id, status, its text, user id, properties.
    send_text(socket_.get(), "1.0", ZMQ_SNDMORE) && send_text(socket_.get(), id, ZMQ_SNDMORE) &&
        send_text(socket_.get(), fits ? "200" : "400", ZMQ_SNDMORE) &&
        send_text(socket_.get(), fits ? "OK" : "other keys", ZMQ_SNDMORE) &&
        send_text(socket_.get(), "", ZMQ_SNDMORE) && send_text(socket_.get(), "", 0);
  }
}

Result<ConnectionLimit> ConnectionLimit::make(void* context, ZmqSocket& watched,
                                              std::uint16_t port) {
  constexpr const char* kName = "inproc://connections";
  constexpr int kEvents = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_ACCEPT_FAILED |
                          ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
  ConnectionLimit limit;
  limit.limit_ = connection_limit();
  limit.port_ = port;
  IMSS_ASSIGN_OR_RETURN(limit.socket_, ZmqSocket::make(context, ZMQ_PAIR));
  // Without a limit on waiting reports: with one, ZeroMQ's I/O thread would stop until they are
  // taken.
  if (!limit.socket_.set(ZMQ_RCVHWM, 0) || zmq_socket_monitor(watched.get(), kName, kEvents) != 0 ||
      zmq_connect(limit.socket_.get(), kName) != 0) {
    return status_from_zmq(errno, "cannot watch connections");
  }
  return limit;
}

void ConnectionLimit::process() {
  for (;;) {
    ZmqFrames report = receive_frames(socket_.get(), 2);
    if (report.frames.empty()) return;
    const auto [number, value] = event_of(report.frames.front());
    switch (number) {
      case ZMQ_EVENT_ACCEPTED:
        accept(value);
        break;
      case ZMQ_EVENT_DISCONNECTED:
        connections_.erase(value);
        break;
      case ZMQ_EVENT_ACCEPT_FAILED:
        warn(concat("cannot accept a connection: ", std::strerror(value)));
        break;
      default:
        warn(concat("closes a connection whose other end ", reason_of(number, value)));
    }
  }
}

void ConnectionLimit::warn(const std::string& what) {
  ++kept_back_;
  if (!next_warning_.expired()) return;
  IMSS_LOG_WARN("control: port %u %s (%llu times since the last such line)", port_, what.c_str(),
                static_cast<unsigned long long>(kept_back_));
  kept_back_ = 0;
  next_warning_ = Deadline::from_now(kLogPauseMs);
}

void ConnectionLimit::accept(int fd) {
  if (connections_.size() >= limit_ && is_connection_to(fd, port_)) {
    ++refused_;
    warn(concat("has ", std::to_string(connections_.size()), " connections and refuses another"));
    shutdown(fd, SHUT_RDWR);  // ZeroMQ finds the end of the connection, reports it and closes it
  }
  connections_.insert(fd);
}

void ConnectionLimit::close(ZmqSocket& watched) {
  if (socket_.get() == nullptr) return;
  zmq_socket_monitor(watched.get(), nullptr, 0);
  socket_.close();
}

}  // namespace imss::net
