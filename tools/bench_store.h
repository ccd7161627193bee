// The servers and the scratch folder of a benchmark run; its end removes both.
//
// The folder lies in the shared-memory file system and holds the segments (IMSS_SHM_DIR) and the
// files that tmpfs is measured with. Servers are attached, as threads of this process, or detached,
// in a child process. Owned by one thread; connect() may be called from any thread and from forked
// children.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "client/session.h"
#include "server/data_server.h"
#include "server/metadata_server.h"

namespace imss::bench {

inline constexpr const char* kInstance = "bench";
inline constexpr std::uint16_t kMetadataPort = 5569;

struct StoreOptions {
  std::uint64_t data_bytes = 0;
  std::uint64_t metadata_bytes = 0;
  bool detached = false;
};

class BenchStore {
 public:
  // Errors: kSystem (no folder, no child), those of the servers.
  static Result<std::unique_ptr<BenchStore>> start(const StoreOptions& options);
  ~BenchStore();
  BenchStore(const BenchStore&) = delete;
  BenchStore& operator=(const BenchStore&) = delete;

  static Result<std::unique_ptr<client::Session>> connect();
  // The folder on tmpfs.
  const std::string& folder() const { return folder_; }

 private:
  BenchStore() = default;
  Status start_here(const StoreOptions& options);
  Status start_child(const StoreOptions& options);
  void stop_here();

  std::string folder_;
  std::unique_ptr<server::MetadataServer> metadata_;
  std::unique_ptr<server::DataServer> data_;
  pid_t child_ = -1;
  int child_pipe_ = -1;  // the child ends when it is closed
};

inline Uri uri_of(std::string name) { return {kInstance, std::move(name)}; }

}  // namespace imss::bench
