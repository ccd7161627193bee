#include "client/detached.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/size.h"
#include "base/text.h"
#include "client/attached.h"
#include "client/daemon_process.h"
#include "client/local_host.h"
#include "segment/segment_files.h"
#include "server/leftover.h"

namespace imss::client {
namespace {

constexpr auto kPause = std::chrono::milliseconds(2);

// Whether a daemon of this instance may use the seat's port. A segment there is served by somebody,
// or holds data of a server that ended; of this very instance, it is continued.
Status check_seat(Session& session, const server::Seat& seat, const std::string& instance) {
  if (!is_local_host(seat.host)) {
    return Status(Code::kNotSupported,
                  concat(seat.host, " is another node; this version starts servers on its own"));
  }
  const std::string name = segment::file_name(segment::Role::kData, seat.port, seat.rank);
  IMSS_ASSIGN_OR_RETURN(const auto known, session.names().servers());
  for (const std::string& file : segment::list_files()) {
    const auto info = segment::inspect(file);
    if (!info.ok() || info->role != segment::Role::kData || info->port != seat.port) continue;
    if (info->state == segment::FileState::kServed) {
      return Status(Code::kBusy,
                    concat("port ", std::to_string(seat.port), " is served by process ",
                           std::to_string(info->owner_pid), "; choose another port"));
    }
    if (file != name) continue;
    const bool continued = std::ranges::any_of(known, [&](const metadata::ServerInfo& server) {
      return server.segment_name == file && server.nonce == info->nonce &&
             server.instance == instance;
    });
    if (!continued) {
      return Status(
          Code::kBusy,
          concat("port ", std::to_string(seat.port), " has data of a server that ended, in ",
                 segment::path_of(file), "; start that one again, or remove the file"));
    }
  }
  return {};
}

Status check_room(std::uint64_t bytes) {
  struct statvfs status {};
  if (::statvfs(segment::directory().c_str(), &status) != 0) return {};
  const std::uint64_t room = static_cast<std::uint64_t>(status.f_blocks) * status.f_frsize;
  if (bytes <= room) return {};
  return Status(Code::kNoSpace, concat("servers of ", format_size(bytes), " do not fit: ",
                                       segment::directory(), " has ", format_size(room)));
}

std::vector<std::string> arguments_of(const DaemonOptions& options, const server::Seat& seat) {
  std::string uri(kUriScheme);
  uri += options.instance;
  return {"data",
          "--instance=" + uri,
          "--port=" + std::to_string(seat.port),
          "--rank=" + std::to_string(seat.rank),
          "--servers=" + std::to_string(options.seats.size()),
          "--capacity=" + std::to_string(options.capacity_bytes) + "B",
          "--metadata-port=" + std::to_string(options.metadata_port),
          "--ready-fd=" + std::to_string(kReportFd),
          "--daemonize"};
}

// The servers of an instance that are served here, with their processes.
Result<std::vector<segment::FileInfo>> served_segments(Session& session,
                                                       const metadata::InstanceInfo& info) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.names().servers());
  std::vector<segment::FileInfo> served;
  for (const metadata::ServerInfo& server : servers) {
    if (std::ranges::find(info.servers, server.id) == info.servers.end()) continue;
    auto segment = segment::inspect(server.segment_name);
    if (!segment.ok() || segment->nonce != server.nonce) continue;
    if (segment->state == segment::FileState::kServed) served.push_back(std::move(*segment));
  }
  return served;
}

Status wait_until_gone(const std::vector<std::string>& segments, Deadline deadline) {
  for (const std::string& name : segments) {
    for (;;) {
      const auto info = segment::inspect(name);
      if (info.code() == Code::kNotFound ||
          (info.ok() && info->state != segment::FileState::kServed))
        break;
      if (deadline.expired()) {
        return Status(Code::kTimedOut,
                      concat("the data server of ", segment::path_of(name), " did not stop"));
      }
      std::this_thread::sleep_for(kPause);
    }
  }
  return {};
}

// Ends daemons whose deployment failed.
void undo(const std::vector<pid_t>& daemons) {
  for (const pid_t daemon : daemons) {
    // One that has ended already need not; the caller says why the deployment failed.
    [[maybe_unused]] const Status status = ask_to_retire(daemon);
  }
}

Status check_absent(Session& session, const std::string& name) {
  const auto existing = session.names().instance(name);
  if (existing.code() == Code::kNotFound) return {};
  if (!existing.ok()) return existing.status();
  IMSS_ASSIGN_OR_RETURN(const auto served, served_segments(session, *existing));
  if (served.empty()) return {};
  return Status(Code::kExists,
                concat("imss://", name, " is deployed already; open it with open_imss"));
}

}  // namespace

Status start_daemons(Session& session, const DaemonOptions& options, Deadline deadline) {
  IMSS_RETURN_IF_ERROR(check_absent(session, options.instance));
  for (const server::Seat& seat : options.seats)
    IMSS_RETURN_IF_ERROR(check_seat(session, seat, options.instance));
  IMSS_RETURN_IF_ERROR(check_room(options.capacity_bytes * options.seats.size()));
  IMSS_ASSIGN_OR_RETURN(const std::string program, find_server_program(options.program));
  std::vector<pid_t> started;
  for (const server::Seat& seat : options.seats) {
    const auto daemon = start_daemon(program, arguments_of(options, seat), deadline);
    if (!daemon.ok()) {
      undo(started);
      return daemon.status();
    }
    started.push_back(*daemon);
  }
  // The last server to join makes the instance.
  while (!session.names().instance(options.instance).ok()) {
    if (deadline.expired()) {
      undo(started);
      return Status(Code::kTimedOut,
                    concat("imss://", options.instance, " did not come up in time"));
    }
    std::this_thread::sleep_for(kPause);
  }
  return {};
}

Status stop_daemons(Session& session, const std::string& instance, Deadline deadline) {
  IMSS_ASSIGN_OR_RETURN(const metadata::InstanceInfo info, session.names().instance(instance));
  IMSS_ASSIGN_OR_RETURN(const auto served, served_segments(session, info));
  std::vector<std::string> names;
  for (const segment::FileInfo& segment : served) {
    // Its liveness was probed just now, so the process id is the server's. A server inside this
    // process, which has no signal to wait for, is not ours to stop.
    if (segment.owner_pid == static_cast<std::uint32_t>(::getpid())) continue;
    IMSS_RETURN_IF_ERROR(ask_to_retire(static_cast<pid_t>(segment.owner_pid)));
    names.push_back(segment.name);
  }
  IMSS_RETURN_IF_ERROR(wait_until_gone(names, deadline));
  // With the servers retired only the names are left to remove, and segments of servers that had
  // died.
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.names().servers());
  for (const metadata::ServerInfo& server : servers) {
    if (std::ranges::find(info.servers, server.id) == info.servers.end()) continue;
    const auto left = segment::inspect(server.segment_name);
    if (left.ok() && left->nonce == server.nonce) {
      IMSS_RETURN_IF_ERROR(server::remove_segment(server.segment_name));
    }
    // Another process may close the instance at the same time.
    const Status left_service = session.names().leave_server(server.id);
    if (!left_service.ok() && left_service.code() != Code::kNotFound) return left_service;
  }
  const Status destroyed = session.destroy_instance(instance);
  return destroyed.code() == Code::kNotFound ? Status() : destroyed;
}

}  // namespace imss::client
