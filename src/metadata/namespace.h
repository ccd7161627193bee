// The namespace engine: directories, names, instances and the server list, as functions over the metadata
// server's segment.
//
// After Ceph's model: an entry is keyed by (parent id, name) and names a dataset id; no path strings. A directory
// is a record with a growing list of slots; a slot's number is the stable readdir cookie of its entry. Every
// change is one transaction, so it is atomic also when its author dies. Concurrent and stateless; any thread of
// any process that has mapped the segment.
//
// Common errors: kNoSpace (nothing applied), kTimedOut, kFenced, kCorrupt, kNameTooLong.
// Sources: S. Weil et al., "Dynamic metadata management for petabyte-scale file systems", SC 2004.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "segment/segment.h"
#include "segment/table.h"
#include "store/inode.h"

namespace imss::metadata {

using store::NodeType;

// The directory that holds the instances by name.
inline constexpr std::uint64_t kInstancesDirectory = 1;

// Where the blocks of a dataset are: the outer metadata.
struct Layout {
  std::uint8_t policy = 0;
  std::uint8_t replicas = 1;
  std::uint16_t server_count = 0;   // the first so many servers of the instance
  std::uint32_t home_server = 0;    // position of the data server that holds block 0
  std::uint64_t block_bytes = 0;
  std::uint64_t block_count = 0;
};

struct EntryInfo {
  std::uint64_t parent = 0;
  std::uint64_t link = 0;           // identifies this name for ever, also when it is renamed
  std::uint64_t id = 0;             // of the dataset or directory
  NodeType type = NodeType::kNone;
  Layout layout;
  std::uint64_t created_ns = 0;
  std::uint32_t mode = 0;
  std::uint64_t cookie = 0;         // for list(): where to go on after this entry
  std::string name;
};

struct DirectoryInfo {
  std::uint64_t id = 0;
  std::uint64_t parent = 0;
  std::uint64_t entries = 0;
  std::uint64_t subdirectories = 0;
  std::uint32_t mode = 0755;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t modified_ns = 0;
  std::uint64_t created_ns = 0;
};

struct ServerInfo {
  std::uint32_t id = 0;             // 1, 2, ... in the order of joining
  std::uint64_t nonce = 0;          // of its segment
  std::uint32_t port = 0;
  std::uint32_t rank = 0;
  bool attached = false;
  std::uint64_t capacity_bytes = 0;
  std::string host;
  std::string segment_name;
  std::string instance;             // detached servers serve one instance
};

struct InstanceInfo {
  std::string name;
  std::uint64_t root = 0;           // id of its root directory
  std::uint64_t block_bytes = 0;    // default block size
  std::uint32_t deployment = 0;     // 0 detached, 1 attached
  std::uint16_t port = 0;
  std::vector<std::uint32_t> servers;  // ids, in order of position; 0: this one has left
  bool restored = false;            // known from the metadata file; its servers have not joined yet
};

// A name that is prepared but not visible yet. Should its author die, the dataset id it names is queued for
// removal. Ends with publish() or abandon().
struct PendingEntry {
  segment::Held record;
  EntryInfo info;
};

// A name that was removed: its author drops the dataset and then calls forget(). Should it die before, the
// dataset id is queued for removal.
struct RemovedEntry {
  segment::Held record;
  EntryInfo info;
};

struct NameRef;
struct PinnedDirectory;
struct DirectoryRecord;

class Namespace {
 public:
  explicit Namespace(std::shared_ptr<segment::Segment> segment);

  // Makes the empty namespace in a new segment.
  Status format();
  std::uint64_t new_id();

  // --- names ---
  Result<EntryInfo> lookup(std::uint64_t parent, std::string_view name);
  // Errors: kNotFound (no parent), kNameTooLong.
  Result<PendingEntry> prepare(const EntryInfo& info);
  // Errors: kExists, kNotFound (the parent was removed meanwhile). On error the entry stays pending.
  Status publish(PendingEntry& pending);
  void abandon(PendingEntry& pending);
  // Errors: kExists.
  Status make_directory(std::uint64_t parent, std::string_view name, std::uint32_t mode, std::uint64_t* id = nullptr);
  // Removes a name that is not a directory. Errors: kNotFound, kIsDirectory.
  Result<RemovedEntry> remove(std::uint64_t parent, std::string_view name);
  void forget(RemovedEntry& removed);
  // Errors: kNotFound, kNotDirectory, kNotEmpty.
  Status remove_directory(std::uint64_t parent, std::string_view name);
  struct RenameResult {
    bool replaced = false;
    RemovedEntry victim;  // a dataset whose name was replaced
  };
  // Moves a name, also between directories and over an existing name, atomically.
  // Errors: kNotFound, kExists (no_replace), kIsDirectory, kNotDirectory, kNotEmpty, kWouldCycle.
  Result<RenameResult> rename(std::uint64_t from_parent, std::string_view from_name, std::uint64_t to_parent,
                              std::string_view to_name, bool no_replace = false);

  // --- directories ---
  Result<DirectoryInfo> directory(std::uint64_t id);
  // Appends up to `limit` entries that follow `cookie` (0: from the start). Returns false at the end. Entries
  // that exist all the time are listed exactly once; a cookie stays good whatever is created or removed.
  Result<bool> list(std::uint64_t directory, std::uint64_t cookie, std::size_t limit, std::vector<EntryInfo>* out);

  // --- instances and servers ---
  // Errors: kExists.
  Status create_instance(const InstanceInfo& info);
  Result<InstanceInfo> instance(std::string_view name);
  Result<std::vector<InstanceInfo>> instances();
  // Takes a server out of an instance; the positions of the others stay. Needs no memory. Returns what is left. Errors: kNotFound
  // for an instance that does not exist or that the server is not part of.
  Result<InstanceInfo> leave_instance(std::string_view name, std::uint32_t server_id);
  // Errors: kNotEmpty unless the tree is empty.
  Status remove_instance(std::string_view name);
  // Adds a server or replaces the record of the same segment name. Returns its id.
  Result<std::uint32_t> join_server(ServerInfo info);
  Status leave_server(std::uint32_t id);
  Result<std::vector<ServerInfo>> servers();

  // --- upkeep ---
  // Calls `reap` with the datasets that dead authors left behind; an entry is forgotten when it returns ok.
  Status reap_limbo(const std::function<Status(const EntryInfo&)>& reap);

  segment::Segment& segment() const { return *segment_; }

  // Puts a name from the metadata file into its directory, with its old ids.
  Status restore_entry(const EntryInfo& info);
  Status restore_instance(const InstanceInfo& info);
  // No id up to this one is given out again.
  void reserve_ids(std::uint64_t last);

 private:
  friend class Journaller;
  struct Names;
  struct Found;
  Result<PinnedDirectory> pin_directory(segment::Participant& me, std::uint64_t id, std::uint32_t pin_slot);
  Result<Found> find_entry(segment::Participant& me, std::uint64_t parent, std::string_view name);
  Status ensure_chunk(segment::Participant& me, std::uint64_t id, DirectoryRecord& directory, std::uint64_t slot);
  segment::Word* slot_word(std::uint64_t directory, std::uint64_t slot);
  Status take_slot(segment::Transaction& change, std::uint64_t id, DirectoryRecord& directory,
                   std::uint64_t* slot, segment::Word** word);
  Status make_directory_record(segment::Participant& me, std::uint64_t id, std::uint64_t parent,
                               std::uint32_t mode);
  Status drop_directory_records(segment::Participant& me, std::uint64_t id);
  Status drop_directory(segment::Participant& me, RemovedEntry& removed);
  Status reap_one(segment::Participant& me, RemovedEntry& removed,
                  const std::function<Status(const EntryInfo&)>& reap);
  Status make_instance(const InstanceInfo& info, bool restored);
  Status drop_service(segment::Key key);
  template <typename Read>
  Status read_service(segment::Key key, Read&& read);
  Status put_service(segment::Key key, const void* record, std::size_t bytes, bool replace);
  Result<PendingEntry> prepare_record(segment::Participant& me, const EntryInfo& info, std::uint64_t flags);
  template <typename Decide>
  Status edit_names(segment::Participant& me, std::initializer_list<NameRef> names, Decide&& decide,
                    segment::Word* lease = nullptr);
  struct RenamePlan;
  Status plan_rename(segment::Participant& me, RenamePlan& plan);
  Status apply_rename(segment::Participant& me, RenamePlan& plan, segment::Transaction& change);
  Status commit_rename(segment::Participant& me, RenamePlan& plan, RenameResult* result);
  Status check_cycle(segment::Participant& me, const RenamePlan& plan);

  std::shared_ptr<segment::Segment> segment_;
  segment::Table entries_;
  segment::Table directories_;
  segment::Table services_;
};

}  // namespace imss::metadata
