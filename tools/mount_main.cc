// The program `mount.imss`: starts the daemons of an instance and returns when all of them serve.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/config.h"
#include "base/size.h"
#include "base/text.h"
#include "base/uri.h"
#include "client/local_host.h"
#include "common_program.h"
#include "daemon.h"
#include "mount_state.h"
#include "segment/segment_files.h"
#include "server/deployment.h"

extern char** environ;

namespace {

using namespace imss;
using namespace imss::tools;

constexpr const char* kProgram = "mount.imss";
constexpr int kReportFd = 3;  // in the started server
constexpr int kStartWaitMs = 60'000;

struct Options {
  std::string instance;
  std::string hostfile;
  std::string metadata_hostfile;
  std::string metadata_file;
  std::string run_dir;
  std::string log_dir;
  std::uint64_t servers = 0;
  std::uint64_t data_port = 0;
  std::uint64_t metadata_port = 0;
  std::uint64_t capacity = 0;
  std::uint64_t metadata_capacity = 0;
};

// One server to start: its record, and the arguments that `server` gets.
struct Launch {
  DaemonRecord record;
  std::vector<std::string> arguments;
  std::string log_file;
  int report_fd = -1;
  pid_t pid = 0;  // of the process that ends once the daemon is in the background
  ReadyReport report;
};

struct Plan {
  MountState state;
  std::vector<Launch> launches;  // in the order of state.daemons
};

// --- Options and plan
// -----------------------------------------------------------------------------

void add_options(CommandLine& line, Options* options) {
  line.text("instance", 'u', "URI", "Instance to start (URI)", &options->instance);
  line.number("servers", 'n', "N", "Data servers (NUM_DATA_SERVERS, or one per host)", 1,
              UINT16_MAX, &options->servers);
  line.text("hostfile", 'H', "FILE", "Hosts of the data servers (DATA_HOSTFILE)",
            &options->hostfile);
  line.text("meta-hostfile", 0, "FILE", "Host of the metadata server (METADATA_HOSTFILE)",
            &options->metadata_hostfile);
  line.number("data-port", 'p', "PORT", "Port of the first data server of a host (DATA_PORT)", 1,
              65535, &options->data_port);
  line.number("metadata-port", 'm', "PORT", "Port of the metadata server (METADATA_PORT)", 1, 65535,
              &options->metadata_port);
  line.size("capacity", 'S', "SIZE", "Memory of each data server (STORAGE_SIZE)", kGiB,
            &options->capacity);
  line.size("metadata-capacity", 0, "SIZE", "Memory of the metadata server", kGiB,
            &options->metadata_capacity);
  line.text("metadata-file", 'M', "FILE", "File that keeps the namespace (METADATA_FILE)",
            &options->metadata_file);
  line.text("run-dir", 0, "DIR", "Folder for pid files and state", &options->run_dir);
  line.text("log-dir", 0, "DIR", "Folder for logs, which umount.imss keeps (RUN-DIR/log)",
            &options->log_dir);
}

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error).lexically_normal();
  return error ? path : full.string();
}

// Values that were not on the command line come from the configuration.
void fill_from(const Config& config, Options* options) {
  const auto text = [&](std::string* value, ConfigKey key) {
    if (value->empty()) *value = config.text(key);
  };
  const auto number = [&](std::uint64_t* value, ConfigKey key) {
    if (*value == 0) *value = config.integer(key);
  };
  text(&options->instance, ConfigKey::kUri);
  text(&options->hostfile, ConfigKey::kDataHostfile);
  text(&options->metadata_hostfile, ConfigKey::kMetadataHostfile);
  text(&options->metadata_file, ConfigKey::kMetadataFile);
  number(&options->data_port, ConfigKey::kDataPort);
  number(&options->metadata_port, ConfigKey::kMetadataPort);
  if (options->capacity == 0) options->capacity = config.bytes(ConfigKey::kStorageSize);
  if (options->servers == 0 &&
      config.origin(ConfigKey::kNumDataServers) != ConfigOrigin::kBuiltIn) {
    options->servers = config.integer(ConfigKey::kNumDataServers);
  }
  options->metadata_file = absolute(options->metadata_file);
}

Status refuse_remote(const std::string& host) {
  if (client::is_local_host(host)) return {};
  return Status(Code::kNotSupported,
                concat("host ", imss::quoted(host),
                       " is not this machine; this version starts servers on this machine only"));
}

std::string label_of(const server::Seat& seat) {
  return concat("data server ", std::to_string(seat.rank));
}

Launch metadata_launch(const Options& options, const std::string& run_dir) {
  Launch launch;
  launch.record = {"metadata server", true, static_cast<std::uint16_t>(options.metadata_port),
                   run_dir + "/metadata.pid",
                   segment::file_name(segment::Role::kMetadata,
                                      static_cast<std::uint32_t>(options.metadata_port), 0)};
  launch.arguments = {"metadata", "--port", std::to_string(options.metadata_port), "--file",
                      options.metadata_file};
  if (options.metadata_capacity != 0) {
    launch.arguments.push_back("--capacity");
    launch.arguments.push_back(concat(std::to_string(options.metadata_capacity), "B"));
  }
  launch.log_file = options.log_dir + "/metadata.log";
  return launch;
}

Launch data_launch(const Options& options, const std::string& run_dir, const server::Seat& seat,
                   const std::string& metadata_host, std::size_t count) {
  const std::string rank = std::to_string(seat.rank);
  const std::uint64_t capacity = options.capacity != 0
                                     ? options.capacity
                                     : server::default_data_capacity(seat.servers_on_node);
  Launch launch;
  launch.record = {label_of(seat), false, seat.port, concat(run_dir, "/data-", rank, ".pid"),
                   segment::file_name(segment::Role::kData, seat.port, seat.rank)};
  launch.arguments = {"data",
                      "--instance",
                      options.instance,
                      "--port",
                      std::to_string(seat.port),
                      "--rank",
                      rank,
                      "--servers",
                      std::to_string(count),
                      "--host",
                      seat.host,
                      "--capacity",
                      concat(std::to_string(capacity), "B"),
                      "--metadata-host",
                      metadata_host,
                      "--metadata-port",
                      std::to_string(options.metadata_port)};
  launch.log_file = concat(options.log_dir, "/data-", rank, ".log");
  return launch;
}

Result<Plan> make_plan(const Options& options, const std::string& run_dir) {
  IMSS_ASSIGN_OR_RETURN(const auto metadata_hosts, server::hosts_of(options.metadata_hostfile));
  if (metadata_hosts.size() > 1) {
    return Status(Code::kNotSupported, concat(options.metadata_hostfile,
                                              " names several hosts; this version runs one "
                                              "metadata server"));
  }
  const std::string metadata_host =
      metadata_hosts.empty() ? "localhost" : metadata_hosts.front().name;
  IMSS_RETURN_IF_ERROR(refuse_remote(metadata_host));
  IMSS_ASSIGN_OR_RETURN(const auto hosts, server::hosts_of(options.hostfile));
  const std::uint64_t fallback = std::max<std::size_t>(hosts.size(), 1);
  const auto count = static_cast<std::uint32_t>(options.servers != 0 ? options.servers : fallback);
  IMSS_ASSIGN_OR_RETURN(
      const auto seats,
      server::plan_seats(hosts, count, static_cast<std::uint16_t>(options.data_port)));
  Plan plan;
  plan.state.instance = options.instance;
  plan.state.log_dir = options.log_dir;
  plan.launches.push_back(metadata_launch(options, run_dir));
  for (const server::Seat& seat : seats) {
    IMSS_RETURN_IF_ERROR(refuse_remote(seat.host));
    plan.launches.push_back(data_launch(options, run_dir, seat, metadata_host, seats.size()));
  }
  for (const Launch& launch : plan.launches) plan.state.daemons.push_back(launch.record);
  return plan;
}

// --- Starting
// ---------------------------------------------------------------------------------------

// The program `server` beside this one, or else the one in PATH.
std::string server_program() {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string beside = own.parent_path() / "server";
  return !error && ::access(beside.c_str(), X_OK) == 0 ? beside : "server";
}

Status start(Launch* launch) {
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
  const std::string program = server_program();
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

// Starts servers `first` up to `last` side by side and waits for all of them.
Status start_together(std::vector<Launch>* launches, std::size_t first, std::size_t last) {
  Status status;
  const Deadline deadline = Deadline::from_now(kStartWaitMs);
  for (std::size_t i = first; i < last && status.ok(); ++i) {
    Launch& launch = (*launches)[i];
    if (pid_of(launch.record.pid_file) == 0) status = start(&launch);
  }
  for (std::size_t i = first; i < last; ++i) {
    Launch& launch = (*launches)[i];
    if (launch.report_fd < 0) continue;
    await_report(&launch, deadline);
    if (launch.report.ready || !status.ok()) continue;
    status =
        Status(Code::kIo, concat(launch.record.label, ", port ", std::to_string(launch.record.port),
                                 ", did not start: ", launch.report.sentence));
  }
  return status;
}

// Ends what this call has started. Segments that were there before keep their data.
void undo(const Plan& plan, const RunDirectory& directory, bool was_mounted) {
  std::vector<DaemonRecord> fresh;
  std::vector<DaemonRecord> continued;
  for (const Launch& launch : plan.launches) {
    if (launch.report.ready) (launch.report.continued ? continued : fresh).push_back(launch.record);
  }
  end_daemons(fresh, SIGUSR1);
  end_daemons(continued, SIGTERM);
  if (!was_mounted) directory.remove(plan.state);
}

int start_all(Plan* plan, const RunDirectory& directory, bool was_mounted) {
  if (::mkdir(plan->state.log_dir.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail(kProgram, Status::from_errno(errno, "cannot make " + plan->state.log_dir));
  }
  Status status = directory.write(plan->state);
  const std::size_t count = plan->launches.size();
  if (status.ok()) status = start_together(&plan->launches, 0, 1);
  if (status.ok()) status = start_together(&plan->launches, 1, count);
  if (!status.ok()) {
    undo(*plan, directory, was_mounted);
    return fail(kProgram, status);
  }
  for (const Launch& launch : plan->launches) {
    if (launch.report.continued) {
      std::printf("%s goes on with what it had stored\n", launch.record.label.c_str());
    }
  }
  std::printf("%s is ready: %zu data %s, metadata port %u, run directory %s\n",
              plan->state.instance.c_str(), count - 1, count == 2 ? "server" : "servers",
              plan->state.daemons.front().port, directory.path().c_str());
  return kExitOk;
}

// How the state of an earlier mount fits the plan. Sets `was_mounted`.
Status compare_with_earlier(const RunDirectory& directory, const Plan& plan, bool* was_mounted) {
  const auto earlier = directory.read();
  *was_mounted = earlier.ok();
  if (earlier.code() == Code::kNotFound) return {};
  if (!earlier.ok()) return earlier.status();
  const auto& daemons = earlier->daemons;
  const auto alive = std::ranges::count_if(
      daemons, [](const DaemonRecord& record) { return pid_of(record.pid_file) != 0; });
  if (alive == static_cast<std::ptrdiff_t>(daemons.size())) {
    return Status(Code::kExists, concat(earlier->instance, " is mounted already (run directory ",
                                        directory.path(), "); umount.imss ends it"));
  }
  const bool same = std::ranges::equal(daemons, plan.state.daemons, {}, &DaemonRecord::segment,
                                       &DaemonRecord::segment);
  if (same) return {};
  return Status(Code::kExists, concat(earlier->instance,
                                      " was mounted with other servers or ports "
                                      "and not unmounted; run umount.imss first"));
}

int mount(Options options, const Config& config) {
  fill_from(config, &options);
  const auto uri = parse_uri(options.instance);
  if (!uri.ok()) return usage_error(kProgram, uri.status().message());
  if (!uri->path.empty()) {
    return usage_error(kProgram,
                       concat(imss::quoted(options.instance), " names more than an instance"));
  }
  const std::string run_dir = options.run_dir.empty() ? RunDirectory::default_path(uri->instance)
                                                      : absolute(options.run_dir);
  options.log_dir = options.log_dir.empty() ? run_dir + "/log" : absolute(options.log_dir);
  auto plan = make_plan(options, run_dir);
  if (!plan.ok()) return fail(kProgram, plan.status());
  const auto directory = RunDirectory::open(run_dir, true);
  if (!directory.ok()) return fail(kProgram, directory.status());
  bool was_mounted = false;
  const Status status = compare_with_earlier(*directory, *plan, &was_mounted);
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
      "Words in capitals are configuration keys, see 'imss config'.\n\nExamples:\n"
      "  mount.imss --instance imss://x --capacity 8GiB\n"
      "  mount.imss -u imss://x -n 2 -S 1GiB -p 5600 -m 5700\n"
      "  mount.imss --hostfile ./hostfile");
  Options options;
  add_options(line, &options);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(0, 0)) return *code;
  const auto config = Config::load();
  if (!config.ok()) return fail(kProgram, config.status());
  return mount(options, *config);
}
