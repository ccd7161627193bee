// Connecting to the metadata servers: the first that answers says, by its copy of the cluster map, where all are.
#include <algorithm>

#include "base/text.h"
#include "client/local_host.h"
#include "client/name_router.h"
#include "client/remote_names.h"
#include "client/session.h"
#include "client/unmapped.h"
#include "segment/segment_files.h"

namespace imss::client {

using metadata::ClusterMap;
using metadata::MapServer;
using segment::Segment;
using segment::State;

namespace {

// A segment as a session maps that only looks. One that was fenced or retired changes no more, whoever may still have
// it: in the private copy it counts as served, so that the ordinary code reads it.
Result<std::shared_ptr<Segment>> open_to_read(const std::string& name) {
  IMSS_ASSIGN_OR_RETURN(auto copy, Segment::open_private(name));
  const bool turned_away = copy->super().state.load() >= static_cast<std::uint64_t>(State::kFenced);
  if (!turned_away && copy->probe(0) == Segment::Liveness::kAlive) {
    copy->leave();
    return Segment::open(name);
  }
  copy->super().state.store(static_cast<std::uint64_t>(State::kServing));
  return copy;
}

Result<ReachedNames> reached_by(const std::shared_ptr<Segment>& segment) {
  if (segment->super().role != static_cast<std::uint32_t>(segment::Role::kMetadata)) {
    return Status(Code::kInvalidArgument, segment->name() + " is not the segment of a metadata server");
  }
  auto local = std::make_shared<metadata::Namespace>(segment);
  auto registered = segment->self();
  if (!registered.ok()) return registered.status();
  return ReachedNames{local, local};
}

// The metadata server's segment that is served on this node and shared for writing. Errors: kNotInitialized when there is
// none; others when there is one that this process may not map.
Result<std::shared_ptr<Segment>> find_segment(const std::string& host, std::uint16_t port) {
  bool orphan = false;
  Status why;  // a segment is not mapped
  const std::string prefix = segment::file_name(segment::Role::kMetadata, port, 0);
  for (const std::string& name : segment::list_files()) {
    if (!name.starts_with(prefix.substr(0, prefix.size() - 1))) continue;
    const auto info = segment::inspect(name);
    if (!info.ok()) continue;
    if (info->state == segment::FileState::kForeign) why = Segment::open(name).status();
    orphan = orphan || info->state == segment::FileState::kOrphan;
    if (info->state != segment::FileState::kServed) continue;
    if (info->sharing == segment::Sharing::kReadWrite) return Segment::open(name);
    why = Status(Code::kPermission, "segment " + name + " is not shared for writing");
  }
  if (!why.ok()) return why;
  const std::string where = concat("port ", std::to_string(port), " on ", host);
  return Status(Code::kNotInitialized,
                orphan ? concat("the metadata server of ", where, " has ended; start it again to use what it left")
                       : concat("no metadata server serves ", where,
                                "; start one with mount.imss, `server`, or hercules_init"));
}

}  // namespace

Result<std::shared_ptr<Segment>> Session::open_segment(const std::string& name) const {
  return reading_ ? open_to_read(name) : Segment::open(name);
}

Result<std::shared_ptr<net::Peers>> Session::peers() {
  const MutexLock lock(peers_mutex_);
  if (peers_) return peers_;
  net::ControlKeys keys;
  if (!key_file_.empty()) {
    IMSS_ASSIGN_OR_RETURN(keys, net::read_key_file(key_file_));
  }
  IMSS_ASSIGN_OR_RETURN(peers_, net::Peers::make(std::move(keys)));
  peers_->on_forgotten([this](const net::Peer& server) { open_again(server); });
  made_peers_.store(peers_.get(), std::memory_order_release);
  return peers_;
}

Result<ReachedNames> Session::reach_host(const Host& host, std::uint16_t default_port) {
  const std::uint16_t port = host.port != 0 ? host.port : default_port;
  if (!is_local_host(host.name)) return reach_remote(host.name, port);
  const auto segment = find_segment(host.name, port);
  if (segment.ok()) return reached_by(*segment);
  if (const auto name = listening_name(host.name, port)) return reach_remote(*name, port);
  if (segment.code() == Code::kNotInitialized) return segment.status();
  return Status(segment.code(), segment.status().message() +
                                    ", and its server does not take messages: start it with --share=ro or "
                                    "--share=none, with an address, or with keys");
}

Result<ReachedNames> Session::reach_remote(const std::string& host, std::uint16_t port) {
  IMSS_ASSIGN_OR_RETURN(const auto known, peers());
  const auto greeted = known->at(host, port).session(Deadline::from_now(segment::deadline_ms()));
  if (greeted.code() == Code::kIo) {
    return Status(Code::kNotInitialized, "no metadata server answers on " + host + " port " + std::to_string(port) +
                                             "; start one there, with an address to listen on");
  }
  if (!greeted.ok()) return greeted.status();
  return ReachedNames{std::make_shared<RemoteNames>(known, host, port, greeted->nonce), nullptr};
}

// A server of the map. Null when it is not there, or another one is in its place.
ReachedNames Session::reach_listed(const MapServer& server) {
  const auto port = static_cast<std::uint16_t>(server.port);
  std::string host = server.host;
  if (reading_ || is_local_host(host)) {
    const auto segment = open_segment(server.segment_name);
    const bool is_it = segment.ok() && (*segment)->super().nonce == server.nonce;
    if (is_it && (reading_ || (*segment)->sharing() == segment::Sharing::kReadWrite)) {
      auto reached = reached_by(*segment);
      return reached.ok() ? std::move(*reached) : ReachedNames();
    }
    const auto name = reading_ ? std::nullopt : listening_name(host, port);
    if (!name) return {};
    host = *name;
  }
  const auto known = peers();
  if (!known.ok()) return {};
  return {std::make_shared<RemoteNames>(*known, host, port, server.nonce), nullptr};
}

// Takes over a server that was reached, and with it all others of its map.
Status Session::attach(ReachedNames reached) {
  IMSS_ASSIGN_OR_RETURN(ClusterMap map, reached.names->map());
  if (map.count > 1) return route(std::move(reached), std::move(map));
  names_ = reached.names;
  local_names_ = reached.local;
  return {};
}

Status Session::route(ReachedNames reached, ClusterMap map) {
  if (!map.complete()) {
    return Status(Code::kNotInitialized, concat("only ", std::to_string(map.servers.size()), " of ",
                                                std::to_string(map.count), " metadata servers have been started"));
  }
  NameRouter::Options options;
  // The segment that is mapped already serves for its place too.
  const auto reach = [this, reached](const MapServer& server) {
    const bool is_it = reached.local && reached.local->segment().super().nonce == server.nonce;
    return is_it ? reached : reach_listed(server);
  };
  options.first = reach(map.servers.front());
  if (!options.first.names && !reading_) {
    return Status(Code::kNotInitialized, concat("the first metadata server, on ", map.servers.front().host, " port ",
                                                std::to_string(map.servers.front().port),
                                                ", is not there; start it again"));
  }
  // What another server has is a copy. Without the first it is what there is.
  if (options.first.names) {
    auto newest = options.first.names->map();
    if (newest.ok() && newest->complete()) map = std::move(*newest);
  }
  options.map = std::move(map);
  options.reach = reach;
  options.newest_epoch = [this] { return peers_epoch(); };
  options.patient = !reading_;
  local_names_ = options.first.local;
  auto router = std::make_shared<NameRouter>(std::move(options));
  router_ = router.get();
  names_ = std::move(router);
  const auto in_use = router_->mapped();
  if (reached.local && std::ranges::find(in_use, reached.local) == in_use.end()) reached.local->segment().leave();
  return {};
}

Result<std::unique_ptr<Session>> Session::connect(const ConnectOptions& options) {
  std::unique_ptr<Session> session(new Session());
  session->key_file_ = options.key_file;
  session->handles_ = std::make_unique<HandleTable>();
  const std::vector<Host> hosts = options.hosts.empty() ? std::vector<Host>{{"localhost", 0}} : options.hosts;
  Status first;
  for (const Host& host : hosts) {
    auto reached = session->reach_host(host, options.port);
    const Status status = reached.ok() ? session->attach(std::move(*reached)) : reached.status();
    if (status.ok()) return session;
    if (first.ok()) first = status;
    if (status.code() != Code::kNotInitialized) break;
  }
  return first;
}

Result<std::shared_ptr<metadata::NameService>> Session::connect_server(const ConnectOptions& options) {
  std::unique_ptr<Session> session(new Session());
  session->key_file_ = options.key_file;
  session->handles_ = std::make_unique<HandleTable>();
  const Host host = options.hosts.empty() ? Host{"localhost", 0} : options.hosts.front();
  IMSS_ASSIGN_OR_RETURN(auto reached, session->reach_host(host, options.port));
  return std::move(reached.names);
}

Result<std::unique_ptr<Session>> Session::connect_segment(const std::string& segment_name, const std::string& key_file) {
  std::unique_ptr<Session> session(new Session());
  session->key_file_ = key_file;
  session->handles_ = std::make_unique<HandleTable>();
  IMSS_ASSIGN_OR_RETURN(const std::shared_ptr<Segment> segment, Segment::open(segment_name));
  IMSS_ASSIGN_OR_RETURN(auto reached, reached_by(segment));
  IMSS_RETURN_IF_ERROR(session->attach(std::move(reached)));
  return session;
}

Result<std::unique_ptr<Session>> Session::connect_reading(const std::string& segment_name) {
  std::unique_ptr<Session> session(new Session());
  session->handles_ = std::make_unique<HandleTable>();
  session->reading_ = true;
  IMSS_ASSIGN_OR_RETURN(const std::shared_ptr<Segment> segment, open_to_read(segment_name));
  IMSS_ASSIGN_OR_RETURN(auto reached, reached_by(segment));
  IMSS_RETURN_IF_ERROR(session->attach(std::move(reached)));
  return session;
}

// --- what it knows of the metadata servers -------------------------------------------------------------

std::vector<std::shared_ptr<metadata::Namespace>> Session::mapped_names() {
  if (router_ != nullptr) return router_->mapped();
  if (local_names_) return {local_names_};
  return {};
}

std::vector<metadata::NameService*> Session::metadata_services() const {
  if (router_ != nullptr) return router_->services();
  return {names_.get()};
}

ClusterMap Session::known_map() { return router_ != nullptr ? router_->known_map() : ClusterMap(); }

std::uint64_t Session::peers_epoch() {
  const net::Peers* const made = made_peers_.load(std::memory_order_acquire);
  return made != nullptr ? made->newest_epoch() : 0;
}

std::uint64_t Session::newest_epoch() {
  std::uint64_t epoch = peers_epoch();
  if (local_names_) epoch = std::max(epoch, local_names_->segment().super().map_epoch.load());
  return epoch;
}

void Session::leave_metadata() {
  for (const auto& names : mapped_names()) names->segment().leave();
}

}  // namespace imss::client
