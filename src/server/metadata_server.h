// A metadata server: the segment that holds the namespace, its host, and the metadata file.
//
// One class for both uses: as a daemon (the program `server`) and attached, as a thread inside a
// process of the application. It installs no signal handlers, prints nothing and does not change
// the working directory. Owned by whoever started it; start() and stop() from one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "metadata/journaller.h"
#include "segment/host.h"

namespace imss::server {

struct MetadataServerOptions {
  std::uint16_t port = 5569;
  std::uint64_t capacity_bytes = 0;  // 0: default_metadata_capacity()
  std::string metadata_file;         // empty: the namespace ends with the segment
  std::uint32_t rank = 0;
  bool attached = false;
};

class MetadataServer {
 public:
  // Serves when it returns. A detached server goes on with the segment of an earlier one on the
  // same port whose process is gone. Errors: kBusy (port in use), kExists, kInvalidArgument
  // (capacity), kNoSpace, kSystem.
  static Result<std::unique_ptr<MetadataServer>> start(const MetadataServerOptions& options);
  // Stops and keeps the segment unless it was stopped before.
  ~MetadataServer();

  const std::string& segment_name() const { return segment_name_; }
  bool took_over() const { return host_->took_over(); }
  // Ends the service. With `retire` clients are turned away and the segment is removed; otherwise
  // it stays for the next server on this port. Further calls have no effect.
  void stop(bool retire);

 private:
  MetadataServer() = default;

  std::string segment_name_;
  std::unique_ptr<segment::Host> host_;
  std::unique_ptr<metadata::Journaller> journaller_;
  bool stopped_ = false;
};

}  // namespace imss::server
