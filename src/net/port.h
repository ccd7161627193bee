// Messages between processes on any nodes: the data plane.
//
// A Port belongs to one thread, which makes all calls but wake(). It holds connections to other
// ports; each carries messages in both directions, in order. A message is a head (fields, copied)
// and a payload (bytes that travel from the sender's buffer straight into the receiver's whenever
// the transport can). Nothing here waits: progress() does what is possible now and runs handlers
// and completions; wait() sleeps until there is something to do. Handlers and completions run
// inside progress() and close() on the port's thread, each completion exactly once; they may call
// the port but not destroy it. Deadlines are the caller's. A port does not survive fork(): a child
// makes its own.
//
// Ports come from the network module, which is loaded when a process first needs a server on
// another node; this header is all that the rest of the code knows of it. Errors: kIo for a peer
// that cannot be reached or is gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace imss::net {

inline constexpr std::size_t kMaxHeadBytes = 2048;
inline constexpr std::size_t kMaxPayloadBytes = std::size_t{64} << 20;
// A payload is given and taken in at most so many pieces.
inline constexpr std::size_t kMaxPieces = 64;

using Completion = std::function<void(const Status&)>;
using ConstPieces = std::span<const std::span<const std::byte>>;
using Pieces = std::span<const std::span<std::byte>>;

// The payload of a message that has arrived. It must be received or discarded; destroying it
// discards.
class Payload {
 public:
  virtual ~Payload() = default;
  virtual std::size_t bytes() const = 0;
  // The whole payload when it came along with the head, valid as long as this object; otherwise
  // empty.
  virtual std::span<const std::byte> at_hand() const = 0;
  // Brings the payload into `pieces`, which together are as large. They must stay until `done` has
  // run; should the connection be closed meanwhile, nothing writes into them any more once `done`
  // has run. Once only.
  virtual void receive(Pieces pieces, Completion done) = 0;
};

// One end of a connection. Owned by its port, valid until the port's `closed` handler returns.
class Connection {
 public:
  // For the user of the port: what it knows of the peer.
  void* context = nullptr;

 protected:
  Connection() = default;
  ~Connection() = default;
};

// What a port calls.
class PortHandler {
 public:
  virtual ~PortHandler() = default;
  // A peer has connected to a listening port.
  virtual void accepted(Connection& connection) = 0;
  // `head` is valid during the call.
  virtual void arrived(Connection& connection, std::span<const std::byte> head,
                       std::unique_ptr<Payload> payload) = 0;
  // The peer is gone, cannot be reached or spoke nonsense (`why`). Not called after close(). All
  // transfers of the connection have completed with an error before. The connection ends with the
  // call.
  virtual void closed(Connection& connection, const Status& why) = 0;
};

// What a port has done since it was made.
struct PortCounters {
  std::uint64_t messages_sent = 0;
  std::uint64_t messages_received = 0;
  std::uint64_t payload_bytes_sent = 0;
  std::uint64_t payload_bytes_received = 0;
  // Payloads that came along with the head, so that their receiver copies them once more from the
  // port's buffer.
  std::uint64_t payloads_copied = 0;
};

class Port {
 public:
  virtual ~Port() = default;

  // Accepts connections on `address` (a host name or numeric address of this node; empty: all).
  // Returns the port number, chosen by the system for 0. Errors: kBusy, kInvalidArgument.
  virtual Result<std::uint16_t> listen(const std::string& address, std::uint16_t port_number) = 0;
  // Begins to connect; messages may be sent at once. Errors: kIo for a host name that is unknown.
  // Whether the peer can be reached shows later, by `closed`.
  virtual Result<Connection*> connect(const std::string& host, std::uint16_t port_number) = 0;
  // `head` (at most kMaxHeadBytes) is copied; the payload pieces must stay until `done` has run.
  // Without a payload `done` may be empty. Errors come by `done`.
  virtual void send(Connection& connection, std::span<const std::byte> head, ConstPieces payload,
                    Completion done) = 0;
  // Ends the connection at once. Its transfers complete with kIo before this returns or in a later
  // progress(); until they have, their buffers stay in use. `closed` is not called.
  virtual void close(Connection& connection) = 0;

  // Does what can be done now. False when there was nothing to do.
  virtual bool progress() = 0;
  // Sleeps until there may be something to do, wake() was called, or the time is over (-1: never).
  virtual void wait(int timeout_ms) = 0;
  // Any thread: lets a wait() return, also the next one.
  virtual void wake() = 0;

  virtual PortCounters counters() const = 0;
};

}  // namespace imss::net
