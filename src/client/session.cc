// The servers of instances, and upkeep. Connecting is in session_connect.cc.
#include "client/session.h"

#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "client/local_host.h"
#include "client/name_router.h"
#include "client/remote_store.h"
#include "client/session_internal.h"
#include "client/unmapped.h"
#include "segment/segment_files.h"

namespace imss::client {

using segment::Segment;
using segment::State;

namespace {

// Gives the calling thread's place in a segment back, unless views of it depend on that.
void leave(Segment& segment) {
  auto me = segment.self();
  if (me.ok() && (*me)->view_count.load() == 0) segment.leave();
}

}  // namespace

// Maps the segment of a data server of this node; null when it is gone, not for this process to map, or another one
// under an old name. Each is mapped once: every mapping costs a thread that uses it a place among the segment's participants.
std::shared_ptr<store::Store> Session::map_server(const metadata::ServerInfo& server) {
  auto& known = mapped_[server.segment_name];
  if (known && known->segment().super().nonce == server.nonce) return known;
  auto segment = open_segment(server.segment_name);
  if (!segment.ok() || (*segment)->super().nonce != server.nonce) return nullptr;
  const bool shared = (*segment)->sharing() == segment::Sharing::kReadWrite;
  if (!shared && !reading_ && server.segment_name != own_segment_) return nullptr;
  if (known) known->segment().leave();
  known = std::make_shared<store::Store>(*segment);
  return known;
}

Session::~Session() {
  {
    const MutexLock lock(peers_mutex_);
    if (peers_) peers_->on_forgotten({});
  }
  for (const std::int32_t handle : handles_->all()) {
    // A server that is gone has nothing to close; at any other the opening is swept with the process.
    [[maybe_unused]] const Status status = release(handle);
  }
  for (const auto& [name, store] : mapped_) {
    if (store) leave(store->segment());
  }
  if (router_ == nullptr && local_names_) local_names_->segment().leave();
}

// Takes the table's mutex too, which the declaration cannot name.
void Session::lock_for_fork() IMSS_NO_THREAD_ANALYSIS {
  instances_mutex_.lock();
  peers_mutex_.lock();
  if (peers_) peers_->lock_for_fork();
  if (router_ != nullptr) router_->lock_for_fork();
  handles_->lock_for_fork();
}

void Session::unlock_after_fork() IMSS_NO_THREAD_ANALYSIS {
  handles_->unlock_after_fork();
  if (router_ != nullptr) router_->unlock_after_fork();
  if (peers_) peers_->unlock_after_fork();
  peers_mutex_.unlock();
  instances_mutex_.unlock();
}

Status Session::create_instance(const metadata::InstanceInfo& info) {
  forget_instance(info.name);
  return names_->create_instance(info, {0755, ::geteuid(), ::getegid()});
}

// What may take long is asked without the lock: the metadata server, the resolver of host names, the network module.
Result<std::shared_ptr<const InstanceServers>> Session::instance(const std::string& name) {
  {
    const MutexLock lock(instances_mutex_);
    if (const auto known = instances_.find(name); known != instances_.end()) return known->second;
  }
  auto info = names_->instance(name);
  if (!info.ok()) {
    if (info.code() != Code::kNotFound) return info.status();
    return Status(Code::kNotFound, "there is no instance imss://" + name);
  }
  IMSS_ASSIGN_OR_RETURN(const auto all, names_->servers());
  auto fresh = std::make_shared<InstanceServers>();
  fresh->info = std::move(*info);
  std::vector<bool> here;
  for (const std::uint32_t id : fresh->info.servers) {
    const auto server = std::ranges::find(all, id, &metadata::ServerInfo::id);
    fresh->servers.push_back(server == all.end() ? metadata::ServerInfo() : *server);
    fresh->servers.back().id = id;
    const bool known = server != all.end();
    here.push_back(known && (reading_ || is_local_host(server->host)));
    fresh->stores.push_back(known && !here.back() ? remote_store(*server) : nullptr);
    fresh->remote.push_back(static_cast<RemoteStore*>(fresh->stores.back().get()));
    const std::uint64_t mebibytes = fresh->servers.back().capacity_bytes >> 20;
    const auto weight = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(mebibytes, 1, 1U << 30));
    fresh->weights.push_back({static_cast<std::uint32_t>(fresh->weights.size()), weight});
  }
  for (std::uint32_t position = 0; position < here.size(); ++position) {
    const metadata::ServerInfo& server = fresh->servers[position];
    std::shared_ptr<store::Store> mapped;
    if (here[position]) {
      const MutexLock lock(instances_mutex_);
      mapped = map_server(server);
    }
    fresh->mapped.push_back(mapped.get());
    if (!here[position]) continue;
    if (mapped) {
      fresh->stores[position] = mapped;
    } else if (!reading_) {
      const UnmappedStore unmapped = unmapped_store(server, [this] { return peers(); });
      fresh->stores[position] = unmapped.store;
      fresh->remote[position] = unmapped.asked;
    }
    if (!fresh->stores[position]) continue;
    const bool own = server.segment_name == own_segment_;
    if (own || fresh->local_position == kNoLocalServer) fresh->local_position = position;
  }
  const MutexLock lock(instances_mutex_);
  if (const auto known = instances_.find(name); known != instances_.end()) return known->second;
  instances_[name] = fresh;
  return std::shared_ptr<const InstanceServers>(fresh);
}

// Null when it cannot even be asked.
std::shared_ptr<RemoteStore> Session::remote_store(const metadata::ServerInfo& server) {
  auto known = peers();
  if (known.ok())
    return std::make_shared<RemoteStore>(*known, server.host, static_cast<std::uint16_t>(server.port), server.nonce);
  IMSS_LOG_WARN("cannot reach %s: %s", server.host.c_str(), known.status().message().c_str());
  return nullptr;
}

bool Session::answers(const metadata::ServerInfo& server) {
  const auto known = peers();
  if (!known.ok()) return false;
  net::Peer& peer = (*known)->at(server.host, static_cast<std::uint16_t>(server.port));
  if (!peer.answers()) return false;  // it is greeted again and again meanwhile
  const auto greeted = peer.session(Deadline::from_now(net::Peers::kPatienceMs));
  return greeted.ok() && peer.answers() && greeted->nonce == server.nonce;
}

void Session::forget_instance(const std::string& name) {
  const MutexLock lock(instances_mutex_);
  instances_.erase(name);
  // Segments of servers that are gone keep their memory as long as they are mapped.
  std::erase_if(mapped_, [](const auto& item) {
    if (item.second && (item.second.use_count() > 1 || item.second->serving())) return false;
    if (item.second) leave(item.second->segment());
    return true;
  });
}

Status Session::destroy_instance(const std::string& name) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, instance(name));
  InstanceServers left = *servers;
  for (std::size_t position = 0; position < left.stores.size(); ++position) {
    // An attached one that is silent took its data along, where a detached one may come back with them.
    if (left.remote[position] == nullptr || !left.servers[position].attached || answers(left.servers[position])) continue;
    left.stores[position] = nullptr;
    left.remote[position] = nullptr;
  }
  IMSS_RETURN_IF_ERROR(clear_directory(left.info.root, left));
  forget_instance(name);
  return names_->remove_instance(name);
}

Status Session::clear_directory(std::uint64_t directory, const InstanceServers& servers) {
  for (;;) {
    std::vector<metadata::EntryInfo> entries;
    IMSS_ASSIGN_OR_RETURN([[maybe_unused]] const bool more, names_->list(directory, 0, 256, &entries));
    if (entries.empty()) return {};
    for (const auto& entry : entries) {
      if (entry.type == metadata::NodeType::kDirectory) {
        IMSS_RETURN_IF_ERROR(clear_directory(entry.id, servers));
        const Status removed = names_->remove_directory(directory, entry.name);
        if (!removed.ok() && removed.code() != Code::kNotFound && removed.code() != Code::kNotEmpty) return removed;
        continue;
      }
      auto removed = names_->remove(directory, entry.name);
      if (removed.ok()) {
        IMSS_RETURN_IF_ERROR(unlink_data(*removed, servers));
      } else if (removed.code() != Code::kNotFound) {
        return removed.status();
      }
    }
  }
}

// --- upkeep --------------------------------------------------------------------------------------------

// What is known of an instance is renewed when its name stands for another one or its servers changed.
Status Session::refresh_instances() {
  IMSS_ASSIGN_OR_RETURN(const auto all, names_->instances());
  for (const metadata::InstanceInfo& info : all) {
    bool stale = false;
    {
      const MutexLock lock(instances_mutex_);
      const auto known = instances_.find(info.name);
      stale = known != instances_.end() &&
              (known->second->info.root != info.root || known->second->info.servers != info.servers);
    }
    if (stale) forget_instance(info.name);
    [[maybe_unused]] const auto servers = instance(info.name);  // may be gone again
  }
  return {};
}

// An attached server ends with its process: clients are turned away, and the memory goes with the last mapping.
void Session::fence_dead() {
  [[maybe_unused]] const Status refreshed = refresh_instances();  // what is known will do
  const MutexLock lock(instances_mutex_);
  for (const auto& [name, store] : mapped_) {
    if (!store || !store->serving() || store->segment().super().attached == 0) continue;
    if (store->segment().probe(0) == Segment::Liveness::kAlive) continue;
    store->segment().super().state.store(static_cast<std::uint64_t>(State::kFenced));
    store->segment().unlink_name();
  }
}

Status Session::reap() {
  fence_dead();
  std::vector<std::shared_ptr<const InstanceServers>> known;
  {
    const MutexLock lock(instances_mutex_);
    for (const auto& [name, servers] : instances_) known.push_back(servers);
  }
  Status outcome;
  for (const auto& servers : known) {
    const Status status = repair_copies(*servers);
    if (!status.ok()) outcome = status;
  }
  // Of metadata servers on other nodes somebody there does that.
  for (const auto& names : mapped_names()) {
    const Status status = names->reap_limbo([&](const metadata::EntryInfo& entry) { return reap_dataset(entry); });
    if (!status.ok()) outcome = status;
  }
  return outcome;
}

// The instance of a dataset is the one whose server has its inode.
Status Session::reap_dataset(const metadata::EntryInfo& entry) {
  Status outcome;  // ok: it died before it made the inode, or the data is gone
  IMSS_ASSIGN_OR_RETURN(const auto all, names_->instances());
  for (const metadata::InstanceInfo& info : all) {
    auto servers = instance(info.name);
    if (servers.ok() && ((*servers)->info.root != info.root || (*servers)->info.servers != info.servers)) {
      forget_instance(info.name);
      servers = instance(info.name);
    }
    if (!servers.ok()) continue;
    const std::uint32_t home = entry.layout.home_server;
    if (home >= (*servers)->stores.size() || !(*servers)->stores[home]) continue;
    store::DataService& store = *(*servers)->stores[home];
    if (store.lost()) continue;
    if (!store.serving()) {
      outcome = out_of_reach();
      continue;
    }
    auto last = store.remove_link(entry.id, entry.link);
    if (last.code() == Code::kNotFound) {
      // Its author may have committed the inode without having come to apply that.
      IMSS_RETURN_IF_ERROR(store.settle());
      last = store.remove_link(entry.id, entry.link);
    }
    if (last.code() == Code::kNotFound) continue;
    if (last.ok() && *last) return drop(entry.id, entry.layout, **servers);
    return last.status();
  }
  return outcome;
}

// Dataset ids are the metadata service's, so the same id in another instance does not exist; an attached server may
// be part of several instances.
Status Session::sweep(store::Store& server, std::uint32_t server_id, const RemoteOpeners& remote) {
  bool all_reached = true;  // but those that are gone for good
  const auto for_each_neighbour = [&](const std::function<Status(store::DataService&)>& visit) -> Status {
    all_reached = true;
    IMSS_ASSIGN_OR_RETURN(const auto all, names_->instances());
    for (const metadata::InstanceInfo& info : all) {
      if (std::ranges::find(info.servers, server_id) == info.servers.end()) continue;
      // What is known may be older than the last restart of another server.
      forget_instance(info.name);
      IMSS_ASSIGN_OR_RETURN(const auto servers, instance(info.name));
      for (const auto& store : servers->stores) {
        if (!store || store->lost()) continue;
        if (store->serving()) {
          IMSS_RETURN_IF_ERROR(visit(*store));
        } else {
          all_reached = false;
        }
      }
    }
    return {};
  };
  store::Store::SweepActions actions;
  actions.remote_lives = remote.lives;
  actions.remote_changes = remote.changes;
  actions.settle = [&] {
    return for_each_neighbour([](store::DataService& store) { return store.settle(); });
  };
  actions.drop = [&](std::uint64_t dataset) -> Status {
    auto attributes = server.attributes(dataset);
    if (attributes.code() == Code::kNotFound) return {};
    if (!attributes.ok()) return attributes.status();
    IMSS_RETURN_IF_ERROR(for_each_neighbour(
        [&](store::DataService& store) { return store.erase_range(dataset, 1, attributes->last_block()); }));
    if (!all_reached) return out_of_reach();
    return drop_home(dataset, attributes->last_block(), server, true);  // whether LOCAL is not known here
  };
  return server.sweep(actions);
}

}  // namespace imss::client
