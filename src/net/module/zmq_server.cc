#include "net/module/zmq_server.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>

#include "base/log.h"
#include "base/text.h"
#include "net/module/zmq_address.h"
#include "net/module/zmq_control.h"
#include "net/module/zmq_local.h"
#include "net/module/zmq_process.h"

namespace imss::net {
namespace {

// Announcements that wait for the server's thread. When there are more, the oldest go and all
// listeners are told.
constexpr std::size_t kMaxWaitingAnnouncements = 64;
constexpr std::size_t kMaxListeners = 8192;
// Messages taken before the thread looks at its other duties.
constexpr int kMessagesOfServerInARow = 64;
// How soon a listener is tried again that had no room.
constexpr int kRetryMs = 100;

// ZeroMQ writes down who connects when it accepts a connection: "NAME:UID:GID:PID" on a local socket, as the kernel
// says, and otherwise a numeric address. One of IPv6 that has three colons has nothing between two of them.
Asker asker_of(ZmqMessage& message) {
  const char* text = zmq_msg_gets(message.get(), "Peer-Address");
  if (text == nullptr) return {};
  std::vector<std::string_view> parts;
  for (std::string_view left = text;;) {
    const std::size_t colon = left.find(':');
    parts.push_back(left.substr(0, colon));
    if (colon == std::string_view::npos) break;
    left.remove_prefix(colon + 1);
  }
  if (parts.size() != 4 || parts[0].empty()) return {};
  Asker asker;
  for (const auto& [part, number] :
       {std::pair(parts[1], &asker.uid), {parts[2], &asker.gid}, {parts[3], &asker.pid}}) {
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), *number);
    if (error != std::errc() || end != part.data() + part.size()) return {};
  }
  asker.known = true;
  return asker;
}

}  // namespace

ZmqServer::ZmqServer() : generation_(fork_generation()) {}

Result<std::unique_ptr<ZmqServer>> ZmqServer::start(ControlServerOptions options) {
  IMSS_RETURN_IF_ERROR(check_keys(options.keys));
  std::unique_ptr<ZmqServer> server(new ZmqServer());
  server->options_ = std::move(options);
  IMSS_RETURN_IF_ERROR(server->set_up());
  IMSS_RETURN_IF_ERROR(server->listen());
  // Signals are for the application's threads.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  server->thread_ = std::make_unique<std::thread>([raw = server.get()] { raw->run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return server;
}

Status ZmqServer::set_up() {
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) return Status::from_errno(errno, "cannot make an event descriptor");
  // A context of its own: key checks are per context, and two servers of a process may have
  // different keys.
  context_ = zmq_ctx_new();
  if (context_ == nullptr) return status_from_zmq(errno, "cannot start ZeroMQ");
  IMSS_ASSIGN_OR_RETURN(router_, ZmqSocket::make(context_, ZMQ_ROUTER));
  // Mandatory: sending to who is gone is an error, not silence.
  if (!set_transport_options(router_) || !router_.set(ZMQ_ROUTER_MANDATORY, 1)) {
    return status_from_zmq(errno, "cannot set up the control server");
  }
  if (options_.keys.none()) return {};
  IMSS_ASSIGN_OR_RETURN(key_check_, KeyCheck::make(context_, options_.keys));
  if (!router_.set(ZMQ_CURVE_SERVER, 1) ||
      !router_.set(ZMQ_CURVE_SECRETKEY, options_.keys.secret_key) ||
      !router_.set(ZMQ_ZAP_DOMAIN, "imss")) {
    return status_from_zmq(errno, "cannot use the keys");
  }
  return {};
}

Status ZmqServer::listen() {
  IMSS_ASSIGN_OR_RETURN(Listeners listeners,
                        Listeners::open(options_.address, options_.keys.none(), options_.port));
  port_ = listeners.port();
  IMSS_ASSIGN_OR_RETURN(connection_limit_, ConnectionLimit::make(context_, router_, port_));
  // First, so that who is answered on the port finds it.
  if (listeners.on_loopback()) IMSS_RETURN_IF_ERROR(listen_on_local_socket());
  while (!listeners.empty()) {
    const int fd = listeners.take();
    // ZeroMQ takes the socket as it is, closes it in the end and ignores the endpoint's address.
    listening_fds_.push_back(fd);
    close_in_fork_child(fd);
    if (!router_.set(ZMQ_USE_FD, fd) || zmq_bind(router_.get(), "tcp://127.0.0.1:*") != 0) {
      return status_from_zmq(errno, concat("cannot listen on port ", std::to_string(port_)));
    }
  }
  return {};
}

Status ZmqServer::listen_on_local_socket() {
  IMSS_ASSIGN_OR_RETURN(const int fd, listen_locally(port_));
  listening_fds_.push_back(fd);
  close_in_fork_child(fd);
  if (router_.set(ZMQ_USE_FD, fd) && zmq_bind(router_.get(), local_endpoint(port_).c_str()) == 0) return {};
  return status_from_zmq(errno, concat("cannot listen on the local socket of port ", std::to_string(port_)));
}

ZmqServer::~ZmqServer() {
  if (generation_ != fork_generation()) {
    router_.abandon();
    key_check_.abandon();
    connection_limit_.abandon();
    static_cast<void>(thread_.release());
    return;
  }
  if (thread_ != nullptr) {
    stopping_.store(true);
    wake();
    thread_->join();
  }
  for (const int fd : listening_fds_) keep_in_fork_child(fd);
  connection_limit_.close(router_);
  router_.close();
  key_check_.close();  // after the router, which would let everybody in without it
  while (context_ != nullptr && zmq_ctx_term(context_) != 0 && errno == EINTR) {
  }
  if (wake_fd_ >= 0) close(wake_fd_);
}

void ZmqServer::wake() {
  const std::uint64_t one = 1;
  // Fails only when the counter is at its end, and then the thread is awake anyway.
  static_cast<void>(!write(wake_fd_, &one, sizeof(one)));
}

void ZmqServer::run() {
  pthread_setname_np(pthread_self(), "imss-control");
  while (!stopping_.load()) {
    wait();
    if (!options_.keys.none()) key_check_.process();
    connection_limit_.process();
    connections_.store(connection_limit_.open(), std::memory_order_relaxed);
    refused_.store(connection_limit_.refused(), std::memory_order_relaxed);
    take_messages();
    take_announcements();
    if (missing_ > 0) tell_who_missed();
    listener_count_.store(listeners_.size(), std::memory_order_relaxed);
  }
}

void ZmqServer::wait() {
  std::array<zmq_pollitem_t, 4> items{{{router_.get(), 0, ZMQ_POLLIN, 0},
                                       {nullptr, wake_fd_, ZMQ_POLLIN, 0},
                                       {connection_limit_.socket(), 0, ZMQ_POLLIN, 0},
                                       {key_check_.socket(), 0, ZMQ_POLLIN, 0}}};
  const int count = options_.keys.none() ? 3 : 4;
  zmq_poll(items.data(), count, missing_ > 0 ? kRetryMs : -1);
  std::uint64_t wakes = 0;
  static_cast<void>(!read(wake_fd_, &wakes, sizeof(wakes)));
}

void ZmqServer::take_messages() {
  // The sender's routing id, header, body; or its routing id and an empty frame for a new
  // connection.
  constexpr std::size_t kMaxFrames = 3;
  for (int i = 0; i < kMessagesOfServerInARow; ++i) {
    ZmqFrames received = receive_frames(router_.get(), kMaxFrames);
    if (received.frames.empty()) return;
    take_message(received);
  }
}

void ZmqServer::take_message(ZmqFrames& received) {
  std::vector<ZmqMessage>& frames = received.frames;
  if (received.too_many || frames.size() < 2) return reject("it has a wrong number of frames");
  if (frames.size() == 2) {
    if (!frames[1].bytes().empty()) return reject("it has no body");
    ZmqMessage nothing;
    send(frames[0].text(), {FrameKind::kGreeting}, nothing);
    return;
  }
  const std::optional<FrameHeader> header = decode_frame_header(frames[1].bytes());
  if (!header) return reject("it has no header of ours");
  switch (header->kind) {
    case FrameKind::kQuestion:
      return answer(frames[0], header->id, frames[2]);
    case FrameKind::kListen:
      return add_listener(frames[0].text());
    default:
      return reject("it is not for servers");
  }
}

void ZmqServer::reject(const char* why) {
  rejected_.fetch_add(1, std::memory_order_relaxed);
  IMSS_LOG_INFO("control: port %u drops a message: %s", port_, why);
}

void ZmqServer::answer(ZmqMessage& sender, std::uint64_t id, ZmqMessage& question) {
  Bytes bytes;
  if (options_.answer_to) {
    bytes = options_.answer_to(question.bytes(), asker_of(question));
  } else if (options_.answer) {
    bytes = options_.answer(question.bytes());
  }
  if (bytes.empty()) return reject("nobody understands the question");
  if (bytes.size() > kMaxControlBytes) return reject("the answer would be too large");
  questions_.fetch_add(1, std::memory_order_relaxed);
  ZmqMessage body(bytes);
  // Who is gone, or has asked more than it cares to read, goes without.
  send(sender.text(), {FrameKind::kAnswer, id}, body);
}

ZmqServer::Sent ZmqServer::send(std::string_view to, const FrameHeader& header, ZmqMessage& body) {
  void* socket = router_.get();
  const FrameHeaderBytes head = encode_frame_header(header);
  // The first frame decides: once it is taken, the rest is.
  if (zmq_send(socket, to.data(), to.size(), ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
    return errno == EAGAIN ? Sent::kQueueFull : Sent::kGone;
  }
  if (zmq_send(socket, head.data(), head.size(), ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
    return Sent::kGone;
  return zmq_msg_send(body.get(), socket, ZMQ_DONTWAIT) < 0 ? Sent::kGone : Sent::kYes;
}

void ZmqServer::add_listener(std::string_view id) {
  // Dead listeners are found only by sending, and take the room of living ones.
  if (listeners_.size() >= kMaxListeners) {
    for (auto& [known, listener] : listeners_) listener.missed = true;
    tell_who_missed();
  }
  ZmqMessage nothing;
  if (listeners_.size() >= kMaxListeners) return reject("there are too many listeners");
  if (send(id, {FrameKind::kListening}, nothing) == Sent::kYes)
    listeners_.try_emplace(std::string(id));
}

void ZmqServer::announce(std::span<const std::byte> announcement) {
  if (generation_ != fork_generation()) return;
  if (announcement.empty() || announcement.size() > kMaxControlBytes) {
    IMSS_LOG_ERROR("control: port %u drops an announcement of %zu bytes", port_,
                   announcement.size());
    return;
  }
  {
    const MutexLock lock(mutex_);
    if (announcements_.size() >= kMaxWaitingAnnouncements) {
      announcements_.pop_front();
      announcements_lost_ = true;
    }
    announcements_.emplace_back(announcement.begin(), announcement.end());
  }
  wake();
}

void ZmqServer::take_announcements() {
  std::deque<Bytes> announcements;
  bool lost = false;
  {
    const MutexLock lock(mutex_);
    announcements.swap(announcements_);
    lost = std::exchange(announcements_lost_, false);
  }
  if (lost) {
    for (auto& [id, listener] : listeners_) listener.missed = true;
    tell_who_missed();
  }
  for (const Bytes& announcement : announcements) tell_all(announcement);
}

void ZmqServer::tell_all(std::span<const std::byte> announcement) {
  ZmqMessage shared(announcement);
  for (auto entry = listeners_.begin(); entry != listeners_.end();) {
    if (entry->second.missed) {  // it is told so first
      ++entry;
      continue;
    }
    ZmqMessage body;
    body.share(shared);
    const Sent sent = send(entry->first, {FrameKind::kAnnouncement}, body);
    entry->second.missed = sent == Sent::kQueueFull;
    if (entry->second.missed) ++missing_;
    entry = sent == Sent::kGone ? listeners_.erase(entry) : std::next(entry);
  }
}

void ZmqServer::tell_who_missed() {
  missing_ = 0;
  for (auto entry = listeners_.begin(); entry != listeners_.end();) {
    Sent sent = Sent::kYes;
    if (entry->second.missed) {
      ZmqMessage nothing;
      sent = send(entry->first, {FrameKind::kListening}, nothing);
      entry->second.missed = sent == Sent::kQueueFull;
      if (entry->second.missed) ++missing_;
    }
    entry = sent == Sent::kGone ? listeners_.erase(entry) : std::next(entry);
  }
}

ControlCounters ZmqServer::counters() const {
  ControlCounters counters;
  counters.answered = questions_.load(std::memory_order_relaxed);
  counters.rejected = rejected_.load(std::memory_order_relaxed);
  counters.listeners = listener_count_.load(std::memory_order_relaxed);
  counters.connections = connections_.load(std::memory_order_relaxed);
  counters.connections_refused = refused_.load(std::memory_order_relaxed);
  return counters;
}

Result<std::unique_ptr<ControlServer>> start_zmq_server(ControlServerOptions options) {
  IMSS_ASSIGN_OR_RETURN(std::unique_ptr<ZmqServer> server, ZmqServer::start(std::move(options)));
  return std::unique_ptr<ControlServer>(std::move(server));
}

}  // namespace imss::net
