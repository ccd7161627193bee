// ZeroMQ's sockets and messages as values, and the settings that all sockets of the control plane
// share.
//
// A socket belongs to one thread at a time; handing it over needs a fence, such as starting or
// joining a thread.
#pragma once

#include <zmq.h>

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/control.h"
#include "net/module/zmq_frame.h"

namespace imss::net {

class ZmqSocket {
 public:
  ZmqSocket() = default;
  ZmqSocket(ZmqSocket&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  ZmqSocket& operator=(ZmqSocket&& other) noexcept {
    std::swap(socket_, other.socket_);
    return *this;
  }
  ~ZmqSocket() { close(); }

  // A socket that drops what it has not sent when it is closed. Errors: kTooManyOpen.
  static Result<ZmqSocket> make(void* context, int type);

  void* get() const { return socket_; }
  void close();
  // Leaves the socket alone: it belongs to the parent of this process.
  void abandon() { socket_ = nullptr; }

  // REQUIRES: an option that the socket has. False with errno when ZeroMQ refuses the value.
  bool set(int option, int value);
  bool set(int option, std::string_view value);

 private:
  void* socket_ = nullptr;
};

class ZmqMessage {
 public:
  ZmqMessage() { zmq_msg_init(&message_); }
  explicit ZmqMessage(std::span<const std::byte> bytes);
  ZmqMessage(ZmqMessage&& other) noexcept : ZmqMessage() {
    zmq_msg_move(&message_, &other.message_);
  }
  ZmqMessage& operator=(ZmqMessage&&) = delete;
  ~ZmqMessage();

  // Shares the bytes of another message.
  void share(ZmqMessage& other) { zmq_msg_copy(&message_, &other.message_); }
  zmq_msg_t* get() { return &message_; }
  std::span<const std::byte> bytes() {
    return {static_cast<const std::byte*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
  }
  std::string_view text() {
    return {static_cast<const char*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
  }

 private:
  zmq_msg_t message_;
};

// The next message at hand, of which frames beyond `max_frames` are dropped. No frames: nothing is
// at hand.
struct ZmqFrames {
  std::vector<ZmqMessage> frames;
  bool too_many = false;
};
ZmqFrames receive_frames(void* socket, std::size_t max_frames);

// A report of ZeroMQ's on a socket that is monitored, out of its first frame.
struct ZmqEvent {
  std::uint16_t number = 0;
  std::int32_t value = 0;
};
ZmqEvent event_of(ZmqMessage& frame);

// Sends a header and a body without waiting. False: the peer is gone or its queue is full, as errno
// says.
bool send_frame(void* socket, const FrameHeader& header, std::span<const std::byte> body);

// Limits, keep-alive and heartbeats for sockets that talk to other processes.
bool set_transport_options(ZmqSocket& socket);

// Both halves are there and belong together, or there are none. Errors: kInvalidArgument,
// kNotSupported.
Status check_keys(const ControlKeys& keys);

// What ZeroMQ's errno means for us. `what` says which action on which object failed.
Status status_from_zmq(int error_number, std::string_view what);

}  // namespace imss::net
