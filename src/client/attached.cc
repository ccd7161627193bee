#include "client/attached.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "base/size.h"
#include "base/text.h"
#include "client/local_host.h"
#include "segment/segment_files.h"

namespace imss::client {
namespace {

constexpr std::uint64_t kLeast = segment::kMinCapacity;
constexpr std::uint32_t kAttached = 1;  // InstanceInfo::deployment
constexpr auto kFirstPause = std::chrono::milliseconds(1);
constexpr auto kLongestPause = std::chrono::milliseconds(20);

// What the file system of the segments can still hold.
std::uint64_t room_for_segments() {
  struct statvfs status {};
  if (::statvfs(segment::directory().c_str(), &status) != 0) return UINT64_MAX;
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

// A name that a server of another kind left is as taken as one that is served.
Status taken(const Status& status, const std::string& what) {
  if (status.code() != Code::kBusy && status.code() != Code::kExists) return status;
  return Status(Code::kBusy, concat(what, " is taken on this node: ", status.message()));
}

}  // namespace

bool serves(Session& session, const metadata::ServerInfo& server) {
  return is_local_host(server.host) ? is_served(server) : session.answers(server);
}

bool is_served(const metadata::ServerInfo& server) {
  const auto info = segment::inspect(server.segment_name);
  return info.ok() && info->state == segment::FileState::kServed && info->nonce == server.nonce;
}

// --- The servers --------------------------------------------------------------------------------

Result<std::unique_ptr<AttachedServers>> AttachedServers::start(const AttachedOptions& options) {
  std::unique_ptr<AttachedServers> servers(new AttachedServers(options));
  IMSS_RETURN_IF_ERROR(servers->plan());
  segment::reclaim_dead_attached();
  if (options.runs_metadata) IMSS_RETURN_IF_ERROR(servers->start_metadata());
  IMSS_RETURN_IF_ERROR(servers->start_data());
  return servers;
}

Status AttachedServers::plan() {
  const std::uint64_t total = options_.storage_bytes;
  const std::uint64_t least = options_.runs_metadata ? 2 * kLeast : kLeast;
  if (total < least) {
    return Status(
        Code::kInvalidArgument,
        concat("a backend storage size of ", format_size(total), " is too small; ",
               options_.runs_metadata ? "a data and a metadata server need" : "a data server needs",
               " at least ", format_size(least)));
  }
  if (options_.runs_metadata) {
    const std::uint64_t wanted = options_.metadata_bytes != 0 ? options_.metadata_bytes : total / 8;
    metadata_capacity_ = std::max(wanted, kLeast);
    if (metadata_capacity_ > total - kLeast) {
      return Status(
          Code::kInvalidArgument,
          concat("a metadata buffer of ", format_size(metadata_capacity_), " leaves less than ",
                 format_size(kLeast), " of ", format_size(total), " for data"));
    }
  }
  data_capacity_ = total - metadata_capacity_;
  const std::uint64_t room = room_for_segments();
  if (total > room) {
    return Status(Code::kNoSpace, concat("a backend storage size of ", format_size(total),
                                         " does not fit: ", segment::directory(), " has ",
                                         format_size(room), " left"));
  }
  return {};
}

Status AttachedServers::start_metadata() {
  server::MetadataServerOptions options;
  options.port = options_.metadata_port;
  options.capacity_bytes = metadata_capacity_;
  options.metadata_file = options_.metadata_file;
  options.attached = true;
  auto server = server::MetadataServer::start(options);
  if (!server.ok())
    return taken(server.status(), concat("metadata port ", std::to_string(options.port)));
  metadata_ = std::move(*server);
  return {};
}

Status AttachedServers::start_data() {
  server::DataServerOptions options;
  options.port = options_.data_port;
  options.rank = options_.rank;
  options.server_count = options_.rank + 1;  // how many form an instance is said later
  options.capacity_bytes = data_capacity_;
  options.attached = true;
  options.metadata_port = options_.metadata_port;
  options.create_instance = false;
  options.join_later = true;
  auto server = server::DataServer::start(options);
  if (!server.ok()) {
    return taken(server.status(), concat("rank ", std::to_string(options.rank), " of data port ",
                                         std::to_string(options.port)));
  }
  data_ = std::move(*server);
  return {};
}

Status AttachedServers::reach_nodes(const Config& config, const NetworkQuestion& question) {
  metadata_host_ = question.metadata_here ? "localhost" : question.metadata_host;
  if (network_.needed) return {};
  NetworkAnswer answer = attached_network(config, question);
  if (!answer.needed) return {};
  if (data_ && data_->joined()) {
    return Status(Code::kAlreadyOpen,
                  "this process's server has joined an instance of this node only; call "
                  "hercules_release before it is used by other nodes");
  }
  network_ = std::move(answer);
  number_on_node_ = question.place ? question.place->rank_on_node : options_.rank;
  Status listening = metadata_ ? listen_metadata() : Status();
  if (listening.ok() && data_) listening = listen_data();
  if (!listening.ok()) network_ = {};
  return listening;
}

Status AttachedServers::listen_metadata() {
  if (metadata_->listens()) return {};
  const Status status = metadata_->open_to_network(network_.options);
  if (status.code() != Code::kBusy) return status;
  return Status(Code::kBusy, concat("metadata port ", std::to_string(options_.metadata_port),
                                    " is taken on this node: ", status.message()));
}

Status AttachedServers::listen_data() {
  server::NetworkOptions options = network_.options;
  IMSS_ASSIGN_OR_RETURN(options.port,
                        attached_port(options_.data_port, options_.metadata_port, number_on_node_));
  const Status status = data_->open_to_network(options, network_.host_name);
  if (status.code() != Code::kBusy) return status;
  return Status(Code::kBusy,
                concat("port ", std::to_string(options.port), " is taken on this node, which rank ",
                       std::to_string(options_.rank), ", number ", std::to_string(number_on_node_),
                       " of the node, needs with data port ", std::to_string(options_.data_port),
                       "; choose another data port"));
}

Status AttachedServers::join(int wait_ms) {
  if (!data_) {
    IMSS_RETURN_IF_ERROR(start_data());
    if (network_.needed) IMSS_RETURN_IF_ERROR(listen_data());
  }
  return data_->join_service(metadata_host_, wait_ms);
}

std::string AttachedServers::segment_name() const {
  return segment::file_name(segment::Role::kData, options_.data_port, options_.rank);
}

void AttachedServers::retire_data() {
  if (!data_) return;
  data_->stop(true);
  data_.reset();
}

void AttachedServers::stop() {
  if (stopped_) return;
  stopped_ = true;
  retire_data();
  if (metadata_) metadata_->stop(true);
  metadata_.reset();
  // Of ranks that died so lately that nobody has noticed: this rank may be the last one to look.
  segment::reclaim_dead_attached();
}

// --- The instance -------------------------------------------------------------------------------

namespace {

// Attached servers of the well-known port that live, in order of rank. Those that listen have ports
// of their own; the name of the segment tells the well-known one.
Result<std::vector<metadata::ServerInfo>> attached_servers(Session& session, std::uint16_t port) {
  IMSS_ASSIGN_OR_RETURN(auto servers, session.names().servers());
  std::erase_if(servers, [&](const metadata::ServerInfo& server) {
    return !server.attached ||
           server.segment_name != segment::file_name(segment::Role::kData, port, server.rank) ||
           !serves(session, server);
  });
  std::ranges::sort(servers, {}, &metadata::ServerInfo::rank);
  return servers;
}

Result<bool> any_served(Session& session, const metadata::InstanceInfo& info) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.names().servers());
  return std::ranges::any_of(servers, [&](const metadata::ServerInfo& server) {
    return server.id != 0 && std::ranges::find(info.servers, server.id) != info.servers.end() &&
           serves(session, server);
  });
}

Status check_same(const metadata::InstanceInfo& info, const FormOptions& options) {
  if (info.deployment == kAttached && info.port == options.port &&
      info.servers.size() == options.server_count) {
    return {};
  }
  return Status(Code::kExists, concat("imss://", options.name,
                                      " exists with other servers; open it with open_imss, "
                                      "or choose another name"));
}

// One attempt: true when the instance stands, false when it has to be tried again.
Result<bool> try_to_form(Session& session, const FormOptions& options, std::size_t* present) {
  auto existing = session.names().instance(options.name);
  if (!existing.ok() && existing.code() != Code::kNotFound) return existing.status();
  if (existing.ok() && !existing->restored) {
    IMSS_ASSIGN_OR_RETURN(const bool lives, any_served(session, *existing));
    if (lives || existing->deployment != kAttached) {
      IMSS_RETURN_IF_ERROR(check_same(*existing, options));
      return true;
    }
    // Its ranks died and took the data along; only names are left.
    session.forget_instance(options.name);
    const Status destroyed = session.destroy_instance(options.name);
    if (!destroyed.ok() && destroyed.code() != Code::kNotFound) return destroyed;
  }
  IMSS_ASSIGN_OR_RETURN(auto servers, attached_servers(session, options.port));
  *present = servers.size();
  if (servers.size() < options.server_count) return false;
  metadata::InstanceInfo info;
  info.name = options.name;
  info.block_bytes = 512 * kKiB;
  info.deployment = kAttached;
  info.port = options.port;
  for (std::size_t index = 0; index < options.server_count; ++index)
    info.servers.push_back(servers[index].id);
  const Status created = session.create_instance(info);
  if (created.code() == Code::kExists) return false;  // another rank was first
  if (!created.ok()) return created;
  return true;
}

}  // namespace

Status form_instance(Session& session, const FormOptions& options, Deadline deadline) {
  auto pause = kFirstPause;
  for (;;) {
    std::size_t present = 0;
    IMSS_ASSIGN_OR_RETURN(const bool formed, try_to_form(session, options, &present));
    if (formed) return {};
    if (deadline.expired()) {
      return Status(Code::kTimedOut,
                    concat("imss://", options.name, " needs ", std::to_string(options.server_count),
                           " attached servers of port ", std::to_string(options.port), ", ",
                           std::to_string(present),
                           " are there; every rank calls hercules_init and stat_init"));
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

Result<bool> leave_instance(Session& session, const std::string& name, std::uint32_t server_id) {
  auto left = session.names().leave_instance(name, server_id);
  if (left.code() == Code::kUnknownOutcome) {
    // Once more, and an answer that it is not there says that the first was heard.
    left = session.names().leave_instance(name, server_id);
    if (left.code() == Code::kNotFound) left = session.names().instance(name);
  }
  if (!left.ok()) return left.status();
  IMSS_ASSIGN_OR_RETURN(const bool others, any_served(session, *left));
  return !others;
}

}  // namespace imss::client
