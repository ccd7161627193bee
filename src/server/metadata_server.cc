#include "server/metadata_server.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "client/local_host.h"
#include "metadata/namespace.h"
#include "segment/segment_files.h"
#include "server/deployment.h"
#include "server/name_requests.h"

namespace imss::server {
namespace {

constexpr auto kNamesUpkeepPeriod = std::chrono::milliseconds(500);
constexpr auto kJoinRetry = std::chrono::milliseconds(20);
// A server that was not heard for so long is gone.
constexpr std::int64_t kSilentNs = 2'000'000'000;
// What upkeep asks others waits no longer; it comes again.
constexpr int kNamesUpkeepDeadlineMs = 2000;

}  // namespace

std::string metadata_file_of(const std::string& file, std::uint32_t rank) {
  return file.empty() || rank == 0 ? file : concat(file, ".", std::to_string(rank));
}

Result<std::unique_ptr<MetadataServer>> MetadataServer::start(
    const MetadataServerOptions& options) {
  std::unique_ptr<MetadataServer> server(new MetadataServer(options));
  IMSS_RETURN_IF_ERROR(server->start_host());
  Status status;
  const NetworkOptions network = network_options(options.network, options.sharing);
  if (network.enabled) status = server->open_to_network(network);
  if (status.ok() && server->is_one_of_several()) status = server->join();
  if (!status.ok()) {
    server->stop(!server->took_over());
    return status;
  }
  if (server->is_one_of_several())
    server->upkeep_thread_ = std::thread([raw = server.get()] { raw->run_upkeep(); });
  return server;
}

Status MetadataServer::start_host() {
  segment_name_ = segment::file_name(segment::Role::kMetadata, options_.port, options_.rank);
  segment::HostOptions host;
  host.create.role = segment::Role::kMetadata;
  host.create.capacity_bytes =
      options_.capacity_bytes != 0 ? options_.capacity_bytes : default_metadata_capacity();
  host.create.port = options_.port;
  host.create.rank = options_.rank;
  host.create.attached = options_.attached;
  host.create.host_name = client::local_host_name();
  host.name = segment_name_;
  host.sharing = options_.sharing;
  host.take_over = !options_.attached;
  IMSS_ASSIGN_OR_RETURN(host_, segment::Host::start(std::move(host)));

  metadata::Namespace names(host_->segment());
  const metadata::Namespace::Place place{options_.rank, options_.server_count};
  if (!host_->took_over()) {
    IMSS_RETURN_IF_ERROR(names.format(place.index, place.count));
  } else if (!(names.place() == place)) {
    return Status(Code::kInvalidArgument,
                  concat(segment::path_of(segment_name_), " belongs to metadata server ",
                         std::to_string(names.place().index), " of ",
                         std::to_string(names.place().count), ", and this is server ",
                         std::to_string(place.index), " of ", std::to_string(place.count),
                         "; deploy as many as before, or remove it and with it what it stores"));
  }
  if (!options_.metadata_file.empty()) {
    // Read back into the formatted segment, which nobody can see yet.
    IMSS_ASSIGN_OR_RETURN(
        journaller_, metadata::Journaller::start(host_->segment(), options_.metadata_file,
                                                 host_->took_over()));
  }
  return host_->publish();
}

Status MetadataServer::open_to_network(const NetworkOptions& network) {
  const auto segment = host_->segment();
  IMSS_ASSIGN_OR_RETURN(network_, NetworkService::start(network, options_.port, segment, [segment] {
                          return std::make_unique<NameRequests>(segment);
                        }));
  if (is_one_of_several()) return {};  // the others may not be there yet
  IMSS_ASSIGN_OR_RETURN(session_, client::Session::connect_segment(segment_name_));
  session_->set_key_file(network.key_file);
  upkeep_thread_ = std::thread([this] { run_upkeep(); });
  return {};
}

// --- one among several --------------------------------------------------------------------------

Status MetadataServer::join() {
  started_ns_ = monotonic_ns();
  changes_ = std::make_unique<metadata::ChangeUpkeep>(host_->segment());
  self_.index = options_.rank;
  self_.port = options_.port;
  self_.nonce = host_->segment()->super().nonce;
  self_.host = options_.host_name.empty() ? client::local_host_name() : options_.host_name;
  self_.segment_name = segment_name_;
  const Deadline deadline = Deadline::from_now(options_.wait_ms);
  for (;;) {
    const auto joined = say(self_);
    if (joined.ok()) {
      self_.epoch = *joined;
      return {};
    }
    const Code code = joined.code();
    // It is started, or started again, at the same time; or has to find out that the server
    // before this one has ended.
    const bool may_come = code == Code::kNotInitialized || code == Code::kIo ||
                          code == Code::kBusy || code == Code::kFenced;
    if (!may_come || deadline.expired() || (options_.give_up && options_.give_up()))
      return joined.status();
    std::this_thread::sleep_for(kJoinRetry);
  }
}

// Tells the first server, and copies its map when that has changed. Returns its epoch.
Result<std::uint64_t> MetadataServer::say(const metadata::MapServer& self) {
  metadata::Namespace own(host_->segment());
  if (is_first()) return own.join_map(self, options_.server_count);
  if (!first_) {
    client::ConnectOptions connect;
    connect.hosts = {options_.first};
    connect.key_file = options_.network.key_file;
    IMSS_ASSIGN_OR_RETURN(first_, client::Session::connect_server(connect));
  }
  auto told = first_->join_map(self, options_.server_count);
  if (!told.ok()) {
    if (!first_->serving() || told.code() == Code::kFenced) first_.reset();
    return told;
  }
  if (*told != host_->segment()->super().map_epoch.load()) {
    IMSS_ASSIGN_OR_RETURN(const auto map, first_->map());
    IMSS_RETURN_IF_ERROR(own.copy_map(map));
  }
  return told;
}

void MetadataServer::beat() {
  const auto heard = say(self_);
  if (!heard.ok())
    IMSS_LOG_DEBUG("the first metadata server: %s", heard.status().message().c_str());
  if (!is_first()) return;
  // Those who could not reach this one before it was started get their time.
  const std::int64_t since = std::max(started_ns_, monotonic_ns() - kSilentNs);
  if (monotonic_ns() - started_ns_ < kSilentNs) return;
  const Status status = metadata::Namespace(host_->segment()).mark_silent(since);
  if (!status.ok()) IMSS_LOG_WARN("the cluster map: %s", status.message().c_str());
}

void MetadataServer::leave_map() {
  if (self_.epoch == 0) return;
  segment::set_thread_deadline_ms(kNamesUpkeepDeadlineMs);
  self_.gone = true;
  // Not heard, it is missed soon.
  [[maybe_unused]] const auto told = say(self_);
  segment::set_thread_deadline_ms(0);
}

// --- upkeep -------------------------------------------------------------------------------------

void MetadataServer::reap() {
  if (!session_ || !session_->names().serving()) {
    session_.reset();
    auto session = client::Session::connect_segment(segment_name_, options_.network.key_file);
    if (!session.ok()) return;  // not all of them have joined yet
    session_ = std::move(*session);
  }
  not_reaped_.note(session_->reap());
  if (changes_) not_finished_.note(changes_->run(session_->metadata_services()));
}

void MetadataServer::run_upkeep() {
  ::pthread_setname_np(::pthread_self(), "imss-upkeep");
  segment::set_thread_deadline_ms(kNamesUpkeepDeadlineMs);
  do {
    if (is_one_of_several()) beat();
    if (network_) {
      not_forgotten_.note(network_->forget_clients());
      network_->announce_epoch();
    }
    reap();
  } while (!wait_for_stop(kNamesUpkeepPeriod));
  if (session_) session_->leave_metadata();
  host_->segment()->leave();
}

// True when the server is to stop, at once or within the period.
bool MetadataServer::wait_for_stop(std::chrono::milliseconds period) {
  const auto end = std::chrono::steady_clock::now() + period;
  const MutexLock lock(mutex_);
  while (!stopping_ && std::chrono::steady_clock::now() < end) {
    stop_requested_.wait_until(mutex_, end);
  }
  return stopping_;
}

MetadataServer::~MetadataServer() { stop(false); }

void MetadataServer::stop(bool retire) {
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
  leave_map();
  session_.reset();
  first_.reset();
  network_.reset();
  if (journaller_) journaller_->stop();
  host_->stop(retire);
  host_->segment()->leave();  // who started it has formatted it
}

}  // namespace imss::server
