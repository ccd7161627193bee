#include "bench_store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "segment/segment_files.h"

namespace imss::bench {
namespace {

constexpr std::uint16_t kDataPort = 5555;

}  // namespace

Result<std::unique_ptr<BenchStore>> BenchStore::start(const StoreOptions& options) {
  std::unique_ptr<BenchStore> store(new BenchStore());
  std::string folder = segment::directory() + "/imss-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) {
    return Status::from_errno(errno, "cannot make a folder in " + segment::directory());
  }
  store->folder_ = folder;
  ::setenv("IMSS_SHM_DIR", folder.c_str(), 1);
  IMSS_RETURN_IF_ERROR(options.detached ? store->start_child(options) : store->start_here(options));
  return store;
}

BenchStore::~BenchStore() {
  if (child_ > 0) {
    ::close(child_pipe_);
    ::waitpid(child_, nullptr, 0);
  }
  stop_here();
  if (folder_.empty()) return;
  ::setenv("IMSS_SHM_DIR", std::filesystem::path(folder_).parent_path().c_str(), 1);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void BenchStore::stop_here() {
  if (data_) data_->stop(true);
  if (metadata_) metadata_->stop(true);
}

Status BenchStore::start_here(const StoreOptions& options) {
  server::MetadataServerOptions metadata;
  metadata.port = kMetadataPort;
  metadata.capacity_bytes = options.metadata_bytes;
  metadata.attached = !options.detached;
  IMSS_ASSIGN_OR_RETURN(metadata_, server::MetadataServer::start(metadata));
  server::DataServerOptions data;
  data.instance = kInstance;
  data.port = kDataPort;
  data.metadata_port = kMetadataPort;
  data.capacity_bytes = options.data_bytes;
  data.attached = !options.detached;
  IMSS_ASSIGN_OR_RETURN(data_, server::DataServer::start(data));
  if (options.detached) return {};
  // Detached servers make the instance themselves.
  IMSS_ASSIGN_OR_RETURN(const auto session, connect());
  metadata::InstanceInfo info;
  info.name = kInstance;
  info.block_bytes = 1 << 20;
  info.deployment = 1;
  info.servers = {data_->server_id()};
  return session->create_instance(info);
}

Status BenchStore::start_child(const StoreOptions& options) {
  int ready[2];
  int alive[2];
  if (::pipe2(ready, O_CLOEXEC) != 0 || ::pipe2(alive, O_CLOEXEC) != 0) {
    return Status::from_errno(errno, "pipe2");
  }
  std::fflush(nullptr);
  child_ = ::fork();
  if (child_ < 0) return Status::from_errno(errno, "fork");
  if (child_ == 0) {
    // The terminal's interrupt is for the parent, whose end closes the pipe.
    ::signal(SIGINT, SIG_IGN);
    ::close(alive[1]);
    const Status status = start_here(options);
    if (!status.ok()) std::fprintf(stderr, "imss bench: %s\n", status.message().c_str());
    const auto code = static_cast<std::uint16_t>(status.code());
    [[maybe_unused]] auto moved = ::write(ready[1], &code, sizeof(code));
    char byte = 0;
    do {
      moved = ::read(alive[0], &byte, 1);
    } while (moved < 0 && errno == EINTR);
    stop_here();
    ::_exit(0);
  }
  ::close(ready[1]);
  ::close(alive[0]);
  child_pipe_ = alive[1];
  std::uint16_t code = static_cast<std::uint16_t>(Code::kIo);
  const bool answered = ::read(ready[0], &code, sizeof(code)) == sizeof(code);
  ::close(ready[0]);
  if (!answered) return Status(Code::kIo, "the servers' process ended");
  return static_cast<Code>(code);
}

Result<std::unique_ptr<client::Session>> BenchStore::connect() {
  client::ConnectOptions options;
  options.port = kMetadataPort;
  return client::Session::connect(options);
}

}  // namespace imss::bench
