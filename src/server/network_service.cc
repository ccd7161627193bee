#include "server/network_service.h"

#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "net/codec.h"
#include "net/head.h"
#include "net/messages.h"
#include "net/server_clock.h"

namespace imss::server {

using net::Operation;

namespace {

constexpr std::uint32_t kBeatMs = 500;
constexpr int kGreetingMs = 300;

std::string state_name(std::uint64_t state) {
  switch (static_cast<segment::State>(state)) {
    case segment::State::kServing:
      return "serving";
    case segment::State::kFenced:
      return "fenced";
    case segment::State::kRetired:
      return "retired";
    default:
      return "starting";
  }
}

}  // namespace

Result<std::unique_ptr<NetworkService>> NetworkService::start(
    const NetworkOptions& options, std::uint16_t port, std::shared_ptr<segment::Segment> segment,
    const MakeRequests& make_requests) {
  IMSS_ASSIGN_OR_RETURN(net::Module* const module, net::load_module());
  net::ControlKeys keys;
  if (!options.key_file.empty()) {
    IMSS_ASSIGN_OR_RETURN(keys, net::read_key_file(options.key_file));
  }
  std::unique_ptr<NetworkService> service(new NetworkService(options, std::move(segment)));
  WorkerOptions worker_options;
  // The workers listen where the control port does.
  const bool loopback = options.address.empty() && keys.none();
  service->loopback_ = loopback;
  worker_options.address = loopback ? "localhost" : options.address == "*" ? "" : options.address;
  worker_options.spin_us = options.spin_us;
  worker_options.map_epoch = [segment = service->segment_] {
    return segment->super().map_epoch.load(std::memory_order_relaxed);
  };
  for (std::uint32_t i = 0; i < std::max(options.workers, 1U); ++i) {
    IMSS_ASSIGN_OR_RETURN(auto worker, RequestWorker::start(*module, service->clients_,
                                                            make_requests(), worker_options));
    service->workers_.push_back(std::move(worker));
  }
  net::ControlServerOptions control;
  control.address = options.address;
  control.port = options.port != 0 ? options.port : port;
  control.keys = keys;
  control.answer_to = [raw = service.get()](std::span<const std::byte> question,
                                           const net::Asker& asker) {
    return raw->answer(question, asker);
  };
  IMSS_ASSIGN_OR_RETURN(service->control_, module->start_control_server(std::move(control)));
  if (loopback) {
    IMSS_LOG_INFO("port %u is open to this node only: say an address to listen on, or use keys",
                  unsigned{service->port()});
  }
  // Of attached servers, one for each rank, that with the names speaks for all.
  const bool speaks =
      service->segment_->super().attached == 0 ||
      service->segment_->super().role == static_cast<std::uint32_t>(segment::Role::kMetadata);
  if (!loopback && keys.none() && speaks) {
    IMSS_LOG_WARN("port %u is open, without keys, to whoever reaches this node",
                  unsigned{service->port()});
  }
  return service;
}

NetworkService::~NetworkService() {
  control_.reset();
  workers_.clear();
}

PayloadCounters NetworkService::received() const {
  PayloadCounters all;
  for (const auto& worker : workers_) all += worker->received();
  return all;
}

PayloadCounters NetworkService::replied() const {
  PayloadCounters all;
  for (const auto& worker : workers_) all += worker->replied();
  return all;
}

// Who has the keys, or was let in by an address without keys, may do everything. On loopback, where every user of the
// node comes, it is this process's user and root; others may read what is shared for reading.
NetworkService::Rights NetworkService::rights_of(const net::Asker& asker) const {
  if (!options_.key_file.empty()) return Rights::kAll;
  if (!asker.known) return loopback_ ? Rights::kNone : Rights::kAll;
  if (asker.uid == ::geteuid() || asker.uid == 0) return Rights::kAll;
  return options_.others_may_read ? Rights::kRead : Rights::kNone;
}

net::Bytes NetworkService::answer(std::span<const std::byte> question, const net::Asker& asker) {
  net::Decoder decoder(question);
  auto operation = Operation::kNone;
  if (!decoder.get(operation)) return {};
  const auto fields = question.subspan(question.size() - decoder.left());
  switch (operation) {
    case Operation::kHello:
      return hello(fields, rights_of(asker));
    case Operation::kAlive:
      return alive(fields);
    case Operation::kServerStatus:
      return status();
    case Operation::kStop:
      return stop(fields, rights_of(asker));
    default:
      return {};
  }
}

void NetworkService::announce_epoch() {
  const std::uint64_t epoch = segment_->super().map_epoch.load();
  if (epoch == announced_epoch_) return;
  announced_epoch_ = epoch;
  control_->announce(net::encode(net::EpochAnnouncement{epoch}));
}

net::Bytes NetworkService::hello(std::span<const std::byte> fields, Rights rights) {
  net::HelloAnswer answer;
  answer.version = net::kProtocolVersion;
  answer.nonce = segment_->super().nonce;
  answer.beat_ms = kBeatMs;
  answer.epoch = segment_->super().map_epoch.load();
  answer.attached = segment_->super().attached != 0;
  answer.clock_ms = static_cast<std::uint64_t>(net::clock_ms());
  const auto question = net::decode<net::HelloQuestion>(fields);
  if (!question.ok()) return {};
  if (question->version != net::kProtocolVersion) {
    answer.status = static_cast<std::uint16_t>(Code::kIncompatible);
    return net::encode(answer);
  }
  if (rights == Rights::kNone) {
    answer.status = static_cast<std::uint16_t>(Code::kPermission);
    return net::encode(answer);
  }
  const auto least = std::min_element(
      workers_.begin(), workers_.end(),
      [](const auto& a, const auto& b) { return a->connections() < b->connections(); });
  answer.port = (*least)->port();
  const Status known = know(question->client, rights == Rights::kRead, answer);
  answer.status = static_cast<std::uint16_t>(known.code());
  return net::encode(answer);
}

// Gives a client a session under its record. See Outcomes::forget for why it is looked at twice.
Status NetworkService::know(std::uint64_t client, bool reads_only, net::HelloAnswer& answer) {
  if (client == 0) return Code::kInvalidArgument;
  // Nobody is kept waiting for long by a participant that is stopped.
  segment::set_thread_deadline_ms(kGreetingMs);
  segment::Outcomes outcomes(*segment_);
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(answer.record, outcomes.record_of(client));
    answer.token = clients_.add(answer.record, reads_only);
    if (answer.token == 0) return Code::kTooManyOpen;
    IMSS_ASSIGN_OR_RETURN(const bool still, outcomes.is_record_of(client, answer.record));
    if (still) return {};
    clients_.drop(answer.token);
  }
}

// Forgets the clients that are gone; afterwards those of which something may still be kept are
// known.
Status NetworkService::forget_clients() {
  clients_.expire();
  std::unordered_set<std::uint64_t> kept;
  IMSS_RETURN_IF_ERROR(segment::Outcomes(*segment_).forget(
      [this](std::uint64_t record) { return clients_.lives(record); },
      [&](std::uint64_t record) { kept.insert(record); }));
  const MutexLock lock(kept_mutex_);
  kept_ = std::move(kept);
  return {};
}

bool NetworkService::lives(std::uint64_t record) {
  {
    const MutexLock lock(kept_mutex_);
    if (kept_.contains(record)) return true;
  }
  return clients_.lives(record);
}

net::Bytes NetworkService::alive(std::span<const std::byte> fields) {
  const auto question = net::decode<net::AliveQuestion>(fields);
  if (!question.ok()) return {};
  net::AliveAnswer answer;
  answer.known = clients_.touch(question->token);
  answer.clock_ms = static_cast<std::uint64_t>(net::clock_ms());
  answer.epoch = segment_->super().map_epoch.load();
  return net::encode(answer);
}

net::Bytes NetworkService::status() const {
  const segment::Superblock& block = segment_->super();
  net::StatusAnswer answer;
  answer.role =
      block.role == static_cast<std::uint32_t>(segment::Role::kMetadata) ? "metadata" : "data";
  answer.state = state_name(block.state.load());
  answer.nonce = block.nonce;
  answer.epoch = block.map_epoch.load();
  for (const auto& worker : workers_) {
    answer.clients += worker->connections();
    answer.requests += worker->served();
  }
  answer.capacity_bytes = block.capacity_bytes;
  answer.used_bytes = block.used_bytes.load();
  answer.process = block.owner_pid;
  answer.segment = segment_->name();
  answer.sharing = segment::sharing_name(segment_->sharing());
  return net::encode(answer);
}

net::Bytes NetworkService::stop(std::span<const std::byte> fields, Rights rights) {
  const auto question = net::decode<net::StopQuestion>(fields);
  if (!question.ok()) return {};
  net::StopAnswer answer;
  if (rights != Rights::kAll) {
    answer.status = static_cast<std::uint16_t>(Code::kPermission);
  } else if (options_.stop_requested) {
    options_.stop_requested(question->retire);
  } else {
    answer.status = static_cast<std::uint16_t>(Code::kNotSupported);
  }
  return net::encode(answer);
}

}  // namespace imss::server
