#include "mount_plan.h"

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "base/size.h"
#include "base/text.h"
#include "base/uri.h"
#include "client/local_host.h"
#include "segment/segment.h"
#include "server/deployment.h"

namespace imss::tools {
namespace {

std::string absolute(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error).lexically_normal();
  return error ? path : full.string();
}

// A name that means another machine on every machine.
bool is_loopback_name(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

// Which hosts are meant, and how those are reached that are not this node.
struct Hosts {
  std::vector<server::Seat> metadata;
  std::vector<server::Seat> seats;
  Launcher launcher;
  bool all_by_launcher = false;  // also those of this node
  std::map<std::string, bool> here = {};

  // Where a record's server is started: "" is on this node without the launcher.
  std::string launched_on(const std::string& host) const {
    if (launcher.kind == LauncherKind::kLocal) return "";
    if (here.at(host) && (!all_by_launcher || is_loopback_name(host))) return "";
    return host;
  }
};

Status choose_launcher(const MountOptions& options, Hosts* hosts) {
  for (const auto* const seats : {&hosts->metadata, &hosts->seats}) {
    for (const server::Seat& seat : *seats) {
      if (!hosts->here.contains(seat.host)) hosts->here[seat.host] = client::is_local_host(seat.host);
    }
  }
  const auto elsewhere =
      std::ranges::find(hosts->here, false, [](const auto& p) { return p.second; });
  const bool all_here = elsewhere == hosts->here.end();
  if (options.launcher == "local" && !all_here) {
    return Status(Code::kNotSupported,
                  concat("host ", imss::quoted(elsewhere->first),
                         " is not this machine, where --launcher=local starts all servers"));
  }
  hosts->all_by_launcher = options.launcher != "auto";
  if (options.launcher == "auto" && all_here) return {};
  IMSS_ASSIGN_OR_RETURN(hosts->launcher, find_launcher(options.launcher));
  for (const auto& [name, is_here] : hosts->here) {
    if (all_here || !is_loopback_name(name)) continue;
    return Status(Code::kInvalidArgument,
                  concat(imss::quoted(name),
                         " means another machine on every host; write the name "
                         "by which the others know this one"));
  }
  return {};
}

Result<Hosts> read_hosts(const MountOptions& options) {
  IMSS_ASSIGN_OR_RETURN(auto metadata_hosts, server::hosts_of(options.metadata_hostfile));
  IMSS_ASSIGN_OR_RETURN(const auto data_hosts, server::hosts_of(options.hostfile));
  const std::uint64_t fallback = std::max<std::size_t>(data_hosts.size(), 1);
  const auto count = static_cast<std::uint32_t>(options.servers != 0 ? options.servers : fallback);
  Hosts hosts;
  IMSS_ASSIGN_OR_RETURN(
      hosts.seats,
      server::plan_seats(data_hosts, count, static_cast<std::uint16_t>(options.data_port)));
  // Without a host file the metadata servers are here, under a name that the data servers understand.
  const bool all_loopback = std::ranges::all_of(
      hosts.seats, [](const server::Seat& seat) { return is_loopback_name(seat.host); });
  if (metadata_hosts.empty() && !all_loopback) metadata_hosts = {{client::local_host_name(), 0}};
  const std::uint64_t lines = std::max<std::size_t>(metadata_hosts.size(), 1);
  const std::uint64_t metadata_count =
      options.metadata_servers != 0 ? options.metadata_servers : lines;
  IMSS_ASSIGN_OR_RETURN(
      hosts.metadata,
      server::plan_seats(metadata_hosts, static_cast<std::uint32_t>(metadata_count),
                         static_cast<std::uint16_t>(options.metadata_port)));
  IMSS_RETURN_IF_ERROR(choose_launcher(options, &hosts));
  return hosts;
}

void add_network(const MountOptions& options, const std::string& host,
                 std::vector<std::string>* arguments) {
  // Whoever names a host expects it to be reached by that name.
  if (!is_loopback_name(host)) arguments->insert(arguments->end(), {"--address", host});
  if (!options.key_file.empty()) arguments->insert(arguments->end(), {"--keys", options.key_file});
  arguments->insert(arguments->end(), {"--share", options.share});
}

// The servers of several find their places by the host file, which need not be on their nodes: they are told.
Launch metadata_launch(const MountOptions& options, const Hosts& hosts, const server::Seat& seat) {
  const std::string ending = seat.rank == 0 ? "" : concat("-", std::to_string(seat.rank));
  Launch launch;
  launch.record = daemon_record(options.run_dir, true, seat.port, seat.rank);
  launch.record.host = hosts.launched_on(seat.host);
  launch.arguments = {"metadata", "--port", std::to_string(seat.port), "--file",
                      options.metadata_file};
  if (hosts.metadata.size() > 1) {
    const server::Seat& first = hosts.metadata.front();
    launch.arguments.insert(launch.arguments.end(),
                            {"--servers", std::to_string(hosts.metadata.size()), "--rank",
                             std::to_string(seat.rank), "--host", seat.host, "--metadata-host",
                             first.host, "--metadata-port", std::to_string(first.port)});
  }
  if (options.metadata_capacity != 0) {
    launch.arguments.push_back("--capacity");
    launch.arguments.push_back(concat(std::to_string(options.metadata_capacity), "B"));
  }
  add_network(options, seat.host, &launch.arguments);
  launch.log_file = concat(options.log_dir, "/metadata", ending, ".log");
  return launch;
}

Launch data_launch(const MountOptions& options, const Hosts& hosts, const server::Seat& seat) {
  const std::string rank = std::to_string(seat.rank);
  Launch launch;
  launch.record = daemon_record(options.run_dir, false, seat.port, seat.rank);
  launch.record.host = hosts.launched_on(seat.host);
  launch.arguments = {"data",
                      "--instance",
                      options.instance,
                      "--port",
                      std::to_string(seat.port),
                      "--rank",
                      rank,
                      "--servers",
                      std::to_string(hosts.seats.size()),
                      "--host",
                      seat.host,
                      "--metadata-host",
                      hosts.metadata.front().host,
                      "--metadata-port",
                      std::to_string(hosts.metadata.front().port)};
  // A server that is alone on another node knows better how much memory that has. Several share
  // what a node like this one has.
  std::uint64_t capacity = options.capacity;
  if (capacity == 0 && (launch.record.host.empty() || seat.servers_on_node > 1)) {
    capacity = server::default_data_capacity(seat.servers_on_node);
  }
  if (capacity != 0) {
    launch.arguments.push_back("--capacity");
    launch.arguments.push_back(concat(std::to_string(capacity), "B"));
  }
  add_network(options, seat.host, &launch.arguments);
  launch.log_file = concat(options.log_dir, "/data-", rank, ".log");
  return launch;
}

}  // namespace

std::string server_program() {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string beside = own.parent_path() / "server";
  return !error && ::access(beside.c_str(), X_OK) == 0 ? beside : "server";
}

void add_mount_options(CommandLine& line, MountOptions* options) {
  line.text("instance", 'u', "URI", "Instance to start (URI)", &options->instance);
  line.number("servers", 'n', "N", "Data servers (NUM_DATA_SERVERS, or one per host)", 1,
              UINT16_MAX, &options->servers);
  line.text("hostfile", 'H', "FILE", "Hosts of the data servers (DATA_HOSTFILE)",
            &options->hostfile);
  line.number("metadata-servers", 'N', "N", "Metadata servers (NUM_META_SERVERS, or one per host)",
              1, 4096, &options->metadata_servers);
  line.text("meta-hostfile", 0, "FILE", "Hosts of the metadata servers (METADATA_HOSTFILE)",
            &options->metadata_hostfile);
  line.number("data-port", 'p', "PORT", "Port of the first data server of a host (DATA_PORT)", 1,
              65535, &options->data_port);
  line.number("metadata-port", 'm', "PORT", "Port of the first metadata server of a host (METADATA_PORT)", 1, 65535,
              &options->metadata_port);
  line.size("capacity", 'S', "SIZE", "Memory of each data server (STORAGE_SIZE)", kGiB,
            &options->capacity);
  line.size("metadata-capacity", 0, "SIZE", "Memory of each metadata server", kGiB,
            &options->metadata_capacity);
  line.text("metadata-file", 'M', "FILE", "File that keeps the namespace (METADATA_FILE)",
            &options->metadata_file);
  line.text("keys", 'k', "FILE", "The instance's keys, at this path on all hosts (KEY_FILE)",
            &options->key_file);
  line.text("share", 's', "MODE", "What other processes of a server's node do with its memory: rw, ro or none (SHARE)",
            &options->share);
  line.text("launcher", 'l', "NAME",
            "For other hosts: auto, local, ssh, mpirun, mpiexec or srun (auto)",
            &options->launcher);
  line.text("program", 0, "FILE", "Program 'server' on other hosts (as on this one)",
            &options->program);
  line.text("run-dir", 0, "DIR", "Folder for pid files and state", &options->run_dir);
  line.text("log-dir", 0, "DIR", "Folder for logs, which umount.imss keeps (RUN-DIR/log)",
            &options->log_dir);
}

void fill_from(const Config& config, MountOptions* options) {
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
  text(&options->key_file, ConfigKey::kKeyFile);
  text(&options->share, ConfigKey::kShare);
  number(&options->data_port, ConfigKey::kDataPort);
  number(&options->metadata_port, ConfigKey::kMetadataPort);
  if (options->capacity == 0) options->capacity = config.bytes(ConfigKey::kStorageSize);
  if (options->servers == 0 &&
      config.origin(ConfigKey::kNumDataServers) != ConfigOrigin::kBuiltIn) {
    options->servers = config.integer(ConfigKey::kNumDataServers);
  }
  if (options->metadata_servers == 0 &&
      config.origin(ConfigKey::kNumMetaServers) != ConfigOrigin::kBuiltIn) {
    options->metadata_servers = config.integer(ConfigKey::kNumMetaServers);
  }
  for (std::string* path : {&options->metadata_file, &options->key_file, &options->run_dir,
                            &options->log_dir, &options->program}) {
    *path = absolute(*path);
  }
}

Result<MountPlan> make_mount_plan(MountOptions options) {
  IMSS_ASSIGN_OR_RETURN(const Uri uri, parse_uri(options.instance));
  if (!segment::sharing_of(options.share)) {
    return Status(Code::kInvalidArgument, concat("--share: ", imss::quoted(options.share), " is not rw, ro or none"));
  }
  IMSS_ASSIGN_OR_RETURN(const Hosts hosts, read_hosts(options));
  MountPlan plan;
  plan.launcher = hosts.launcher;
  const bool several_nodes = plan.launcher.kind != LauncherKind::kLocal;
  if (options.run_dir.empty()) {
    options.run_dir = RunDirectory::default_path(uri.instance, several_nodes);
  }
  if (options.log_dir.empty()) options.log_dir = options.run_dir + "/log";
  plan.run_dir = options.run_dir;
  plan.state.instance = options.instance;
  plan.state.log_dir = options.log_dir;
  plan.state.launcher = several_nodes ? plan.launcher.program : "local";
  plan.state.program = options.program.empty() ? server_program() : options.program;
  plan.state.key_file = options.key_file;
  for (const server::Seat& seat : hosts.metadata) {
    plan.launches.push_back(metadata_launch(options, hosts, seat));
  }
  for (const server::Seat& seat : hosts.seats) {
    plan.launches.push_back(data_launch(options, hosts, seat));
  }
  for (const Launch& launch : plan.launches) plan.state.daemons.push_back(launch.record);
  return plan;
}

}  // namespace imss::tools
