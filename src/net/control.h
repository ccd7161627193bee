// The control plane: questions and answers on the well-known ports of servers, and announcements
// from them.
//
// A ControlServer answers on a thread of its own; a ControlClient belongs to whoever made it and
// serves one thread at a time. Questions, answers and announcements are bytes (see net/messages.h
// for what is in them), at most kMaxControlBytes. One TCP port carries all three: a client keeps
// one connection per server, on which it asks and, once it listens, is sent the announcements.
// Connections that fall silent are closed after 15 s and made again. A server that listens on
// 127.0.0.1 or ::1 has a local socket of the same number too, over which clients come that ask for
// those addresses: there the kernel says which user they are.
//
// With keys every connection is encrypted and only holders of the instance's key pair are answered
// (CURVE, RFC 26 of ZeroMQ). Servers and clients share that one pair: whoever may use an instance
// may also serve for it, so they are one trust domain, and a second pair would only be one more
// file to lose. Without keys a server binds to loopback unless it is told an address. Neither
// survives fork(): a child makes its own, and what it inherited does nothing. Errors: kTimedOut
// when nobody answered in time, which is also all that wrong keys get.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/key_file.h"

namespace imss::net {

inline constexpr std::size_t kMaxControlBytes = std::size_t{1} << 20;

using Bytes = std::vector<std::byte>;

// Who asks, as far as the kernel tells: of a process of this node that asked over the port's local socket.
struct Asker {
  bool known = false;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t pid = 0;
};

struct ControlServerOptions {
  // To bind to: a name or numeric address of this node, "*" for all. Empty: all with keys,
  // otherwise loopback.
  std::string address;
  // Announcements use the same port. 0: the system chooses.
  std::uint16_t port = 0;
  ControlKeys keys;
  // Called on the server's thread for each question; must not wait long. An empty answer sends
  // none. What is not understood is answered with nothing too, and counted. A question may come
  // twice (see ControlClient::ask).
  std::function<Bytes(std::span<const std::byte> question)> answer;
  // The same for who also wants to know who asks; used instead of `answer` when it is set.
  std::function<Bytes(std::span<const std::byte> question, const Asker& asker)> answer_to;
};

// What a server has seen since it was started, and sees now.
struct ControlCounters {
  std::uint64_t answered = 0;     // questions
  std::uint64_t rejected = 0;     // messages that made no sense or got no answer
  std::uint64_t listeners = 0;    // now, as far as is known without sending
  std::uint64_t connections = 0;  // now
  std::uint64_t connections_refused =
      0;  // because there were too many: 8192, or half of the process's descriptors
};

class ControlServer {
 public:
  virtual ~ControlServer() = default;  // stops
  // Sends to all who listen, in order. Any thread. REQUIRES: 1 to kMaxControlBytes bytes.
  virtual void announce(std::span<const std::byte> announcement) = 0;
  virtual std::uint16_t port() const = 0;
  // Any thread.
  virtual ControlCounters counters() const = 0;
};

class ControlClient {
 public:
  virtual ~ControlClient() = default;
  // Asks the server and waits for the answer until the deadline; a server that is not there yet is
  // waited for too. A question whose connection breaks before the answer is asked again on the next
  // one, so that a server may see it twice. A late answer is never taken for another question's.
  // The first question to a host looks its name up, which takes as long as the system's resolver
  // takes. Errors: kTimedOut (the server may have seen the question), kPermission, kIo for an
  // unknown host, kInvalidArgument (too large), kTooManyOpen, kNotInitialized in a fork child.
  virtual Result<Bytes> ask(const std::string& host, std::uint16_t port,
                            std::span<const std::byte> question, int timeout_ms) = 0;
  // Begins to listen to a server's announcements, and goes on when the server is restarted. Errors:
  // as ask().
  virtual Status listen_to(const std::string& host, std::uint16_t port) = 0;
  // The next announcement; kTimedOut when none came in time. An empty one says that a server's
  // announcements begin or begin again, so that earlier ones may have been missed: at first, after
  // a restart, and after reading too slowly.
  virtual Result<Bytes> next_announcement(int timeout_ms) = 0;
};

}  // namespace imss::net
