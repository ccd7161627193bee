// Names and datasets: resolving URIs, creating, opening, renaming and removing.
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "client/name_router.h"
#include "client/remote_store.h"
#include "client/session_internal.h"
#include "segment/fault.h"

namespace imss::client {

using metadata::EntryInfo;
using metadata::NodeType;

namespace {

// Position of the server that holds block 0 of a dataset on so many servers.
std::uint32_t home_position(std::uint64_t dataset, std::size_t servers) {
  return static_cast<std::uint32_t>(mix64(dataset) % servers);
}

// Mode and layout of a dataset in the making; its id is known.
void describe(const DatasetOptions& options, std::size_t servers, EntryInfo* info) {
  info->mode = options.mode;
  metadata::Layout& layout = info->layout;
  layout.policy = static_cast<std::uint8_t>(options.policy);
  layout.replicas = static_cast<std::uint8_t>(options.replicas);
  layout.server_count = static_cast<std::uint16_t>(options.server_count == 0 ? servers : options.server_count);
  layout.block_bytes = options.block_bytes;
  layout.block_count = options.block_count;
  layout.home_server = home_position(info->id, layout.server_count);
}

// What the inode says in the beginning, but for its first link.
store::Attributes attributes_of(const EntryInfo& info, const DatasetOptions& options) {
  store::Attributes attributes;
  attributes.type = info.type;
  attributes.size = options.size_bytes != 0 ? options.size_bytes : options.block_count * options.block_bytes;
  attributes.mode = options.mode;
  attributes.uid = options.uid.value_or(::geteuid());
  attributes.gid = options.gid.value_or(::getegid());
  attributes.block_bytes = options.block_bytes;
  attributes.block_count = options.block_count;
  attributes.placement = info.layout.policy | std::uint64_t{info.layout.replicas} << 8 |
                         std::uint64_t{info.layout.server_count} << 16;
  return attributes;
}

// Servers must not miss that this process lives while one of them is asked.
constexpr int kOpenAgainMs = 2000;

}  // namespace

Result<Session::Place> Session::place_of(const Uri& uri, bool follow) {
  IMSS_ASSIGN_OR_RETURN(auto servers, instance(uri.instance));
  const Place root{servers, servers->info.root, ""};
  return walk(root, uri.path, {.follow = follow}, uri);
}

// `path` leads from the directory `place.parent`. Symbolic links on the way are followed, the last one too where
// wanted; their targets may go upwards, as far as the root of the instance.
Result<Session::Place> Session::walk(Place place, std::string_view path, WalkOptions options, const Uri& uri) {
  const auto names = split_path(path);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool last = i + 1 == names.size();
    if (names[i] == ".") continue;
    if (names[i] == "..") {
      IMSS_RETURN_IF_ERROR(go_up(&place));
      continue;
    }
    if (last && !options.follow) {
      place.name = names[i];
      break;
    }
    auto entry = names_->lookup(place.parent, names[i]);
    const bool missing = entry.code() == Code::kNotFound;
    if (!entry.ok() && !(missing && last)) return missing ? gone(uri) : entry.status();
    if (entry.ok() && entry->type == NodeType::kSymlink) {
      if (options.links_left == 0) return with_uri(Code::kLoop, uri);
      IMSS_ASSIGN_OR_RETURN(std::string onward, link_target(*entry, *place.servers));
      if (onward.starts_with('/')) place.parent = place.servers->info.root;
      const std::size_t rest = static_cast<std::size_t>(names[i].end() - path.begin());
      onward += path.substr(rest);
      return walk(std::move(place), onward, {options.follow, options.links_left - 1}, uri);
    }
    if (last) {
      place.name = names[i];
      break;
    }
    if (entry->type != NodeType::kDirectory) return with_uri(Code::kNotDirectory, uri);
    place.parent = entry->id;
  }
  return place;
}

Status Session::go_up(Place* place) {
  if (place->parent == place->servers->info.root) return {};
  IMSS_ASSIGN_OR_RETURN(const metadata::DirectoryInfo directory, names_->directory(place->parent));
  place->parent = directory.parent;
  return {};
}

Result<EntryInfo> Session::lookup_last(const Place& place) {
  if (router_ == nullptr && !local_names_) return names_->lookup(place.parent, place.name);
  const auto& mapped = place.servers->mapped;
  const auto expect = [&mapped](std::uint64_t id) {
    // The home server of a dataset on all servers; a wrong guess costs nothing.
    const store::Store* const home = mapped.empty() ? nullptr : mapped[home_position(id, mapped.size())];
    if (home != nullptr) home->expect_attributes(id);
  };
  if (router_ != nullptr) return router_->lookup(place.parent, place.name, expect);
  return local_names_->lookup(place.parent, place.name, expect);
}

Result<Session::Node> Session::resolve(const Uri& uri, bool follow) {
  IMSS_ASSIGN_OR_RETURN(const Place place, place_of(uri, follow));
  Node node;
  node.servers = place.servers;
  if (place.name.empty()) {  // the root, or a directory that a link names by ".."
    const bool root = place.parent == place.servers->info.root;
    node.entry.type = root ? NodeType::kInstance : NodeType::kDirectory;
    node.entry.id = place.parent;
    node.entry.name = uri.instance;
    node.directory = place.parent;
    return node;
  }
  auto entry = lookup_last(place);
  if (!entry.ok()) return entry.code() == Code::kNotFound ? gone(uri) : with_uri(entry.status(), uri);
  node.entry = std::move(*entry);
  if (node.entry.type == NodeType::kDirectory) node.directory = node.entry.id;
  return node;
}

Status Session::make_directory(const Uri& uri, std::uint32_t mode, bool parents) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, instance(uri.instance));
  const auto names = split_path(uri.path);
  if (names.empty()) return with_uri(Code::kExists, uri);
  std::uint64_t parent = servers->info.root;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool last = i + 1 == names.size();
    if (last || parents) {
      std::uint64_t made = 0;
      const Status status = names_->make_directory(parent, names[i], {mode, ::geteuid(), ::getegid()}, &made);
      if (status.ok()) {
        parent = made;
        continue;
      }
      if (status.code() != Code::kExists || (last && !parents)) return with_uri(status, uri);
    }
    auto entry = names_->lookup(parent, names[i]);
    if (!entry.ok()) return entry.code() == Code::kNotFound ? gone(uri) : with_uri(entry.status(), uri);
    if (entry->type != NodeType::kDirectory) return with_uri(Code::kNotDirectory, uri);
    parent = entry->id;
  }
  return {};
}

Status Session::remove_directory(const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(const Place place, place_of(uri));
  if (place.name.empty()) return Status(Code::kBusy, format_uri(uri) + " is an instance; release it instead");
  return with_uri(names_->remove_directory(place.parent, place.name), uri);
}

Status Session::rename(const Uri& from, const Uri& to, bool no_replace) {
  if (from.instance != to.instance) {
    return Status(Code::kInvalidArgument, "a rename from " + format_uri(from) + " to " + format_uri(to) +
                                              " crosses instances; copy the data instead");
  }
  IMSS_ASSIGN_OR_RETURN(const Place source, place_of(from));
  IMSS_ASSIGN_OR_RETURN(const Place target, place_of(to));
  if (source.name.empty() || target.name.empty()) return with_uri(Code::kBusy, source.name.empty() ? from : to);
  auto renamed = names_->rename(source.parent, source.name, target.parent, target.name, no_replace);
  if (!renamed.ok()) return with_uri(renamed.status(), renamed.code() == Code::kNotFound ? from : to);
  if (renamed->replaced) return unlink_data(renamed->victim, *source.servers);
  return {};
}

Status Session::unlink(const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(const Place place, place_of(uri));
  if (place.name.empty()) return with_uri(Code::kIsDirectory, uri);
  auto removed = names_->remove(place.parent, place.name);
  if (!removed.ok()) return removed.code() == Code::kNotFound ? gone(uri) : with_uri(removed.status(), uri);
  return unlink_data(*removed, *place.servers);
}

// The name is gone; now its data, unless somebody has it open or it has another name.
Status Session::unlink_data(metadata::RemovedEntry& removed, const InstanceServers& servers) {
  if (removed.left_to_reaper()) return {};
  const auto& layout = removed.info.layout;
  Status status;
  if (layout.home_server < servers.stores.size() && servers.stores[layout.home_server]) {
    auto last = servers.stores[layout.home_server]->remove_link(removed.info.id, removed.info.link);
    segment::fault_point("unlink.links_changed");
    status = last.status();
    if (last.ok() && *last) status = drop(removed.info.id, layout, servers);
  }
  // With the inode's server gone there is nothing left to remove; what cannot be removed now is later, without the caller.
  if (status.ok() || status.code() == Code::kNotFound || status.code() == Code::kFenced) {
    names_->forget(removed);
  } else {
    names_->leave_to_reaper(removed);
  }
  return {};
}

// Blocks first and the inode last: an inode without name and opener says that there is still work to do. kIo: a server
// that may come back was out of reach, so the inode has stayed.
Status Session::drop(std::uint64_t dataset, const metadata::Layout& layout, const InstanceServers& servers) {
  store::DataService& home = *servers.stores[layout.home_server];
  auto attributes = home.attributes(dataset);
  if (!attributes.ok()) return {};
  const std::uint64_t last = attributes->last_block();
  bool all_reached = true;
  for (const auto& store : servers.stores) {
    if (!store || store->lost()) continue;
    if (store->serving()) {
      IMSS_RETURN_IF_ERROR(store->erase_range(dataset, 1, last));
    } else {
      all_reached = false;
    }
  }
  if (!all_reached) return out_of_reach();
  return drop_home(dataset, last, home, layout.policy == static_cast<std::uint8_t>(Policy::kLocal));
}

// What the home server has of a dataset besides blocks.
Status Session::drop_home(std::uint64_t dataset, std::uint64_t last_block, store::DataService& home, bool located) {
  if (located) IMSS_RETURN_IF_ERROR(home.erase_range(dataset, kLocationBit | 1, kLocationBit | last_block));
  IMSS_RETURN_IF_ERROR(home.erase({dataset, kTextBlock}));
  segment::fault_point("drop.blocks_erased");
  return home.erase_inode(dataset);
}

// --- datasets --------------------------------------------------------------------------------------------

namespace {

Status check_options(const DatasetOptions& options, std::size_t servers) {
  if (options.block_bytes == 0 || options.block_bytes > segment::kMaxExtentBytes) {
    return Status(Code::kInvalidArgument, "a block holds between 1 byte and 64 MiB, not " +
                                              std::to_string(options.block_bytes) + " bytes");
  }
  if (options.server_count > servers) {
    return Status(Code::kInvalidArgument, "the instance has " + std::to_string(servers) + " data servers, not " +
                                              std::to_string(options.server_count));
  }
  const std::size_t used = options.server_count == 0 ? servers : options.server_count;
  if (options.replicas == 0 || options.replicas > 3 || options.replicas > used) {
    return Status(Code::kInvalidArgument, "a block can have 1 to " + std::to_string(std::min<std::size_t>(used, 3)) +
                                              " copies on " + std::to_string(used) + " servers, not " +
                                              std::to_string(options.replicas));
  }
  if (options.block_count > (store::kSizeMask / options.block_bytes)) {
    return Status(Code::kInvalidArgument, "a dataset holds less than 256 TiB");
  }
  return {};
}

}  // namespace

Result<std::int32_t> Session::create(const Uri& uri, DatasetOptions options) {
  if (uri.path.empty()) return Status(Code::kInvalidArgument, format_uri(uri) + " names an instance, not a dataset");
  auto found = place_of(uri);
  if (!found.ok() && found.code() == Code::kNotFound && uri.path.find('/') != std::string::npos) {
    const Uri parent{uri.instance, uri.path.substr(0, uri.path.rfind('/'))};
    IMSS_RETURN_IF_ERROR(make_directory(parent, 0755, true));
    found = place_of(uri);
  }
  if (!found.ok()) return found.status();
  if (options.keep_name) options.text = format_uri(uri);
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, make_node(*found, NodeType::kDataset, options, uri));
  return open_entry(uri, entry, found->servers);
}

Result<EntryInfo> Session::make_node(const Place& place, NodeType type, const DatasetOptions& options, const Uri& uri) {
  IMSS_RETURN_IF_ERROR(check_options(options, place.servers->stores.size()));
  return again_while_lost<Result<EntryInfo>>([&] { return make_node_once(place, type, options, uri); });
}

Result<EntryInfo> Session::make_node_once(const Place& place, NodeType type, const DatasetOptions& options,
                                          const Uri& uri) {
  const InstanceServers& servers = *place.servers;
  EntryInfo info;
  info.parent = place.parent;
  info.name = place.name;
  IMSS_ASSIGN_OR_RETURN(info.id, names_->new_id());
  info.type = type;
  describe(options, servers.stores.size(), &info);
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(info, servers, uri));
  IMSS_ASSIGN_OR_RETURN(metadata::PendingEntry pending, names_->prepare(info));
  store::Attributes attributes = attributes_of(info, options);
  attributes.first_link = pending.info.link;
  attributes.gid = pending.group.value_or(attributes.gid);
  // Inode first, the name publishes it. A death in between leaves a prepared name, which is reaped.
  Status status = home->create_inode(info.id, attributes);
  segment::fault_point("create.inode_made");
  bool inode_left = may_be_applied(status);
  if (status.ok()) {
    if (!options.text.empty()) status = write_text(*home, info.id, options.text);
    if (status.ok()) {
      status = names_->publish(pending);
      // The name may be there: the inode stays, and should nobody see it, goes with the prepared name.
      if (may_be_seen(pending, status)) return with_uri(status, uri);
    }
    if (!status.ok()) {
      const Status forgotten = home->erase({info.id, kTextBlock});
      const Status erased = home->erase_inode(info.id);
      inode_left = !forgotten.ok() || !erased.ok();
    }
  }
  if (!status.ok()) {
    end_pending(pending, inode_left);
    return with_uri(status, uri);
  }
  segment::fault_point("create.published");
  return pending.info;
}

// A server's sweep, or a death, between the two steps removes the inode again.
Result<std::int32_t> Session::create_unnamed(const std::shared_ptr<const InstanceServers>& servers,
                                             const DatasetOptions& options, EntryInfo* entry) {
  IMSS_RETURN_IF_ERROR(check_options(options, servers->stores.size()));
  const Uri uri{servers->info.name, ""};
  for (;;) {
    EntryInfo info;
    IMSS_ASSIGN_OR_RETURN(info.id, names_->new_id());
    info.type = NodeType::kDataset;
    describe(options, servers->stores.size(), &info);
    IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(info, *servers, uri));
    store::Attributes attributes = attributes_of(info, options);
    attributes.links = 0;
    IMSS_RETURN_IF_ERROR(home->create_inode(info.id, attributes));
    segment::fault_point("create.unnamed_made");
    auto opened = open_entry(uri, info, servers);
    if (opened.code() == Code::kNotFound) continue;
    if (!opened.ok()) [[maybe_unused]] const Status erased = home->erase_inode(info.id);
    *entry = std::move(info);
    return opened;
  }
}

Result<std::int32_t> Session::open(const Uri& uri) {
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(Node node, resolve(uri));
    if (node.entry.type == NodeType::kSymlink) {
      IMSS_ASSIGN_OR_RETURN(node, resolve(uri, true));
    }
    if (node.entry.type != NodeType::kDataset) return no_dataset(node.entry.type, uri);
    auto opened = open_entry(uri, node.entry, std::move(node.servers));
    if (opened.code() != Code::kNotFound) return opened;
    if (const Status status = lost_inode(uri, node.entry.id); !status.ok()) return status;
  }
}

// The inode of a name was not there: the name was removed or replaced meanwhile (ok: look again), or the data is
// gone.
Status Session::lost_inode(const Uri& uri, std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(Node now, resolve(uri));
  if (now.entry.type == NodeType::kSymlink && now.entry.id != dataset) {
    IMSS_ASSIGN_OR_RETURN(now, resolve(uri, true));
  }
  if (now.entry.id != dataset) return {};
  return Status(Code::kIo, "the data of " + format_uri(uri) + " is gone; only its name is left");
}

Result<std::int32_t> Session::open_entry(const Uri& uri, const EntryInfo& entry,
                                         std::shared_ptr<const InstanceServers> servers) {
  const std::uint32_t home = entry.layout.home_server;
  if (home >= servers->stores.size() || !servers->stores[home] || !servers->stores[home]->serving()) {
    return Status(Code::kIo, "the data server of " + format_uri(uri) + " is gone");
  }
  IMSS_RETURN_IF_ERROR(servers->stores[home]->open(entry.id));
  auto dataset = std::make_shared<Dataset>();
  dataset->id = entry.id;
  dataset->uri = uri;
  dataset->layout = entry.layout;
  dataset->instance = std::move(servers);
  auto handle = handles_->add(dataset);
  if (!handle.ok()) {
    // An opening that stays counts until this process ends, when it is swept.
    [[maybe_unused]] const Status closed = close_data(*dataset);
  }
  return handle;
}

Result<std::shared_ptr<Dataset>> Session::peek(const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(const Node node, resolve(uri));
  return peek(uri, node);
}

Result<std::shared_ptr<Dataset>> Session::peek(const Uri& uri, const Node& node) {
  if (node.entry.type != NodeType::kDataset) return no_dataset(node.entry.type, uri);
  auto dataset = std::make_shared<Dataset>();
  dataset->instance = node.servers;
  dataset->id = node.entry.id;
  dataset->uri = uri;
  dataset->layout = node.entry.layout;
  return dataset;
}

Result<std::string> Session::original_name(Dataset& dataset) {
  const std::uint32_t home = dataset.layout.home_server;
  if (home >= dataset.instance->stores.size() || !dataset.instance->stores[home]) return Code::kIo;
  return read_text(*dataset.instance->stores[home], dataset.id);
}

// Called on the thread that says "alive" to all servers.
void Session::open_again(const net::Peer& server) {
  segment::set_thread_deadline_ms(kOpenAgainMs);
  for (const std::int32_t handle : handles_->all()) {
    auto dataset = handles_->share(handle);
    if (!dataset.ok()) continue;
    RemoteStore* const home = (*dataset)->instance->remote[(*dataset)->layout.home_server];
    if (home == nullptr || !home->is_at(server)) continue;
    const Status opened = home->open((*dataset)->id);
    if (!opened.ok()) {
      IMSS_LOG_WARN("%s cannot be opened again: %s", format_uri((*dataset)->uri).c_str(), opened.message().c_str());
    } else if (!handles_->share(handle).ok()) {  // released meanwhile
      [[maybe_unused]] const auto closed = home->close((*dataset)->id);
    }
  }
}

void Session::adopt_handles() {
  for (const std::int32_t handle : handles_->all()) {
    auto dataset = handles_->share(handle);
    if (!dataset.ok()) continue;
    const auto& home = (*dataset)->instance->stores[(*dataset)->layout.home_server];
    // A dataset that lost its name before the fork stays only as long as the parent has it open; the child finds
    // out when it uses it.
    [[maybe_unused]] const Status opened = home->open((*dataset)->id);
  }
}

Result<std::shared_ptr<Dataset>> Session::dataset(std::int32_t handle) { return handles_->share(handle); }

Status Session::release(std::int32_t handle) {
  IMSS_ASSIGN_OR_RETURN(const std::shared_ptr<Dataset> dataset, handles_->remove(handle));
  return close_data(*dataset);
}

Status Session::close_data(Dataset& dataset) {
  const auto& home = dataset.instance->stores[dataset.layout.home_server];
  if (!home->serving()) return {};
  if (dataset.wrote.load()) IMSS_RETURN_IF_ERROR(home->extend_size(dataset.id, 0));  // stamps the time
  IMSS_ASSIGN_OR_RETURN(const bool last, home->close(dataset.id));
  if (last && !drop(dataset.id, dataset.layout, *dataset.instance).ok()) home->leave_orphan(dataset.id);
  return {};
}

Result<store::Attributes> Session::attributes(Dataset& dataset) {
  const std::uint32_t home = dataset.layout.home_server;
  if (home >= dataset.instance->stores.size() || !dataset.instance->stores[home]) {
    return Status(Code::kIo, "the data server that holds the inode of " + format_uri(dataset.uri) + " is gone");
  }
  return dataset.instance->stores[home]->attributes(dataset.id);
}

Result<store::Attributes> Session::attributes(const Uri& uri, Node* named) {
  Node found;
  Node& node = named != nullptr ? *named : found;
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(node, resolve(uri));
    if (node.directory != 0) {
      IMSS_ASSIGN_OR_RETURN(const metadata::DirectoryInfo directory, names_->directory(node.directory));
      store::Attributes attributes;
      attributes.type = NodeType::kDirectory;
      attributes.size = directory.entries;
      attributes.links = 2 + directory.subdirectories;
      attributes.mode = directory.mode;
      attributes.uid = directory.uid;
      attributes.gid = directory.gid;
      attributes.accessed_ns = directory.accessed_ns;
      attributes.modified_ns = directory.modified_ns;
      attributes.changed_ns = directory.changed_ns;
      attributes.created_ns = directory.created_ns;
      return attributes;
    }
    const auto& stores = node.servers->stores;
    const std::uint32_t home = node.entry.layout.home_server;
    if (home >= stores.size() || !stores[home]) {
      return last_attributes(node.entry, Status(Code::kIo, "the data server of " + format_uri(uri) + " is gone"));
    }
    auto attributes = stores[home]->attributes(node.entry.id);
    if (unreachable(attributes.status())) return last_attributes(node.entry, attributes.status());
    if (attributes.code() != Code::kNotFound) return attributes;
    const Status lost = lost_inode(uri, node.entry.id);
    if (!lost.ok()) return last_attributes(node.entry, lost);
  }
}

// Of a dataset whose data is gone, as far as the metadata server was told.
Result<store::Attributes> Session::last_attributes(const EntryInfo& entry, const Status& lost) {
  if (!unreachable(lost)) return lost;
  const auto state = names_->last_inode(entry.id);
  if (state.code() == Code::kNotFound) return lost;
  if (!state.ok()) return state.status();
  store::Attributes attributes = state->attributes;
  attributes.type = entry.type;
  attributes.block_bytes = entry.layout.block_bytes;
  attributes.block_count = entry.layout.block_count;
  attributes.placement = entry.layout.policy | std::uint64_t{entry.layout.replicas} << 8 |
                          std::uint64_t{entry.layout.server_count} << 16;
  return attributes;
}

Result<bool> Session::list(const Uri& uri, std::uint64_t cookie, std::size_t limit,
                           std::vector<EntryInfo>* out) {
  IMSS_ASSIGN_OR_RETURN(const Node node, resolve(uri));
  if (node.directory == 0) return with_uri(Code::kNotDirectory, uri);
  return names_->list(node.directory, cookie, limit, out);
}

}  // namespace imss::client
