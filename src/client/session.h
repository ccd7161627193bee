// A process's connection to the store: the metadata service, the data servers it has mapped, and datasets.
//
// The seam between local and remote servers is here: for every server the session asks for its segment; if it
// is mapped the calling thread executes the operation itself, otherwise the request would be sent. Concurrent:
// any thread may call any method. Handles are small numbers, valid until released.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/uri.h"
#include "client/handle_table.h"
#include "metadata/namespace.h"
#include "policies/policy.h"
#include "store/store.h"

namespace imss::client {

struct DatasetOptions {
  Policy policy = Policy::kRoundRobin;
  std::uint64_t block_bytes = 1 << 20;  // 1 byte to 64 MiB
  std::uint64_t block_count = 0;        // data blocks; 0: grows with what is written
  std::uint32_t replicas = 1;
  std::uint32_t server_count = 0;       // 0: all servers of the instance
  std::uint32_t mode = 0644;
  std::uint64_t size_bytes = 0;         // of the content; 0: block_count * block_bytes
  bool keep_name = false;               // remember the URI for original_name()
};

// Block numbers with this bit hold the location of a block of a LOCAL dataset, on the dataset's home server.
inline constexpr std::uint64_t kLocationBit = 1ULL << 62;
// The block that holds the URI a dataset was created with, on its home server.
inline constexpr std::uint64_t kNameBlock = 1ULL << 61;

// The data servers of an instance, in order of position.
struct InstanceServers {
  metadata::InstanceInfo info;
  std::vector<metadata::ServerInfo> servers;
  std::vector<ServerWeight> weights;                    // server_id = position
  std::vector<std::shared_ptr<store::Store>> stores;    // null: not on this node, or gone
  std::uint32_t local_position = kNoLocalServer;        // a server of this process or, else, of this node
};

// One open dataset. Immutable after opening but for the counters.
struct Dataset {
  std::uint64_t id = 0;
  Uri uri;
  metadata::Layout layout;
  std::shared_ptr<const InstanceServers> instance;
  std::atomic<bool> wrote{false};
  std::atomic<std::uint64_t> announced{0};  // of a dataset that grows: its home server knows of blocks up to this one
};

struct ConnectOptions {
  std::vector<std::string> hosts;  // metadata servers
  std::uint16_t port = 5569;
};

class Session {
 public:
  // Finds the metadata server on this node. Errors: kNotInitialized when none serves that port here,
  // kNotSupported for a host that is another node.
  static Result<std::unique_ptr<Session>> connect(const ConnectOptions& options);
  // Connects to a metadata service whose segment file is known.
  static Result<std::unique_ptr<Session>> connect_segment(const std::string& segment_name);
  ~Session();

  metadata::Namespace& names() { return *namespace_; }
  // The segment of this process's own attached data server: LOCAL writes go there.
  void set_own_segment(std::string name) { own_segment_ = std::move(name); }

  // --- instances ---
  // Makes an instance of the given servers (ids). Errors: kExists, kInvalidArgument.
  Status create_instance(const metadata::InstanceInfo& info);
  // The servers of an instance, mapped. Errors: kNotFound, kIo when no server of it is left.
  Result<std::shared_ptr<const InstanceServers>> instance(const std::string& name);
  void forget_instance(const std::string& name);
  // Removes the instance with everything in it.
  Status destroy_instance(const std::string& name);

  // --- names ---
  struct Node {
    metadata::EntryInfo entry;     // of the last name; type kInstance for an instance's root
    std::uint64_t directory = 0;   // id when it is a directory
  };
  Result<Node> resolve(const Uri& uri);
  // With `parents`, makes missing directories on the way. Errors: kExists.
  Status make_directory(const Uri& uri, std::uint32_t mode, bool parents);
  Status remove_directory(const Uri& uri);
  Status rename(const Uri& from, const Uri& to, bool no_replace = false);
  // Removes a dataset's name; its blocks go when nobody has it open.
  Status unlink(const Uri& uri);
  Result<store::Attributes> attributes(const Uri& uri);
  // Entries of a directory after `cookie`, in batches: see Namespace::list.
  Result<bool> list(const Uri& uri, std::uint64_t cookie, std::size_t limit,
                    std::vector<metadata::EntryInfo>* out);

  // --- datasets ---
  // Parent directories are made on demand. The dataset is open on return. Errors: kExists, kInvalidArgument.
  Result<std::int32_t> create(const Uri& uri, const DatasetOptions& options);
  Result<std::int32_t> open(const Uri& uri);
  Status release(std::int32_t handle);
  // A release in two steps, for callers that wait in between for operations under way: from the first on the
  // handle is unknown, the second ends the opening. Errors: kBadHandle.
  Result<std::shared_ptr<Dataset>> take(std::int32_t handle) { return handles_->remove(handle); }
  Status close(Dataset& dataset) { return close_data(dataset); }
  std::vector<std::int32_t> open_handles() { return handles_->all(); }
  // The dataset of a name without opening it. Errors: as open.
  Result<std::shared_ptr<Dataset>> peek(const Uri& uri);
  // The URI that create() was given with keep_name; kNotFound without that.
  Result<std::string> original_name(Dataset& dataset);
  // Errors: kBadHandle. The pointer stays good while held, also when the handle is released.
  Result<std::shared_ptr<Dataset>> dataset(std::int32_t handle);
  // The same without sharing it: the pointer stays good until this thread uses eight other datasets.
  Result<Dataset*> find(std::int32_t handle) { return handles_->find(handle); }

  // --- blocks (see store.h for the meaning; block numbers from 1) ---
  Status put(Dataset& dataset, std::uint64_t block, std::span<const std::byte> content);
  Status get(Dataset& dataset, std::uint64_t block, std::uint64_t offset, std::span<std::byte> out);
  Status write(Dataset& dataset, std::uint64_t block, std::uint64_t offset, std::span<const std::byte> data);
  Result<store::View> view(Dataset& dataset, std::uint64_t block);
  Result<store::Attributes> attributes(Dataset& dataset);
  // Positions of the servers that hold the block or, for `writing`, would get it from this process; the first
  // replica first. Errors: kNotFound for a LOCAL block that was never written, unless for writing.
  Result<std::vector<std::uint32_t>> locate(Dataset& dataset, std::uint64_t block, bool writing = false);

  // --- byte ranges of datasets that grow (block_count 0) ---
  // Reads up to the end; returns how many bytes. Holes are zeros.
  Result<std::size_t> read_at(Dataset& dataset, std::uint64_t offset, std::span<std::byte> out);
  Status write_at(Dataset& dataset, std::uint64_t offset, std::span<const std::byte> data);
  // Writes at the end and returns where; appends of any number of clients never overlap.
  Result<std::uint64_t> append(Dataset& dataset, std::span<const std::byte> data);
  // What is beyond `size` is gone and reads as zeros should the dataset grow again.
  Status truncate(Dataset& dataset, std::uint64_t size);

  // Drops datasets that dead clients left half made or half removed, and fences attached servers whose process
  // died; servers call it now and then.
  Status reap();
  // The second of these alone, which also works when the metadata server is gone.
  void fence_dead();
  // Removes what is left of a dataset that has neither name nor opener.
  Status drop_orphan(const std::string& instance, std::uint64_t dataset);

  // --- fork ---
  // Around fork(2), so that the child gets the tables in order.
  void lock_for_fork();
  void unlock_after_fork();
  // In the child: opens what it inherited for this process too, so that a dataset without a name stays as long
  // as either has it open.
  void adopt_handles();

 private:
  Session() = default;
  struct Place {
    std::shared_ptr<const InstanceServers> servers;
    std::uint64_t parent = 0;
    std::string name;  // of the last component; empty for an instance's root
  };
  // The directory of the last name of a URI.
  Result<Place> place_of(const Uri& uri);
  Status unlink_data(metadata::RemovedEntry& removed, const InstanceServers& servers);
  std::shared_ptr<store::Store> map_server(const metadata::ServerInfo& server);
  Status reap_dataset(const metadata::EntryInfo& entry);
  Status drop(std::uint64_t dataset, const metadata::Layout& layout, const InstanceServers& servers);
  // Of blocks whose writer died between two copies.
  Status repair_copies(const InstanceServers& servers);
  Status clear_directory(std::uint64_t directory, const InstanceServers& servers);
  Status refresh_instances();
  Status write_name(const Uri& uri, std::uint64_t dataset, store::Store& home);
  Status lost_inode(const Uri& uri, std::uint64_t dataset);
  // Errors: kNotFound when the inode is not there or has no name any more.
  Result<std::int32_t> open_entry(const Uri& uri, const metadata::EntryInfo& entry,
                                  std::shared_ptr<const InstanceServers> servers);
  Status close_data(Dataset& dataset);
  Status announce(Dataset& dataset, std::uint64_t block);
  std::uint32_t place_block(const Dataset& dataset, const PlacementInput& input, std::span<std::uint32_t> out);
  Result<std::uint32_t> known_location(const Dataset& dataset, std::uint64_t block);
  std::uint32_t replicas_of(const Dataset& dataset, std::uint64_t block, bool writing,
                            std::span<std::uint32_t> out, Status* status);
  Result<std::uint64_t> generation_of(const Dataset& dataset);
  Result<store::Store*> home_of(const Dataset& dataset);
  Status complete_truncation(Dataset& dataset, store::Store& home);
  Status finish_truncation(Dataset& dataset, store::Store& home, const store::Store::Truncation& truncation);
  Result<std::uint32_t> recorded_location(const Dataset& dataset, std::uint64_t block, bool writing);
  Status write_replicated(Dataset& dataset, std::uint64_t block, std::uint64_t offset,
                          std::span<const std::byte> data);

  std::shared_ptr<metadata::Namespace> namespace_;
  std::mutex instances_mutex_;
  std::unordered_map<std::string, std::shared_ptr<const InstanceServers>> instances_;
  std::unordered_map<std::string, std::shared_ptr<store::Store>> mapped_;  // by segment; guarded as instances_
  std::string own_segment_;
  std::unique_ptr<HandleTable> handles_;
};

}  // namespace imss::client
