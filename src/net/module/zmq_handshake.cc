#include "net/module/zmq_handshake.h"

#include <atomic>

#include "base/text.h"

namespace imss::net {
namespace {

// Names of watches must differ within a context.
std::atomic<std::uint64_t> watch_count{0};

}  // namespace

HandshakeWatch::HandshakeWatch(void* context, ZmqSocket& watched) : watched_(watched) {
  constexpr int kEvents = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                          ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                          ZMQ_EVENT_CLOSED;
  const std::string name = concat("inproc://handshake.", std::to_string(watch_count.fetch_add(1)));
  Result<ZmqSocket> socket = ZmqSocket::make(context, ZMQ_PAIR);
  if (!socket.ok()) return;
  // Without a limit on waiting reports: with one, ZeroMQ's I/O thread would stop until they are
  // taken.
  if (!socket->set(ZMQ_RCVHWM, 0) ||
      zmq_socket_monitor(watched.get(), name.c_str(), kEvents) != 0 ||
      zmq_connect(socket->get(), name.c_str()) != 0) {
    return;
  }
  socket_ = std::move(*socket);
}

HandshakeWatch::~HandshakeWatch() { zmq_socket_monitor(watched_.get(), nullptr, 0); }

Finding HandshakeWatch::look() {
  if (socket_.get() == nullptr) return finding_;
  for (;;) {
    ZmqFrames report = receive_frames(socket_.get(), 2);
    if (report.frames.empty()) return finding_;
    switch (event_of(report.frames.front()).number) {
      case ZMQ_EVENT_CONNECTED:
        // Closed connections are made again: what they were closed for says more.
        if (finding_ == Finding::kNothing) finding_ = Finding::kSilence;
        break;
      case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        finding_ = Finding::kClosed;
        break;
      case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
      case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        finding_ = Finding::kOtherKeys;
        break;
      case ZMQ_EVENT_CLOSED:  // the connection was refused
        finding_ = Finding::kNothing;
        break;
      default:
        break;
    }
  }
}

}  // namespace imss::net
