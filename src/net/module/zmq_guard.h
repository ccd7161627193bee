// Who may connect to a control server: the key check (ZAP, RFC 27 of ZeroMQ) and the limit on
// connections.
//
// Each is used by the server's thread alone once it runs: when ready() of its socket is polled,
// process() takes what is there. They are made before the server listens, so that nobody comes in
// unchecked.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>

#include "base/clock.h"
#include "base/result.h"
#include "net/control.h"
#include "net/module/zmq_socket.h"

namespace imss::net {

// Accepts the holders of one key pair: the peer has proved by then that it has the secret half of
// the key it shows.
class KeyCheck {
 public:
  // REQUIRES: keys that belong together. Answers for all sockets of the context.
  static Result<KeyCheck> make(void* context, const ControlKeys& keys);

  void* socket() const { return socket_.get(); }
  void process();
  void close() { socket_.close(); }
  void abandon() { socket_.abandon(); }

 private:
  ZmqSocket socket_;
  std::string public_key_;  // its 32 bytes
};

// Counts the connections of a socket by ZeroMQ's own reports, cuts those above the limit, and logs
// why others are closed.
class ConnectionLimit {
 public:
  // `port` is what the watched socket listens on.
  static Result<ConnectionLimit> make(void* context, ZmqSocket& watched, std::uint16_t port);

  void* socket() const { return socket_.get(); }
  void process();
  // REQUIRES: the watched socket is open. ZeroMQ's threads report nothing afterwards.
  void close(ZmqSocket& watched);
  void abandon() { socket_.abandon(); }

  std::uint64_t open() const { return connections_.size(); }
  std::uint64_t refused() const { return refused_; }

 private:
  void accept(int fd);
  void warn(const std::string& what);

  ZmqSocket socket_;
  std::unordered_set<int> connections_;
  std::size_t limit_ = 0;
  std::uint64_t refused_ = 0;
  std::uint16_t port_ = 0;
  std::uint64_t kept_back_ = 0;  // warnings that were not written
  Deadline next_warning_ = Deadline::from_now(0);
};

}  // namespace imss::net
