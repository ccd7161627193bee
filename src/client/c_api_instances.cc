// The C interface: deploying, opening and releasing instances.
#include <algorithm>
#include <mutex>

#include <imss/imss.h>
#include "base/clock.h"
#include "base/text.h"
#include "client/attached.h"
#include "client/c_api_arguments.h"
#include "client/c_api_error.h"
#include "client/c_api_state.h"
#include "client/detached.h"
#include "client/local_host.h"
#include "segment/segment.h"
#include "server/deployment.h"

using namespace imss;                 // NOLINT: this file defines the functions of imss.h
using namespace imss::client;         // NOLINT
using namespace imss::client::c_api;  // NOLINT

namespace {

struct Deployment {
  std::string instance;
  std::string hostfile;
  std::string metadata_hostfile;
  std::uint32_t server_count = 0;
  std::uint16_t port = 0;
  std::uint16_t metadata_port = 0;
  std::uint64_t server_bytes = 0;
  std::uint32_t kind = IMSS_ATTACHED;
  std::string program;
};

// REQUIRES: `lifecycle` is held.
Result<Session*> session_for_lifecycle() {
  Session* const session = State::get().owned_session();
  if (session != nullptr) return session;
  return Status(Code::kNotInitialized,
                "this process is not connected to a metadata service; call stat_init first");
}

// Attached servers are where their ranks are; daemons are started on this node alone.
Status check_hosts(const std::string& hostfile, std::uint32_t kind) {
  IMSS_ASSIGN_OR_RETURN(const auto hosts, server::hosts_of(hostfile));
  if (kind == IMSS_ATTACHED) return {};
  for (const Host& host : hosts) {
    if (is_local_host(host.name)) continue;
    return Status(Code::kNotSupported,
                  concat(host.name, " is another node; mount.imss starts servers there"));
  }
  return {};
}

// Opens what is deployed. REQUIRES: `lifecycle` is held.
Status open_deployed(Session& session, const std::string& name) {
  session.forget_instance(name);  // another one may have had this name
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.instance(name));
  const bool any = std::ranges::any_of(
      servers->stores, [](const auto& store) { return store != nullptr && store->serving(); });
  if (!any) {
    session.forget_instance(name);
    return Status(Code::kIo, concat("the data servers of imss://", name, " are gone"));
  }
  State::get().open.add_instance(name, servers->info.deployment);
  return {};
}

Status deploy_attached(Session& session, const Deployment& deployment, Deadline deadline) {
  State& state = State::get();
  if (!state.servers) {
    return Status(Code::kNotInitialized,
                  "an attached instance needs this process's server; call hercules_init first");
  }
  if (state.servers->options().data_port != deployment.port) {
    return Status(Code::kInvalidArgument,
                  concat("hercules_init was given another data port, ",
                         std::to_string(state.servers->options().data_port)));
  }
  // A server that was closed with an earlier instance begins anew.
  IMSS_RETURN_IF_ERROR(state.servers->join(deadline.remaining_ms()));
  return form_instance(session, {deployment.instance, deployment.server_count, deployment.port},
                       deadline);
}

Status deploy_detached(Session& session, const Deployment& deployment, Deadline deadline) {
  DaemonOptions options;
  options.instance = deployment.instance;
  IMSS_ASSIGN_OR_RETURN(const auto hosts, server::hosts_of(deployment.hostfile));
  IMSS_ASSIGN_OR_RETURN(options.seats,
                        server::plan_seats(hosts, deployment.server_count, deployment.port));
  options.capacity_bytes = deployment.server_bytes != 0
                               ? deployment.server_bytes
                               : server::default_data_capacity(deployment.server_count);
  options.metadata_port = deployment.metadata_port;
  options.program = deployment.program;
  return start_daemons(session, options, deadline);
}

Status deploy(const Deployment& deployment) {
  const LifecycleLock lock;
  IMSS_RETURN_IF_ERROR(lock.status());
  IMSS_ASSIGN_OR_RETURN(Session* const session, session_for_lifecycle());
  State& state = State::get();
  if (state.open.has_instance(deployment.instance)) {
    return Status(Code::kAlreadyOpen,
                  concat("this process has imss://", deployment.instance, " open already"));
  }
  if (deployment.metadata_port != state.metadata_port()) {
    return Status(Code::kInvalidArgument, concat("stat_init connected to metadata port ",
                                                 std::to_string(state.metadata_port()), ", not ",
                                                 std::to_string(deployment.metadata_port)));
  }
  IMSS_RETURN_IF_ERROR(check_hosts(deployment.hostfile, deployment.kind));
  IMSS_RETURN_IF_ERROR(check_hosts(deployment.metadata_hostfile, deployment.kind));
  const Deadline deadline = Deadline::from_now(segment::deadline_ms());
  if (deployment.kind == IMSS_ATTACHED) {
    IMSS_RETURN_IF_ERROR(deploy_attached(*session, deployment, deadline));
  } else {
    IMSS_RETURN_IF_ERROR(deploy_detached(*session, deployment, deadline));
  }
  return open_deployed(*session, deployment.instance);
}

Status check_release(std::uint32_t release_op, std::uint32_t deployment, const std::string& name) {
  const bool fits = release_op == IMSS_DISCONNECT ||
                    (release_op == IMSS_CLOSE_DETACHED && deployment == IMSS_DETACHED) ||
                    (release_op == IMSS_CLOSE_ATTACHED && deployment == IMSS_ATTACHED);
  if (fits) return {};
  return Status(Code::kInvalidArgument,
                concat("release operation ", std::to_string(release_op), " does not fit imss://",
                       name, ", which is ", deployment == IMSS_ATTACHED ? "attached" : "detached"));
}

// Whether this process's server is part of another instance than `name`.
bool serves_another(Session& session, const std::string& name, std::uint32_t server_id) {
  const auto instances = session.names().instances();
  if (!instances.ok()) return false;
  return std::ranges::any_of(*instances, [&](const metadata::InstanceInfo& info) {
    return info.name != name && std::ranges::find(info.servers, server_id) != info.servers.end();
  });
}

// Whether a failure only says that nothing was left to close: when the rank with the metadata
// server was faster, everything is gone already.
bool is_gone(Session& session, const std::string& name, const Status& status) {
  const Code code = status.code();
  if (code == Code::kFenced || code == Code::kNotFound) return true;
  if (code != Code::kIo && code != Code::kUnknownOutcome) return false;
  return session.names().instance(name).code() == Code::kNotFound || !session.names().serving();
}

Status close_attached(Session& session, const std::string& name) {
  State& state = State::get();
  const std::uint32_t own = state.servers ? state.servers->server_id() : 0;
  if (own == 0) {
    session.forget_instance(name);
    return {};
  }
  auto last = leave_instance(session, name, own);
  if (!serves_another(session, name, own)) state.servers->retire_data();
  session.forget_instance(name);  // those that have left are not asked any more
  Status status = last.ok() ? Status() : last.status();
  if (last.ok() && *last) status = session.destroy_instance(name);
  session.forget_instance(name);
  return is_gone(session, name, status) ? Status() : status;
}

Status release(const std::string& name, std::uint32_t release_op) {
  const LifecycleLock lock;
  IMSS_RETURN_IF_ERROR(lock.status());
  IMSS_ASSIGN_OR_RETURN(Session* const session, session_for_lifecycle());
  State& state = State::get();
  const auto deployment = state.open.deployment_of(name);
  if (!deployment.ok()) {
    return Status(Code::kNotInitialized, concat("this process has not opened imss://", name));
  }
  IMSS_RETURN_IF_ERROR(check_release(release_op, *deployment, name));
  state.open.remove_instance(name);
  state.calls.wait_for([mark = mark_of_instance(name)](CallMark other) { return other == mark; });
  state.release_datasets_of(*session, name);
  if (release_op == IMSS_CLOSE_ATTACHED) return close_attached(*session, name);
  Status status;
  if (release_op == IMSS_CLOSE_DETACHED) {
    status = stop_daemons(*session, name, Deadline::from_now(segment::deadline_ms()));
  }
  session->forget_instance(name);
  return status;
}

}  // namespace

extern "C" {

int32_t init_imss(const char* imss_uri, const char* hostfile, const char* meta_hostfile,
                  int32_t n_servers, uint16_t conn_port, uint64_t buff_size, uint32_t deployment,
                  const char* binary_path, uint16_t meta_port) {
  return call([&]() -> Status {
    IMSS_ASSIGN_OR_RETURN(const Uri uri, instance_argument(imss_uri));
    if (n_servers < 1 || n_servers > UINT16_MAX) {
      return Status(Code::kInvalidArgument,
                    concat("an instance has 1 to 65535 servers, not ", std::to_string(n_servers)));
    }
    if (deployment != IMSS_ATTACHED && deployment != IMSS_DETACHED) {
      return Status(Code::kInvalidArgument, "a deployment is ATTACHED or DETACHED");
    }
    if (conn_port == 0 || meta_port == 0) return Status(Code::kInvalidArgument, "a port is 0");
    if (buff_size > UINT64_MAX / 1024)
      return Status(Code::kInvalidArgument, "the size of a server is too large");
    Deployment wanted;
    wanted.instance = uri.instance;
    wanted.hostfile = hostfile != nullptr ? hostfile : "";
    wanted.metadata_hostfile = meta_hostfile != nullptr ? meta_hostfile : "";
    wanted.server_count = static_cast<std::uint32_t>(n_servers);
    wanted.port = conn_port;
    wanted.metadata_port = meta_port;
    wanted.server_bytes = buff_size * 1024;
    wanted.kind = deployment;
    wanted.program = binary_path != nullptr ? binary_path : "";
    return deploy(wanted);
  });
}

int32_t open_imss(const char* imss_uri) {
  return call([&]() -> Result<std::int32_t> {
    IMSS_ASSIGN_OR_RETURN(const Uri uri, instance_argument(imss_uri));
    const LifecycleLock lock;
    IMSS_RETURN_IF_ERROR(lock.status());
    IMSS_ASSIGN_OR_RETURN(Session* const session, session_for_lifecycle());
    if (State::get().open.has_instance(uri.instance)) {
      fail(Status(Code::kAlreadyOpen, concat("this process has ", imss_uri, " open already")));
      return -2;
    }
    IMSS_RETURN_IF_ERROR(open_deployed(*session, uri.instance));
    return 0;
  });
}

int32_t release_imss(const char* imss_uri, uint32_t release_op) {
  return call([&]() -> Status {
    IMSS_ASSIGN_OR_RETURN(const Uri uri, instance_argument(imss_uri));
    if (release_op > IMSS_CLOSE_ATTACHED) {
      return Status(Code::kInvalidArgument,
                    "a release is DISCONNECT, CLOSE_DETACHED or CLOSE_ATTACHED");
    }
    return release(uri.instance, release_op);
  });
}

}  // extern "C"
