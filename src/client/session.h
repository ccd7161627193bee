// A process's connection to the store: the metadata service, the data servers it has mapped, and datasets.
//
// The seam between local and remote servers is here: for every server the session asks for its segment; if it
// is mapped the calling thread executes the operation itself, otherwise the request would be sent. Concurrent:
// any thread may call any method. Handles are small numbers, valid until released.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "base/host_file.h"
#include "base/uri.h"
#include "client/handle_table.h"
#include "metadata/namespace.h"
#include "policies/policy.h"
#include "store/store.h"

namespace imss::net {
class Peer;
class Peers;
}

namespace imss::client {

class NameRouter;
class RemoteStore;
struct ReachedNames;

// One block of a list: a range that is read, or a content that is put.
struct BlockRange {
  std::uint64_t block = 0;
  std::uint64_t offset = 0;
  std::span<std::byte> out;
  Status status;  // its outcome
};
struct BlockContent {
  std::uint64_t block = 0;
  std::span<const std::byte> content;
  Status status;  // its outcome
};

struct DatasetOptions {
  Policy policy = Policy::kRoundRobin;
  std::uint64_t block_bytes = 1 << 20;  // 1 byte to 64 MiB
  std::uint64_t block_count = 0;        // data blocks; 0: grows with what is written
  std::uint32_t replicas = 1;
  std::uint32_t server_count = 0;       // 0: all servers of the instance
  std::uint32_t mode = 0644;
  std::uint64_t size_bytes = 0;         // of the content; 0: block_count * block_bytes
  bool keep_name = false;               // remember the URI for original_name()
  std::string text = {};                // of the session's own: what read_text() finds
  std::optional<std::uint32_t> uid = {};  // none: the process's
  std::optional<std::uint32_t> gid = {};
};

// Block numbers with this bit hold the location of a block of a LOCAL dataset, on the dataset's home server.
inline constexpr std::uint64_t kLocationBit = 1ULL << 62;
// The block that holds the text of a dataset (see session_internal.h), on its home server.
inline constexpr std::uint64_t kTextBlock = 1ULL << 61;

// The data servers of an instance, in order of position.
struct InstanceServers {
  metadata::InstanceInfo info;
  std::vector<metadata::ServerInfo> servers;
  std::vector<ServerWeight> weights;                    // server_id = position
  std::vector<std::shared_ptr<store::DataService>> stores;  // null: gone
  std::vector<store::Store*> mapped;                    // the same where the segment is mapped, else null
  std::vector<RemoteStore*> remote;                     // the same where all is asked by message, else null
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
  std::vector<Host> hosts;         // metadata servers, the first of which answers is asked for all; none: this node
  std::uint16_t port = 5569;       // of hosts that name none
  std::string key_file = {};       // of the instance; empty: no keys
};

// What a data server knows of clients on other nodes that have datasets open, see Store::SweepActions.
struct RemoteOpeners {
  std::function<bool(std::uint64_t client)> lives = {};
  std::uint64_t changes = 0;
};

class Session {
 public:
  // Finds the metadata server on this node, or by the network module on another one or where its segment is not for
  // this process to map. Errors: kNotInitialized when none serves that port there, kNotSupported without the module,
  // kIncompatible, kPermission.
  static Result<std::unique_ptr<Session>> connect(const ConnectOptions& options);
  // Connects to a metadata service whose segment file is known.
  static Result<std::unique_ptr<Session>> connect_segment(const std::string& segment_name,
                                                          const std::string& key_file = {});
  // A session that only looks, also at segments whose servers have ended: it sees private copies of those, and changes
  // nothing in them. Segments that are served are mapped as by any client.
  static Result<std::unique_ptr<Session>> connect_reading(const std::string& segment_name);
  // One metadata server alone, by itself. Errors: as connect().
  static Result<std::shared_ptr<metadata::NameService>> connect_server(const ConnectOptions& options);
  ~Session();

  metadata::NameService& names() { return *names_; }
  // The segment of the (first) metadata server, null when it is not mapped here.
  segment::Segment* metadata_segment() const { return local_names_ ? &local_names_->segment() : nullptr; }
  // The segments of all metadata servers that are mapped here.
  std::vector<std::shared_ptr<metadata::Namespace>> mapped_names();
  // All metadata servers by index, null where one cannot be reached now.
  std::vector<metadata::NameService*> metadata_services() const;
  // The cluster map as far as this process knows. Without a router it names nobody.
  metadata::ClusterMap known_map();
  // The newest epoch of the map that this process has heard of.
  std::uint64_t newest_epoch();
  // Gives the calling thread's places in the metadata servers' segments back.
  void leave_metadata();
  // The segment of this process's own data server: LOCAL writes go there, and it is mapped however it is shared.
  void set_own_segment(std::string name) { own_segment_ = std::move(name); }
  // The instance's keys, for servers on other nodes. REQUIRES: none was asked yet.
  void set_key_file(std::string path) { key_file_ = std::move(path); }

  // --- instances ---
  // Makes an instance of the given servers (ids). Errors: kExists, kInvalidArgument.
  Status create_instance(const metadata::InstanceInfo& info);
  // The servers of an instance, mapped. Errors: kNotFound, kIo when no server of it is left.
  Result<std::shared_ptr<const InstanceServers>> instance(const std::string& name);
  void forget_instance(const std::string& name);
  // Whether a server on another node is there, and still the one of this record. Waits for an
  // answer, at most net::Peers::kPatienceMs.
  bool answers(const metadata::ServerInfo& server);
  // Removes the instance with everything in it.
  Status destroy_instance(const std::string& name);

  // --- names ---
  struct Node {
    metadata::EntryInfo entry;     // of the last name; type kInstance for an instance's root
    std::uint64_t directory = 0;   // id when it is a directory
    std::shared_ptr<const InstanceServers> servers;
  };
  // Symbolic links on the way are followed; the last one only with `follow`. Errors: kLoop after 40 links.
  Result<Node> resolve(const Uri& uri, bool follow = false);
  // With `parents`, makes missing directories on the way. Errors: kExists.
  Status make_directory(const Uri& uri, std::uint32_t mode, bool parents);
  Status remove_directory(const Uri& uri);
  Status rename(const Uri& from, const Uri& to, bool no_replace = false);
  // Gives a dataset or symbolic link, not a directory, one more name. Errors: kExists, kIsDirectory, kTooManyLinks.
  Status link(const Uri& from, const Uri& to);
  // Makes a symbolic link to a path, which is resolved from the link's directory or, with a leading '/', from the root
  // of the instance; it need not be there. Errors: kExists.
  Status make_symlink(const std::string& target, const Uri& uri);
  // Errors: kInvalidArgument when the name is no symbolic link.
  Result<std::string> read_symlink(const Uri& uri);
  // Removes a dataset's name; its blocks go with the last one when nobody has it open.
  Status unlink(const Uri& uri);
  // Of a dataset whose data is gone: what they were, if the metadata server keeps a file. Also tells what the URI
  // names, if wanted.
  Result<store::Attributes> attributes(const Uri& uri, Node* named = nullptr);
  // Entries of a directory after `cookie`, in batches: see Namespace::list.
  Result<bool> list(const Uri& uri, std::uint64_t cookie, std::size_t limit,
                    std::vector<metadata::EntryInfo>* out);

  // --- the same by the id of the directory, for the file view: no link is followed, no directory made ---
  struct Place {
    std::shared_ptr<const InstanceServers> servers;
    std::uint64_t parent = 0;
    std::string name;  // of the last component; empty: `parent` itself, as an instance's root
  };
  // Errors: kExists, kNotFound (the directory is gone).
  Result<metadata::EntryInfo> create_at(const Place& place, const DatasetOptions& options);
  // A dataset without a name, open on return: it goes when it is closed, unless link_at() gives it one before.
  Result<std::int32_t> create_unnamed(const std::shared_ptr<const InstanceServers>& servers, const DatasetOptions& options,
                                      metadata::EntryInfo* entry);
  Status symlink_at(const Place& place, const std::string& target, const DatasetOptions& owner = {});
  // A fifo, a socket or a device, whose number is kept for whoever asks device_of().
  Status special_at(const Place& place, metadata::NodeType type, std::uint32_t device, const DatasetOptions& owner);
  Result<std::uint32_t> device_of(const metadata::EntryInfo& entry, const InstanceServers& servers);
  Status link_at(const metadata::EntryInfo& entry, const Place& place);
  Status unlink_at(const Place& place);
  Status rename_at(const Place& from, const Place& to, bool no_replace);
  // Errors: kNotFound when the inode is gone.
  Result<std::int32_t> open_at(const Place& place, const metadata::EntryInfo& entry);
  Result<std::string> target_of(const metadata::EntryInfo& entry, const InstanceServers& servers) {
    return link_target(entry, servers);
  }

  // --- datasets ---
  // Parent directories are made on demand. The dataset is open on return. Errors: kExists, kInvalidArgument.
  Result<std::int32_t> create(const Uri& uri, DatasetOptions options);
  Result<std::int32_t> open(const Uri& uri);
  Status release(std::int32_t handle);
  // A release in two steps, for callers that wait in between for operations under way: from the first on the
  // handle is unknown, the second ends the opening. Errors: kBadHandle.
  Result<std::shared_ptr<Dataset>> take(std::int32_t handle) { return handles_->remove(handle); }
  Status close(Dataset& dataset) { return close_data(dataset); }
  std::vector<std::int32_t> open_handles() { return handles_->all(); }
  // The dataset of a name without opening it. Errors: as open.
  Result<std::shared_ptr<Dataset>> peek(const Uri& uri);
  // The same of a node that was resolved before.
  static Result<std::shared_ptr<Dataset>> peek(const Uri& uri, const Node& node);
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
  // Many at once: what goes to servers on other nodes is under way all together. Returns the first outcome that is
  // not ok; every item has its own.
  Status get_list(Dataset& dataset, std::span<BlockRange> list);
  Status put_list(Dataset& dataset, std::span<BlockContent> list);
  Result<store::View> view(Dataset& dataset, std::uint64_t block);
  Result<store::Attributes> attributes(Dataset& dataset);
  // Positions of the servers that hold the block or, for `writing`, would get it from this process; the first
  // replica first. Errors: kNotFound for a LOCAL block that was never written, unless for writing.
  Result<std::vector<std::uint32_t>> locate(Dataset& dataset, std::uint64_t block, bool writing = false);

  // --- byte ranges of datasets that grow (block_count 0) ---
  // Reads up to the end; returns how many bytes. Holes are zeros.
  // `seen`, if given, gets what the inode said.
  Result<std::size_t> read_at(Dataset& dataset, std::uint64_t offset, std::span<std::byte> out,
                              store::Attributes* seen = nullptr);
  Status write_at(Dataset& dataset, std::uint64_t offset, std::span<const std::byte> data);
  // Writes at the end and returns where; appends of any number of clients never overlap.
  Result<std::uint64_t> append(Dataset& dataset, std::span<const std::byte> data);
  // What is beyond `size` is gone and reads as zeros should the dataset grow again.
  Status truncate(Dataset& dataset, std::uint64_t size);
  // What its blocks take, copies included, in units of store::kUnitBytes.
  Result<std::uint64_t> stored_units(Dataset& dataset, const store::Attributes& attributes);
  // The first byte from `offset` on that has data or, with `hole`, has none; the end counts as a hole.
  // Errors: kNotFound when there is none, or `offset` is not below the size.
  Result<std::uint64_t> seek(Dataset& dataset, std::uint64_t offset, bool hole);
  // Gives a range memory, which reads as zeros where it had no data, and extends the size to its end unless `keep_size`.
  // On kNoSpace some of it has its memory, and the size is as it was. Errors: kNotSupported for datasets with copies.
  Status allocate(Dataset& dataset, std::uint64_t offset, std::uint64_t bytes, bool keep_size);
  // Extends the size to `size` if it is smaller; what is new reads as zeros.
  Status grow(Dataset& dataset, std::uint64_t size);
  // Makes a range read as zeros; the size stays. Whole blocks of datasets without copies are given back.
  Status clear(Dataset& dataset, std::uint64_t offset, std::uint64_t bytes);

  // Drops datasets that dead clients left half made or half removed, and fences attached servers whose process
  // died; servers call it now and then.
  Status reap();
  // The second of these alone, which also works when the metadata server is gone.
  void fence_dead();
  // Sweeps a data server of this process, see Store::sweep.
  Status sweep(store::Store& server, std::uint32_t server_id, const RemoteOpeners& remote = {});

  // --- fork ---
  // Around fork(2), so that the child gets the tables in order.
  void lock_for_fork() IMSS_ACQUIRE(instances_mutex_);
  void unlock_after_fork() IMSS_RELEASE(instances_mutex_);
  // In the child: opens what it inherited for this process too, so that a dataset without a name stays as long
  // as either has it open.
  void adopt_handles();

 private:
  Session() = default;
  Result<ReachedNames> reach_host(const Host& host, std::uint16_t default_port);
  Result<ReachedNames> reach_remote(const std::string& host, std::uint16_t port);
  ReachedNames reach_listed(const metadata::MapServer& server);
  Status attach(ReachedNames reached);
  Status route(ReachedNames reached, metadata::ClusterMap map);
  struct WalkOptions {
    bool follow = false;   // a symbolic link that is the last name
    int links_left = 40;   // as the kernel's MAXSYMLINKS
  };
  // The directory of the last name of a URI.
  Result<Place> place_of(const Uri& uri, bool follow = false);
  // The entry of a place that is not an instance's root, whose inode is likely to be asked for next.
  Result<metadata::EntryInfo> lookup_last(const Place& place);
  Result<Place> walk(Place place, std::string_view path, WalkOptions options, const Uri& uri);
  Status go_up(Place* place);
  Result<std::string> link_target(const metadata::EntryInfo& entry, const InstanceServers& servers);
  Result<metadata::EntryInfo> make_node(const Place& place, metadata::NodeType type, const DatasetOptions& options,
                                        const Uri& uri);
  // Errors: also kBadHandle, when the metadata server has lost the name in the making: nothing is left of it.
  Result<metadata::EntryInfo> make_node_once(const Place& place, metadata::NodeType type,
                                             const DatasetOptions& options, const Uri& uri);
  bool may_be_seen(const metadata::PendingEntry& pending, const Status& published) const;
  void end_pending(metadata::PendingEntry& pending, bool something_left);
  Status link_once(const metadata::EntryInfo& entry, const Place& place, store::DataService& home);
  static Result<store::DataService*> home_of(const metadata::EntryInfo& entry, const InstanceServers& servers,
                                             const Uri& uri);
  Status unlink_data(metadata::RemovedEntry& removed, const InstanceServers& servers);
  std::shared_ptr<store::Store> map_server(const metadata::ServerInfo& server) IMSS_REQUIRES(instances_mutex_);
  std::shared_ptr<RemoteStore> remote_store(const metadata::ServerInfo& server);
  Result<std::shared_ptr<net::Peers>> peers();
  // A server on another node took this process for gone: what it has open there is opened again.
  void open_again(const net::Peer& server);
  std::uint64_t peers_epoch();
  Result<std::shared_ptr<segment::Segment>> open_segment(const std::string& name) const;
  Status reap_dataset(const metadata::EntryInfo& entry);
  Status drop(std::uint64_t dataset, const metadata::Layout& layout, const InstanceServers& servers);
  Status drop_home(std::uint64_t dataset, std::uint64_t last_block, store::DataService& home, bool located);
  // Of blocks whose writer died between two copies.
  Status repair_copies(const InstanceServers& servers);
  Status clear_directory(std::uint64_t directory, const InstanceServers& servers);
  Status refresh_instances();
  Result<std::string> last_target(std::uint64_t dataset, const Status& lost);
  Result<store::Attributes> last_attributes(const metadata::EntryInfo& entry, const Status& lost);
  Status lost_inode(const Uri& uri, std::uint64_t dataset);
  // Errors: kNotFound when the inode is not there or has no name any more.
  Result<std::int32_t> open_entry(const Uri& uri, const metadata::EntryInfo& entry,
                                  std::shared_ptr<const InstanceServers> servers);
  Status close_data(Dataset& dataset);
  Status announce(Dataset& dataset, std::uint64_t block);
  RemoteStore* elsewhere(const Dataset& dataset, std::uint64_t block, bool writing);
  std::uint32_t place_block(const Dataset& dataset, const PlacementInput& input, std::span<std::uint32_t> out);
  Result<std::uint32_t> known_location(const Dataset& dataset, std::uint64_t block);
  std::uint32_t replicas_of(const Dataset& dataset, std::uint64_t block, bool writing,
                            std::span<std::uint32_t> out, Status* status);
  Result<std::uint64_t> generation_of(const Dataset& dataset);
  Result<store::DataService*> home_of(const Dataset& dataset);
  Result<std::uint64_t> next_stored(const Dataset& dataset, std::uint64_t first, std::uint64_t last);
  Status clear_copies(Dataset& dataset, std::uint64_t offset, std::uint64_t end);
  Status complete_truncation(Dataset& dataset, store::DataService& home);
  Status finish_truncation(Dataset& dataset, store::DataService& home, const store::Truncation& truncation);
  Result<std::uint32_t> recorded_location(const Dataset& dataset, std::uint64_t block, bool writing);
  Status write_replicated(Dataset& dataset, std::uint64_t block, std::uint64_t offset,
                          std::span<const std::byte> data);

  std::shared_ptr<metadata::NameService> names_;
  std::shared_ptr<metadata::Namespace> local_names_;  // the (first) server where its segment is mapped, else null
  NameRouter* router_ = nullptr;                      // the same as names_ where there are several servers, else null
  Mutex instances_mutex_;
  std::unordered_map<std::string, std::shared_ptr<const InstanceServers>> instances_ IMSS_GUARDED_BY(instances_mutex_);
  // By segment.
  std::unordered_map<std::string, std::shared_ptr<store::Store>> mapped_ IMSS_GUARDED_BY(instances_mutex_);
  std::string own_segment_;
  std::string key_file_;
  Mutex peers_mutex_;
  // Made when a server on another node is first needed.
  std::shared_ptr<net::Peers> peers_ IMSS_GUARDED_BY(peers_mutex_);
  std::atomic<net::Peers*> made_peers_{nullptr};  // the same, once it is made
  bool reading_ = false;  // see connect_reading()
  std::unique_ptr<HandleTable> handles_;
};

}  // namespace imss::client
