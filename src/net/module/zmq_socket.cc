#include "net/module/zmq_socket.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <new>

#include "base/text.h"

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace imss::net {
namespace {

// Messages that may wait in one direction of one connection. Few, because each may have
// kMaxControlBytes.
constexpr int kMaxQueuedMessages = 16;
// A peer that says nothing for this long, not even to a heartbeat, is gone.
constexpr int kHeartbeatMs = 5'000;
constexpr int kSilenceMs = 15'000;
// A connection that has not become one of ZeroMQ's in this time is closed.
constexpr int kHandshakeMs = 5'000;
// The kernel's own probes find what heartbeats cannot: peers that vanish during the handshake.
constexpr int kKeepAliveIdleS = 30;
constexpr int kKeepAliveIntervalS = 10;
constexpr int kKeepAliveCount = 3;

constexpr std::size_t kKeyChars = 40;

// ThreadSanitizer does not see how ZeroMQ, which is built without it, hands messages from thread to
// thread.
#if defined(__SANITIZE_THREAD__)
char handover;
void give_to_zmq() { __tsan_release(&handover); }
void take_from_zmq() { __tsan_acquire(&handover); }
#else
void give_to_zmq() {}
void take_from_zmq() {}
#endif

}  // namespace

Result<ZmqSocket> ZmqSocket::make(void* context, int type) {
  ZmqSocket socket;
  socket.socket_ = zmq_socket(context, type);
  if (socket.socket_ == nullptr) return status_from_zmq(errno, "cannot make a ZeroMQ socket");
  socket.set(ZMQ_LINGER, 0);
  return socket;
}

void ZmqSocket::close() {
  if (socket_ != nullptr) zmq_close(socket_);
  socket_ = nullptr;
}

bool ZmqSocket::set(int option, int value) {
  return zmq_setsockopt(socket_, option, &value, sizeof(value)) == 0;
}

bool ZmqSocket::set(int option, std::string_view value) {
  return zmq_setsockopt(socket_, option, value.data(), value.size()) == 0;
}

ZmqMessage::ZmqMessage(std::span<const std::byte> bytes) {
  if (zmq_msg_init_size(&message_, bytes.size()) != 0) throw std::bad_alloc();
  take_from_zmq();  // the memory may have been a message before
  if (!bytes.empty()) std::memcpy(zmq_msg_data(&message_), bytes.data(), bytes.size());
  give_to_zmq();
}

ZmqMessage::~ZmqMessage() {
  give_to_zmq();
  zmq_msg_close(&message_);
}

ZmqFrames receive_frames(void* socket, std::size_t max_frames) {
  ZmqFrames received;
  for (;;) {
    ZmqMessage frame;
    // The frames of a message come together: once the first is there, the others are too.
    while (zmq_msg_recv(frame.get(), socket, ZMQ_DONTWAIT) < 0) {
      if (errno != EINTR) return received;
    }
    take_from_zmq();
    const bool more = zmq_msg_more(frame.get()) != 0;
    if (received.frames.size() < max_frames) {
      received.frames.push_back(std::move(frame));
    } else {
      received.too_many = true;
    }
    if (!more) return received;
  }
}

ZmqEvent event_of(ZmqMessage& frame) {
  ZmqEvent event;
  const std::span<const std::byte> bytes = frame.bytes();
  if (bytes.size() != sizeof(event.number) + sizeof(event.value)) return event;
  std::memcpy(&event.number, bytes.data(), sizeof(event.number));
  std::memcpy(&event.value, bytes.data() + sizeof(event.number), sizeof(event.value));
  return event;
}

bool send_frame(void* socket, const FrameHeader& header, std::span<const std::byte> body) {
  const FrameHeaderBytes head = encode_frame_header(header);
  give_to_zmq();
  if (zmq_send(socket, head.data(), head.size(), ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) return false;
  return zmq_send(socket, body.data(), body.size(), ZMQ_DONTWAIT) >= 0;
}

bool set_transport_options(ZmqSocket& socket) {
  const std::int64_t max_bytes = kMaxControlBytes;
  return zmq_setsockopt(socket.get(), ZMQ_MAXMSGSIZE, &max_bytes, sizeof(max_bytes)) == 0 &&
         socket.set(ZMQ_SNDHWM, kMaxQueuedMessages) && socket.set(ZMQ_RCVHWM, kMaxQueuedMessages) &&
         socket.set(ZMQ_IPV6, 1) && socket.set(ZMQ_HANDSHAKE_IVL, kHandshakeMs) &&
         socket.set(ZMQ_HEARTBEAT_IVL, kHeartbeatMs) &&
         socket.set(ZMQ_HEARTBEAT_TIMEOUT, kSilenceMs) &&
         socket.set(ZMQ_HEARTBEAT_TTL, kSilenceMs) && socket.set(ZMQ_TCP_KEEPALIVE, 1) &&
         socket.set(ZMQ_TCP_KEEPALIVE_IDLE, kKeepAliveIdleS) &&
         socket.set(ZMQ_TCP_KEEPALIVE_INTVL, kKeepAliveIntervalS) &&
         socket.set(ZMQ_TCP_KEEPALIVE_CNT, kKeepAliveCount);
}

Status check_keys(const ControlKeys& keys) {
  if (keys.public_key.empty() && keys.secret_key.empty()) return {};
  if (zmq_has("curve") == 0) {
    return Status(Code::kNotSupported,
                  "this ZeroMQ was built without encryption: keys cannot be used");
  }
  std::array<char, kKeyChars + 1> derived{};
  if (keys.public_key.size() != kKeyChars || keys.secret_key.size() != kKeyChars ||
      zmq_curve_public(derived.data(), keys.secret_key.c_str()) != 0) {
    return Status(Code::kInvalidArgument, "the keys are not two keys of 40 characters");
  }
  if (keys.public_key != derived.data()) {
    return Status(Code::kInvalidArgument, "the public and the secret key are not of one pair");
  }
  return {};
}

Status status_from_zmq(int error_number, std::string_view what) {
  const std::string sentence = concat(what, ": ", zmq_strerror(error_number));
  switch (error_number) {
    case EMFILE:
    case ENFILE:
      return Status(Code::kTooManyOpen, sentence);
    case ENOMEM:
      return Status(Code::kNoMemory, sentence);
    default:
      return Status(Code::kIo, sentence);
  }
}

}  // namespace imss::net
