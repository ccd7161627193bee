// A data server: a segment with blocks and inodes, its host, and its place in an instance.
//
// The same class as a daemon (the program `server`) and attached, inside a process of the
// application. It installs no signal handlers, prints nothing and does not change the working
// directory. A thread of its own removes what dead clients left behind, apart from the host's
// thread, so that clients that need memory never wait for it. Owned by whoever started it; start()
// and stop() from one thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/result.h"
#include "client/session.h"
#include "segment/host.h"
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

  // Joins the metadata service after a start with join_later; has no effect when it has joined.
  // Errors: kNotInitialized (no metadata server within wait_ms), kNotSupported, kSystem.
  Status join_service(int wait_ms);
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
  Status start_host();
  Status join();
  Status create_instance_when_complete();
  void run_upkeep();
  void upkeep();
  void rejoin_when_retired();
  void drop_orphan(std::uint64_t dataset);

  const DataServerOptions options_;
  std::string segment_name_;
  std::unique_ptr<client::Session> session_;
  std::unique_ptr<segment::Host> host_;
  std::optional<store::Store> store_;
  std::uint32_t server_id_ = 0;
  bool instance_created_ = false;
  bool stopped_ = false;
  std::uint32_t owner_pid_ = 0;

  std::mutex mutex_;
  std::condition_variable stop_requested_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread upkeep_thread_;
};

}  // namespace imss::server
