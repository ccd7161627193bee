#include "stop_command.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/text.h"
#include "common_servers.h"
#include "common_session.h"

namespace imss::tools {
namespace {

constexpr int kEndMs = 30'000;
constexpr auto kPause = std::chrono::milliseconds(5);

// One server to end.
struct Target {
  ServerState state;
  std::string label;
  bool by_signal = false;  // it is on this node, and need not listen for others
};

client::ServerAddress address_of(const Target& target) {
  return {target.state.server.host, static_cast<std::uint16_t>(target.state.server.port)};
}

std::string label_of(const ServerState& state) {
  return concat("data server ", std::to_string(state.server.id), " on ", state.server.host,
                ", port ", std::to_string(state.server.port));
}

bool is_named(const ServerState& state, const std::string& name) {
  return name == std::to_string(state.server.id) ||
         name == concat(state.server.host, ":", std::to_string(state.server.port));
}

bool is_metadata_named(const ServerState& state, const std::string& name) {
  return name == "metadata" || name == concat("metadata-", std::to_string(state.server.rank)) ||
         name == concat(state.server.host, ":", std::to_string(state.server.port));
}

struct Targets {
  std::vector<Target> data;
  std::vector<Target> metadata;
};

Result<Targets> targets_of(Connection& connection, const std::vector<std::string>& names,
                           bool all) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, connection.session().names().servers());
  IMSS_ASSIGN_OR_RETURN(const auto states, states_of(servers, connection.key_file()));
  IMSS_ASSIGN_OR_RETURN(
      const auto metadata,
      metadata_states(connection.session(), connection.metadata_host(), connection.metadata_port(),
                      connection.key_file()));
  Targets targets;
  std::set<std::string> unknown(names.begin(), names.end());
  const auto choose = [&](const ServerState& state, auto is_meant) {
    const auto meant = [&](const std::string& name) { return is_meant(state, name); };
    std::erase_if(unknown, meant);
    // Servers inside applications end with those, and what has ended already needs no stop.
    const bool can_end = state.served && !state.server.attached;
    return std::ranges::any_of(names, meant) || (all && can_end);
  };
  for (const ServerState& state : states) {
    if (choose(state, is_named)) targets.data.push_back({state, label_of(state)});
  }
  for (const ServerState& state : metadata) {
    if (!choose(state, is_metadata_named)) continue;
    const std::string number =
        metadata.size() == 1 ? "" : concat(" ", std::to_string(state.server.rank));
    targets.metadata.push_back(
        {state, concat("metadata server", number, " on ", state.server.host, ", port ",
                       std::to_string(state.server.port))});
  }
  if (unknown.empty()) return targets;
  return Status(Code::kNotFound, concat("there is no server ", imss::quoted(*unknown.begin()),
                                        "; see imss status for the servers' IDs"));
}

Status request_end(Target* target, const std::string& key_file, bool retire) {
  const ServerState& state = target->state;
  if (state.server.attached) {
    return Status(Code::kNotSupported, "it belongs to an application and ends with that");
  }
  if (!state.served) return Status(Code::kNotFound, "it does not run");
  target->by_signal = state.stored;
  if (!target->by_signal) {
    return client::ask_to_stop(address_of(*target), key_file, retire, kAnswerMs);
  }
  // Its liveness was probed just now, so the process id is the server's.
  const auto process = static_cast<pid_t>(state.segment.owner_pid);
  if (::kill(process, retire ? SIGUSR1 : SIGTERM) == 0 || errno == ESRCH) return {};
  return Status::from_errno(errno, concat("cannot signal process ", std::to_string(process)));
}

bool has_ended(const Target& target) {
  if (!target.by_signal) return !client::is_listening(address_of(target), kAnswerMs);
  const auto info = segment::inspect(target.state.segment.name);
  return !info.ok() || info->nonce != target.state.segment.nonce ||
         info->state != segment::FileState::kServed;
}

// Asks one group of servers to end and waits until they have. Returns the exit code.
int end_group(const std::string& program, std::span<Target> targets, const std::string& key_file,
              bool retire) {
  int code = kExitOk;
  std::vector<const Target*> ending;
  for (Target& target : targets) {
    const Status status = request_end(&target, key_file, retire);
    if (status.ok()) {
      ending.push_back(&target);
    } else {
      code = fail(program, concat(target.label, ": ", status.message()));
    }
  }
  const Deadline deadline = Deadline::from_now(kEndMs);
  for (const Target* target : ending) {
    while (!has_ended(*target) && !deadline.expired()) std::this_thread::sleep_for(kPause);
    if (deadline.expired() && !has_ended(*target)) {
      code = fail(program, concat(target->label, " has not ended in time"));
    } else {
      std::printf("%s: stopped\n", target->label.c_str());
    }
  }
  return code;
}

}  // namespace

int run_stop(int argc, char** argv) {
  CommandLine line(
      "imss stop", "[SERVER...]",
      "End servers, also those of other nodes, and return when they are gone. Their segments stay, "
      "so\nthat servers started again go on with them. SERVER is an ID or HOST:PORT from imss "
      "status,\n'metadata' for all metadata servers, or 'metadata-1' for one of several.",
      "Examples:\n  imss stop --all\n  imss stop node3:5555\n"
      "  imss stop --host node1 --all --retire");
  bool all = false;
  bool retire = false;
  line.flag("all", 'a', "All servers that run, the metadata servers last", &all);
  line.flag("retire", 'r', "Remove their segments with the data", &retire);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (all ? !line.arguments().empty() : line.arguments().empty()) {
    return usage_error(line.program(), "say which servers, or --all");
  }
  if (const auto code = connection.open()) return *code;
  auto targets = targets_of(connection, line.arguments(), all);
  if (!targets.ok()) return fail(line.program(), targets.status());
  // Data servers leave the metadata servers when they end, so that these go last.
  const int code =
      end_group(line.program(), targets->data, connection.key_file(), retire);
  const int last =
      end_group(line.program(), targets->metadata, connection.key_file(), retire);
  return code != kExitOk ? code : last;
}

}  // namespace imss::tools
