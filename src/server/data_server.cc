#include "server/data_server.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/size.h"
#include "base/text.h"
#include "client/local_host.h"
#include "net/listening.h"
#include "segment/segment_files.h"
#include "server/data_requests.h"
#include "server/deployment.h"

namespace imss::server {
namespace {

constexpr auto kUpkeepPeriod = std::chrono::milliseconds(500);
constexpr int kUpkeepDeadlineMs = 5000;
constexpr auto kConnectRetry = std::chrono::milliseconds(10);
constexpr int kLookMs = 300;  // for whether somebody listens on another node
constexpr std::uint64_t kDefaultBlockBytes = 512 * kKiB;

// Whether the server that joined under this record still has that very segment, served.
bool is_served(const metadata::ServerInfo& server) {
  if (!client::is_local_host(server.host))
    return true;  // it has joined; what it does now only its node can tell
  const auto info = segment::inspect(server.segment_name);
  return info.ok() && info->state == segment::FileState::kServed && info->nonce == server.nonce;
}

// Whether a metadata server that answers like this may be there in a moment: it is being started,
// or its node cannot be reached right now.
bool may_come(const Status& status) {
  return status.code() == Code::kNotInitialized || status.code() == Code::kIo ||
         status.code() == Code::kTimedOut;
}

}  // namespace

Result<std::unique_ptr<DataServer>> DataServer::start(const DataServerOptions& options) {
  if (options.server_count == 0 || options.rank >= options.server_count) {
    return Status(Code::kInvalidArgument,
                  concat("rank ", std::to_string(options.rank), " does not fit ",
                         std::to_string(options.server_count), " servers"));
  }
  std::unique_ptr<DataServer> server(new DataServer(options));
  server->owner_pid_ = static_cast<std::uint32_t>(::getpid());
  server->segment_name_ = segment::file_name(segment::Role::kData, options.port, options.rank);
  // The metadata server first: as long as it is missing there is nothing to undo.
  if (!options.join_later) IMSS_RETURN_IF_ERROR(server->connect(options.wait_ms));
  IMSS_RETURN_IF_ERROR(server->start_host());
  if (options.join_later) return server;
  if (const Status status = server->join_service(options.metadata_host, options.wait_ms); !status.ok()) {
    server->stop(!server->took_over());
    return status;
  }
  return server;
}

Status DataServer::open_to_network(const NetworkOptions& network, const std::string& host_name) {
  options_.network = network;
  options_.host_name = host_name;
  return start_network();
}

Status DataServer::join_service(const std::string& metadata_host, int wait_ms) {
  if (joined()) return {};
  options_.metadata_host = metadata_host;
  if (!session_) IMSS_RETURN_IF_ERROR(connect(wait_ms));
  IMSS_RETURN_IF_ERROR(retry(wait_ms, [&] { return join(); }));
  upkeep_thread_ = std::thread([this] { run_upkeep(); });
  return {};
}

DataServer::~DataServer() { stop(false); }

Result<std::unique_ptr<client::Session>> DataServer::open_session() const {
  client::ConnectOptions connect;
  connect.hosts = {Host{options_.metadata_host, 0}};
  connect.port = options_.metadata_port;
  connect.key_file = options_.network.key_file;
  IMSS_ASSIGN_OR_RETURN(auto session, client::Session::connect(connect));
  session->set_own_segment(segment_name_);
  return session;
}

Status DataServer::connect(int wait_ms) {
  return retry(wait_ms, [&]() -> Status {
    IMSS_ASSIGN_OR_RETURN(session_, open_session());
    return {};
  });
}

// Asks the metadata server until it is there, says something else, or the time is over.
Status DataServer::retry(int wait_ms, const std::function<Status()>& ask) const {
  const Deadline deadline = Deadline::from_now(wait_ms);
  bool said = false;
  for (;;) {
    const Status status = ask();
    if (status.ok() || !may_come(status) || deadline.expired() ||
        (options_.give_up && options_.give_up())) {
      return status;
    }
    if (!said && status.code() != Code::kNotInitialized) {
      IMSS_LOG_WARN("waiting up to %d s for the metadata server: %s", wait_ms / 1000,
                    status.message().c_str());
    }
    said = true;
    std::this_thread::sleep_for(kConnectRetry);
  }
}

Status DataServer::start_host() {
  segment::HostOptions host;
  host.create.role = segment::Role::kData;
  host.create.capacity_bytes =
      options_.capacity_bytes != 0 ? options_.capacity_bytes : default_data_capacity(1);
  host.create.port = options_.port;
  host.create.rank = options_.rank;
  host.create.attached = options_.attached;
  host.create.host_name = client::local_host_name();
  host.name = segment_name_;
  host.sharing = options_.sharing;
  host.take_over = !options_.attached;
  IMSS_ASSIGN_OR_RETURN(host_, segment::Host::start(std::move(host)));
  store_.emplace(host_->segment());
  const Status noting = store_->note_changes();
  host_->segment()->leave();  // this thread is none of its users
  IMSS_RETURN_IF_ERROR(noting);
  feed_.emplace(*store_);
  options_.network = network_options(options_.network, options_.sharing);
  if (options_.network.enabled) IMSS_RETURN_IF_ERROR(start_network());
  return host_->publish();
}

Status DataServer::start_network() {
  const auto segment = host_->segment();
  IMSS_ASSIGN_OR_RETURN(network_,
                        NetworkService::start(options_.network, options_.port, segment, [segment] {
                          return std::make_unique<DataRequests>(segment);
                        }));
  return {};
}

Status DataServer::join() {
  metadata::ServerInfo info;
  info.nonce = host_->segment()->super().nonce;
  info.port = network_ ? network_->port() : options_.port;
  info.rank = options_.rank;
  info.attached = options_.attached;
  info.capacity_bytes = host_->segment()->super().capacity_bytes;
  info.host = options_.host_name.empty() ? client::local_host_name() : options_.host_name;
  info.segment_name = segment_name_;
  info.instance = options_.instance;
  IMSS_ASSIGN_OR_RETURN(server_id_, session_->names().join_server(std::move(info)));
  return create_instance_when_complete();
}

// Whoever sees all servers of the instance first makes it; that is the last one to join, or one
// that finds it complete later.
Status DataServer::create_instance_when_complete() {
  if (instance_created_ || !options_.create_instance || options_.attached) return {};
  IMSS_ASSIGN_OR_RETURN(const auto servers, session_->names().servers());
  std::map<std::uint32_t, std::uint32_t> id_of_rank;
  for (const metadata::ServerInfo& server : servers) {
    if (server.attached || server.instance != options_.instance) continue;
    if (server.rank >= options_.server_count || !is_served(server)) continue;
    id_of_rank[server.rank] = server.id;
  }
  if (id_of_rank.size() < options_.server_count) return {};
  metadata::InstanceInfo info;
  info.name = options_.instance;
  info.block_bytes = options_.block_bytes != 0 ? options_.block_bytes : kDefaultBlockBytes;
  info.port = options_.port;
  for (const auto& [rank, id] : id_of_rank) info.servers.push_back(id);
  const Status status = session_->create_instance(info);
  if (!status.ok() && status.code() != Code::kExists) return status;
  instance_created_ = true;
  return {};
}

void DataServer::stop(bool retire) {
  // A forked child has the object but not the threads.
  if (owner_pid_ != static_cast<std::uint32_t>(::getpid())) {
    if (upkeep_thread_.joinable()) upkeep_thread_.detach();
    return;
  }
  if (stopped_ || !host_) return;
  stopped_ = true;
  if (upkeep_thread_.joinable()) {
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
    }
    stop_requested_.notify_one();
    upkeep_thread_.join();
  }
  network_.reset();
  // The record of a detached server stays, as the instance goes on counting with it: a server
  // started on this port takes its place. Attached servers end with their application.
  if (retire && options_.attached && server_id_ != 0) {
    const Status status = session_->names().leave_server(server_id_);
    // The metadata server may have gone before, and with it the record.
    if (!status.ok() && session_->names().serving()) {
      IMSS_LOG_WARN("cannot leave the metadata service: %s", status.message().c_str());
    }
  }
  host_->stop(retire);
}

// --- Upkeep
// ---------------------------------------------------------------------------------------

void DataServer::run_upkeep() {
  ::pthread_setname_np(::pthread_self(), "imss-upkeep");
  // With several metadata servers it waits for each of them, and comes again.
  if (session_->known_map().count > 1) segment::set_thread_deadline_ms(kUpkeepDeadlineMs);
  do {
    upkeep();
  } while (!wait_for_stop(kUpkeepPeriod));
  if (session_->names().serving()) tell_attributes(true);
  session_->leave_metadata();
  host_->segment()->leave();
}

// True when the server is to stop, at once or within the period.
bool DataServer::wait_for_stop(std::chrono::milliseconds period) {
  const auto end = std::chrono::steady_clock::now() + period;
  const MutexLock lock(mutex_);
  while (!stopping_ && std::chrono::steady_clock::now() < end) {
    stop_requested_.wait_until(mutex_, end);
  }
  return stopping_;
}

// A metadata server that was retired and started anew has another segment: join that one.
void DataServer::rejoin_when_retired() {
  segment::Segment* const metadata = session_->metadata_segment();
  if (metadata != nullptr && metadata->serving() && metadata->super().attached != 0 &&
      metadata->probe(0) != segment::Segment::Liveness::kAlive) {
    // Its process died and nobody will serve this segment again.
    metadata->super().state.store(static_cast<std::uint64_t>(segment::State::kFenced));
    metadata->unlink_name();
  }
  if (session_->names().serving()) return;
  // One on another node that is not there would be waited for.
  const bool elsewhere = !client::is_local_host(options_.metadata_host);
  if (elsewhere && !net::is_listening(options_.metadata_host, options_.metadata_port, kLookMs)) {
    return;
  }
  auto session = open_session();
  if (!session.ok()) return;
  session_ = std::move(*session);
  instance_created_ = false;
  feed_->restart();
  if (const Status status = join(); !status.ok()) {
    IMSS_LOG_WARN("cannot join the new metadata server: %s", status.message().c_str());
  }
}

// Another server in the place of one of several has to be told everything.
void DataServer::notice_replaced_metadata() {
  std::vector<std::uint64_t> nonces;
  for (const metadata::MapServer& server : session_->known_map().servers) nonces.push_back(server.nonce);
  if (nonces == told_nonces_) return;
  told_nonces_ = std::move(nonces);
  feed_->restart();
}

void DataServer::tell_attributes(bool at_once) {
  notice_replaced_metadata();
  not_told_.note(feed_->send(session_->names(), at_once));
}

void DataServer::upkeep() {
  rejoin_when_retired();
  host_->segment()->super().map_epoch.store(session_->newest_epoch());
  if (!session_->names().serving()) {
    session_->fence_dead();
    return;
  }
  not_created_.note(create_instance_when_complete());
  not_reaped_.note(session_->reap());
  client::RemoteOpeners remote;
  if (network_) {
    not_forgotten_.note(network_->forget_clients());
    remote.lives = [this](std::uint64_t record) { return network_->lives(record); };
    remote.changes = network_->clients().changes();
    network_->announce_epoch();
  }
  not_swept_.note(session_->sweep(*store_, server_id_, remote));
  tell_attributes(false);
}

}  // namespace imss::server
