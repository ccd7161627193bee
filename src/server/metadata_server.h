// A metadata server: the segment that holds the namespace, or its part of one, its host, and the
// metadata file.
//
// One class for both uses: as a daemon (the program `server`) and attached, as a thread inside a
// process of the application. It installs no signal handlers, prints nothing and does not change
// the working directory. Several form one deployment: the first keeps the cluster map, and the
// others join there and say that they live. Owned by whoever started it; start() and stop() from
// one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/log_limit.h"
#include "base/host_file.h"
#include "base/result.h"
#include "base/thread_annotations.h"
#include "client/session.h"
#include "metadata/change_upkeep.h"
#include "metadata/journaller.h"
#include "segment/host.h"
#include "server/network_service.h"

namespace imss::server {

struct MetadataServerOptions {
  std::uint16_t port = 5569;
  std::uint64_t capacity_bytes = 0;  // 0: default_metadata_capacity()
  std::string metadata_file;         // empty: the namespace ends with the segment
  std::uint32_t rank = 0;            // its place among the metadata servers
  std::uint32_t server_count = 1;    // of the deployment
  Host first = {};                   // where the first is; for the others
  std::string host_name = {};        // as others know this node; empty: its own name
  int wait_ms = 30'000;              // for the first
  std::function<bool()> give_up;     // asked while waiting; may be empty
  bool attached = false;
  segment::Sharing sharing = segment::Sharing::kReadWrite;
  NetworkOptions network;
};

// The metadata file of a server that is given the common one: those of several have endings.
std::string metadata_file_of(const std::string& file, std::uint32_t rank);

class MetadataServer {
 public:
  // Serves, and is in the map, when it returns. A detached server goes on with the segment of an
  // earlier one on the same port whose process is gone. Errors: kBusy (port in use), kExists,
  // kInvalidArgument (capacity; a segment or file of another place), kNotInitialized (no first
  // server within wait_ms), kNoSpace, kSystem.
  static Result<std::unique_ptr<MetadataServer>> start(const MetadataServerOptions& options);
  // Stops and keeps the segment unless it was stopped before.
  ~MetadataServer();

  // Makes a server that was started without network reachable from other nodes. Errors: as
  // NetworkService::start.
  Status open_to_network(const NetworkOptions& network);
  bool listens() const { return network_ != nullptr; }
  const std::string& segment_name() const { return segment_name_; }
  bool took_over() const { return host_->took_over(); }
  // Ends the service. With `retire` clients are turned away and the segment is removed; otherwise
  // it stays for the next server on this port. Further calls have no effect.
  void stop(bool retire);

 private:
  explicit MetadataServer(MetadataServerOptions options) : options_(std::move(options)) {}
  Status start_host();
  Status join();
  Result<std::uint64_t> say(const metadata::MapServer& self);
  void beat();
  void leave_map();
  void reap();
  void run_upkeep();
  bool wait_for_stop(std::chrono::milliseconds period);
  bool is_first() const { return options_.rank == 0; }
  bool is_one_of_several() const { return options_.server_count > 1; }

  const MetadataServerOptions options_;
  std::string segment_name_;
  std::unique_ptr<segment::Host> host_;
  std::unique_ptr<metadata::Journaller> journaller_;
  std::unique_ptr<NetworkService> network_;
  bool stopped_ = false;

  // Of one among several. Used by start() and then by the upkeep thread, and at the end by stop().
  metadata::MapServer self_;
  std::shared_ptr<metadata::NameService> first_;
  std::int64_t started_ns_ = 0;
  std::unique_ptr<metadata::ChangeUpkeep> changes_;

  // Of a server with clients on other nodes, or among several: removes what they left behind.
  std::unique_ptr<client::Session> session_;
  Complaint not_reaped_{"cannot remove what dead clients left"};
  Complaint not_finished_{"cannot finish changes of dead clients"};
  Complaint not_forgotten_{"cannot forget clients that are gone"};
  Mutex mutex_;
  Condition stop_requested_;
  bool stopping_ IMSS_GUARDED_BY(mutex_) = false;
  std::thread upkeep_thread_;
};

}  // namespace imss::server
