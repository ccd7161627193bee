// What makes a server reachable from other nodes: the control port and a pool of workers.
//
// The control thread is the dispatcher: it greets clients, gives each a session and the worker with
// the fewest connections, and answers for the server's state. Workers are on ports of the system's
// choice. Owned by a MetadataServer or DataServer; start() and destruction from one thread, the
// rest from any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "net/messages.h"
#include "net/module.h"
#include "segment/outcome.h"
#include "segment/segment.h"
#include "server/remote_clients.h"
#include "server/request_worker.h"

namespace imss::server {

struct NetworkOptions {
  bool enabled = false;
  std::uint16_t port = 0;  // the control port; 0: the server's well-known one
  std::string address;     // to listen on: a name or address of this node, "*" for all; empty:
                           // loopback, or all with keys
  std::string key_file;    // empty: no keys
  bool others_may_read = false;  // users other than this process's, on this node
  std::uint32_t workers = 1;
  int spin_us = 50;  // a worker looks for work so long before it sleeps
  // Called on the control thread when somebody asks the server to stop; must return at once.
  std::function<void(bool retire)> stop_requested;
};

// Clients that do not execute on the segment themselves send messages, so then there has to be somebody who takes them.
inline NetworkOptions network_options(NetworkOptions options, segment::Sharing sharing) {
  options.enabled = options.enabled || sharing != segment::Sharing::kReadWrite;
  options.others_may_read = sharing == segment::Sharing::kReadOnly;
  return options;
}

class NetworkService {
 public:
  using MakeRequests = std::function<std::unique_ptr<Requests>()>;
  // Errors: kBusy (port in use), kNotSupported (no network module), kPermission (key file),
  // kSystem.
  static Result<std::unique_ptr<NetworkService>> start(const NetworkOptions& options,
                                                       std::uint16_t port,
                                                       std::shared_ptr<segment::Segment> segment,
                                                       const MakeRequests& make_requests);
  ~NetworkService();

  RemoteClients& clients() { return clients_; }
  // Upkeep, by one thread: what is kept in the segment of clients that are gone goes. Then lives()
  // says, by their records, of whom it was not.
  Status forget_clients();
  bool lives(std::uint64_t record);
  std::uint16_t port() const { return control_->port(); }
  // Of all workers: payloads that were received and that were sent.
  PayloadCounters received() const;
  PayloadCounters replied() const;
  // Tells those who listen when the segment's epoch of the cluster map has changed. By the upkeep
  // thread of the server.
  void announce_epoch();

 private:
  NetworkService(NetworkOptions options, std::shared_ptr<segment::Segment> segment)
      : options_(std::move(options)), segment_(std::move(segment)) {}
  enum class Rights { kNone, kRead, kAll };
  Rights rights_of(const net::Asker& asker) const;
  net::Bytes answer(std::span<const std::byte> question, const net::Asker& asker);
  net::Bytes hello(std::span<const std::byte> fields, Rights rights);
  Status know(std::uint64_t client, bool reads_only, net::HelloAnswer& answer);
  net::Bytes alive(std::span<const std::byte> fields);
  net::Bytes status() const;
  net::Bytes stop(std::span<const std::byte> fields, Rights rights);

  const NetworkOptions options_;
  bool loopback_ = false;  // listens there alone, and knows who asks
  const std::shared_ptr<segment::Segment> segment_;
  RemoteClients clients_;
  Mutex kept_mutex_;
  std::unordered_set<std::uint64_t> kept_ IMSS_GUARDED_BY(kept_mutex_);  // records
  std::uint64_t announced_epoch_ = 0;
  std::vector<std::unique_ptr<RequestWorker>> workers_;
  std::unique_ptr<net::ControlServer> control_;  // ends first
};

}  // namespace imss::server
