// The C interface: attached servers, the metadata service, diagnosis and settings.
#include <unistd.h>

#include <chrono>
#include <climits>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include <imss/imss.h>
#include "base/clock.h"
#include "base/config.h"
#include "base/text.h"
#include "client/c_api_arguments.h"
#include "client/c_api_error.h"
#include "client/c_api_state.h"
#include "client/job_names.h"
#include "client/job_place.h"
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

// What is known of the metadata server before stat_init says where it is: that this process serves
// it. Errors: kInvalidArgument when the configuration has it on another node.
Result<NetworkQuestion> own_metadata_host(const Config& config, std::uint16_t port) {
  NetworkQuestion question;
  question.place = job_place(environ);
  question.metadata_here = true;
  question.metadata_port = port;
  const std::string& file = config.text(ConfigKey::kMetadataHostfile);
  if (file.empty()) return question;
  IMSS_ASSIGN_OR_RETURN(const auto hosts, server::hosts_of(file));
  question.named_by_file = true;
  question.metadata_host = hosts.front().name;
  if (is_local_host(question.metadata_host)) return question;
  return Status(Code::kInvalidArgument,
                concat("this rank is to deploy the metadata server on ", local_host_name(),
                       ", but ", quoted(file), ", the configured METADATA_HOSTFILE, names ",
                       question.metadata_host, " first"));
}

Status init_attached(const AttachedOptions& options) {
  IMSS_ASSIGN_OR_RETURN(const Config config, Config::load());
  const LifecycleLock lock;
  IMSS_RETURN_IF_ERROR(lock.status());
  State& state = State::get();
  if (state.servers) {
    return Status(Code::kAlreadyOpen,
                  "hercules_init was called before; call hercules_release first");
  }
  NetworkQuestion question;
  if (options.runs_metadata) {
    IMSS_ASSIGN_OR_RETURN(question, own_metadata_host(config, options.metadata_port));
  }
  IMSS_ASSIGN_OR_RETURN(auto servers, AttachedServers::start(options));
  // The other ranks learn in stat_init whether they need the network.
  if (options.runs_metadata) {
    IMSS_RETURN_IF_ERROR(servers->reach_nodes(config, question));
    const bool unnamed = !question.named_by_file && question.place;
    if (unnamed && question.place->several_nodes)
      publish_metadata_host(options.metadata_port, servers->host_name());
  }
  state.servers = std::move(servers);
  static std::once_flag once;
  std::call_once(once, [] { std::atexit(retire_at_exit); });
  return {};
}

// Where the metadata server of a port is: what the host file of the call says, or else the
// configured one, or else the launcher of the job; this node where none says anything, and where
// this process serves it.
// Errors: as stat_init.
Result<NetworkQuestion> find_metadata_host(const Config& config, const char* hostfile,
                                           std::int32_t count, bool served_here) {
  if (count < 1)
    return Status(Code::kInvalidArgument, "the number of metadata servers is at least 1");
  NetworkQuestion question;
  question.place = job_place(environ);
  const std::string file =
      hostfile != nullptr ? hostfile : config.text(ConfigKey::kMetadataHostfile);
  if (!file.empty()) {
    IMSS_ASSIGN_OR_RETURN(const auto hosts, server::hosts_of(file));
    if (hosts.size() < static_cast<std::size_t>(count)) {
      return Status(Code::kNotFound, concat(quoted(file), " has ", std::to_string(hosts.size()),
                                            " hosts, not ", std::to_string(count)));
    }
    question.named_by_file = true;
    question.metadata_host = hosts.front().name;
  } else if (!served_here && question.place) {
    question.metadata_host = question.place->first_host;
  }
  if (count > 1 && served_here) {
    return Status(Code::kNotSupported,
                  "a metadata server inside a rank is the only one of its deployment");
  }
  question.metadata_here = is_local_host(question.metadata_host);
  if (served_here && !question.metadata_here) {
    return Status(Code::kInvalidArgument,
                  concat("this process serves the metadata of that port, but ", quoted(file),
                         " names ", question.metadata_host, " first"));
  }
  return question;
}

// Where a connection is tried, in this order: each of the metadata servers knows the others.
Result<std::vector<Host>> hosts_to_ask(const Config& config, const char* hostfile,
                                       std::int32_t count, const NetworkQuestion& question) {
  if (!question.named_by_file)
    return std::vector<Host>{{question.metadata_host.empty() ? "localhost" : question.metadata_host, 0}};
  const std::string file =
      hostfile != nullptr ? hostfile : config.text(ConfigKey::kMetadataHostfile);
  IMSS_ASSIGN_OR_RETURN(const auto lines, server::hosts_of(file));
  IMSS_ASSIGN_OR_RETURN(const auto seats,
                        server::plan_seats(lines, static_cast<std::uint32_t>(count),
                                           question.metadata_port));
  std::vector<Host> hosts;
  for (const server::Seat& seat : seats) hosts.push_back({seat.host, seat.port});
  return hosts;
}

Result<std::unique_ptr<Session>> connect_until(const ConnectOptions& options, Deadline deadline) {
  for (;;) {
    auto session = Session::connect(options);
    if (session.ok() || session.code() != Code::kNotInitialized) return session;
    if (deadline.expired()) return Status(Code::kTimedOut, session.status().message());
    std::this_thread::sleep_for(kConnectPause);
  }
}

// Nothing but the launcher of the job can say on which of its nodes the metadata server is. It may
// know only once that server is there. A process without servers takes one that is on this node.
void ask_launcher(NetworkQuestion& question, bool has_servers, Deadline deadline) {
  const bool unknown = question.metadata_host.empty() && !question.named_by_file;
  if (!unknown || !question.place || !question.place->several_nodes) return;
  for (;;) {
    const auto host = find_published_metadata_host(question.metadata_port);
    if (!host || deadline.expired()) break;
    question.metadata_host = *host;
    if (!host->empty()) break;
    ConnectOptions here;
    here.port = question.metadata_port;
    if (!has_servers && Session::connect(here).ok()) break;
    std::this_thread::sleep_for(kConnectPause);
  }
  question.metadata_here = is_local_host(question.metadata_host);
}

// The sentence for a rank that looked on its own node because nothing named another one.
Status advise(const Status& status, const NetworkQuestion& question) {
  const bool guessed =
      question.metadata_host.empty() && question.place && question.place->several_nodes;
  if (status.code() != Code::kTimedOut || !guessed) return status;
  return Status(Code::kTimedOut,
                concat(status.message(),
                       ". This job has ranks on several nodes: name the host of the metadata "
                       "server in the host file that IMSS_METADATA_HOSTFILE or stat_init names"));
}

Status connect_metadata(const char* hostfile, std::uint64_t port, std::int32_t count) {
  if (port == 0 || port > UINT16_MAX) {
    return Status(Code::kInvalidArgument,
                  concat("a port is 1 to 65535, not ", std::to_string(port)));
  }
  IMSS_ASSIGN_OR_RETURN(const Config config, Config::load());
  const LifecycleLock lock;
  IMSS_RETURN_IF_ERROR(lock.status());
  State& state = State::get();
  if (state.owned_session() != nullptr) {
    return Status(Code::kAlreadyOpen, "this process is connected already; call stat_release first");
  }
  AttachedServers* const servers = state.servers.get();
  const bool same_port = servers != nullptr && servers->options().metadata_port == port;
  IMSS_ASSIGN_OR_RETURN(
      NetworkQuestion question,
      find_metadata_host(config, hostfile, count, same_port && servers->options().runs_metadata));
  question.metadata_port = static_cast<std::uint16_t>(port);
  const Deadline deadline = Deadline::from_now(segment::deadline_ms());
  if (!same_port || !servers->options().runs_metadata) ask_launcher(question, same_port, deadline);
  if (same_port) IMSS_RETURN_IF_ERROR(servers->reach_nodes(config, question));
  ConnectOptions options;
  options.port = question.metadata_port;
  IMSS_ASSIGN_OR_RETURN(options.hosts, hosts_to_ask(config, hostfile, count, question));
  options.key_file = config.text(ConfigKey::kKeyFile);
  auto session = connect_until(options, deadline);
  if (!session.ok()) return advise(session.status(), question);
  if ((*session)->known_map().count != static_cast<std::uint32_t>(count)) {
    return Status(Code::kInvalidArgument,
                  concat("the metadata service has ", std::to_string((*session)->known_map().count),
                         " servers, not ", std::to_string(count)));
  }
  if (servers != nullptr) {
    // The metadata server is there by now, so that this does not wait.
    if (same_port) IMSS_RETURN_IF_ERROR(servers->join(deadline.remaining_ms()));
    (*session)->set_own_segment(servers->segment_name());
  }
  state.connect(std::move(*session), options.port);
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
