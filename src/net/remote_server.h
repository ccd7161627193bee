// One server on another node, for calls that ask it something and wait for the answer. Concurrent:
// each thread's requests travel over connections of its own.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <utility>

#include "base/clock.h"
#include "net/caller.h"
#include "net/codec.h"
#include "net/messages.h"
#include "net/peers.h"

namespace imss::net {

// What goes along with a request. Not within the class, where clang cannot use its initializers.
struct RequestExtras {
  std::span<const std::byte> payload;  // to the server
  std::span<std::byte> into;           // for the payload of the reply
  std::size_t* received = nullptr;     // gets how many bytes of it came
};

class RemoteServer {
 public:
  using Extras = RequestExtras;
  // `nonce` is that of the server's segment: another server that was started in its place is not
  // asked anything (kFenced).
  RemoteServer(std::shared_ptr<Peers> peers, const std::string& host, std::uint16_t port,
               std::uint64_t nonce)
      : peers_(std::move(peers)), peer_(peers_->at(host, port)), nonce_(nonce) {}
  ~RemoteServer() { Caller::forget(peer_); }

  // Errors: those of the operation, kIo, kTimedOut, kUnknownOutcome.
  template <Operation kOperation>
  Result<typename MessagesOf<kOperation>::Reply> ask(
      const typename MessagesOf<kOperation>::Request& request, int timeout_ms, Extras extras = {}) {
    Call call;
    const Deadline deadline = Deadline::from_now(timeout_ms);
    begin<kOperation>(call, request, deadline, extras);
    auto reply = finish<kOperation>(call, deadline);
    if (reply.ok() && extras.received != nullptr) *extras.received = call.reply_bytes;
    return reply;
  }
  // The same in two steps, so that several requests are under way at once. Both by one thread; what
  // is begun must be finished.
  template <Operation kOperation>
  void begin(Call& call, const typename MessagesOf<kOperation>::Request& request, Deadline deadline,
             Extras extras = {}) {
    call.operation = kOperation;
    call.effect = MessagesOf<kOperation>::effect;
    call.fields = encode(request);
    call.nonce = nonce_;
    call.into = extras.into;
    if (!extras.payload.empty()) call.payload.push_back(extras.payload);
    send(call, deadline);
  }
  template <Operation kOperation>
  Result<typename MessagesOf<kOperation>::Reply> finish(Call& call, Deadline deadline) {
    const Status status = wait(call, deadline);
    // Only what is sent from where it is stored can change on its way.
    if (status.code() == Code::kAgain && kOperation != Operation::kGet)
      return Status(Code::kIo, status.message());
    if (!status.ok()) return status;
    return decode<typename MessagesOf<kOperation>::Reply>(call.reply_fields);
  }
  // False while the server does not answer, and for ever once another one is in its place.
  bool answers() const { return peer_.answers() && !replaced_.load(std::memory_order_relaxed); }
  // Whether this server is no more, for ever.
  bool lost() const { return peer_.ended() || replaced_.load(std::memory_order_relaxed); }
  const Peer& peer() const { return peer_; }

 private:
  void send(Call& call, Deadline deadline);
  Status wait(Call& call, Deadline deadline);

  const std::shared_ptr<Peers> peers_;
  Peer& peer_;
  const std::uint64_t nonce_;
  std::atomic<bool> replaced_{false};  // only ever becomes true, and publishes nothing else
};

}  // namespace imss::net
