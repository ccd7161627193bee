#include "mount_options.h"

#include <algorithm>
#include <bit>

#include "base/config.h"
#include "common_program.h"

namespace imss::fuse {
namespace {

constexpr const char* kProgram = "imfssfs";
constexpr std::uint64_t kLeastBlockBytes = 64 << 10;
constexpr std::uint64_t kMostBlockBytes = 64 << 20;

// What the command line holds before it is checked.
struct Given {
  std::string root;
  std::string data_hosts;
  std::string metadata_hosts;
  std::string policy;
  std::uint64_t data_port = 0;
  std::uint64_t metadata_port = 0;
  std::uint64_t block_bytes = 0;
  std::uint64_t buffer_bytes = 0;
  std::uint64_t deployment = 2;
  std::uint64_t replicas = 1;
  std::uint64_t metadata_servers = 0;
};

void add_options(tools::CommandLine& line, Given& given, MountOptions& options) {
  line.text("root", 'r', "URI", "Instance to mount (URI)", &given.root);
  line.text("mount-point", 'l', "DIR", "Where to mount it", &options.mount_point);
  line.number("deployment", 'd', "0|2", "0: servers inside this process; 2: connect to those that run (2)", 0, 2,
              &given.deployment);
  line.number("data-port", 'p', "PORT", "Port of the data server of -d 0 (DATA_PORT)", 1, 65535, &given.data_port);
  line.number("metadata-port", 'm', "PORT", "Port of the metadata server (METADATA_PORT)", 1, 65535, &given.metadata_port);
  line.text("metadata-file", 'M', "FILE", "Metadata file of -d 0", &options.metadata_file);
  line.text("data-hosts", 'h', "FILE", "Host file of data servers; the metadata servers know them, it is only accepted",
            &given.data_hosts);
  line.text("metadata-hosts", 'a', "FILE", "Host file of metadata servers (METADATA_HOSTFILE)", &given.metadata_hosts);
  line.number("block-size", 'b', "BYTES", "Block size of new files, rounded up to a power of two from 64 KiB on (1 MiB)",
              1, kMostBlockBytes, &given.block_bytes);
  line.size("storage-size", 'S', "BYTES", "Memory of the servers of -d 0 (1 GiB)", 1, &options.capacity_bytes);
  line.size("storage", 's', "BYTES", "The same", 1, &options.capacity_bytes);
  line.size("buffer-size", 'B', "BYTES", "Accepted: nothing is buffered outside the store", 1, &given.buffer_bytes);
  line.text("policy", 'P', "POLICY", "Where blocks of new files go (POLICY)", &given.policy);
  line.number("replicas", 'R', "COUNT", "Copies of each block of new files (1)", 1, 3, &given.replicas);
  line.number("metadata-servers", 'x', "COUNT", "Accepted: the metadata servers say how many they are", 1, 65535,
              &given.metadata_servers);
  line.text("options", 'o', "LIST", "Options of fuse, such as allow_other,ro", &options.fuse_options);
  line.flag("foreground", 'f', "Stay in the foreground", &options.foreground);
}

Status check(const Given& given, const Config& config, MountOptions* options) {
  IMSS_ASSIGN_OR_RETURN(options->root, parse_uri(given.root.empty() ? config.text(ConfigKey::kUri) : given.root));
  if (!options->root.path.empty()) {
    return Status(Code::kInvalidArgument, format_uri(options->root) + " is below an instance; instances can be mounted");
  }
  if (given.deployment == 1) return Status(Code::kInvalidArgument, "the deployment is 0 or 2, not 1");
  options->attached = given.deployment == 0;
  const auto port = [&](std::uint64_t number, ConfigKey key) {
    return static_cast<std::uint16_t>(number != 0 ? number : config.integer(key));
  };
  options->data_port = port(given.data_port, ConfigKey::kDataPort);
  options->connect.port = port(given.metadata_port, ConfigKey::kMetadataPort);
  options->connect.key_file = config.text(ConfigKey::kKeyFile);
  options->connect.hosts = {Host{"localhost", 0}};
  const std::string& hosts = given.metadata_hosts.empty() ? config.text(ConfigKey::kMetadataHostfile) : given.metadata_hosts;
  if (!hosts.empty() && !options->attached) {
    IMSS_ASSIGN_OR_RETURN(options->connect.hosts, read_host_file(hosts));
  }
  IMSS_ASSIGN_OR_RETURN(options->files.policy,
                        parse_policy(given.policy.empty() ? config.text(ConfigKey::kPolicy) : given.policy));
  options->files.replicas = static_cast<std::uint32_t>(given.replicas);
  if (given.block_bytes != 0) options->files.block_bytes = std::bit_ceil(std::max(given.block_bytes, kLeastBlockBytes));
  if (options->capacity_bytes == 0) options->capacity_bytes = 1 << 30;
  if (options->mount_point.empty()) return Status(Code::kInvalidArgument, "say where to mount: -l DIR");
  return {};
}

}  // namespace

std::optional<int> read_mount_options(int argc, char** argv, MountOptions* options) {
  tools::CommandLine line(kProgram, "[URI DIR]", "Mount an instance as a file system.",
                          "Examples:\n  imfssfs -r imss://x -l /mnt/imss\n"
                          "  imfssfs -d 0 -r imss:// -S 1000000000 -l /mnt/imss\n\nUnmount with: fusermount3 -u DIR");
  Given given;
  add_options(line, given, *options);
  if (const auto code = line.parse(argc, argv)) return code;
  if (const auto code = line.expect_arguments(0, 2)) return code;
  if (line.arguments().size() == 2) {
    given.root = line.arguments()[0];
    options->mount_point = line.arguments()[1];
  } else if (line.arguments().size() == 1) {
    options->mount_point = line.arguments()[0];
  }
  const auto config = Config::load();
  if (!config.ok()) return tools::fail(kProgram, config.status());
  const Status checked = check(given, *config, options);
  if (!checked.ok()) return tools::usage_error(kProgram, checked.message());
  segment::set_deadline_ms(static_cast<int>(config->integer(ConfigKey::kDeadline) * 1000));
  return std::nullopt;
}

}  // namespace imss::fuse
