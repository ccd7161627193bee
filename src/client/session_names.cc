// Names and datasets: resolving URIs, creating, opening, renaming and removing.
#include <unistd.h>

#include <algorithm>

#include "base/hash.h"
#include "client/session.h"
#include "segment/fault.h"

namespace imss::client {

using metadata::EntryInfo;
using metadata::NodeType;

namespace {

Status gone(const Uri& uri) {
  return Status(Code::kNotFound, "there is no " + format_uri(uri));
}

Status with_uri(const Status& status, const Uri& uri) {
  if (status.ok() || status.code() == Code::kTimedOut) return status;
  return Status(status.code(), format_uri(uri) + ": " + status.message());
}

}  // namespace

Result<Session::Place> Session::place_of(const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(auto servers, instance(uri.instance));
  Place place{servers, servers->info.root, ""};
  const auto names = split_path(uri.path);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i + 1 == names.size()) {
      place.name = names[i];
      break;
    }
    auto entry = namespace_->lookup(place.parent, names[i]);
    if (!entry.ok()) return entry.code() == Code::kNotFound ? gone(uri) : entry.status();
    if (entry->type != NodeType::kDirectory) return with_uri(Code::kNotDirectory, uri);
    place.parent = entry->id;
  }
  return place;
}

Result<Session::Node> Session::resolve(const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(const Place place, place_of(uri));
  Node node;
  if (place.name.empty()) {
    node.entry.type = NodeType::kInstance;
    node.entry.id = place.parent;
    node.entry.name = uri.instance;
    node.directory = place.parent;
    return node;
  }
  auto entry = namespace_->lookup(place.parent, place.name);
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
      const Status status = namespace_->make_directory(parent, names[i], mode, &made);
      if (status.ok()) {
        parent = made;
        continue;
      }
      if (status.code() != Code::kExists || (last && !parents)) return with_uri(status, uri);
    }
    auto entry = namespace_->lookup(parent, names[i]);
    if (!entry.ok()) return entry.code() == Code::kNotFound ? gone(uri) : with_uri(entry.status(), uri);
    if (entry->type != NodeType::kDirectory) return with_uri(Code::kNotDirectory, uri);
    parent = entry->id;
  }
  return {};
}

Status Session::remove_directory(const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(const Place place, place_of(uri));
  if (place.name.empty()) return Status(Code::kBusy, format_uri(uri) + " is an instance; release it instead");
  return with_uri(namespace_->remove_directory(place.parent, place.name), uri);
}

Status Session::rename(const Uri& from, const Uri& to, bool no_replace) {
  if (from.instance != to.instance) {
    return Status(Code::kInvalidArgument, "a rename from " + format_uri(from) + " to " + format_uri(to) +
                                              " crosses instances; copy the data instead");
  }
  IMSS_ASSIGN_OR_RETURN(const Place source, place_of(from));
  IMSS_ASSIGN_OR_RETURN(const Place target, place_of(to));
  if (source.name.empty() || target.name.empty()) return with_uri(Code::kBusy, source.name.empty() ? from : to);
  auto renamed = namespace_->rename(source.parent, source.name, target.parent, target.name, no_replace);
  if (!renamed.ok()) return with_uri(renamed.status(), renamed.code() == Code::kNotFound ? from : to);
  if (renamed->replaced) return unlink_data(renamed->victim, *source.servers);
  return {};
}

Status Session::unlink(const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(const Place place, place_of(uri));
  if (place.name.empty()) return with_uri(Code::kIsDirectory, uri);
  auto removed = namespace_->remove(place.parent, place.name);
  if (!removed.ok()) return removed.code() == Code::kNotFound ? gone(uri) : with_uri(removed.status(), uri);
  return unlink_data(*removed, *place.servers);
}

// The name is gone; now its data, unless somebody has it open or it has another name.
Status Session::unlink_data(metadata::RemovedEntry& removed, const InstanceServers& servers) {
  const auto& layout = removed.info.layout;
  Status status;
  if (layout.home_server < servers.stores.size() && servers.stores[layout.home_server]) {
    auto last = servers.stores[layout.home_server]->change_links(removed.info.id, -1);
    segment::fault_point("unlink.links_changed");
    if (last.ok() && *last) status = drop(removed.info.id, layout, servers);
  }
  // With the inode's server gone there is nothing left to remove.
  namespace_->forget(removed);
  return status;
}

// Blocks first and the inode last: an inode without name and opener says that there is still work to do.
Status Session::drop(std::uint64_t dataset, const metadata::Layout& layout, const InstanceServers& servers) {
  store::Store& home = *servers.stores[layout.home_server];
  auto attributes = home.attributes(dataset);
  if (!attributes.ok()) return {};
  const std::uint64_t last = attributes->last_block();
  const bool located = layout.policy == static_cast<std::uint8_t>(Policy::kLocal);
  for (const auto& store : servers.stores) {
    if (!store || !store->segment().serving()) continue;
    IMSS_RETURN_IF_ERROR(store->erase_range(dataset, 1, last));
  }
  if (located) IMSS_RETURN_IF_ERROR(home.erase_range(dataset, kLocationBit | 1, kLocationBit | last));
  IMSS_RETURN_IF_ERROR(home.erase({dataset, kNameBlock}));
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

Result<std::int32_t> Session::create(const Uri& uri, const DatasetOptions& options) {
  if (uri.path.empty()) return Status(Code::kInvalidArgument, format_uri(uri) + " names an instance, not a dataset");
  auto found = place_of(uri);
  if (!found.ok() && found.code() == Code::kNotFound && uri.path.find('/') != std::string::npos) {
    const Uri parent{uri.instance, uri.path.substr(0, uri.path.rfind('/'))};
    IMSS_RETURN_IF_ERROR(make_directory(parent, 0755, true));
    found = place_of(uri);
  }
  if (!found.ok()) return found.status();
  const InstanceServers& servers = *found->servers;
  IMSS_RETURN_IF_ERROR(check_options(options, servers.stores.size()));
  EntryInfo info;
  info.parent = found->parent;
  info.name = found->name;
  info.id = namespace_->new_id();
  info.type = NodeType::kDataset;
  info.mode = options.mode;
  info.layout.policy = static_cast<std::uint8_t>(options.policy);
  info.layout.replicas = static_cast<std::uint8_t>(options.replicas);
  info.layout.server_count =
      static_cast<std::uint16_t>(options.server_count == 0 ? servers.stores.size() : options.server_count);
  info.layout.block_bytes = options.block_bytes;
  info.layout.block_count = options.block_count;
  info.layout.home_server = static_cast<std::uint32_t>(mix64(info.id) % info.layout.server_count);
  const auto& home = servers.stores[info.layout.home_server];
  if (!home) return Status(Code::kIo, "the data server of " + format_uri(uri) + " is gone");

  IMSS_ASSIGN_OR_RETURN(metadata::PendingEntry pending, namespace_->prepare(info));
  store::Attributes attributes;
  attributes.size = options.size_bytes != 0 ? options.size_bytes : options.block_count * options.block_bytes;
  attributes.mode = options.mode;
  attributes.uid = ::geteuid();
  attributes.gid = ::getegid();
  attributes.block_bytes = options.block_bytes;
  attributes.block_count = options.block_count;
  attributes.placement = info.layout.policy | std::uint64_t{info.layout.replicas} << 8 |
                         std::uint64_t{info.layout.server_count} << 16;
  // Inode first, the name publishes it. A death in between leaves a prepared name, which is reaped.
  Status status = home->create_inode(info.id, attributes);
  segment::fault_point("create.inode_made");
  if (status.ok()) {
    if (options.keep_name) status = write_name(uri, info.id, *home);
    if (status.ok()) status = namespace_->publish(pending);
    if (!status.ok()) {
      [[maybe_unused]] const Status forgotten = home->erase({info.id, kNameBlock});
      [[maybe_unused]] const Status erased = home->erase_inode(info.id);
    }
  }
  if (!status.ok()) {
    namespace_->abandon(pending);
    return with_uri(status, uri);
  }
  segment::fault_point("create.published");
  return open_entry(uri, pending.info, found->servers);
}

Result<std::int32_t> Session::open(const Uri& uri) {
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(const Node node, resolve(uri));
    if (node.entry.type != NodeType::kDataset) return with_uri(Code::kIsDirectory, uri);
    IMSS_ASSIGN_OR_RETURN(auto servers, instance(uri.instance));
    auto opened = open_entry(uri, node.entry, std::move(servers));
    if (opened.code() != Code::kNotFound) return opened;
    if (const Status status = lost_inode(uri, node.entry.id); !status.ok()) return status;
  }
}

// The inode of a name was not there: the name was removed or replaced meanwhile (ok: look again), or the data is
// gone.
Status Session::lost_inode(const Uri& uri, std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(const Node now, resolve(uri));
  if (now.entry.id != dataset) return {};
  return Status(Code::kIo, "the data of " + format_uri(uri) + " is gone; only its name is left");
}

Result<std::int32_t> Session::open_entry(const Uri& uri, const EntryInfo& entry,
                                         std::shared_ptr<const InstanceServers> servers) {
  const std::uint32_t home = entry.layout.home_server;
  if (home >= servers->stores.size() || !servers->stores[home] || !servers->stores[home]->segment().serving()) {
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
    [[maybe_unused]] const Status closed = close_data(*dataset);
  }
  return handle;
}

Result<std::shared_ptr<Dataset>> Session::peek(const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(const Node node, resolve(uri));
  if (node.entry.type != NodeType::kDataset) return with_uri(Code::kIsDirectory, uri);
  auto dataset = std::make_shared<Dataset>();
  IMSS_ASSIGN_OR_RETURN(dataset->instance, instance(uri.instance));
  dataset->id = node.entry.id;
  dataset->uri = uri;
  dataset->layout = node.entry.layout;
  return dataset;
}

// The text is preceded by its length, because a block has no size of its own.
Status Session::write_name(const Uri& uri, std::uint64_t dataset, store::Store& home) {
  const std::string text = format_uri(uri);
  const auto length = static_cast<std::uint32_t>(text.size());
  std::string content(reinterpret_cast<const char*>(&length), sizeof(length));
  content += text;
  return home.put({dataset, kNameBlock}, std::as_bytes(std::span(content))).status();
}

Result<std::string> Session::original_name(Dataset& dataset) {
  const std::uint32_t home = dataset.layout.home_server;
  if (home >= dataset.instance->stores.size() || !dataset.instance->stores[home]) return Code::kIo;
  store::Store& store = *dataset.instance->stores[home];
  const store::BlockId name{dataset.id, kNameBlock};
  std::uint32_t length = 0;
  bool present = false;
  IMSS_RETURN_IF_ERROR(store.get(name, 0, std::as_writable_bytes(std::span(&length, 1)), &present));
  if (!present) return Code::kNotFound;
  if (length > kMaxUriBytes) return Status(Code::kCorrupt, "the stored name of a dataset is damaged");
  std::string text(length, '\0');
  IMSS_RETURN_IF_ERROR(store.get(name, sizeof(length), std::as_writable_bytes(std::span(text))));
  return text;
}

void Session::adopt_handles() {
  for (const std::int32_t handle : handles_->all()) {
    auto dataset = handles_->share(handle);
    if (!dataset.ok()) continue;
    const auto& home = (*dataset)->instance->stores[(*dataset)->layout.home_server];
    // A dataset that lost its name before the fork stays only as long as the parent has it open.
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
  if (!home->segment().serving()) return {};
  if (dataset.wrote.load()) IMSS_RETURN_IF_ERROR(home->extend_size(dataset.id, 0));  // stamps the time
  IMSS_ASSIGN_OR_RETURN(const bool last, home->close(dataset.id));
  return last ? drop(dataset.id, dataset.layout, *dataset.instance) : Status();
}

Result<store::Attributes> Session::attributes(Dataset& dataset) {
  return dataset.instance->stores[dataset.layout.home_server]->attributes(dataset.id);
}

Result<store::Attributes> Session::attributes(const Uri& uri) {
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(const Node node, resolve(uri));
    if (node.directory != 0) {
      IMSS_ASSIGN_OR_RETURN(const metadata::DirectoryInfo directory, namespace_->directory(node.directory));
      store::Attributes attributes;
      attributes.type = NodeType::kDirectory;
      attributes.size = directory.entries;
      attributes.links = 2 + directory.subdirectories;
      attributes.mode = directory.mode;
      attributes.uid = directory.uid;
      attributes.gid = directory.gid;
      attributes.modified_ns = attributes.changed_ns = attributes.accessed_ns = directory.modified_ns;
      attributes.created_ns = directory.created_ns;
      return attributes;
    }
    IMSS_ASSIGN_OR_RETURN(const auto servers, instance(uri.instance));
    const std::uint32_t home = node.entry.layout.home_server;
    if (home >= servers->stores.size() || !servers->stores[home]) {
      return Status(Code::kIo, "the data server of " + format_uri(uri) + " is gone");
    }
    auto attributes = servers->stores[home]->attributes(node.entry.id);
    if (attributes.code() != Code::kNotFound) return attributes;
    if (const Status status = lost_inode(uri, node.entry.id); !status.ok()) return status;
  }
}

Result<bool> Session::list(const Uri& uri, std::uint64_t cookie, std::size_t limit,
                           std::vector<EntryInfo>* out) {
  IMSS_ASSIGN_OR_RETURN(const Node node, resolve(uri));
  if (node.directory == 0) return with_uri(Code::kNotDirectory, uri);
  return namespace_->list(node.directory, cookie, limit, out);
}

}  // namespace imss::client
