// The servers that a process of the application runs in itself, and the instance that the ranks'
// servers form.
//
// Owned by the process's state; one thread at a time. Everything lies in the segments of the two
// servers, whose capacities together never exceed what the application gave. When the ranks are on
// several nodes the servers listen on the network, see attached_network.h; otherwise the network
// module stays unloaded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "client/attached_network.h"
#include "client/session.h"
#include "server/data_server.h"
#include "server/metadata_server.h"

namespace imss::client {

struct AttachedOptions {
  std::uint32_t rank = 0;
  std::uint64_t storage_bytes = 0;  // of both servers together
  std::uint16_t data_port = 0;
  std::uint16_t metadata_port = 0;
  bool runs_metadata = false;
  std::uint64_t metadata_bytes = 0;  // of storage_bytes; 0: an eighth
  std::string metadata_file;         // empty: nothing is kept
};

class AttachedServers {
 public:
  // Removes what dead processes left, then starts the metadata server if asked and the data server,
  // which joins it later. Errors: kInvalidArgument, kBusy (port or rank taken), kNoSpace, kCorrupt
  // and kIncompatible (metadata file), kSystem.
  static Result<std::unique_ptr<AttachedServers>> start(const AttachedOptions& options);
  // Retires both.
  ~AttachedServers() { stop(); }

  const AttachedOptions& options() const { return options_; }
  // Says where the metadata server is, and makes the servers reachable from other nodes if that
  // needs it. Has no effect on servers that are reachable already. Errors: kBusy (a port is taken),
  // kInvalidArgument (a port beyond 65535), kAlreadyOpen (the data server has joined without
  // network), kNotSupported, kPermission, kSystem.
  Status reach_nodes(const Config& config, const NetworkQuestion& question);
  // Joins the metadata service, with a new and empty data server if the last one was retired.
  // Errors: kNotInitialized when there is no metadata server within wait_ms; as start().
  Status join(int wait_ms);
  bool serves() const { return data_ != nullptr; }
  // Of this node, as other nodes know it; empty when they need not.
  const std::string& host_name() const { return network_.host_name; }
  // 0 without a data server that has joined.
  std::uint32_t server_id() const { return data_ ? data_->server_id() : 0; }
  std::string segment_name() const;
  // Ends the data server; what it stored is gone.
  void retire_data();
  // Retires all servers, and removes what ranks that died left on the node. Further calls have no
  // effect.
  void stop();

 private:
  explicit AttachedServers(AttachedOptions options) : options_(std::move(options)) {}
  Status plan();
  Status start_metadata();
  Status start_data();
  Status listen_metadata();
  Status listen_data();

  const AttachedOptions options_;
  std::uint64_t metadata_capacity_ = 0;
  std::uint64_t data_capacity_ = 0;
  NetworkAnswer network_;
  std::uint32_t number_on_node_ = 0;
  std::string metadata_host_ = "localhost";
  std::unique_ptr<server::MetadataServer> metadata_;
  std::unique_ptr<server::DataServer> data_;
  bool stopped_ = false;
};

struct FormOptions {
  std::string name;
  std::uint32_t server_count = 0;
  std::uint16_t port = 0;
};

// Forms an instance of `server_count` attached servers of the port, in order of rank, or finds it
// formed by another rank. Errors: kExists (other servers have the name), kTimedOut.
Status form_instance(Session& session, const FormOptions& options, Deadline deadline);

// Takes a server out of an attached instance. Returns whether no server that serves is left in it.
Result<bool> leave_instance(Session& session, const std::string& name, std::uint32_t server_id);

// Whether a server serves: on this node its segment, by a living process; on another one it is
// asked, for at most two seconds.
bool serves(Session& session, const metadata::ServerInfo& server);

// Whether a server's segment is on this node and served by a living process.
bool is_served(const metadata::ServerInfo& server);

}  // namespace imss::client
