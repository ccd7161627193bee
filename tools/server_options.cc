#include "server_options.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/config.h"
#include "base/size.h"
#include "base/text.h"
#include "base/uri.h"
#include "client/local_host.h"
#include "common_program.h"
#include "segment/segment.h"
#include "server/deployment.h"

namespace imss::tools {
namespace {

constexpr std::string_view kExamples =
    "Roles and positional forms:\n"
    "  server metadata [OPTION...]\n"
    "  server data [OPTION...]\n"
    "  server METADATA_FILE PORT BUFFER_SIZE [HOSTFILE]\n"
    "  server URI PORT STORAGE_SIZE METADATA_HOST METADATA_PORT NUM_SERVERS HOSTFILE START_FLAG\n\n"
    "With a HOSTFILE of several metadata servers each rank is the one of its own line; those beyond\n"
    "the first keep their part of the namespace in METADATA_FILE.RANK.\n\n"
    "Sizes: 8GiB, 512MiB; a bare number is GiB; 0 is the default. START_FLAG 1 makes the instance\n"
    "once all of its servers have joined, 0 only joins.\n\n"
    "Signals: SIGTERM and SIGINT stop the server and keep its segment, so that a server started\n"
    "again goes on with it. SIGUSR1 stops the server and removes its segment with the data.\n\n"
    "Examples:\n"
    "  server ./metadata 5569 0\n"
    "  server imss://x 5555 2 localhost 5569 1 ./hostfile 1\n"
    "  server metadata --file ./metadata --port 5569 --capacity 1GiB\n"
    "  mpirun -np 2 server ./metadata 5569 0 ./metadata-hosts\n"
    "  server data --instance imss://x --port 5555 --capacity 8GiB --daemonize --log x.log";

// The values of all options, in either form.
struct Input {
  std::string instance;
  std::string file;
  std::string hostfile;
  std::string host;
  std::string metadata_host = "localhost";
  std::string address;
  std::string key_file;
  std::string share;
  std::uint64_t workers = 0;
  std::uint64_t port = 0;
  std::uint64_t metadata_port = 0;
  std::uint64_t capacity = 0;
  std::uint64_t servers = 0;  // 0: not given
  std::uint64_t rank = 0;
  std::uint64_t ready_fd = UINT64_MAX;
  bool start_flag = true;
};

std::string absolute(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error);
  return error ? path : full.string();
}

// The position that an MPI launcher or Slurm gave this process, 0 without one.
std::uint64_t launcher_rank() {
  for (const char* name : {"PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"}) {
    const char* text = std::getenv(name);
    if (text == nullptr) continue;
    const std::string_view view = text;
    std::uint64_t rank = 0;
    const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), rank);
    if (error == std::errc() && end == view.data() + view.size()) return rank;
  }
  return 0;
}

Result<std::uint64_t> number_in(std::string_view what, std::string_view text, std::uint64_t least,
                                std::uint64_t most) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= least &&
      number <= most) {
    return number;
  }
  return Status(Code::kInvalidArgument,
                concat(what, ": ", imss::quoted(text), " is not a number from ",
                       std::to_string(least), " to ", std::to_string(most)));
}

Status read_metadata_form(const std::vector<std::string>& arguments, Input* input) {
  input->file = arguments[0];
  IMSS_ASSIGN_OR_RETURN(input->port, number_in("PORT", arguments[1], 1, 65535));
  IMSS_ASSIGN_OR_RETURN(input->capacity, parse_size(arguments[2], kGiB));
  if (arguments.size() == 4) input->hostfile = arguments[3];
  return {};
}

Status read_data_form(const std::vector<std::string>& arguments, Input* input) {
  input->instance = arguments[0];
  IMSS_ASSIGN_OR_RETURN(input->port, number_in("PORT", arguments[1], 1, 65535));
  IMSS_ASSIGN_OR_RETURN(input->capacity, parse_size(arguments[2], kGiB));
  input->metadata_host = arguments[3];
  IMSS_ASSIGN_OR_RETURN(input->metadata_port, number_in("METADATA_PORT", arguments[4], 1, 65535));
  IMSS_ASSIGN_OR_RETURN(input->servers, number_in("NUM_SERVERS", arguments[5], 1, UINT16_MAX));
  input->hostfile = arguments[6];
  IMSS_ASSIGN_OR_RETURN(const auto flag, number_in("START_FLAG", arguments[7], 0, 1));
  input->start_flag = flag != 0;
  return {};
}

// A server is reachable from other nodes when it is told where to listen, or has keys.
server::NetworkOptions network_of(const Input& input, const Config& config) {
  server::NetworkOptions network;
  network.address = input.address.empty() ? config.text(ConfigKey::kAddress) : input.address;
  network.key_file = absolute(input.key_file.empty() ? config.text(ConfigKey::kKeyFile) : input.key_file);
  network.workers =
      static_cast<std::uint32_t>(input.workers != 0 ? input.workers : config.integer(ConfigKey::kThreadPool));
  network.enabled = !network.address.empty() || !network.key_file.empty();
  // The process that waits for signals stops the server.
  network.stop_requested = [](bool retire) { ::kill(::getpid(), retire ? SIGUSR1 : SIGTERM); };
  return network;
}

Result<segment::Sharing> sharing_of(const Input& input, const Config& config) {
  const std::string& text = input.share.empty() ? config.text(ConfigKey::kShare) : input.share;
  const auto sharing = segment::sharing_of(text);
  if (sharing) return *sharing;
  return Status(Code::kInvalidArgument, concat("--share: ", imss::quoted(text), " is not rw, ro or none"));
}

// A deployment over several hosts is there for all of them, so that its servers listen on the names
// of their lines unless told otherwise.
Status take_seat(const std::vector<Host>& hosts, const server::Seat& seat,
                 const std::string& hostfile, server::NetworkOptions* network) {
  const bool several = std::ranges::any_of(
      hosts, [&](const Host& host) { return host.name != hosts.front().name; });
  if (!several) return {};
  if (!client::is_local_host(seat.host)) {
    return Status(
        Code::kInvalidArgument,
        concat("server ", std::to_string(seat.rank), " belongs on ", seat.host, ", by its line in ",
               hostfile, ", but was started on ", client::local_host_name(),
               "; start one on each host in the order of the lines (Open MPI: --map-by node)"));
  }
  if (network->address.empty()) network->address = seat.host;
  network->enabled = true;
  return {};
}

// Which of several metadata servers this is.
Status take_metadata_seat(const Input& input, server::MetadataServerOptions* metadata) {
  IMSS_ASSIGN_OR_RETURN(const auto hosts, server::hosts_of(input.hostfile));
  const std::uint64_t fallback = std::max<std::size_t>(hosts.size(), 1);
  metadata->server_count =
      static_cast<std::uint32_t>(input.servers != 0 ? input.servers : fallback);
  if (metadata->server_count == 1 && hosts.empty()) return {};
  metadata->rank = static_cast<std::uint32_t>(input.rank);
  if (metadata->rank >= metadata->server_count) {
    return Status(Code::kInvalidArgument,
                  concat("rank ", std::to_string(metadata->rank), " does not fit ",
                         std::to_string(metadata->server_count), " metadata servers"));
  }
  if (hosts.empty() && input.metadata_port != 0) {
    // Told where the first is, and so where itself.
    metadata->host_name = input.host;
    metadata->first = {input.metadata_host, static_cast<std::uint16_t>(input.metadata_port)};
    return {};
  }
  IMSS_ASSIGN_OR_RETURN(const auto seats,
                        server::plan_seats(hosts, metadata->server_count, metadata->port));
  const server::Seat& seat = seats[metadata->rank];
  metadata->port = seat.port;
  metadata->first = {seats.front().host, seats.front().port};
  metadata->host_name = !input.host.empty() ? input.host : hosts.empty() ? "" : seat.host;
  return take_seat(hosts, seat, input.hostfile, &metadata->network);
}

Status fill_metadata(const Input& input, const Config& config, ServerOptions* options) {
  server::MetadataServerOptions& metadata = options->metadata;
  const std::uint64_t port =
      input.port != 0 ? input.port : config.integer(ConfigKey::kMetadataPort);
  metadata.port = static_cast<std::uint16_t>(port);
  metadata.capacity_bytes = input.capacity;
  metadata.network = network_of(input, config);
  IMSS_ASSIGN_OR_RETURN(metadata.sharing, sharing_of(input, config));
  IMSS_RETURN_IF_ERROR(take_metadata_seat(input, &metadata));
  const std::string& file = input.file.empty() ? config.text(ConfigKey::kMetadataFile) : input.file;
  metadata.metadata_file = server::metadata_file_of(absolute(file), metadata.rank);
  return {};
}

Status fill_data(const Input& input, const Config& config, ServerOptions* options) {
  server::DataServerOptions& data = options->data;
  const std::string& text = input.instance.empty() ? config.text(ConfigKey::kUri) : input.instance;
  IMSS_ASSIGN_OR_RETURN(const Uri uri, parse_uri(text));
  if (!uri.path.empty()) {
    return Status(Code::kInvalidArgument,
                  concat(imss::quoted(text), " names more than an instance"));
  }
  data.instance = uri.instance;
  data.rank = static_cast<std::uint32_t>(input.rank);
  data.server_count = static_cast<std::uint32_t>(input.servers != 0 ? input.servers : 1);
  const std::uint64_t port = input.port != 0 ? input.port : config.integer(ConfigKey::kDataPort);
  data.port = static_cast<std::uint16_t>(port);
  data.host_name = input.host;
  std::uint32_t servers_on_node = 1;
  if (data.rank >= data.server_count) {
    return Status(Code::kInvalidArgument,
                  concat("rank ", std::to_string(data.rank), " does not fit ",
                         std::to_string(data.server_count), " servers"));
  }
  data.network = network_of(input, config);
  IMSS_ASSIGN_OR_RETURN(data.sharing, sharing_of(input, config));
  if (!input.hostfile.empty()) {
    IMSS_ASSIGN_OR_RETURN(const auto hosts, server::hosts_of(input.hostfile));
    IMSS_ASSIGN_OR_RETURN(const auto seats,
                          server::plan_seats(hosts, data.server_count, data.port));
    const server::Seat& seat = seats[data.rank];
    data.port = seat.port;
    if (input.host.empty()) data.host_name = seat.host;
    servers_on_node = seat.servers_on_node;
    IMSS_RETURN_IF_ERROR(take_seat(hosts, seat, input.hostfile, &data.network));
  }
  data.capacity_bytes =
      input.capacity != 0 ? input.capacity : server::default_data_capacity(servers_on_node);
  data.metadata_host = input.metadata_host;
  const std::uint64_t metadata_port =
      input.metadata_port != 0 ? input.metadata_port : config.integer(ConfigKey::kMetadataPort);
  data.metadata_port = static_cast<std::uint16_t>(metadata_port);
  data.create_instance = input.start_flag;
  data.block_bytes = config.bytes(ConfigKey::kBlockSize);
  return {};
}

// Which form the positional arguments are.
Status read_form(const std::vector<std::string>& arguments, Input* input, ServerOptions* options) {
  if (arguments.size() == 1 && (arguments[0] == "metadata" || arguments[0] == "data")) {
    options->is_metadata = arguments[0] == "metadata";
    return {};
  }
  options->is_metadata = arguments.size() == 3 || arguments.size() == 4;
  if (options->is_metadata) return read_metadata_form(arguments, input);
  if (arguments.size() == 8) return read_data_form(arguments, input);
  return Status(Code::kInvalidArgument,
                "say 'server metadata', 'server data', or one of the positional forms");
}

Status refuse_other_role(const CommandLine& line, bool is_metadata) {
  if (is_metadata && line.given("instance"))
    return Status(Code::kInvalidArgument, "--instance is for data servers");
  if (!is_metadata && line.given("file"))
    return Status(Code::kInvalidArgument, "--file is for metadata servers");
  return {};
}

void add_options(CommandLine& line, Input* input, ServerOptions* options) {
  line.number("port", 'p', "PORT", "Port (METADATA_PORT or DATA_PORT)", 1, 65535, &input->port);
  line.size("capacity", 'S', "SIZE", "Memory to use at most; 0 is the default", kGiB,
            &input->capacity);
  line.text("file", 'M', "FILE", "Metadata: file that keeps the namespace (METADATA_FILE)",
            &input->file);
  line.text("instance", 'u', "URI", "Data: instance to serve (URI)", &input->instance);
  line.text("metadata-host", 0, "HOST", "Host of the (first) metadata server (localhost)",
            &input->metadata_host);
  line.number("metadata-port", 'm', "PORT", "Its port (METADATA_PORT)", 1, 65535,
              &input->metadata_port);
  line.number("servers", 'n', "N", "Servers of this kind (as in the host file, or 1)", 1, UINT16_MAX,
              &input->servers);
  line.text("hostfile", 0, "FILE", "Hosts of all servers of this kind; the rank chooses host and port",
            &input->hostfile);
  line.number("rank", 'r', "N", "Position among them (from the MPI launcher, or 0)", 0,
              UINT16_MAX, &input->rank);
  line.text("host", 0, "NAME", "What the others call this node", &input->host);
  line.text("address", 'a', "ADDRESS", "Listen there for other nodes: a name of this one, or * (ADDRESS)",
            &input->address);
  line.text("keys", 'k', "FILE", "The instance's keys, see imss keygen (KEY_FILE)", &input->key_file);
  line.text("share", 's', "MODE", "What other processes of this node do with the memory: rw, ro or none (SHARE)",
            &input->share);
  line.number("workers", 'w', "N", "Threads that serve other nodes (THREAD_POOL)", 1, 1024, &input->workers);
  line.flag("daemonize", 'd', "Run in the background; return once it serves", &options->daemonize);
  line.text("log", 0, "FILE", "Append messages to FILE", &options->log_file);
  line.text("pid-file", 0, "FILE", "Keep the process id in FILE, locked", &options->pid_file);
  line.number("ready-fd", 0, "FD", "Write a line to the descriptor once it serves", 0, INT32_MAX,
              &input->ready_fd);
  line.text("report", 0, "LABEL", "Print LABEL and that line, with --daemonize instead of failing",
            &options->report_label);
  line.text("run-dir", 0, "DIR", "Make DIR, for this user alone, and the folder of the log file",
            &options->run_dir);
}

}  // namespace

std::optional<int> read_server_options(int argc, char** argv, ServerOptions* options) {
  CommandLine line("server", "metadata|data|POSITIONAL...", "Serve metadata or data of IMSS.",
                   std::string(kExamples));
  Input input;
  input.rank = launcher_rank();
  add_options(line, &input, options);
  if (const auto code = line.parse(argc, argv)) return code;
  Status status = read_form(line.arguments(), &input, options);
  if (status.ok()) status = refuse_other_role(line, options->is_metadata);
  if (!status.ok()) return usage_error(line.program(), status.message());
  auto config = Config::load();
  if (!config.ok()) return fail(line.program(), config.status());
  status = options->is_metadata ? fill_metadata(input, *config, options)
                                : fill_data(input, *config, options);
  if (!status.ok()) return fail(line.program(), status);
  options->log_file = absolute(options->log_file);
  options->pid_file = absolute(options->pid_file);
  options->run_dir = absolute(options->run_dir);
  if (input.ready_fd <= INT32_MAX) options->ready_fd = static_cast<int>(input.ready_fd);
  return std::nullopt;
}

}  // namespace imss::tools
