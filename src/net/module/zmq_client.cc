#include "net/module/zmq_client.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/text.h"
#include "net/module/zmq_address.h"
#include "net/module/zmq_control.h"
#include "net/module/zmq_local.h"
#include "net/module/zmq_process.h"

namespace imss::net {
namespace {

constexpr std::size_t kMaxServers = 4096;
// Announcements that arrive while nobody takes them. When there are more, they are dropped and the
// reader is told.
constexpr std::size_t kMaxKeptAnnouncements = 64;
// An address that gives no connection for this long is left for the host's next one. Longer than a
// lost first packet needs to be sent again (1 s).
constexpr int kPatienceMs = 2'000;
// Messages taken from one server before other duties and the deadline are looked at.
constexpr int kMessagesInARow = 64;
// So many questions without an answer, and the next one goes over a new socket: whatever state the old one is in, a
// server that is back is found again.
constexpr int kMostUnanswered = 6;
constexpr int kConnectMs = 5'000;
constexpr int kReconnectMs = 50;
constexpr int kMaxReconnectMs = 1'000;

Deadline sooner(const Deadline& a, const Deadline& b) { return a.at_ns() < b.at_ns() ? a : b; }

}  // namespace

ZmqClient::ZmqClient(ControlKeys keys) : keys_(std::move(keys)), generation_(fork_generation()) {}

ZmqClient::~ZmqClient() {
  if (generation_ == fork_generation()) return;
  for (auto& [name, server] : servers_) server->socket.abandon();
}

Status ZmqClient::check_usable() const {
  if (generation_ == fork_generation()) return {};
  return Status(Code::kNotInitialized, "the control client belongs to the parent process");
}

Result<ZmqClient::Server*> ZmqClient::server_at(const std::string& host, std::uint16_t port) {
  const auto found = servers_.find({host, port});
  if (found != servers_.end()) return found->second.get();
  if (servers_.size() >= kMaxServers) {
    return Status(Code::kTooManyOpen, "one control client cannot talk to more servers");
  }
  auto server = std::make_unique<Server>();
  server->host = host;
  server->port = port;
  IMSS_ASSIGN_OR_RETURN(server->endpoints, endpoints_of(host, port));
  IMSS_RETURN_IF_ERROR(connect(*server));
  return servers_.emplace(std::pair(host, port), std::move(server)).first->second.get();
}

Status ZmqClient::connect(Server& server) {
  void* context = shared_zmq_context();
  if (context == nullptr) return status_from_zmq(errno, "cannot start ZeroMQ");
  IMSS_ASSIGN_OR_RETURN(ZmqSocket socket, ZmqSocket::make(context, ZMQ_DEALER));
  // Immediate: nothing is queued for a server that is not there, and each new connection begins
  // with a probe.
  const bool encrypted = keys_.none() || (socket.set(ZMQ_CURVE_SERVERKEY, keys_.public_key) &&
                                          socket.set(ZMQ_CURVE_PUBLICKEY, keys_.public_key) &&
                                          socket.set(ZMQ_CURVE_SECRETKEY, keys_.secret_key));
  if (!encrypted || !set_transport_options(socket) || !socket.set(ZMQ_IMMEDIATE, 1) ||
      !socket.set(ZMQ_PROBE_ROUTER, 1) || !socket.set(ZMQ_CONNECT_TIMEOUT, kConnectMs) ||
      !socket.set(ZMQ_RECONNECT_IVL, kReconnectMs) ||
      !socket.set(ZMQ_RECONNECT_IVL_MAX, kMaxReconnectMs) ||
      zmq_connect(socket.get(), server.endpoints[server.endpoint_index].c_str()) != 0) {
    return status_from_zmq(errno, concat("cannot connect to ", server.host));
  }
  server.socket = std::move(socket);
  server.greeted = false;
  server.used = false;
  server.unanswered = 0;
  server.patience = Deadline::from_now(kPatienceMs);
  return {};
}

// A connection that is lost, or whose other end has stopped reading, takes no more messages.
void ZmqClient::notice_loss(Server& server) const {
  int events = 0;
  std::size_t bytes = sizeof(events);
  if (!server.greeted || zmq_getsockopt(server.socket.get(), ZMQ_EVENTS, &events, &bytes) != 0)
    return;
  if ((events & ZMQ_POLLOUT) != 0) return;
  server.greeted = false;
  server.patience = Deadline::from_now(kPatienceMs);
}

// Whether a server that came up since its name was looked up is to be asked another way.
bool ZmqClient::has_local_socket(const Server& server) {
  return is_loopback_endpoint(server.endpoints[server.endpoint_index]) && local_socket_answers(server.port);
}

Status ZmqClient::try_next_address(Server& server) {
  server.patience = Deadline::from_now(kPatienceMs);
  const std::string before = server.endpoints[server.endpoint_index];
  if (has_local_socket(server) || ++server.endpoint_index >= server.endpoints.size()) {
    // The host may have moved. A name server that is gone for a while is no reason to give up.
    Result<std::vector<std::string>> endpoints = endpoints_of(server.host, server.port);
    if (endpoints.ok()) server.endpoints = std::move(*endpoints);
    server.endpoint_index = 0;
  }
  // ZeroMQ goes on trying by itself; but a connection that was given up would never be greeted
  // again.
  if (server.endpoints[server.endpoint_index] == before && !server.used) return {};
  return connect(server);
}

Result<Bytes> ZmqClient::ask(const std::string& host, std::uint16_t port,
                             std::span<const std::byte> question, int timeout_ms) {
  IMSS_RETURN_IF_ERROR(check_usable());
  if (question.size() > kMaxControlBytes) {
    return Status(Code::kInvalidArgument, "a question has at most 1 MiB");
  }
  const Deadline deadline = Deadline::from_now(timeout_ms);
  IMSS_ASSIGN_OR_RETURN(Server* const server, server_at(host, port));
  Question asked{++last_id_, question};
  std::optional<HandshakeWatch> watch;
  for (;;) {
    take_messages(*server, &asked);
    if (asked.answer.ok()) {
      server->unanswered = 0;
      return std::move(asked.answer);
    }
    notice_loss(*server);
    if (server->greeted && !asked.sent && has_local_socket(*server)) {
      watch.reset();
      IMSS_RETURN_IF_ERROR(try_next_address(*server));
    }
    if (server->greeted && !asked.sent) send_question(*server, asked);
    if (watch) asked.finding = watch->look();
    if (deadline.expired()) {
      watch.reset();  // it is of the socket
      return unanswered(*server, asked);
    }
    if (!server->greeted && server->patience.expired()) {
      watch.reset();
      IMSS_RETURN_IF_ERROR(try_next_address(*server));
    }
    if (!server->greeted && !watch) watch.emplace(shared_zmq_context(), server->socket);
    if (server->greeted) watch.reset();
    zmq_pollitem_t item{server->socket.get(), 0, ZMQ_POLLIN, 0};
    zmq_poll(&item, 1, sooner(deadline, Deadline::from_now(kPatienceMs)).remaining_ms());
  }
}

void ZmqClient::send_question(Server& server, Question& question) {
  question.sent =
      send_frame(server.socket.get(), {FrameKind::kQuestion, question.id}, question.bytes);
  // The connection is gone; the next one begins with a greeting.
  if (!question.sent) server.greeted = false;
}

Status ZmqClient::unanswered(Server& server, const Question& question) {
  if (++server.unanswered >= kMostUnanswered) IMSS_RETURN_IF_ERROR(connect(server));
  return sentence_of(server, question);
}

Status ZmqClient::sentence_of(const Server& server, const Question& question) const {
  const std::string where = concat(server.host, ":", std::to_string(server.port));
  if (question.sent) return Status(Code::kTimedOut, concat(where, " has not answered in time"));
  switch (question.finding) {
    case Finding::kOtherKeys:
      return Status(Code::kPermission,
                    concat(where, keys_.none() ? " wants keys, and there are none"
                                               : " does not use keys, or does not know these"));
    case Finding::kClosed:
      return Status(
          Code::kPermission,
          concat(where, keys_.none() ? " wants keys, or is no server of ours"
                                     : " does not know these keys, or is no server of ours"));
    case Finding::kSilence:
      return Status(Code::kTimedOut, concat(where, " takes connections and does not answer"));
    case Finding::kNothing:
      break;
  }
  return Status(Code::kTimedOut,
                concat("there is no server at ", where, ", or it cannot be reached"));
}

void ZmqClient::take_messages(Server& server, Question* question) {
  for (int i = 0; i < kMessagesInARow; ++i) {
    if (question != nullptr && question->answer.ok()) return;
    if (!take_message(server, question)) return;
  }
}

// False when nothing is at hand.
bool ZmqClient::take_message(Server& server, Question* question) {
  ZmqFrames received = receive_frames(server.socket.get(), 2);
  if (received.frames.empty()) return false;
  if (received.too_many || received.frames.size() != 2) return true;
  const std::optional<FrameHeader> header = decode_frame_header(received.frames[0].bytes());
  const std::span<const std::byte> body = received.frames[1].bytes();
  if (!header) return true;
  switch (header->kind) {
    case FrameKind::kGreeting:
      server.greeted = true;
      server.used = true;
      if (question != nullptr) question->sent = false;
      if (server.listening) send_frame(server.socket.get(), {FrameKind::kListen}, {});
      break;
    case FrameKind::kAnswer:
      // Any other id is a late answer to a question that was given up.
      if (question != nullptr && header->id == question->id) {
        question->answer = Bytes(body.begin(), body.end());
      }
      break;
    case FrameKind::kListening:
      take_announcement({});
      break;
    case FrameKind::kAnnouncement:
      take_announcement(body);
      break;
    default:
      break;
  }
  return true;
}

void ZmqClient::take_announcement(std::span<const std::byte> announcement) {
  if (announcements_.size() >= kMaxKeptAnnouncements) {
    announcements_.clear();
    announcements_.emplace_back();  // an empty one says that some were missed
  }
  if (announcement.empty() && !announcements_.empty() && announcements_.back().empty()) return;
  announcements_.emplace_back(announcement.begin(), announcement.end());
}

Status ZmqClient::listen_to(const std::string& host, std::uint16_t port) {
  IMSS_RETURN_IF_ERROR(check_usable());
  IMSS_ASSIGN_OR_RETURN(Server* const server, server_at(host, port));
  if (server->listening) return {};
  server->listening = true;
  // On a connection that is already there; otherwise its greeting is the occasion.
  if (server->greeted && !send_frame(server->socket.get(), {FrameKind::kListen}, {})) {
    server->greeted = false;
  }
  return {};
}

Result<Bytes> ZmqClient::next_announcement(int timeout_ms) {
  IMSS_RETURN_IF_ERROR(check_usable());
  const Deadline deadline = Deadline::from_now(timeout_ms);
  std::vector<zmq_pollitem_t> items;
  for (;;) {
    items.clear();
    for (auto& [name, server] : servers_) {
      if (!server->listening) continue;
      if (announcements_.empty()) take_messages(*server, nullptr);
      notice_loss(*server);
      if (!server->greeted && server->patience.expired()) {
        IMSS_RETURN_IF_ERROR(try_next_address(*server));
      }
      items.push_back({server->socket.get(), 0, ZMQ_POLLIN, 0});
    }
    if (!announcements_.empty()) {
      Bytes next = std::move(announcements_.front());
      announcements_.pop_front();
      return next;
    }
    if (deadline.expired()) return Status(Code::kTimedOut, "there was no announcement");
    zmq_poll(items.data(), static_cast<int>(items.size()),
             sooner(deadline, Deadline::from_now(kPatienceMs)).remaining_ms());
  }
}

Result<std::unique_ptr<ControlClient>> make_zmq_client(const ControlKeys& keys) {
  IMSS_RETURN_IF_ERROR(check_keys(keys));
  return std::unique_ptr<ControlClient>(std::make_unique<ZmqClient>(keys));
}

}  // namespace imss::net
