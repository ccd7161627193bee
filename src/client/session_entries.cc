// Names by the id of their directory, which is how the file view knows them.
#include <charconv>

#include "client/session.h"
#include "client/session_internal.h"

namespace imss::client {

using metadata::EntryInfo;
using metadata::NodeType;

namespace {

// For sentences; the directories on the way to it are not known here.
Uri uri_of(const Session::Place& place) { return {place.servers->info.name, place.name}; }

}  // namespace

Result<EntryInfo> Session::create_at(const Place& place, const DatasetOptions& options) {
  return make_node(place, NodeType::kDataset, options, uri_of(place));
}

Status Session::symlink_at(const Place& place, const std::string& target, const DatasetOptions& owner) {
  if (target.empty()) return Code::kNotFound;
  if (target.size() > kMaxUriBytes) return Code::kNameTooLong;
  DatasetOptions options = owner;
  options.block_bytes = target.size();
  options.size_bytes = target.size();
  options.mode = 0777;
  options.text = target;
  return make_node(place, NodeType::kSymlink, options, uri_of(place)).status();
}

// A device's number is the text of its inode, as the target is of a symbolic link.
Status Session::special_at(const Place& place, NodeType type, std::uint32_t device, const DatasetOptions& owner) {
  DatasetOptions options = owner;
  options.block_bytes = 1;
  if (store::is_device(type)) options.text = std::to_string(device);
  return make_node(place, type, options, uri_of(place)).status();
}

Result<std::uint32_t> Session::device_of(const EntryInfo& entry, const InstanceServers& servers) {
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(entry, servers, {servers.info.name, entry.name}));
  IMSS_ASSIGN_OR_RETURN(const std::string text, read_text(*home, entry.id));
  std::uint32_t device = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), device);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) {
    return Status(Code::kCorrupt, "the stored number of a device is damaged");
  }
  return device;
}

Status Session::link_at(const EntryInfo& entry, const Place& place) {
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(entry, *place.servers, uri_of(place)));
  return again_while_lost<Status>([&] { return link_once(entry, place, *home); });
}

Status Session::unlink_at(const Place& place) {
  auto removed = names_->remove(place.parent, place.name);
  if (!removed.ok()) return removed.status();
  return unlink_data(*removed, *place.servers);
}

Status Session::rename_at(const Place& from, const Place& to, bool no_replace) {
  auto renamed = names_->rename(from.parent, from.name, to.parent, to.name, no_replace);
  if (!renamed.ok()) return renamed.status();
  return renamed->replaced ? unlink_data(renamed->victim, *from.servers) : Status();
}

Result<std::int32_t> Session::open_at(const Place& place, const EntryInfo& entry) {
  return open_entry(uri_of(place), entry, place.servers);
}

}  // namespace imss::client
