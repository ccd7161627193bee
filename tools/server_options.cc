#include "server_options.h"

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
#include "common_program.h"
#include "server/deployment.h"

namespace imss::tools {
namespace {

constexpr std::string_view kExamples =
    "Roles and positional forms:\n"
    "  server metadata [OPTION...]\n"
    "  server data [OPTION...]\n"
    "  server METADATA_FILE PORT BUFFER_SIZE\n"
    "  server URI PORT STORAGE_SIZE METADATA_HOST METADATA_PORT NUM_SERVERS HOSTFILE START_FLAG\n\n"
    "Sizes: 8GiB, 512MiB; a bare number is GiB; 0 is the default. START_FLAG 1 makes the instance\n"
    "once all of its servers have joined, 0 only joins.\n\n"
    "Signals: SIGTERM and SIGINT stop the server and keep its segment, so that a server started\n"
    "again goes on with it. SIGUSR1 stops the server and removes its segment with the data.\n\n"
    "Examples:\n"
    "  server ./metadata 5569 0\n"
    "  server imss://x 5555 2 localhost 5569 1 ./hostfile 1\n"
    "  server metadata --file ./metadata --port 5569 --capacity 1GiB\n"
    "  server data --instance imss://x --port 5555 --capacity 8GiB --daemonize --log x.log";

// The values of all options, in either form.
struct Input {
  std::string instance;
  std::string file;
  std::string hostfile;
  std::string host;
  std::string metadata_host = "localhost";
  std::uint64_t port = 0;
  std::uint64_t metadata_port = 0;
  std::uint64_t capacity = 0;
  std::uint64_t servers = 0;
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

Status fill_metadata(const Input& input, const Config& config, ServerOptions* options) {
  server::MetadataServerOptions& metadata = options->metadata;
  const std::uint64_t port =
      input.port != 0 ? input.port : config.integer(ConfigKey::kMetadataPort);
  metadata.port = static_cast<std::uint16_t>(port);
  metadata.capacity_bytes = input.capacity;
  metadata.metadata_file =
      absolute(input.file.empty() ? config.text(ConfigKey::kMetadataFile) : input.file);
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
  data.server_count = static_cast<std::uint32_t>(input.servers);
  const std::uint64_t port = input.port != 0 ? input.port : config.integer(ConfigKey::kDataPort);
  data.port = static_cast<std::uint16_t>(port);
  data.host_name = input.host;
  std::uint32_t servers_on_node = 1;
  if (data.rank >= data.server_count) {
    return Status(Code::kInvalidArgument,
                  concat("rank ", std::to_string(data.rank), " does not fit ",
                         std::to_string(data.server_count), " servers"));
  }
  if (!input.hostfile.empty()) {
    IMSS_ASSIGN_OR_RETURN(const auto hosts, server::hosts_of(input.hostfile));
    IMSS_ASSIGN_OR_RETURN(const auto seats,
                          server::plan_seats(hosts, data.server_count, data.port));
    const server::Seat& seat = seats[data.rank];
    data.port = seat.port;
    if (input.host.empty()) data.host_name = seat.host;
    servers_on_node = seat.servers_on_node;
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
  options->is_metadata = arguments.size() == 3;
  if (arguments.size() == 3) return read_metadata_form(arguments, input);
  if (arguments.size() == 8) return read_data_form(arguments, input);
  return Status(Code::kInvalidArgument,
                "say 'server metadata', 'server data', or one of the positional forms");
}

Status refuse_other_role(const CommandLine& line, bool is_metadata) {
  const std::vector<std::string_view> data_only = {
      "instance", "metadata-host", "metadata-port", "servers", "hostfile", "rank", "host"};
  if (!is_metadata) {
    if (!line.given("file")) return {};
    return Status(Code::kInvalidArgument, "--file is for metadata servers");
  }
  for (const std::string_view name : data_only) {
    if (line.given(name)) {
      return Status(Code::kInvalidArgument, concat("--", name, " is for data servers"));
    }
  }
  return {};
}

void add_options(CommandLine& line, Input* input, ServerOptions* options) {
  line.number("port", 'p', "PORT", "Port (METADATA_PORT or DATA_PORT)", 1, 65535, &input->port);
  line.size("capacity", 'S', "SIZE", "Memory to use at most; 0 is the default", kGiB,
            &input->capacity);
  line.text("file", 'M', "FILE", "Metadata: file that keeps the namespace (METADATA_FILE)",
            &input->file);
  line.text("instance", 'u', "URI", "Data: instance to serve (URI)", &input->instance);
  line.text("metadata-host", 0, "HOST", "Data: host of the metadata server (localhost)",
            &input->metadata_host);
  line.number("metadata-port", 'm', "PORT", "Data: its port (METADATA_PORT)", 1, 65535,
              &input->metadata_port);
  line.number("servers", 'n', "N", "Data: servers of the instance (1)", 1, UINT16_MAX,
              &input->servers);
  line.text("hostfile", 0, "FILE", "Data: hosts of all servers; the rank chooses host and port",
            &input->hostfile);
  line.number("rank", 'r', "N", "Data: position in the instance (from the MPI launcher, or 0)", 0,
              UINT16_MAX, &input->rank);
  line.text("host", 0, "NAME", "Data: what clients call this node", &input->host);
  line.flag("daemonize", 'd', "Run in the background; return once it serves", &options->daemonize);
  line.text("log", 0, "FILE", "Append messages to FILE", &options->log_file);
  line.text("pid-file", 0, "FILE", "Keep the process id in FILE, locked", &options->pid_file);
  line.number("ready-fd", 0, "FD", "Write a line to the descriptor once it serves", 0, INT32_MAX,
              &input->ready_fd);
}

}  // namespace

std::optional<int> read_server_options(int argc, char** argv, ServerOptions* options) {
  CommandLine line("server", "metadata|data|POSITIONAL...", "Serve metadata or data of IMSS.",
                   std::string(kExamples));
  Input input;
  input.servers = 1;
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
  if (input.ready_fd <= INT32_MAX) options->ready_fd = static_cast<int>(input.ready_fd);
  return std::nullopt;
}

}  // namespace imss::tools
