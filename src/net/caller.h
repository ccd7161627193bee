// Requests of one thread to servers on other nodes, and their replies.
//
// Thread-owned: every thread that asks has its own, see Caller::of_this_thread(). Any number of
// calls may be under way; finish() drives them all. A call ends exactly once: with the server's
// answer, or with kTimedOut when its deadline passes, kIo when it was certainly not applied,
// kUnknownOutcome when it may have been. A call whose answer was lost is sent again: one that only
// reads to a server that can be reached at once, a change to one that comes back within the
// deadline, which executes it once whatever happened to the first one.
//
// Invariant: when a call has ended, nothing reads or writes its buffers any more.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "net/codec.h"
#include "net/head.h"
#include "net/messages.h"
#include "net/peers.h"
#include "net/port.h"

namespace imss::net {

// One request and what became of it. Owned by the asker, which keeps it until it has ended.
struct Call {
  // Set by the asker.
  Operation operation = Operation::kNone;
  Effect effect = Effect::kOnce;
  std::vector<std::byte> fields;
  std::vector<std::span<const std::byte>> payload;
  std::uint64_t nonce = 0;    // of the segment that the server must have; 0: any
  std::span<std::byte> into;  // where the payload of the reply goes; empty: into reply_payload
  // The outcome.
  bool ended = false;
  Status status;
  std::vector<std::byte> reply_fields;
  std::vector<std::byte> reply_payload;
  std::size_t reply_bytes = 0;  // of payload that arrived

 private:
  friend class Caller;
  Peer* peer = nullptr;
  Connection* connection = nullptr;
  std::uint64_t request = 0;
  std::uint64_t token = 0;      // it was sent with
  std::uint64_t sequence = 0;   // of a change that must not be done twice
  std::uint64_t record = 0;     // of this client at the server that may have applied it
  std::uint32_t transfers = 0;  // of the port, with buffers of this call
  std::uint32_t reply_crc = 0;
  bool sent = false;
  bool answered = false;
  bool lost = false;           // sent, and no answer will come
  bool maybe_applied = false;  // a lost one may have been executed
  bool refused = false;        // because of its session
  bool greeted_again = false;  // after that
};

class Caller : private PortHandler {
 public:
  // Made on first use. Errors: those of the network module.
  static Result<Caller*> of_this_thread(Module& module);
  // Ends the connections of this thread to a peer, if it has a caller.
  static void forget(const Peer& peer);
  ~Caller();

  // Sends the request. What goes wrong is in the call's outcome.
  void begin(Peer& peer, Call& call, Deadline deadline);
  // Waits until the call has ended.
  void finish(Call& call, Deadline deadline);
  // What this thread has sent and received.
  PortCounters counters() const { return port_->counters(); }

 private:
  // A connection to a peer.
  struct Link {
    std::shared_ptr<Peer> peer;  // which may outlive the session it was made for
    Connection* connection = nullptr;
    std::uint64_t token = 0;
    std::uint64_t nonce = 0;   // of the server's segment
    std::uint64_t record = 0;  // of this client there
  };
  Caller() = default;
  void accepted(Connection& connection) override;
  void arrived(Connection& connection, std::span<const std::byte> head,
               std::unique_ptr<Payload> payload) override;
  void closed(Connection& connection, const Status& why) override;

  Result<Link*> link_to(Peer& peer, Deadline deadline);
  Status send(Call& call, Deadline deadline);
  bool send_again(Call& call, Deadline deadline);
  void lose(Call& call, const std::string& what);
  void wait_for_return(Call& call, const Status& why);
  bool break_link(const Call& call, const Status& why);
  static void adopt(Link& link, const HelloAnswer& hello);
  void take_reply(Call& call, const ReadHead& reply, std::unique_ptr<Payload> payload);
  void forget_session(Call& call);
  void end(Call& call, Status status);
  bool give_up(Call& call, bool late);
  void drop_link(Connection& connection, const Status& why);

  std::unique_ptr<Port> port_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Link>> links_;  // by the peer's serial
  std::unordered_map<std::uint64_t, Call*> calls_;  // that wait for a reply, by request
  std::uint64_t next_request_ = 1;
  std::uint32_t owner_pid_ = 0;
};

}  // namespace imss::net
