// The C interface: attached servers, the metadata service, diagnosis and settings.
#include <chrono>
#include <climits>
#include <cstdlib>
#include <mutex>
#include <thread>

#include <imss/imss.h>
#include "base/clock.h"
#include "base/text.h"
#include "client/c_api_arguments.h"
#include "client/c_api_error.h"
#include "client/c_api_state.h"
#include "client/local_host.h"
#include "segment/segment.h"
#include "server/deployment.h"

using namespace imss;                 // NOLINT: this file defines the functions of imss.h
using namespace imss::client;         // NOLINT
using namespace imss::client::c_api;  // NOLINT

namespace {

constexpr auto kConnectPause = std::chrono::milliseconds(5);

Status check_attached(std::uint32_t rank, std::uint64_t storage_bytes, std::uint16_t server_port,
                      std::uint16_t metadata_port) {
  if (server_port == 0 || metadata_port == 0) return Status(Code::kInvalidArgument, "a port is 0");
  if (rank == UINT32_MAX) return Status(Code::kInvalidArgument, "a rank is at most 4294967294");
  if (storage_bytes < segment::kMinCapacity) {
    return Status(Code::kInvalidArgument,
                  concat("a backend storage size of ", std::to_string(storage_bytes),
                         " bytes is less than 16 MiB"));
  }
  return {};
}

// A program that ends without hercules_release leaves no segment behind either.
void retire_at_exit() {
  State& state = State::get();
  if (!state.lifecycle.take(std::chrono::milliseconds(0))) return;
  if (state.servers) state.servers->stop();
  state.lifecycle.give_back();
}

Status init_attached(const AttachedOptions& options) {
  const LifecycleLock lock;
  IMSS_RETURN_IF_ERROR(lock.status());
  State& state = State::get();
  if (state.servers) {
    return Status(Code::kAlreadyOpen,
                  "hercules_init was called before; call hercules_release first");
  }
  IMSS_ASSIGN_OR_RETURN(state.servers, AttachedServers::start(options));
  static std::once_flag once;
  std::call_once(once, [] { std::atexit(retire_at_exit); });
  return {};
}

// The host that serves metadata, from the first line of the file. Errors: as stat_init.
Result<Host> metadata_host(const char* hostfile, std::int32_t count) {
  if (count < 1)
    return Status(Code::kInvalidArgument, "the number of metadata servers is at least 1");
  Host host{"localhost", 0};
  if (hostfile != nullptr) {
    IMSS_ASSIGN_OR_RETURN(const auto hosts, server::hosts_of(hostfile));
    if (hosts.size() < static_cast<std::size_t>(count)) {
      return Status(Code::kNotFound, concat(quoted(hostfile), " has ", std::to_string(hosts.size()),
                                            " hosts, not ", std::to_string(count)));
    }
    host = hosts.front();
  }
  if (count > 1) return Status(Code::kNotSupported, "this version has one metadata server");
  return host;
}

Result<std::unique_ptr<Session>> connect_until(const ConnectOptions& options, Deadline deadline) {
  for (;;) {
    auto session = Session::connect(options);
    if (session.ok() || session.code() != Code::kNotInitialized) return session;
    if (deadline.expired()) return Status(Code::kTimedOut, session.status().message());
    std::this_thread::sleep_for(kConnectPause);
  }
}

Status connect_metadata(const char* hostfile, std::uint64_t port, std::int32_t count) {
  if (port == 0 || port > UINT16_MAX) {
    return Status(Code::kInvalidArgument,
                  concat("a port is 1 to 65535, not ", std::to_string(port)));
  }
  const LifecycleLock lock;
  IMSS_RETURN_IF_ERROR(lock.status());
  State& state = State::get();
  if (state.owned_session() != nullptr) {
    return Status(Code::kAlreadyOpen, "this process is connected already; call stat_release first");
  }
  IMSS_ASSIGN_OR_RETURN(const Host host, metadata_host(hostfile, count));
  const Deadline deadline = Deadline::from_now(segment::deadline_ms());
  ConnectOptions options;
  options.hosts = {host.name};
  options.port = static_cast<std::uint16_t>(port);
  IMSS_ASSIGN_OR_RETURN(auto session, connect_until(options, deadline));
  if (state.servers) {
    // The metadata server is there by now, so that this does not wait.
    if (state.servers->options().metadata_port == options.port) {
      IMSS_RETURN_IF_ERROR(state.servers->join(deadline.remaining_ms()));
    }
    session->set_own_segment(state.servers->segment_name());
  }
  state.connect(std::move(session), options.port);
  return {};
}

}  // namespace

extern "C" {

int32_t hercules_init(uint32_t rank, uint64_t backend_storage_size, uint16_t server_port,
                      int32_t deploy_metadata, uint16_t metadata_port, uint64_t metadata_buff_size,
                      const char* metadata_file) {
  return call([&]() -> Status {
    IMSS_RETURN_IF_ERROR(check_attached(rank, backend_storage_size, server_port, metadata_port));
    if (metadata_buff_size > backend_storage_size / 1024) {
      return Status(Code::kInvalidArgument,
                    "the metadata buffer is larger than the backend storage size");
    }
    if (metadata_file != nullptr && deploy_metadata == 0) {
      return Status(Code::kInvalidArgument,
                    "a metadata file belongs to the rank that deploys the metadata server");
    }
    AttachedOptions options;
    options.rank = rank;
    options.storage_bytes = backend_storage_size;
    options.data_port = server_port;
    options.metadata_port = metadata_port;
    options.runs_metadata = deploy_metadata != 0;
    options.metadata_bytes = metadata_buff_size * 1024;
    options.metadata_file = metadata_file != nullptr ? metadata_file : "";
    return init_attached(options);
  });
}

int32_t hercules_release(void) {
  return call([]() -> Status {
    const LifecycleLock lock;
    IMSS_RETURN_IF_ERROR(lock.status());
    State& state = State::get();
    if (!state.servers)
      return Status(Code::kNotInitialized,
                    "this process runs no servers; hercules_init starts them");
    state.disconnect();
    state.servers.reset();
    return {};
  });
}

int32_t stat_init(const char* stat_hostfile, uint64_t port, int32_t num_stat_servers,
                  uint32_t /*rank*/) {
  return call([&] { return connect_metadata(stat_hostfile, port, num_stat_servers); });
}

int32_t stat_release(void) {
  return call([]() -> Status {
    const LifecycleLock lock;
    IMSS_RETURN_IF_ERROR(lock.status());
    State& state = State::get();
    if (state.owned_session() == nullptr)
      return Status(Code::kNotInitialized, "this process is not connected");
    state.disconnect();
    return {};
  });
}

const char* imss_last_error(void) { return last_sentence(); }

const char* imss_version(void) { return IMSS_VERSION; }

int32_t imss_set_deadline_ms(uint32_t deadline_ms) {
  return call([&]() -> Status {
    if (deadline_ms == 0)
      return Status(Code::kInvalidArgument, "a deadline is at least 1 millisecond");
    segment::set_deadline_ms(static_cast<int>(std::min<std::uint32_t>(deadline_ms, INT_MAX)));
    return {};
  });
}

}  // extern "C"
