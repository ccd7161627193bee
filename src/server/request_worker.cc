#include "server/request_worker.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "net/server_clock.h"

namespace imss::server {
namespace {

constexpr int kSleepMs = 500;
constexpr std::int64_t kTickNs = 1'000'000'000;
constexpr std::int64_t kDrainNs = 2'000'000'000;
// What a reply that is on its way takes at least, with what the port keeps of it.
constexpr std::size_t kReplyBytes = 1024;

// What a client that may change nothing may ask for. To open is to be counted, so that what is read stays there.
bool may_ask_reading(std::uint16_t operation) {
  switch (static_cast<net::Operation>(operation)) {
#define IMSS_READS(name, number, Request, Reply, effect, text) \
  case net::Operation::k##name:                                \
    if (net::Effect::effect == net::Effect::kReads) return true; \
    break;
    IMSS_DATA_OPERATIONS(IMSS_READS)
    IMSS_METADATA_OPERATIONS(IMSS_READS)
#undef IMSS_READS
    default:
      return false;
  }
  const auto named = static_cast<net::Operation>(operation);
  return named == net::Operation::kOpen || named == net::Operation::kClose || named == net::Operation::kSettle;
}

}  // namespace

Result<std::unique_ptr<RequestWorker>> RequestWorker::start(net::Module& module,
                                                            RemoteClients& clients,
                                                            std::unique_ptr<Requests> requests,
                                                            const WorkerOptions& options) {
  std::unique_ptr<RequestWorker> worker(new RequestWorker(clients, std::move(requests), options));
  IMSS_ASSIGN_OR_RETURN(worker->port_, module.make_port(*worker));
  IMSS_ASSIGN_OR_RETURN(worker->port_number_, worker->port_->listen(options.address, 0));
  worker->thread_ = std::thread([raw = worker.get()] { raw->run(); });
  return worker;
}

RequestWorker::~RequestWorker() {
  stopping_.store(true);
  if (!thread_.joinable()) return;
  port_->wake();
  may_end_.store(true);
  may_end_.notify_one();
  thread_.join();
}

// --- the thread
// ----------------------------------------------------------------------------------------------

void RequestWorker::run() {
  ::pthread_setname_np(::pthread_self(), "imss-worker");
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  const std::int64_t spin_ns = std::int64_t{options_.spin_us} * 1000;
  std::int64_t spin_until = 0;
  std::int64_t next_tick = monotonic_ns() + kTickNs;
  std::int64_t drain_until = 0;
  for (;;) {
    bool worked = has_many() && execute_some();
    if (!worked) {
      worked = port_->progress();
      worked = execute_some() || worked;
    }
    const std::int64_t now = monotonic_ns();
    if (now >= next_tick) {
      next_tick = now + kTickNs;
      requests_->tick();
    }
    if (stopping_.load()) {
      if (drain_until == 0) drain_until = now + kDrainNs;
      if ((!worked && held_bytes_ == 0) || now >= drain_until) break;
    }
    if (worked) {
      spin_until = now + spin_ns;
    } else if (now >= spin_until) {
      port_->wait(kSleepMs);
    }
  }
  for (const auto& [number, peer] : peers_) {
    port_->close(*peer->connection);
    drop(*peer);
  }
  while (port_->progress()) {
  }
  // By this thread, whose pins the last replies held.
  may_end_.wait(false);
  port_.reset();
  peers_.clear();
}

// One request of each connection in turn, beginning with the one after the last that had its turn.
bool RequestWorker::execute_some() {
  bool worked = false;
  for (std::size_t turns = peers_.size(); turns > 0 && held_bytes_ <= kBudgetBytes; --turns) {
    auto next = peers_.upper_bound(last_turn_);
    if (next == peers_.end()) next = peers_.begin();
    last_turn_ = next->first;
    if (next->second->held_bytes <= kPeerBudgetBytes) worked = advance(*next->second) || worked;
  }
  return worked;
}

void RequestWorker::enqueue(Peer& peer, std::shared_ptr<Job> job, bool first) {
  waiting_.fetch_add(1, std::memory_order_relaxed);
  waiting_bytes_ += job->waiting_bytes;
  if (first) {
    peer.waiting.push_front(std::move(job));
  } else {
    peer.waiting.push_back(std::move(job));
  }
}

std::shared_ptr<RequestWorker::Job> RequestWorker::dequeue(Peer& peer) {
  std::shared_ptr<Job> job = std::move(peer.waiting.front());
  peer.waiting.pop_front();
  waiting_.fetch_sub(1, std::memory_order_relaxed);
  waiting_bytes_ -= job->waiting_bytes;
  return job;
}

void RequestWorker::hold(Peer& peer, std::size_t bytes) {
  peer.held_bytes += bytes;
  held_bytes_ += bytes;
}

// The connection may be gone by now.
void RequestWorker::let_go(std::uint64_t number, std::size_t bytes) {
  held_bytes_ -= bytes;
  if (const auto peer = peers_.find(number); peer != peers_.end())
    peer->second->held_bytes -= bytes;
}

// Receives payloads of a connection's first requests, and executes the first that is complete.
bool RequestWorker::advance(Peer& peer) {
  const bool receiving = receive_some(peer);
  if (peer.waiting.empty() || peer.waiting.front()->on_its_way) return receiving;
  std::shared_ptr<Job> job = dequeue(peer);
  if (job->lost) return true;  // and soon its connection is
  return execute(peer, std::move(job)) || receiving;
}

bool RequestWorker::receive_some(Peer& peer) {
  std::size_t arriving = 0;
  bool worked = false;
  // By index: what is received at once may change the queue.
  for (std::size_t i = 0; i < peer.waiting.size() && arriving < kMostArriving; ++i) {
    const std::shared_ptr<Job> job = peer.waiting[i];
    if (job->head.payload_bytes == 0) continue;
    ++arriving;
    const bool to_come = job->arriving && !job->on_its_way && !job->lost && job->held_bytes == 0;
    if (!to_come || !job->arriving->at_hand().empty()) continue;
    receive(peer, job);
    worked = true;
  }
  return worked;
}

// A payload for which there is no place is not received, and its request not executed.
void RequestWorker::receive(Peer& peer, const std::shared_ptr<Job>& job) {
  const std::size_t bytes = job->arriving->bytes();
  const bool to_its_place = staged_ < kMostStaged && (job->head.flags & net::kFieldsInPayload) == 0;
  if (to_its_place) job->exchange.status = requests_->stage(job->exchange, bytes);
  if (!job->exchange.status.ok()) {
    job->arriving.reset();
    return;
  }
  std::span<std::byte> into = job->exchange.staged.memory();
  job->staged = !into.empty();
  if (job->staged) {
    ++staged_;
  } else {
    job->received.resize(bytes);
    into = job->received;
  }
  received_.count(job->staged);
  job->held_bytes = bytes;
  job->on_its_way = true;
  hold(peer, bytes);
  // Should the connection close meanwhile, the job is kept until the transfer is over.
  job->arriving->receive(
      std::span(&into, 1),
      [this, number = peer.number, job](const Status& status) { received(number, *job, status); });
}

void RequestWorker::received(std::uint64_t number, Job& job, const Status& status) {
  job.on_its_way = false;
  job.lost = !status.ok() || !peers_.contains(number);
  if (!job.lost) return;
  let_go(number, job.held_bytes);
  job.held_bytes = 0;
  leave_place(job);
}

void RequestWorker::leave_place(Job& job) {
  if (job.staged) --staged_;
  job.staged = false;
  job.exchange.staged = {};
}

// False when the request has to wait.
bool RequestWorker::execute(Peer& peer, std::shared_ptr<Job> job) {
  Exchange& exchange = job->exchange;
  if (!exchange.status.ok()) {
    served_.fetch_add(1, std::memory_order_relaxed);
    reply(peer, std::move(job));
    return true;
  }
  std::span<const std::byte> payload = job->received;
  if (!exchange.staged.empty()) {
    payload = exchange.staged.memory();
  } else if (job->arriving && payload.empty()) {
    payload = job->arriving->at_hand();
  }
  // Its asker has given it up, and may have read since what this would change.
  const bool late = monotonic_ns() >= job->until_ns;
  const bool sound = !late && crc32c(payload.data(), payload.size()) == job->head.payload_crc;
  if ((job->head.flags & net::kFieldsInPayload) != 0) {
    exchange.fields.assign(payload.begin(), payload.end());
  } else {
    exchange.payload = payload;
  }
  if (sound) {
    requests_->execute(exchange);
    if (exchange.later && monotonic_ns() < job->until_ns) {
      exchange.later = false;
      enqueue(peer, std::move(job), true);
      return false;
    }
    if (exchange.later)
      exchange.status = Status(Code::kTimedOut, "the server had no room for the request in time");
  } else if (late) {
    exchange.status = Status(Code::kTimedOut, "the request came too late and was not executed");
  } else {
    exchange.status =
        Status(Code::kIo, "a request was damaged on its way (checksum of the payload)");
  }
  let_go(peer.number, job->held_bytes);
  job->held_bytes = 0;
  exchange.payload = {};
  leave_place(*job);
  job->received = {};
  job->arriving.reset();
  served_.fetch_add(1, std::memory_order_relaxed);
  reply(peer, std::move(job));
  return true;
}

void RequestWorker::reply(Peer& peer, std::shared_ptr<Job> job) {
  Exchange& exchange = job->exchange;
  net::Head head;
  head.operation = job->head.operation;
  head.request = job->head.request;
  head.flags = net::kReplyFlag | job->reply_flags;
  if (options_.map_epoch) head.epoch = options_.map_epoch();
  head.status = static_cast<std::uint16_t>(exchange.status.code());
  head.sequence = exchange.status.claim();
  std::span<const std::byte> fields = exchange.reply_fields;
  std::span<const std::byte> payload = exchange.reply_payload;
  std::vector<std::byte> sentence;
  if (!exchange.status.ok()) {
    sentence = net::encode(exchange.status.message().substr(0, 1000));
    fields = sentence;
    payload = {};
  } else if (fields.size() > net::kMaxFieldBytes) {
    head.flags |= net::kFieldsInPayload;
    job->fields_as_payload = std::move(exchange.reply_fields);
    payload = job->fields_as_payload;
    fields = {};
  }
  head.payload_bytes = static_cast<std::uint32_t>(payload.size());
  head.payload_crc = crc32c(payload.data(), payload.size());
  const auto bytes = net::write_head(head, fields);
  // Also what is only a head waits for a client that takes nothing.
  const std::size_t held = std::max(kReplyBytes, payload.size());
  hold(peer, held);
  if (!payload.empty()) replied_.count(exchange.stored_payload);
  // The job holds what is sent until it has been.
  port_->send(*peer.connection, bytes, std::span(&payload, payload.empty() ? 0 : 1),
              [this, held, number = peer.number, kept = std::move(job)](const Status&) {
                let_go(number, held);
              });
}

// --- connections
// ---------------------------------------------------------------------------------------------

void RequestWorker::accepted(net::Connection& connection) {
  auto peer = std::make_unique<Peer>();
  peer->number = next_peer_++;
  peer->connection = &connection;
  connection.context = peer.get();
  peers_[peer->number] = std::move(peer);
  connections_.fetch_add(1, std::memory_order_relaxed);
}

void RequestWorker::closed(net::Connection& connection, const Status& why) {
  auto* const peer = static_cast<Peer*>(connection.context);
  if (peer == nullptr) return;
  IMSS_LOG_DEBUG("a client left: %s", why.message().c_str());
  drop(*peer);
  peers_.erase(peer->number);
}

// What the client had under way at this worker.
void RequestWorker::drop(Peer& peer) {
  connections_.fetch_sub(1, std::memory_order_relaxed);
  // Those whose payload is on its way are kept, and counted, until that is over.
  while (!peer.waiting.empty()) {
    const std::shared_ptr<Job> job = dequeue(peer);
    if (job->on_its_way) continue;
    held_bytes_ -= job->held_bytes;
    leave_place(*job);
  }
  requests_->connection_closed(peer.number);
  if (peer.token != 0) clients_.disconnected(peer.token);
  peer.connection->context = nullptr;
}

// Whether the sender may ask at all. The first request says whose connection this is.
bool RequestWorker::admit(Peer& peer, const net::Head& head) {
  const std::uint64_t client = clients_.client_of(head.token);
  if (client == 0) return false;
  if (peer.token != 0 && peer.token != head.token) {
    // Only a client whose session has expired goes on under another one.
    if (clients_.client_of(peer.token) != 0) return false;
    peer.token = 0;
  }
  if (peer.token == 0) {
    peer.token = head.token;
    peer.client = client;
    peer.reads_only = clients_.reads_only(peer.token);
    clients_.connected(peer.token);
  }
  return true;
}

void RequestWorker::refuse(Peer& peer, const net::Head& head, const Status& status,
                           std::uint32_t flags) {
  // Who takes no answers is sent no more of them.
  if (peer.held_bytes > kPeerBudgetBytes)
    return turn_away(peer, "it goes on asking and takes no answers");
  auto job = std::make_shared<Job>();
  job->head = head;
  job->exchange.status = status;
  job->reply_flags = flags;
  reply(peer, std::move(job));
}

void RequestWorker::turn_away(Peer& peer, const char* why) {
  IMSS_LOG_WARN_BOUNDED("a connection is closed: %s", why);
  port_->close(*peer.connection);
  drop(peer);
  peers_.erase(peer.number);
}

void RequestWorker::arrived(net::Connection& connection, std::span<const std::byte> bytes,
                            std::unique_ptr<net::Payload> payload) {
  auto* const peer = static_cast<Peer*>(connection.context);
  if (peer == nullptr) return;
  const auto request = net::read_head(bytes, payload ? payload->bytes() : 0);
  if (!request.ok() || (request->head.flags & net::kReplyFlag) != 0) {
    return turn_away(*peer, request.ok() ? "it sent a reply that nobody asked for"
                                         : request.status().message().c_str());
  }
  if (!admit(*peer, request->head)) {
    return refuse(
        *peer, request->head,
        Status(Code::kPermission, "the token of this request is not known; it may have expired"),
        net::kUnknownSession);
  }
  if (peer->reads_only && !may_ask_reading(request->head.operation)) {
    return refuse(*peer, request->head,
                  Status(Code::kPermission, "another user's server can be read from and not written to"));
  }
  if (peer->waiting.size() >= kMostOfConnection || has_most()) {
    return refuse(*peer, request->head,
                  Status(Code::kBusy, "too many requests wait for the server"));
  }
  auto job = std::make_shared<Job>();
  job->head = request->head;
  job->connection = peer->number;
  const std::int64_t now_ns = monotonic_ns();
  job->until_ns = now_ns + net::ServerClock::left_ms(request->head.deadline_ms, now_ns / 1'000'000) * 1'000'000;
  job->exchange.operation = static_cast<net::Operation>(request->head.operation);
  job->exchange.client = peer->client;
  job->exchange.connection = peer->number;
  job->exchange.request = {peer->client, request->head.sequence >> net::kPlaceShift,
                           request->head.sequence & net::kNumberMask};
  job->exchange.repeated = (request->head.flags & net::kRepeated) != 0;
  job->exchange.reads_only = peer->reads_only;
  job->exchange.fields.assign(request->fields.begin(), request->fields.end());
  job->waiting_bytes = bytes.size() + (payload ? payload->at_hand().size() : 0);
  if (request->head.payload_bytes > 0) job->arriving = std::move(payload);
  enqueue(*peer, std::move(job), false);
}

}  // namespace imss::server
