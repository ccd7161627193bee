#include "end_servers.h"

#include <signal.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "common_program.h"
#include "remote_launch.h"
#include "server/leftover.h"

namespace imss::tools {
namespace {

// Longer than a server that does not react is waited for.
constexpr int kEndMs = 40'000;

std::vector<DaemonRecord> of_role(const std::vector<DaemonRecord>& daemons, bool is_metadata) {
  std::vector<DaemonRecord> some;
  for (const DaemonRecord& record : daemons) {
    if (record.is_metadata == is_metadata) some.push_back(record);
  }
  return some;
}

// umount.imss is beside `server`, on other nodes too.
std::string unmount_program(const std::string& server_program) {
  const auto folder = std::filesystem::path(server_program).parent_path();
  return folder.empty() ? "umount.imss" : folder / "umount.imss";
}

void end_elsewhere(const std::string& run_dir, const MountState& state,
                   const std::vector<DaemonRecord>& daemons, bool keep_data,
                   std::vector<std::string>* problems) {
  std::vector<RemoteCommand> commands;
  for (const DaemonRecord& record : daemons) {
    RemoteCommand command{record.host, report_label(record), {unmount_program(state.program)}};
    command.words.insert(command.words.end(), {"--run-dir", run_dir, "--report", command.label});
    if (keep_data) command.words.emplace_back("--keep-data");
    command.words.push_back(format_server(record));
    commands.push_back(std::move(command));
  }
  if (commands.empty()) return;
  const auto launcher = find_launcher(state.launcher);
  if (!launcher.ok()) {
    problems->push_back(launcher.status().message());
    return;
  }
  const auto reports = run_on_hosts(*launcher, commands, state.log_dir, kEndMs);
  for (std::size_t i = 0; i < reports.size(); ++i) {
    if (reports[i].ready) continue;
    problems->push_back(concat(daemons[i].label, " on ", daemons[i].host,
                               " could not be ended: ", reports[i].sentence));
  }
}

}  // namespace

Status end_here(const std::string& program, const std::vector<DaemonRecord>& daemons,
                bool keep_data) {
  // The data servers use the metadata server until they are gone.
  for (const bool is_metadata : {false, true}) {
    for (const std::string& label :
         end_daemons(of_role(daemons, is_metadata), keep_data ? SIGTERM : SIGUSR1)) {
      std::fprintf(stderr, "%s: %s did not stop by itself and was killed\n", program.c_str(),
                   label.c_str());
    }
  }
  if (keep_data) return {};
  Status first;
  for (const DaemonRecord& record : daemons) {
    // Of servers that had died before, or were killed now.
    const Status status = server::remove_segment(record.segment);
    if (first.ok()) first = status;
  }
  return first;
}

std::vector<std::string> end_servers(const std::string& program, const std::string& run_dir,
                                     const MountState& state,
                                     const std::vector<DaemonRecord>& daemons, bool keep_data) {
  std::vector<std::string> problems;
  for (const bool is_metadata : {false, true}) {
    std::vector<DaemonRecord> here;
    std::vector<DaemonRecord> elsewhere;
    for (const DaemonRecord& record : of_role(daemons, is_metadata)) {
      (record.host.empty() ? here : elsewhere).push_back(record);
    }
    end_elsewhere(run_dir, state, elsewhere, keep_data, &problems);
    const Status status = end_here(program, here, keep_data);
    if (!status.ok()) problems.push_back(status.message());
  }
  return problems;
}

std::string format_server(const DaemonRecord& record) {
  return concat(record.is_metadata ? "metadata:" : "data:", std::to_string(record.port), ":",
                std::to_string(record.rank));
}

Result<DaemonRecord> parse_server(const std::string& text, const std::string& run_dir) {
  std::string_view rest = text;
  const bool is_metadata = rest.starts_with("metadata:");
  const bool is_data = rest.starts_with("data:");
  rest.remove_prefix(is_metadata || is_data ? rest.find(':') + 1 : 0);
  std::uint16_t port = 0;
  std::uint32_t rank = 0;
  const auto after_port = std::from_chars(rest.data(), rest.data() + rest.size(), port);
  const char* const end = rest.data() + rest.size();
  if ((is_metadata || is_data) && after_port.ec == std::errc() && port != 0 &&
      after_port.ptr != end && *after_port.ptr == ':') {
    const auto after_rank = std::from_chars(after_port.ptr + 1, end, rank);
    if (after_rank.ec == std::errc() && after_rank.ptr == end) {
      return daemon_record(run_dir, is_metadata, port, rank);
    }
  }
  return Status(
      Code::kInvalidArgument,
      concat(imss::quoted(text), " is no server; write data:PORT:RANK or metadata:PORT:RANK"));
}

std::string report_label(const DaemonRecord& record) {
  if (record.is_metadata && record.rank == 0) return "metadata";
  return concat(record.is_metadata ? "metadata-" : "data-", std::to_string(record.rank));
}

}  // namespace imss::tools
