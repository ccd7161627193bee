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
#include "segment/segment_files.h"
#include "server/deployment.h"

namespace imss::server {
namespace {

constexpr auto kUpkeepPeriod = std::chrono::milliseconds(500);
constexpr auto kConnectRetry = std::chrono::milliseconds(10);
constexpr std::uint64_t kDefaultBlockBytes = 512 * kKiB;

// Whether the server that joined under this record still has that very segment, served.
bool is_served(const metadata::ServerInfo& server) {
  const auto info = segment::inspect(server.segment_name);
  return info.ok() && info->state == segment::FileState::kServed && info->nonce == server.nonce;
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
  if (const Status status = server->join_service(0); !status.ok()) {
    server->stop(!server->took_over());
    return status;
  }
  return server;
}

Status DataServer::join_service(int wait_ms) {
  if (joined()) return {};
  if (!session_) IMSS_RETURN_IF_ERROR(connect(wait_ms));
  IMSS_RETURN_IF_ERROR(join());
  upkeep_thread_ = std::thread([this] { run_upkeep(); });
  return {};
}

DataServer::~DataServer() { stop(false); }

Result<std::unique_ptr<client::Session>> DataServer::open_session() const {
  client::ConnectOptions connect;
  connect.hosts = {options_.metadata_host};
  connect.port = options_.metadata_port;
  return client::Session::connect(connect);
}

Status DataServer::connect(int wait_ms) {
  const Deadline deadline = Deadline::from_now(wait_ms);
  while (true) {
    auto session = open_session();
    if (session.ok()) {
      session_ = std::move(*session);
      return {};
    }
    const bool may_come = session.code() == Code::kNotInitialized;
    if (!may_come || deadline.expired() || (options_.give_up && options_.give_up())) {
      return session.status();
    }
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
  host.take_over = !options_.attached;
  IMSS_ASSIGN_OR_RETURN(host_, segment::Host::start(std::move(host)));
  store_.emplace(host_->segment());
  return host_->publish();
}

Status DataServer::join() {
  metadata::ServerInfo info;
  info.nonce = host_->segment()->super().nonce;
  info.port = options_.port;
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
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_requested_.notify_one();
    upkeep_thread_.join();
  }
  // The record of a detached server stays, as the instance goes on counting with it: a server
  // started on this port takes its place. Attached servers end with their application.
  if (retire && options_.attached && server_id_ != 0) {
    const Status status = session_->names().leave_server(server_id_);
    // The metadata server may have gone before, and with it the record.
    if (!status.ok() && status.code() != Code::kFenced) {
      IMSS_LOG_WARN("cannot leave the metadata service: %s", status.message().c_str());
    }
  }
  host_->stop(retire);
}

// --- Upkeep
// ---------------------------------------------------------------------------------------

void DataServer::run_upkeep() {
  ::pthread_setname_np(::pthread_self(), "imss-upkeep");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    upkeep();
    lock.lock();
    stop_requested_.wait_for(lock, kUpkeepPeriod, [this] { return stopping_; });
  }
  lock.unlock();
  session_->names().segment().leave();
  host_->segment()->leave();
}

// A metadata server that was retired and started anew has another segment: join that one.
void DataServer::rejoin_when_retired() {
  segment::Segment& metadata = session_->names().segment();
  if (metadata.serving() && metadata.super().attached != 0 &&
      metadata.probe(0) != segment::Segment::Liveness::kAlive) {
    // Its process died and nobody will serve this segment again.
    metadata.super().state.store(static_cast<std::uint64_t>(segment::State::kFenced));
    metadata.unlink_name();
  }
  if (metadata.serving()) return;
  auto session = open_session();
  if (!session.ok()) return;
  session_ = std::move(*session);
  instance_created_ = false;
  if (const Status status = join(); !status.ok()) {
    IMSS_LOG_WARN("cannot join the new metadata server: %s", status.message().c_str());
  }
}

void DataServer::upkeep() {
  rejoin_when_retired();
  if (!session_->names().segment().serving()) {
    session_->fence_dead();
    return;
  }
  if (const Status status = create_instance_when_complete(); !status.ok()) {
    IMSS_LOG_WARN("cannot create the instance: %s", status.message().c_str());
  }
  if (const Status status = session_->reap(); !status.ok()) {
    IMSS_LOG_WARN("cannot remove what dead clients left: %s", status.message().c_str());
  }
  const Status status = store_->sweep([this](std::uint64_t dataset) { drop_orphan(dataset); });
  if (!status.ok()) IMSS_LOG_WARN("cannot sweep: %s", status.message().c_str());
}

// A dataset that has neither name nor opener left. The inode goes last: while it is there, a sweep
// finds the dataset again.
void DataServer::drop_orphan(std::uint64_t dataset) {
  const auto attributes = store_->attributes(dataset);
  if (!attributes.ok()) return;
  const std::uint64_t last = attributes->last_block();
  // Dataset ids are the metadata service's, so the same id in another instance does not exist. An
  // attached server may be part of several instances.
  const auto instances = session_->names().instances();
  if (!instances.ok()) return;
  for (const metadata::InstanceInfo& info : *instances) {
    if (std::ranges::find(info.servers, server_id_) == info.servers.end()) continue;
    // What the session knows may be older than the last restart of another server.
    session_->forget_instance(info.name);
    const auto servers = session_->instance(info.name);
    if (!servers.ok()) return;
    for (const auto& store : (*servers)->stores) {
      if (store && !store->erase_range(dataset, 1, last).ok()) return;
    }
  }
  Status status = store_->erase_range(dataset, client::kLocationBit | 1, client::kLocationBit | last);
  if (status.ok()) status = store_->erase({dataset, client::kNameBlock});
  if (status.ok()) status = store_->erase_inode(dataset);
  if (!status.ok() && status.code() != Code::kNotFound) {
    IMSS_LOG_WARN("cannot remove dataset %llu: %s", static_cast<unsigned long long>(dataset),
                  status.message().c_str());
  }
}

}  // namespace imss::server
