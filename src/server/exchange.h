// One request of a client on another node, from its arrival to the end of the reply, and who
// executes it.
//
// Thread-owned by the worker that received it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "net/codec.h"
#include "net/messages.h"
#include "segment/fault.h"
#include "segment/outcome.h"
#include "store/store.h"

namespace imss::server {

struct Exchange {
  net::Operation operation = net::Operation::kNone;
  std::uint64_t client = 0;      // the record of the asking process, see segment/outcome.h
  segment::RequestId request;    // of a change that must not be done twice
  bool repeated = false;         // it was sent before
  std::uint64_t connection = 0;  // of one of its threads
  bool reads_only = false;       // the process may change nothing
  std::vector<std::byte> fields;
  std::span<const std::byte> payload;
  // The payload has arrived where it is to be stored.
  store::StagedBlock staged;

  // The reply.
  Status status;
  std::vector<std::byte> reply_fields;
  std::span<const std::byte> reply_payload;
  bool stored_payload = false;  // reply_payload lies where it is stored
  bool later = false;           // instead of a reply: there is no room now, to be executed again
  std::shared_ptr<const void> hold;  // keeps reply_payload until it is sent
};

// The reply of an operation that has only a status.
inline Result<net::Nothing> outcome(const Status& status) {
  if (!status.ok()) return status;
  return net::Nothing{};
}

// Executes an operation: decodes its request, calls `execute` and encodes the reply.
template <net::Operation kOperation, typename Execute>
void answer(Exchange& exchange, Execute&& execute) {
  auto request = net::decode<typename net::MessagesOf<kOperation>::Request>(exchange.fields);
  if (!request.ok()) {
    exchange.status = request.status();
    return;
  }
  Result<typename net::MessagesOf<kOperation>::Reply> reply = execute(*request);
  exchange.status = reply.status();
  if (reply.ok()) exchange.reply_fields = net::encode(*reply);
}

// The same for a change that must not be done twice. `execute` has its outcome stored by the
// transaction that is its effect; `repeat(request, outcome)` makes the reply to one whose outcome
// is there already.
template <net::Operation kOperation, typename Execute, typename Repeat>
void answer_once(segment::Segment& segment, Exchange& exchange, Execute&& execute,
                 Repeat&& repeat) {
  if (!exchange.request.kept()) return answer<kOperation>(exchange, execute);
  segment::Outcomes outcomes(segment);
  auto known = outcomes.begin(exchange.request);
  if (known.ok() && !known->has_value()) {
    const segment::RequestScope scope(segment, exchange.request);
    answer<kOperation>(exchange, execute);
    if (exchange.later) return;
    // The first one may still be on its way to another worker: what its repetition is told is what
    // stays.
    if (!exchange.status.ok() && exchange.repeated && !scope.overtaken()) {
      const Status stored = outcomes.store({.code = exchange.status.code()});
      if (!stored.ok()) exchange.status = stored;
    }
    segment::fault_point("request.executed");
    if (!scope.overtaken()) return;
    known = outcomes.begin(exchange.request);
  }
  exchange.status = known.status();
  if (!known.ok()) return;
  if (!known->has_value()) {
    exchange.status = Status(Code::kUnknownOutcome, "the server has forgotten the client");
    return;
  }
  exchange.reply_fields.clear();
  const segment::Outcome& outcome = **known;
  if (outcome.code != Code::kOk) {
    exchange.status = outcome.code;
    return;
  }
  answer<kOperation>(exchange, [&](const auto& request) { return repeat(request, outcome); });
}

// What a kind of server does with requests. One per worker; thread-owned by it.
class Requests {
 public:
  virtual ~Requests() = default;
  virtual void execute(Exchange& exchange) = 0;
  // Called before a payload of `bytes` is received: gives it memory in exchange.staged where it is
  // to be stored as it comes; otherwise it comes into a buffer. Errors: those of the operation,
  // which then is not executed.
  virtual Status stage(Exchange& exchange, std::size_t bytes) {
    (void)exchange;
    (void)bytes;
    return {};
  }
  // Its thread or process is gone.
  virtual void connection_closed(std::uint64_t connection) = 0;
  // Called about once a second.
  virtual void tick() {}
};

}  // namespace imss::server
