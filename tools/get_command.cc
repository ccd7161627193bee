#include "get_command.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "base/text.h"
#include "common_file.h"
#include "common_progress.h"
#include "common_session.h"

namespace imss::tools {
namespace {

Status copy_out(client::Session& session, const Uri& uri, int fd, std::uint64_t size,
                Progress& progress) {
  IMSS_ASSIGN_OR_RETURN(const std::int32_t handle, session.open(uri));
  const auto dataset = session.dataset(handle);
  Status status = dataset.status();
  if (status.ok()) {
    const std::uint64_t block_bytes = (*dataset)->layout.block_bytes;
    const std::uint64_t at_once = blocks_at_once(block_bytes);
    std::vector<std::byte> buffer(std::min(at_once * block_bytes, std::max<std::uint64_t>(size, 1)));
    std::uint64_t number = 1;
    for (std::uint64_t done = 0; done < size && status.ok();) {
      const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size - done));
      std::vector<client::BlockRange> list;
      for (std::uint64_t at = 0; at < part.size(); at += block_bytes)
        list.push_back({number++, 0, part.subspan(at, std::min(block_bytes, part.size() - at)), {}});
      status = session.get_list(**dataset, list);
      if (status.ok()) status = write_all(fd, part);
      done += part.size();
      progress.advance(part.size());
    }
  }
  const Status released = session.release(handle);
  return status.ok() ? released : status;
}

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Of the dataset that the name stands for, also when it is a symbolic link.
Result<store::Attributes> attributes_of(client::Session& session, const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(const std::int32_t handle, session.open(uri));
  auto dataset = session.dataset(handle);
  auto attributes = dataset.ok() ? session.attributes(**dataset) : Result<store::Attributes>(dataset.status());
  if (const Status released = session.release(handle); !released.ok() && attributes.ok()) return released;
  return attributes;
}

}  // namespace

int run_get(int argc, char** argv) {
  CommandLine line("imss get", "URI FILE",
                   "Copy a dataset out of the store, into FILE, a folder, or '-', standard output.",
                   "Examples:\n  imss get imss://x/data data.out\n  imss get imss://x/data - | wc");
  bool verbose = false;
  line.flag("verbose", 'v', "Say how fast it was", &verbose);
  Connection connection(line);
  if (const auto code = line.parse(argc, argv)) return *code;
  if (const auto code = line.expect_arguments(2, 2)) return *code;
  if (const auto code = connection.open()) return *code;
  const auto uri = connection.uri(line.arguments()[0]);
  if (!uri) return kExitUsage;
  const auto node = connection.session().resolve(*uri, true);
  if (!node.ok()) return connection.fail_at(*uri, node.status());
  if (node->directory != 0) return connection.fail_at(*uri, Status(Code::kIsDirectory));
  const auto attributes = attributes_of(connection.session(), *uri);
  if (!attributes.ok()) return connection.fail_at(*uri, attributes.status());

  std::string path = line.arguments()[1];
  const bool to_stdout = path == "-";
  if (!to_stdout && is_directory(path)) path = concat(path, "/", base_name(*uri));
  File file(to_stdout ? ::dup(STDOUT_FILENO)
                      : ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                               attributes->mode & 0777));
  if (file.fd() < 0) return fail(line.program(), Status::from_errno(errno, path));
  Progress progress(format_uri(*uri), attributes->size);
  Status status = copy_out(connection.session(), *uri, file.fd(), attributes->size, progress);
  if (status.ok()) status = file.close();
  if (!status.ok()) return connection.fail_at(*uri, status);
  progress.finish(verbose);
  return kExitOk;
}

}  // namespace imss::tools
