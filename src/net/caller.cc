#include "net/caller.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"

namespace imss::net {
namespace {

// A reply often comes within this time, and waking up takes longer than looking again.
constexpr std::int64_t kSpinNs = 200'000;
// Between looks at whether the peer still answers and whether the deadline has passed.
constexpr int kSleepMs = 50;
// Between attempts to send a change again.
constexpr int kRetryMs = 20;

thread_local constinit Caller* caller_of_this_thread = nullptr;
// Ends it with its thread. Who calls even later, such as a stream that is closed when the process ends, gets another one,
// which stays.
struct CallerExit {
  ~CallerExit() { delete std::exchange(caller_of_this_thread, nullptr); }
};
thread_local CallerExit caller_exit;

std::uint32_t crc_of(std::span<const std::span<const std::byte>> pieces) {
  std::uint32_t crc = 0;
  for (const auto piece : pieces) crc = crc32c(piece.data(), piece.size(), crc);
  return crc;
}

}  // namespace

Result<Caller*> Caller::of_this_thread(Module& module) {
  Caller*& mine = caller_of_this_thread;
  if (mine != nullptr && mine->owner_pid_ == this_process()) return mine;
  // After a fork the parent's port must not be touched, not even to destroy it.
  mine = nullptr;
  [[maybe_unused]] CallerExit* const arm_destructor = &caller_exit;
  std::unique_ptr<Caller> fresh(new Caller());
  IMSS_ASSIGN_OR_RETURN(fresh->port_, module.make_port(*fresh));
  fresh->owner_pid_ = this_process();
  mine = fresh.release();
  return mine;
}

void Caller::forget(const Peer& peer) {
  Caller* const mine = caller_of_this_thread;
  if (mine == nullptr || mine->owner_pid_ != this_process()) return;
  const auto link = mine->links_.find(peer.serial);
  if (link == mine->links_.end()) return;
  mine->port_->close(*link->second->connection);
  mine->links_.erase(link);
}

Caller::~Caller() {
  if (owner_pid_ != this_process()) {  // a fork child ends: the port is the parent's
    [[maybe_unused]] Port* const inherited = port_.release();
    return;
  }
  for (const auto& [serial, link] : links_) port_->close(*link->connection);
}

// --- sending
// -------------------------------------------------------------------------------------------------

Result<Caller::Link*> Caller::link_to(Peer& peer, Deadline deadline) {
  auto& link = links_[peer.serial];
  if (link) return link.get();
  const auto hello = peer.session(deadline);
  auto connected =
      hello.ok() ? port_->connect(peer.host, hello->port) : Result<Connection*>(hello.status());
  if (!connected.ok()) {
    links_.erase(peer.serial);
    return connected.status();
  }
  link = std::make_unique<Link>();
  link->peer = peer.shared_from_this();
  link->connection = *connected;
  adopt(*link, *hello);
  link->connection->context = link.get();
  return link.get();
}

void Caller::adopt(Link& link, const HelloAnswer& hello) {
  link.token = hello.token;
  link.nonce = hello.nonce;
  link.record = hello.record;
}

void Caller::begin(Peer& peer, Call& call, Deadline deadline) {
  call.peer = &peer;
  const Status sent = send(call, deadline);
  if (!sent.ok()) end(call, sent);
}

Status Caller::send(Call& call, Deadline deadline) {
  IMSS_ASSIGN_OR_RETURN(Link* const link, link_to(*call.peer, deadline));
  Head head;
  head.operation = static_cast<std::uint16_t>(call.operation);
  head.request = next_request_++;
  if (link->token == 0) {  // the server forgot it
    IMSS_ASSIGN_OR_RETURN(const HelloAnswer hello, call.peer->session(deadline));
    adopt(*link, hello);
  }
  if (call.nonce != 0 && link->nonce != call.nonce) {
    return Status(Code::kFenced, concat("the server on ", call.peer->host, " port ",
                                        std::to_string(call.peer->port), " is another one now"));
  }
  if (call.effect == Effect::kOnce) {
    if (call.maybe_applied && call.record != link->record)
      return Status(Code::kUnknownOutcome,
                    concat("the server on ", call.peer->host,
                           " took this process for gone while it waited for an answer"));
    call.record = link->record;
    if (call.sequence == 0) {
      IMSS_ASSIGN_OR_RETURN(call.sequence, call.peer->begin_change());
    }
    head.sequence = call.sequence;
    if (call.maybe_applied) head.flags |= kRepeated;
  }
  head.token = link->token;
  head.deadline_ms = call.peer->deadline_there(deadline);
  std::vector<std::span<const std::byte>> pieces = call.payload;
  std::span<const std::byte> fields = call.fields;
  if (fields.size() > kMaxFieldBytes) {
    if (!pieces.empty()) return Status(Code::kInvalidArgument, "a request has too many fields");
    head.flags |= kFieldsInPayload;
    pieces = {fields};
    fields = {};
  }
  std::size_t bytes = 0;
  for (const auto piece : pieces) bytes += piece.size();
  if (bytes > kMaxPayloadBytes)
    return Status(Code::kInvalidArgument, "a request has a payload of more than 64 MiB");
  head.payload_bytes = static_cast<std::uint32_t>(bytes);
  head.payload_crc = crc_of(pieces);
  call.request = head.request;
  call.connection = link->connection;
  call.token = head.token;
  call.sent = true;
  call.lost = false;
  call.answered = false;
  calls_[call.request] = &call;
  Completion done;
  if (!pieces.empty()) {
    ++call.transfers;
    done = [&call](const Status&) {
      --call.transfers;
    };  // what went wrong closes the connection as well
  }
  port_->send(*link->connection, write_head(head, fields), pieces, std::move(done));
  return {};
}

// --- replies
// -------------------------------------------------------------------------------------------------

void Caller::accepted(Connection&) {}

void Caller::arrived(Connection& connection, std::span<const std::byte> bytes,
                     std::unique_ptr<Payload> payload) {
  auto reply = read_head(bytes, payload ? payload->bytes() : 0);
  if (!reply.ok()) {
    IMSS_LOG_WARN("a server sent nonsense: %s", reply.status().message().c_str());
    port_->close(connection);
    drop_link(connection, Status(Code::kIo, "the server sent nonsense"));
    return;
  }
  const auto found = calls_.find(reply->head.request);
  // A late answer to a call that is over is discarded with its payload.
  if (found == calls_.end() || found->second->connection != &connection) return;
  Call& call = *found->second;
  calls_.erase(found);
  call.answered = true;
  take_reply(call, *reply, std::move(payload));
}

void Caller::take_reply(Call& call, const ReadHead& reply, std::unique_ptr<Payload> payload) {
  call.reply_fields.assign(reply.fields.begin(), reply.fields.end());
  const std::size_t bytes = payload ? payload->bytes() : 0;
  call.peer->note_epoch(reply.head.epoch);
  if (reply.head.status != 0) {
    // The sentence of an error is its fields.
    auto sentence = decode<std::string>(reply.fields);
    const auto code = static_cast<Code>(reply.head.status);
    if ((reply.head.flags & kUnknownSession) != 0) forget_session(call);
    if (code == Code::kClaimed) return end(call, Status::claimed(reply.head.sequence));
    end(call, sentence.ok() && !sentence->empty() ? Status(code, *sentence) : Status(code));
    return;
  }
  if (bytes == 0) {
    end(call, {});
    return;
  }
  const bool fields_in_payload = (reply.head.flags & kFieldsInPayload) != 0;
  std::span<std::byte> to = call.into;
  if (fields_in_payload || to.empty()) {
    auto& buffer = fields_in_payload ? call.reply_fields : call.reply_payload;
    buffer.resize(bytes);
    to = buffer;
  }
  if (bytes > to.size()) {
    end(call, Status(Code::kIo, "a server answered with more than was asked for"));
    return;
  }
  to = to.first(bytes);
  call.reply_bytes = bytes;
  call.reply_crc = reply.head.payload_crc;
  ++call.transfers;
  Payload& taken = *payload;
  // The payload object lives until its transfer is over.
  taken.receive(
      std::span(&to, 1), [this, &call, to, keep = std::shared_ptr<Payload>(std::move(payload))](
                             const Status& received) {
        --call.transfers;
        const bool sound = received.ok() && crc32c(to.data(), to.size()) == call.reply_crc;
        const std::string damaged = "a reply was damaged on its way (checksum of the payload)";
        if (call.ended) return;
        if (received.ok() && !sound && call.effect == Effect::kReads) {
          end(call, Status(Code::kAgain, damaged));
        } else if (!sound) {
          lose(call, received.ok() ? damaged : received.message());
        } else {
          end(call, {});
        }
      });
}

// The server refused the call because of its session; the next request asks for another one.
void Caller::forget_session(Call& call) {
  const auto link = links_.find(call.peer->serial);
  if (link != links_.end() && link->second->token == call.token) link->second->token = 0;
  call.peer->forget_session(call.token);
  call.refused = true;
}

// The first end counts: what a transfer says after its call was given up changes nothing.
void Caller::end(Call& call, Status status) {
  if (call.ended) return;
  calls_.erase(call.request);
  call.status = std::move(status);
  call.ended = true;
}

void Caller::closed(Connection& connection, const Status& why) { drop_link(connection, why); }

// The connection is gone, and with it what was under way on it.
void Caller::drop_link(Connection& connection, const Status& why) {
  auto* const link = static_cast<Link*>(connection.context);
  if (link == nullptr) return;
  connection.context = nullptr;
  const std::shared_ptr<Peer> peer = link->peer;
  peer->forget_session(link->token);
  links_.erase(peer->serial);
  std::vector<Call*> lost;
  for (const auto& [request, call] : calls_) {
    if (call->connection == &connection) lost.push_back(call);
  }
  const std::string what = concat("the connection to ", peer->host, " broke: ", why.message());
  for (Call* const call : lost) {
    lose(*call, what);
    call->connection = nullptr;
  }
}

// Its answer will not come.
void Caller::lose(Call& call, const std::string& what) {
  const bool reads = call.effect == Effect::kReads;
  call.lost = true;
  call.maybe_applied = call.maybe_applied || !reads;
  end(call, Status(reads ? Code::kIo : Code::kUnknownOutcome, what));
}

// --- waiting
// -------------------------------------------------------------------------------------------------

// A lost call is sent again while its deadline lasts: one that reads if the server can be reached,
// a change once it can be. False when the call is over.
bool Caller::send_again(Call& call, Deadline deadline) {
  // A server that does not know the session has done nothing. It is greeted again once per call.
  const bool refused = call.refused && !call.greeted_again;
  const bool lost = call.lost && call.effect != Effect::kTied;
  if (!(refused || lost) || deadline.expired()) return false;
  const bool patient = call.maybe_applied;
  if (patient && !call.peer->answers()) {
    if (call.peer->ended()) return false;
    wait_for_return(call, call.status);
    return true;
  }
  call.greeted_again = call.greeted_again || refused;
  call.refused = false;
  call.ended = false;
  call.status = {};
  const Status sent = send(call, deadline);
  if (sent.ok()) return true;
  const bool unreachable = sent.code() == Code::kIo || sent.code() == Code::kTimedOut;
  if (patient && unreachable && !call.peer->ended()) {
    wait_for_return(call, sent);
    return true;
  }
  call.sent = false;
  call.lost = false;
  // What was applied in a segment that is gone is gone too.
  const bool certain = !patient || sent.code() == Code::kFenced;
  end(call, certain ? sent : Status(Code::kUnknownOutcome, sent.message()));
  return false;
}

// The server cannot be reached; whoever says "alive" to it finds out when it can be again.
void Caller::wait_for_return(Call& call, const Status& why) {
  call.ended = false;
  call.lost = true;
  end(call, Status(Code::kUnknownOutcome, why.message()));
  port_->wait(kRetryMs);
}

// Ends the connection of a call, and with it the transfers that use buffers of calls.
bool Caller::break_link(const Call& call, const Status& why) {
  const auto link = links_.find(call.peer->serial);
  if (link == links_.end() || link->second->connection != call.connection) return false;
  Connection& connection = *call.connection;
  port_->close(connection);
  drop_link(connection, why);
  return true;
}

// The deadline has passed, or the server is gone. False when there was nothing left to give up.
bool Caller::give_up(Call& call, bool late) {
  const Status why(
      late ? Code::kTimedOut : Code::kIo,
      concat("the server on ", call.peer->host, " port ", std::to_string(call.peer->port),
             late ? " did not answer in time" : " is gone"));
  const bool reads = call.effect == Effect::kReads;
  // A change waits for the server to come back.
  if (!call.ended && !late && !reads && break_link(call, why)) return true;
  bool worked = false;
  if (!call.ended) {
    worked = true;
    // Changes that were sent may have been applied.
    const bool unknown = !reads && (!late || call.maybe_applied);
    end(call, unknown ? Status(Code::kUnknownOutcome, why.message()) : why);
    call.answered = true;
    call.lost = false;  // not to be sent again
  }
  if (call.transfers == 0 && late) return worked;
  return break_link(call, why) || worked;
}

void Caller::finish(Call& call, Deadline deadline) {
  std::int64_t spin_until = monotonic_ns() + kSpinNs;
  for (;;) {
    const bool worked = port_->progress();
    if (call.ended && call.transfers == 0) {
      if (send_again(call, deadline)) continue;
      if (call.sequence != 0) call.peer->end_change(call.sequence);
      return;
    }
    if (worked) {
      spin_until = monotonic_ns() + kSpinNs;
      continue;
    }
    if (monotonic_ns() < spin_until) continue;
    if ((deadline.expired() || !call.peer->answers()) && give_up(call, deadline.expired()))
      continue;
    port_->wait(std::clamp(deadline.remaining_ms(), 1, kSleepMs));
  }
}

}  // namespace imss::net
