// A data server: a segment with blocks and inodes, its host, and its place in an instance.
//
// The same class as a daemon (the program `server`) and attached, inside a process of the
// application. It installs no signal handlers, prints nothing and does not change the working
// directory. A thread of its own removes what dead clients left behind, apart from the host's
// thread, so that clients that need memory never wait for it. Owned by whoever started it; start()
// and stop() from one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log_limit.h"
#include "base/result.h"
#include "base/thread_annotations.h"
#include "client/session.h"
#include "segment/host.h"
#include "server/attribute_feed.h"
#include "server/network_service.h"
#include "store/store.h"

namespace imss::server {

struct DataServerOptions {
  std::string instance;  // name; "" is the unnamed instance
  std::uint16_t port = 5555;
  std::uint32_t rank = 0;            // position in the instance
  std::uint64_t capacity_bytes = 0;  // 0: default_data_capacity(1)
  bool attached = false;
  std::string host_name;  // as clients know this node; empty: its own name
  std::string metadata_host = "localhost";
  std::uint16_t metadata_port = 5569;
  std::uint32_t server_count = 1;  // of the instance
  bool create_instance = true;     // once all have joined; not when attached
  bool join_later = false;         // start() does not look for the metadata server, see join()
  std::uint64_t block_bytes = 0;   // default of the instance; 0: 512 KiB
  int wait_ms = 30'000;            // for the metadata server
  std::function<bool()> give_up;   // asked while waiting; may be empty
  segment::Sharing sharing = segment::Sharing::kReadWrite;  // not when attached
  NetworkOptions network;
};

class DataServer {
 public:
  // Serves and has joined when it returns. A detached server goes on with the segment of an earlier
  // one on the same port whose process is gone, under the same server id.
  // Errors: kNotInitialized (no metadata server within wait_ms), kBusy (port in use), kExists,
  // kInvalidArgument (capacity), kNoSpace, kNotSupported (remote metadata host), kSystem.
  static Result<std::unique_ptr<DataServer>> start(const DataServerOptions& options);
  // Stops and keeps the segment unless it was stopped before.
  ~DataServer();

  // Between a start with join_later and join_service(): makes the server reachable from other
  // nodes, under `host_name`. Errors: as NetworkService::start.
  Status open_to_network(const NetworkOptions& network, const std::string& host_name);
  bool listens() const { return network_ != nullptr; }
  // Joins the metadata service of that host after a start with join_later; has no effect when it
  // has joined. Errors: kNotInitialized (no metadata server within wait_ms), kNotSupported,
  // kSystem.
  Status join_service(const std::string& metadata_host, int wait_ms);
  bool joined() const { return server_id_ != 0; }

  const std::string& segment_name() const { return segment_name_; }
  std::uint32_t server_id() const { return server_id_; }
  bool took_over() const { return host_->took_over(); }
  const std::shared_ptr<segment::Segment>& segment() const { return host_->segment(); }
  // Ends the service. With `retire` clients are turned away and the segment is removed; otherwise
  // it stays for the next server on this port. Further calls have no effect.
  void stop(bool retire);

 private:
  explicit DataServer(DataServerOptions options) : options_(std::move(options)) {}
  Result<std::unique_ptr<client::Session>> open_session() const;
  Status connect(int wait_ms);
  Status retry(int wait_ms, const std::function<Status()>& ask) const;
  Status start_host();
  Status start_network();
  Status join();
  Status create_instance_when_complete();
  void run_upkeep();
  bool wait_for_stop(std::chrono::milliseconds period) IMSS_EXCLUDES(mutex_);
  void upkeep();
  void notice_replaced_metadata();
  void tell_attributes(bool at_once);
  void rejoin_when_retired();

  DataServerOptions options_;  // complete once it has joined
  std::string segment_name_;
  std::unique_ptr<client::Session> session_;
  std::unique_ptr<segment::Host> host_;
  std::unique_ptr<NetworkService> network_;
  std::optional<store::Store> store_;
  std::optional<AttributeFeed> feed_;
  Complaint not_created_{"cannot create the instance"};
  Complaint not_reaped_{"cannot remove what dead clients left"};
  Complaint not_forgotten_{"cannot forget clients that are gone"};
  Complaint not_swept_{"cannot remove datasets without name and opener"};
  Complaint not_told_{"the metadata file does not get what inodes say"};
  std::vector<std::uint64_t> told_nonces_;  // of several metadata servers, as told last
  std::uint32_t server_id_ = 0;
  bool instance_created_ = false;
  bool stopped_ = false;
  std::uint32_t owner_pid_ = 0;

  Mutex mutex_;
  Condition stop_requested_;
  bool stopping_ IMSS_GUARDED_BY(mutex_) = false;
  std::thread upkeep_thread_;
};

}  // namespace imss::server
