// Connecting to the metadata service and mapping the servers of instances.
#include "client/session.h"

#include <algorithm>

#include "client/local_host.h"
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

// Maps a data server's segment; null when it is on another node, gone, or another one under an old name. Each is
// mapped once: every mapping costs a thread that uses it a place among the segment's participants.
std::shared_ptr<store::Store> Session::map_server(const metadata::ServerInfo& server) {
  if (!is_local_host(server.host)) return nullptr;
  auto& known = mapped_[server.segment_name];
  if (known && known->segment().super().nonce == server.nonce) return known;
  auto segment = Segment::open(server.segment_name);
  if (!segment.ok() || (*segment)->super().nonce != server.nonce) return nullptr;
  if (known) known->segment().leave();
  known = std::make_shared<store::Store>(*segment);
  return known;
}

Session::~Session() {
  for (const std::int32_t handle : handles_->all()) {
    [[maybe_unused]] const Status status = release(handle);
  }
  for (const auto& [name, store] : mapped_) {
    if (store) leave(store->segment());
  }
  if (namespace_) namespace_->segment().leave();
}

void Session::lock_for_fork() {
  instances_mutex_.lock();
  handles_->lock_for_fork();
}

void Session::unlock_after_fork() {
  handles_->unlock_after_fork();
  instances_mutex_.unlock();
}

Result<std::unique_ptr<Session>> Session::connect(const ConnectOptions& options) {
  const std::string port = std::to_string(options.port);
  const std::string host = options.hosts.empty() ? "localhost" : options.hosts.front();
  if (!is_local_host(host)) {
    return Status(Code::kNotSupported, "the metadata server " + host +
                                           " is on another node; this version reaches servers of its own node only");
  }
  bool orphan = false;
  const std::string prefix = segment::file_name(segment::Role::kMetadata, options.port, 0);
  for (const std::string& name : segment::list_files()) {
    if (!name.starts_with(prefix.substr(0, prefix.size() - 1))) continue;
    auto info = segment::inspect(name);
    if (!info.ok()) continue;
    if (info->state == segment::FileState::kServed) return connect_segment(name);
    orphan = orphan || info->state == segment::FileState::kOrphan;
  }
  return Status(Code::kNotInitialized,
                orphan ? "the metadata server of port " + port + " on " + host +
                             " has ended; start it again to use what it left"
                       : "no metadata server serves port " + port + " on " + host +
                             "; start one with mount.imss, `server`, or hercules_init");
}

Result<std::unique_ptr<Session>> Session::connect_segment(const std::string& segment_name) {
  IMSS_ASSIGN_OR_RETURN(const std::shared_ptr<Segment> segment, Segment::open(segment_name));
  if (segment->super().role != static_cast<std::uint32_t>(segment::Role::kMetadata)) {
    return Status(Code::kInvalidArgument, segment_name + " is not the segment of a metadata server");
  }
  std::unique_ptr<Session> session(new Session());
  session->namespace_ = std::make_shared<metadata::Namespace>(segment);
  session->handles_ = std::make_unique<HandleTable>();
  auto registered = segment->self();
  if (!registered.ok()) return registered.status();
  return session;
}

Status Session::create_instance(const metadata::InstanceInfo& info) {
  forget_instance(info.name);
  return namespace_->create_instance(info);
}

Result<std::shared_ptr<const InstanceServers>> Session::instance(const std::string& name) {
  const std::lock_guard lock(instances_mutex_);
  if (const auto known = instances_.find(name); known != instances_.end()) return known->second;
  auto fresh = std::make_shared<InstanceServers>();
  auto info = namespace_->instance(name);
  if (!info.ok()) {
    if (info.code() != Code::kNotFound) return info.status();
    return Status(Code::kNotFound, "there is no instance imss://" + name);
  }
  fresh->info = std::move(*info);
  IMSS_ASSIGN_OR_RETURN(const auto all, namespace_->servers());
  for (const std::uint32_t id : fresh->info.servers) {
    const auto server = std::find_if(all.begin(), all.end(), [&](const auto& other) { return other.id == id; });
    const auto position = static_cast<std::uint32_t>(fresh->servers.size());
    std::uint32_t weight = 1;
    if (server != all.end()) {
      weight = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(server->capacity_bytes >> 20, 1, 1U << 30));
      fresh->stores.push_back(map_server(*server));
      fresh->servers.push_back(*server);
      if (server->segment_name == own_segment_) fresh->local_position = position;
    } else {
      fresh->stores.push_back(nullptr);
      fresh->servers.push_back({});
      fresh->servers.back().id = id;
    }
    fresh->weights.push_back({position, weight});
  }
  for (std::uint32_t i = 0; i < fresh->stores.size() && fresh->local_position == kNoLocalServer; ++i) {
    if (fresh->stores[i]) fresh->local_position = i;
  }
  instances_[name] = fresh;
  return std::shared_ptr<const InstanceServers>(fresh);
}

void Session::forget_instance(const std::string& name) {
  const std::lock_guard lock(instances_mutex_);
  instances_.erase(name);
  // Segments of servers that are gone keep their memory as long as they are mapped.
  std::erase_if(mapped_, [](const auto& item) {
    if (item.second && (item.second.use_count() > 1 || item.second->segment().serving())) return false;
    if (item.second) leave(item.second->segment());
    return true;
  });
}

Status Session::destroy_instance(const std::string& name) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, instance(name));
  IMSS_RETURN_IF_ERROR(clear_directory(servers->info.root, *servers));
  forget_instance(name);
  return namespace_->remove_instance(name);
}

Status Session::clear_directory(std::uint64_t directory, const InstanceServers& servers) {
  for (;;) {
    std::vector<metadata::EntryInfo> entries;
    IMSS_ASSIGN_OR_RETURN([[maybe_unused]] const bool more, namespace_->list(directory, 0, 256, &entries));
    if (entries.empty()) return {};
    for (const auto& entry : entries) {
      if (entry.type == metadata::NodeType::kDirectory) {
        IMSS_RETURN_IF_ERROR(clear_directory(entry.id, servers));
        const Status removed = namespace_->remove_directory(directory, entry.name);
        if (!removed.ok() && removed.code() != Code::kNotFound && removed.code() != Code::kNotEmpty) return removed;
        continue;
      }
      auto removed = namespace_->remove(directory, entry.name);
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
  IMSS_ASSIGN_OR_RETURN(const auto all, namespace_->instances());
  for (const metadata::InstanceInfo& info : all) {
    bool stale = false;
    {
      const std::lock_guard lock(instances_mutex_);
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
  const std::lock_guard lock(instances_mutex_);
  for (const auto& [name, store] : mapped_) {
    if (!store || !store->segment().serving() || store->segment().super().attached == 0) continue;
    if (store->segment().probe(0) == Segment::Liveness::kAlive) continue;
    store->segment().super().state.store(static_cast<std::uint64_t>(State::kFenced));
    store->segment().unlink_name();
  }
}

Status Session::reap() {
  fence_dead();
  std::vector<std::shared_ptr<const InstanceServers>> known;
  {
    const std::lock_guard lock(instances_mutex_);
    for (const auto& [name, servers] : instances_) known.push_back(servers);
  }
  for (const auto& servers : known) {
    IMSS_RETURN_IF_ERROR(repair_copies(*servers));
  }
  return namespace_->reap_limbo([&](const metadata::EntryInfo& entry) { return reap_dataset(entry); });
}

// The instance of a dataset is the one whose server has its inode.
Status Session::reap_dataset(const metadata::EntryInfo& entry) {
  IMSS_ASSIGN_OR_RETURN(const auto all, namespace_->instances());
  for (const metadata::InstanceInfo& info : all) {
    auto servers = instance(info.name);
    if (servers.ok() && ((*servers)->info.root != info.root || (*servers)->info.servers != info.servers)) {
      forget_instance(info.name);
      servers = instance(info.name);
    }
    if (!servers.ok()) continue;
    const std::uint32_t home = entry.layout.home_server;
    if (home >= (*servers)->stores.size() || !(*servers)->stores[home]) continue;
    store::Store& store = *(*servers)->stores[home];
    if (!store.segment().serving()) continue;
    auto last = store.change_links(entry.id, -1);
    if (last.code() == Code::kNotFound) continue;
    if (last.ok() && *last) return drop(entry.id, entry.layout, **servers);
    return last.status();
  }
  return {};  // it died before it made the inode, or the data is gone
}

Status Session::drop_orphan(const std::string& name, std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, instance(name));
  for (std::uint32_t home = 0; home < servers->stores.size(); ++home) {
    if (!servers->stores[home]) continue;
    auto attributes = servers->stores[home]->attributes(dataset);
    if (!attributes.ok()) continue;
    metadata::Layout layout;
    layout.home_server = home;
    layout.block_bytes = attributes->block_bytes;
    layout.block_count = attributes->block_count;
    layout.server_count = static_cast<std::uint16_t>(servers->stores.size());
    layout.policy = static_cast<std::uint8_t>(Policy::kLocal);  // unknown: look everywhere
    return drop(dataset, layout, *servers);
  }
  return {};
}

}  // namespace imss::client
