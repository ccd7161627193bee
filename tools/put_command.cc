#include "put_command.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "common_file.h"
#include "common_progress.h"
#include "common_session.h"

namespace imss::tools {
namespace {

struct Options {
  std::string policy;
  std::uint64_t block_bytes = 0;
  std::uint64_t replicas = 0;
  std::uint64_t servers = 0;
  bool force = false;
  bool verbose = false;
};

Result<client::DatasetOptions> layout_of(const Options& options, const Config& config,
                                         const struct stat& file) {
  client::DatasetOptions layout;
  const std::string& policy =
      options.policy.empty() ? config.text(ConfigKey::kPolicy) : options.policy;
  IMSS_ASSIGN_OR_RETURN(layout.policy, parse_policy(policy));
  layout.block_bytes =
      options.block_bytes != 0 ? options.block_bytes : config.bytes(ConfigKey::kBlockSize);
  const std::uint64_t replicas =
      options.replicas != 0 ? options.replicas : config.integer(ConfigKey::kReplFactor);
  layout.replicas = static_cast<std::uint32_t>(replicas);
  layout.server_count = static_cast<std::uint32_t>(options.servers);
  layout.mode = file.st_mode & 07777;
  layout.size_bytes = static_cast<std::uint64_t>(file.st_size);
  layout.block_count = (layout.size_bytes + layout.block_bytes - 1) / layout.block_bytes;
  return layout;
}

constexpr int kEndingSignals[] = {SIGINT, SIGTERM, SIGHUP};

// From here on these signals wait, so that a put that is interrupted removes what it has stored.
void hold_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int number : kEndingSignals) ::sigaddset(&signals, number);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
}

bool interrupted() {
  sigset_t pending;
  ::sigemptyset(&pending);
  ::sigpending(&pending);
  return std::ranges::any_of(kEndingSignals,
                             [&](int number) { return ::sigismember(&pending, number) == 1; });
}

Status copy_blocks(client::Session& session, client::Dataset& dataset, int fd,
                   const client::DatasetOptions& layout, Progress& progress) {
  std::vector<std::byte> block(
      std::min(layout.block_bytes, std::max<std::uint64_t>(layout.size_bytes, 1)));
  std::uint64_t done = 0;
  for (std::uint64_t number = 1; done < layout.size_bytes; ++number) {
    if (interrupted()) return Status(Code::kIo, "interrupted; nothing was stored");
    const std::uint64_t wanted = std::min(layout.block_bytes, layout.size_bytes - done);
    IMSS_RETURN_IF_ERROR(read_exactly(fd, std::span(block).first(wanted), done));
    IMSS_RETURN_IF_ERROR(session.put(dataset, number, std::span(block).first(wanted)));
    done += wanted;
    progress.advance(wanted);
  }
  return {};
}

// The content is stored under a name of its own and renamed when it is complete, so that nobody
// finds half a file.
Status put_file(Connection& connection, int fd, const Uri& target, const Options& options,
                const client::DatasetOptions& layout, Progress& progress) {
  client::Session& session = connection.session();
  Uri partial = target;
  const std::size_t slash = partial.path.rfind('/');
  const std::size_t name_at = slash == std::string::npos ? 0 : slash + 1;
  partial.path = concat(std::string_view(partial.path).substr(0, name_at), ".imss-put-",
                        std::to_string(::getpid()));
  IMSS_ASSIGN_OR_RETURN(const std::int32_t handle, session.create(partial, layout));
  const auto dataset = session.dataset(handle);
  Status status = dataset.status();
  if (status.ok()) status = copy_blocks(session, **dataset, fd, layout, progress);
  const Status released = session.release(handle);
  if (status.ok()) status = released;
  if (status.ok()) status = session.rename(partial, target, !options.force);
  if (!status.ok()) {
    // The first error is the one to report.
    const Status removed = session.unlink(partial);
    static_cast<void>(removed);
  }
  return status;
}

}  // namespace

int run_put(int argc, char** argv) {
  CommandLine line("imss put", "FILE URI",
                   "Copy a file into the store. URI is the new dataset, or a directory to put it "
                   "into.",
                   "Examples:\n  imss put input.dat imss://x/input.dat\n"
                   "  imss put --policy LOCAL --block-size 4MiB input.dat imss://x/dir/");
  Options options;
  line.text("policy", 'p', "P", "RR, BUCKETS, HASH, CRC16b, CRC64b, LOCAL or HRW (POLICY)",
            &options.policy);
  line.size("block-size", 'b', "SIZE", "Bytes of a block, up to 64MiB (BLOCK_SIZE)", 1,
            &options.block_bytes);
  line.number("replicas", 'r', "N", "Copies of each block, 1 to 3 (REPL_FACTOR)", 1, 3,
              &options.replicas);
  line.number("servers", 'n', "N", "Servers to use (all)", 1, 65535, &options.servers);
  line.flag("force", 'f', "Replace a dataset that exists, atomically", &options.force);
  line.flag("verbose", 'v', "Say how fast it was", &options.verbose);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(2, 2)) return *code;
  const std::string& path = line.arguments()[0];
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (file.fd() < 0 || ::fstat(file.fd(), &status) != 0) {
    return fail(line.program(), Status::from_errno(errno, path));
  }
  if (!S_ISREG(status.st_mode)) return fail(line.program(), path + ": is not a regular file");
  if (const auto code = connection.open()) return *code;
  auto target = connection.uri(line.arguments()[1]);
  if (!target) return kExitUsage;
  const auto node = connection.session().resolve(*target);
  if (node.ok() && node->directory != 0) {
    *target = child_of(*target, std::string_view(path).substr(path.rfind('/') + 1));
  } else if (node.ok() && !options.force) {
    return connection.fail_at(*target, Status(Code::kExists, "exists; --force replaces it"));
  }
  if (target->path.empty()) return connection.fail_at(*target, node.status());
  const auto layout = layout_of(options, connection.config(), status);
  if (!layout.ok()) return usage_error(line.program(), layout.status().message());
  hold_signals();
  Progress progress(path, layout->size_bytes);
  const Status done = put_file(connection, file.fd(), *target, options, *layout, progress);
  if (!done.ok()) return connection.fail_at(*target, done);
  progress.finish(options.verbose);
  return kExitOk;
}

}  // namespace imss::tools
