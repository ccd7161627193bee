// Further names of datasets, and symbolic links.
#include <unistd.h>

#include "base/hash.h"
#include "client/name_router.h"
#include "client/session_internal.h"
#include "segment/fault.h"

namespace imss::client {

using metadata::EntryInfo;
using metadata::NodeType;

// The text is preceded by its length, because a block has no size of its own.
Status write_text(store::DataService& home, std::uint64_t dataset, std::string_view text) {
  const auto length = static_cast<std::uint32_t>(text.size());
  std::string content(reinterpret_cast<const char*>(&length), sizeof(length));
  content += text;
  return home.put({dataset, kTextBlock}, std::as_bytes(std::span(content))).status();
}

Result<std::string> read_text(store::DataService& home, std::uint64_t dataset) {
  const store::BlockId block{dataset, kTextBlock};
  std::uint32_t length = 0;
  bool present = false;
  IMSS_RETURN_IF_ERROR(home.get(block, 0, std::as_writable_bytes(std::span(&length, 1)), &present));
  if (!present) return Code::kNotFound;
  if (length > kMaxUriBytes) return Status(Code::kCorrupt, "the stored name of a dataset is damaged");
  std::string text(length, '\0');
  IMSS_RETURN_IF_ERROR(home.get(block, sizeof(length), std::as_writable_bytes(std::span(text))));
  return text;
}

Result<store::DataService*> Session::home_of(const EntryInfo& entry, const InstanceServers& servers, const Uri& uri) {
  const std::uint32_t home = entry.layout.home_server;
  if (home >= servers.stores.size() || !servers.stores[home]) {
    return Status(Code::kIo, "the data server of " + format_uri(uri) + " is gone");
  }
  return servers.stores[home].get();
}

// The link of the new name is added before the name is seen, and is told apart from the others: whoever has to clean
// up after a death in between takes away exactly this one, if it is there.
Status Session::link(const Uri& from, const Uri& to) {
  if (from.instance != to.instance) {
    return Status(Code::kInvalidArgument, "a link from " + format_uri(to) + " to " + format_uri(from) +
                                              " crosses instances; copy the data instead");
  }
  IMSS_ASSIGN_OR_RETURN(const Node node, resolve(from));
  if (node.directory != 0) return with_uri(Status(Code::kIsDirectory, "directories have one name only"), from);
  IMSS_ASSIGN_OR_RETURN(const Place place, place_of(to));
  if (place.name.empty()) return with_uri(Code::kExists, to);
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(node.entry, *place.servers, from));
  const Status made = again_while_lost<Status>([&] { return link_once(node.entry, place, *home); });
  return made.code() == Code::kNotFound ? with_uri(made, from) : with_uri(made, to);
}

Status Session::link_once(const EntryInfo& entry, const Place& place, store::DataService& home) {
  EntryInfo info = entry;
  info.parent = place.parent;
  info.name = place.name;
  info.link = 0;  // one of its own
  IMSS_ASSIGN_OR_RETURN(metadata::PendingEntry pending, names_->prepare(info));
  Status status = home.add_link(info.id, pending.info.link);
  segment::fault_point("link.added");
  bool link_left = may_be_applied(status);
  if (status.ok()) {
    status = names_->publish(pending);
    // The name may be there; should it not be, its link goes with what was prepared.
    if (may_be_seen(pending, status)) return status;
    // Nobody sees the name: its link goes again, and the data with it should the other names be gone meanwhile.
    if (!status.ok()) {
      const auto last = home.remove_link(info.id, pending.info.link);
      link_left = !last.ok() || (*last && !drop(info.id, info.layout, *place.servers).ok());
    }
  }
  if (!status.ok()) end_pending(pending, link_left);
  return status;
}

// A publication that ended like this may have made the name visible. In a segment of this node a time-out changes
// nothing; a server elsewhere may have had the request all the same.
bool Session::may_be_seen(const metadata::PendingEntry& pending, const Status& published) const {
  if (published.code() == Code::kUnknownOutcome) return true;
  if (published.code() != Code::kTimedOut) return false;
  return router_ != nullptr ? !router_->is_mapped(pending) : !local_names_;
}

// What may be left on data servers is the reaper's, who finds it by the prepared name, as after a death here.
void Session::end_pending(metadata::PendingEntry& pending, bool something_left) {
  if (something_left) {
    names_->leave_to_reaper({pending.record, pending.info, pending.server, pending.turn});
  } else {
    names_->abandon(pending);
  }
}

Status Session::make_symlink(const std::string& target, const Uri& uri) {
  if (target.empty()) return Status(Code::kInvalidArgument, "the target of a symbolic link is empty");
  if (target.size() > kMaxUriBytes) return Status(Code::kNameTooLong, "the target of a symbolic link is longer than 4096 bytes");
  IMSS_ASSIGN_OR_RETURN(const Place place, place_of(uri));
  if (place.name.empty()) return with_uri(Code::kExists, uri);
  DatasetOptions options;
  options.block_bytes = target.size();
  options.size_bytes = target.size();
  options.mode = 0777;
  options.text = target;
  return make_node(place, NodeType::kSymlink, options, uri).status();
}

Result<std::string> Session::link_target(const EntryInfo& entry, const InstanceServers& servers) {
  const std::uint32_t home = entry.layout.home_server;
  if (home >= servers.stores.size() || !servers.stores[home]) {
    return last_target(entry.id, Status(Code::kIo, "the data server that holds the symbolic link " + entry.name + " is gone"));
  }
  auto target = read_text(*servers.stores[home], entry.id);
  const Code code = target.code();
  if (code != Code::kNotFound && code != Code::kIo && code != Code::kFenced) return target;
  return last_target(entry.id, target.status());
}

// Of a link whose data server is gone, as far as the metadata server was told.
Result<std::string> Session::last_target(std::uint64_t dataset, const Status& lost) {
  auto state = names_->last_inode(dataset);
  if (state.code() == Code::kNotFound) return lost;
  IMSS_RETURN_IF_ERROR(state.status());
  return std::move(state->target);
}

Result<std::string> Session::read_symlink(const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(const Node node, resolve(uri));
  if (node.entry.type != NodeType::kSymlink) {
    return Status(Code::kInvalidArgument, format_uri(uri) + " is no symbolic link");
  }
  IMSS_ASSIGN_OR_RETURN(const auto servers, instance(uri.instance));
  return link_target(node.entry, *servers);
}

}  // namespace imss::client
