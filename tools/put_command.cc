#include "put_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
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
  // What comes through a pipe has no size yet: a dataset that grows.
  if (!S_ISREG(file.st_mode)) return layout;
  layout.size_bytes = static_cast<std::uint64_t>(file.st_size);
  layout.block_count = (layout.size_bytes + layout.block_bytes - 1) / layout.block_bytes;
  return layout;
}

constexpr int kEndingSignals[] = {SIGINT, SIGTERM, SIGHUP};

sigset_t ending_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int number : kEndingSignals) ::sigaddset(&signals, number);
  return signals;
}

// From here on these signals wait, so that a put that is interrupted removes what it has stored.
void hold_signals() {
  const sigset_t signals = ending_signals();
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
  const std::uint64_t at_once = blocks_at_once(layout.block_bytes) * layout.block_bytes;
  std::vector<std::byte> buffer(std::min(at_once, std::max<std::uint64_t>(layout.size_bytes, 1)));
  std::uint64_t number = 1;
  for (std::uint64_t done = 0; done < layout.size_bytes;) {
    if (interrupted()) return Status(Code::kIo, "interrupted; nothing was stored");
    const auto part =
        std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), layout.size_bytes - done));
    IMSS_RETURN_IF_ERROR(read_exactly(fd, part, done));
    std::vector<client::BlockContent> list;
    for (std::uint64_t at = 0; at < part.size(); at += layout.block_bytes)
      list.push_back({number++, part.subspan(at, std::min(layout.block_bytes, part.size() - at)), {}});
    IMSS_RETURN_IF_ERROR(session.put_list(dataset, list));
    done += part.size();
    progress.advance(part.size());
  }
  return {};
}

// Fills the block as far as there is input, which may come slowly: whoever waits for it can be
// interrupted. Returns how many bytes.
Result<std::size_t> read_block(int fd, int signals, std::span<std::byte> block) {
  std::size_t done = 0;
  while (done < block.size()) {
    pollfd ready[] = {{fd, POLLIN, 0}, {signals, POLLIN, 0}};
    if (::poll(ready, 2, -1) < 0 && errno != EINTR) return Status::from_errno(errno, "poll");
    if (interrupted()) return Status(Code::kIo, "interrupted; nothing was stored");
    const ssize_t count = ::read(fd, block.data() + done, block.size() - done);
    if (count == 0) break;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Status::from_errno(errno, "cannot read standard input");
    done += static_cast<std::size_t>(count);
  }
  return done;
}

// From standard input, until it ends.
Status copy_stream(client::Session& session, client::Dataset& dataset, int fd,
                   const client::DatasetOptions& layout, Progress& progress) {
  const sigset_t set = ending_signals();
  const File signals(::signalfd(-1, &set, SFD_CLOEXEC));
  std::vector<std::byte> block(layout.block_bytes);
  for (std::uint64_t number = 1;; ++number) {
    IMSS_ASSIGN_OR_RETURN(const std::size_t count, read_block(fd, signals.fd(), block));
    if (count == 0) return {};
    IMSS_RETURN_IF_ERROR(session.put(dataset, number, std::span(block).first(count)));
    progress.advance(count);
    if (count < block.size()) return {};
  }
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
  const bool stream = layout.block_count == 0 && layout.size_bytes == 0;
  if (status.ok()) {
    status = stream ? copy_stream(session, **dataset, fd, layout, progress)
                    : copy_blocks(session, **dataset, fd, layout, progress);
  }
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
  CommandLine line(
      "imss put", "FILE URI",
      "Copy a file, or '-', standard input, into the store. URI is the new dataset, or a "
      "directory to put it into.",
      "Examples:\n  imss put input.dat imss://x/input.dat\n"
      "  imss put --policy LOCAL --block-size 4MiB input.dat imss://x/dir/\n"
      "  tar -c dir | imss put - imss://x/dir.tar");
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
  const bool from_stdin = path == "-";
  const File file(from_stdin ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (file.fd() < 0 || ::fstat(file.fd(), &status) != 0) {
    return fail(line.program(), Status::from_errno(errno, path));
  }
  if (from_stdin) {
    status.st_mode = 0644;  // what kind of a file it is, and where it stands, does not matter
    status.st_size = 0;
  } else if (!S_ISREG(status.st_mode)) {
    return fail(line.program(), path + ": is not a regular file");
  }
  if (const auto code = connection.open()) return *code;
  auto target = connection.uri(line.arguments()[1]);
  if (!target) return kExitUsage;
  const auto node = connection.session().resolve(*target);
  if (node.ok() && node->directory != 0 && from_stdin) {
    return connection.fail_at(*target,
                              Status(Code::kIsDirectory, "is a directory; name the new dataset"));
  }
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
