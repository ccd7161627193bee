// The program `mount.imss`: starts the daemons of an instance and returns when all of them serve.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/config.h"
#include "base/text.h"
#include "base/uri.h"
#include "client/server_control.h"
#include "common_program.h"
#include "daemon.h"
#include "end_servers.h"
#include "mount_plan.h"
#include "mount_state.h"
#include "remote_launch.h"

extern char** environ;

namespace {

using namespace imss;
using namespace imss::tools;

constexpr const char* kProgram = "mount.imss";
constexpr int kReportFd = 3;  // in the started server
constexpr int kStartWaitMs = 60'000;
constexpr int kAnswerMs = 1500;

// A server in messages: which one, and where.
std::string name_of(const DaemonRecord& record) {
  return concat(record.label, record.host.empty() ? "" : " on ", record.host);
}
std::string place_of(const DaemonRecord& record) {
  return concat(name_of(record), ", port ", std::to_string(record.port));
}

Status start(const std::string& program, Launch* launch) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Status::from_errno(errno, "pipe");
  std::vector<std::string> words = {"server"};
  words.insert(words.end(), launch->arguments.begin(), launch->arguments.end());
  for (const char* word : {"--daemonize", "--ready-fd"}) words.emplace_back(word);
  words.push_back(std::to_string(kReportFd));
  words.insert(words.end(), {"--log", launch->log_file, "--pid-file", launch->record.pid_file});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], kReportFd);
  const int error =
      ::posix_spawnp(&launch->pid, program.c_str(), &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  launch->report_fd = ends[0];
  if (error == 0) return {};
  ::close(ends[0]);
  launch->report_fd = -1;
  return Status::from_errno(error, concat("cannot start ", program));
}

// Reads the report of one server; one that says nothing until the deadline has failed.
void await_report(Launch* launch, const Deadline& deadline) {
  std::string text;
  bool ended = false;
  while (!ended && !deadline.expired()) {
    pollfd wait{launch->report_fd, POLLIN, 0};
    if (::poll(&wait, 1, deadline.remaining_ms()) <= 0) continue;
    char part[512];
    const ssize_t got = ::read(launch->report_fd, part, sizeof(part));
    if (got > 0) text.append(part, static_cast<std::size_t>(got));
    ended = got == 0 || (got < 0 && errno != EINTR) || text.ends_with('\n');
  }
  ::close(launch->report_fd);
  launch->report_fd = -1;
  while (::waitpid(launch->pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  launch->report = ended ? parse_report(text) : ReadyReport{false, false, 0, "no answer in time"};
}

// The servers on other nodes from `first` up to `last`: all at once, by the launcher.
void start_elsewhere(MountPlan* plan, std::size_t first, std::size_t last) {
  std::vector<RemoteCommand> commands;
  std::vector<Launch*> launches;
  for (std::size_t i = first; i < last; ++i) {
    Launch& launch = plan->launches[i];
    if (launch.runs || launch.record.host.empty()) continue;
    RemoteCommand command{launch.record.host, report_label(launch.record), {plan->state.program}};
    auto& words = command.words;
    words.insert(words.end(), launch.arguments.begin(), launch.arguments.end());
    if (!keeps_foreground(plan->launcher)) words.emplace_back("--daemonize");
    words.insert(words.end(), {"--report", command.label, "--run-dir", plan->run_dir, "--log",
                               launch.log_file, "--pid-file", launch.record.pid_file});
    commands.push_back(std::move(command));
    launches.push_back(&launch);
  }
  if (commands.empty()) return;
  auto reports = run_on_hosts(plan->launcher, commands, plan->state.log_dir, kStartWaitMs);
  for (std::size_t i = 0; i < reports.size(); ++i) launches[i]->report = std::move(reports[i]);
}

// Starts servers `first` up to `last` side by side and waits for all of them.
Status start_together(MountPlan* plan, std::size_t first, std::size_t last) {
  Status status;
  if (first == last) return status;
  if (::isatty(STDERR_FILENO) == 1) {
    std::fprintf(stderr, "starting the %s servers ...\n",
                 plan->launches[first].record.is_metadata ? "metadata" : "data");
  }
  const Deadline deadline = Deadline::from_now(kStartWaitMs);
  for (std::size_t i = first; i < last && status.ok(); ++i) {
    Launch& launch = plan->launches[i];
    if (!launch.runs && launch.record.host.empty()) status = start(server_program(), &launch);
  }
  if (status.ok()) start_elsewhere(plan, first, last);
  for (std::size_t i = first; i < last; ++i) {
    Launch& launch = plan->launches[i];
    if (launch.report_fd >= 0) await_report(&launch, deadline);
    if (launch.runs || launch.report.ready || !status.ok()) continue;
    status = Status(Code::kIo,
                    concat(place_of(launch.record), ", did not start: ", launch.report.sentence));
  }
  return status;
}

// Ends what this call has started. Segments that were there before keep their data.
void undo(const MountPlan& plan, const RunDirectory& directory, bool was_mounted) {
  std::vector<DaemonRecord> fresh;
  std::vector<DaemonRecord> continued;
  for (const Launch& launch : plan.launches) {
    if (launch.report.ready) (launch.report.continued ? continued : fresh).push_back(launch.record);
  }
  for (const bool keep_data : {false, true}) {
    for (const std::string& problem : end_servers(kProgram, plan.run_dir, plan.state,
                                                  keep_data ? continued : fresh, keep_data)) {
      fail(kProgram, problem);
    }
  }
  if (!was_mounted) directory.remove(plan.state);
}

void print_success(const MountPlan& plan) {
  for (const Launch& launch : plan.launches) {
    if (launch.report.continued) {
      std::printf("%s goes on with what it had stored\n", name_of(launch.record).c_str());
    } else if (!launch.record.host.empty()) {
      std::printf("%s: %s\n", place_of(launch.record).c_str(),
                  launch.runs ? "serves already" : "serves");
    }
  }
  const auto metadata = static_cast<std::size_t>(std::ranges::count_if(
      plan.launches, [](const Launch& launch) { return launch.record.is_metadata; }));
  const std::size_t count = plan.launches.size() - metadata;
  const std::string several =
      metadata == 1 ? "" : concat(std::to_string(metadata), " metadata servers, ");
  std::printf("%s is ready: %s%zu data %s, metadata port %u, run directory %s\n",
              plan.state.instance.c_str(), several.c_str(), count,
              count == 1 ? "server" : "servers",
              plan.state.daemons.front().port, plan.run_dir.c_str());
}

int start_all(MountPlan* plan, const RunDirectory& directory, bool was_mounted) {
  if (::mkdir(plan->state.log_dir.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(kProgram, Status::from_errno(errno, "cannot make " + plan->state.log_dir));
  }
  Status status = directory.write(plan->state);
  // The others join the first metadata server, and the data servers wait for all of these.
  std::size_t metadata = 1;
  while (plan->launches[metadata].record.is_metadata) ++metadata;
  if (status.ok()) status = start_together(plan, 0, 1);
  if (status.ok()) status = start_together(plan, 1, metadata);
  if (status.ok()) status = start_together(plan, metadata, plan->launches.size());
  if (!status.ok()) {
    undo(*plan, directory, was_mounted);
    return fail(kProgram, status);
  }
  print_success(*plan);
  return kExitOk;
}

// Whether a server of an earlier mount still runs: by its pid file here, by its answer elsewhere.
Result<std::vector<bool>> which_run(const MountState& state) {
  std::vector<bool> run;
  std::vector<client::ServerAddress> addresses;
  for (const DaemonRecord& record : state.daemons) {
    run.push_back(record.host.empty() && pid_of(record.pid_file) != 0);
    if (!record.host.empty()) addresses.push_back({record.host, record.port});
  }
  IMSS_ASSIGN_OR_RETURN(const auto answers,
                        client::ask_status(addresses, state.key_file, kAnswerMs));
  std::size_t next = 0;
  for (std::size_t i = 0; i < run.size(); ++i) {
    if (state.daemons[i].host.empty()) continue;
    const auto& answer = answers[next++];
    run[i] = answer && answer->segment == state.daemons[i].segment;
  }
  return run;
}

// How the state of an earlier mount fits the plan. Sets `was_mounted`, and which servers run.
Status compare_with_earlier(const RunDirectory& directory, MountPlan* plan, bool* was_mounted) {
  const auto earlier = directory.read();
  *was_mounted = earlier.ok();
  if (earlier.code() == Code::kNotFound) return {};
  if (!earlier.ok()) return earlier.status();
  IMSS_ASSIGN_OR_RETURN(const auto run, which_run(*earlier));
  if (std::ranges::all_of(run, [](bool runs) { return runs; })) {
    return Status(Code::kExists, concat(earlier->instance, " is mounted already (run directory ",
                                        directory.path(), "); umount.imss ends it"));
  }
  const bool same = std::ranges::equal(earlier->daemons, plan->state.daemons,
                                       [](const DaemonRecord& a, const DaemonRecord& b) {
                                         return a.segment == b.segment && a.host == b.host;
                                       });
  if (!same) {
    return Status(Code::kExists, concat(earlier->instance,
                                        " was mounted with other servers or ports "
                                        "and not unmounted; run umount.imss first"));
  }
  for (std::size_t i = 0; i < run.size(); ++i) plan->launches[i].runs = run[i];
  return {};
}

int mount(MountOptions options, const Config& config) {
  fill_from(config, &options);
  const auto uri = parse_uri(options.instance);
  if (!uri.ok()) return usage_error(kProgram, uri.status().message());
  if (!uri->path.empty()) {
    return usage_error(kProgram,
                       concat(imss::quoted(options.instance), " names more than an instance"));
  }
  auto plan = make_mount_plan(std::move(options));
  if (!plan.ok()) return fail(kProgram, plan.status());
  const auto directory = RunDirectory::open(plan->run_dir, true);
  if (!directory.ok()) return fail(kProgram, directory.status());
  bool was_mounted = false;
  const Status status = compare_with_earlier(*directory, &*plan, &was_mounted);
  if (!status.ok()) return fail(kProgram, status);
  return start_all(&*plan, *directory, was_mounted);
}

}  // namespace

int main(int argc, char** argv) {
  CommandLine line(
      kProgram, "",
      "Start the metadata and data servers of an instance in the background, and return when all "
      "of\nthem serve. Servers of an earlier mount that have died are started again with their "
      "data.",
      "Words in capitals are configuration keys, see 'imss config'. Hosts that are not this one "
      "are\nreached by the launcher: srun inside of a Slurm job, else ssh, unless another is "
      "named.\n\nExamples:\n"
      "  mount.imss --instance imss://x --capacity 8GiB\n"
      "  mount.imss -u imss://x -n 2 -S 1GiB -p 5600 -m 5700\n"
      "  mount.imss -u imss://x --meta-hostfile ./metadata-hosts --hostfile ./data-hosts\n"
      "  mount.imss -u imss://x --hostfile ./data-hosts --launcher mpirun");
  MountOptions options;
  add_mount_options(line, &options);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(0, 0)) return *code;
  const auto config = Config::load();
  if (!config.ok()) return fail(kProgram, config.status());
  return mount(options, *config);
}
