// What a metadata server can be asked: names, directories, instances and servers.
//
// Two classes answer: Namespace executes in the calling thread on a mapped segment, RemoteNames (src/client) sends a
// message to a server on another node. Concurrent; any thread.
//
// Common errors: kNoSpace (nothing applied), kTimedOut, kFenced, kCorrupt, kNameTooLong, and from another node kIo
// (not applied) and kUnknownOutcome (may have been applied). Where a namespace lies on several servers also kClaimed
// (not applied): a change over several servers holds the name or directory. CrossNames::resolve() with the status's
// claim() settles that; then the call may be repeated.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "metadata/changes.h"
#include "metadata/values.h"
#include "segment/extents.h"

namespace imss::metadata {

// A name that is prepared but not visible yet. Should its author die, the dataset id it names is queued for
// removal. Ends with publish() or abandon().
struct PendingEntry {
  segment::Held record;
  EntryInfo info;
  std::optional<std::uint32_t> group = {};  // of a parent with the setgid bit: what is made belongs to it
  std::uint32_t server = 0;  // index of the metadata server that holds it
  std::uint32_t turn = 0;    // of a router: which server had that index
};

// A name that was removed: its author drops the dataset and then calls forget(). Should it die before, the
// dataset id is queued for removal. From another node the record may be none: the server has found out by a repeated
// request that the name is gone, and its reaper sees to the dataset.
struct RemovedEntry {
  bool left_to_reaper() const { return record.ref.none(); }
  segment::Held record;
  EntryInfo info;
  std::uint32_t server = 0;  // index of the metadata server that holds it
  std::uint32_t turn = 0;    // as in PendingEntry
};

struct RenameResult {
  bool replaced = false;
  RemovedEntry victim;  // a dataset whose name was replaced
};

inline constexpr std::size_t kMostInodeStates = 256;

class NameService {
 public:
  virtual ~NameService() = default;
  // Whether there is any point in asking: false once the server is known to have ended.
  virtual bool serving() const = 0;

  // An id that no dataset or directory had before.
  virtual Result<std::uint64_t> new_id() = 0;

  // --- names ---
  virtual Result<EntryInfo> lookup(std::uint64_t parent, std::string_view name) = 0;
  // Errors: kNotFound (no parent), kNameTooLong, and from another node kBadHandle: lost, to be prepared anew under
  // another id.
  virtual Result<PendingEntry> prepare(const EntryInfo& info) = 0;
  // Errors: kExists, kNotFound (the parent was removed meanwhile), and from another node kBadHandle: the server lost what
  // was prepared. On error the entry stays pending.
  virtual Status publish(PendingEntry& pending) = 0;
  virtual void abandon(PendingEntry& pending) = 0;
  // In a parent with the setgid bit the directory gets the parent's group and the bit. `id`, where it is given, gets the id
  // of the directory; when it is not 0 it is the id that the directory shall have. Errors: kExists, kNotFound (no parent).
  virtual Status make_directory(std::uint64_t parent, std::string_view name, const Permissions& permissions,
                                std::uint64_t* id = nullptr) = 0;
  // Removes a name that is not a directory. Errors: kNotFound, kIsDirectory.
  virtual Result<RemovedEntry> remove(std::uint64_t parent, std::string_view name) = 0;
  virtual void forget(RemovedEntry& removed) = 0;
  // Instead of forget(), when the data of a removed name could not be removed: reap_limbo() tries again.
  virtual void leave_to_reaper(const RemovedEntry& removed) = 0;
  // Errors: kNotFound, kNotDirectory, kNotEmpty; kNotSupported when the directory lies on another server.
  virtual Status remove_directory(std::uint64_t parent, std::string_view name) = 0;
  // Moves a name, also between directories and over an existing name, atomically.
  // Errors: kNotFound, kExists (no_replace), kIsDirectory, kNotDirectory, kNotEmpty, kWouldCycle; kNotSupported, where
  // the namespace lies on several servers, for what takes more than this one.
  virtual Result<RenameResult> rename(std::uint64_t from_parent, std::string_view from_name, std::uint64_t to_parent,
                              std::string_view to_name, bool no_replace = false) = 0;

  // Each of two names gets what the other one had, atomically. Errors: kNotFound, kWouldCycle, kInvalidArgument (instances),
  // kNotSupported as rename().
  virtual Status exchange(std::uint64_t from_parent, std::string_view from_name, std::uint64_t to_parent,
                          std::string_view to_name) = 0;

  // --- directories ---
  virtual Result<DirectoryInfo> directory(std::uint64_t id) = 0;
  // Mode, owner and times, as far as they are named, at once. Errors: kNotFound.
  virtual Status change_directory(std::uint64_t id, const store::AttributeChange& change) = 0;
  // Extended attributes, as DataService::xattr() and change_xattr(); all of one directory have at most
  // kMostDirectoryXattrBytes.
  virtual Result<store::XattrValue> directory_xattr(std::uint64_t id, std::string_view name) = 0;
  virtual Status change_directory_xattr(std::uint64_t id, const store::XattrChange& change) = 0;
  // Appends up to `limit` entries that follow `cookie` (0: from the start). Returns false at the end. Entries
  // that exist all the time are listed exactly once; a cookie stays good whatever is created or removed.
  virtual Result<bool> list(std::uint64_t directory, std::uint64_t cookie, std::size_t limit, std::vector<EntryInfo>* out) = 0;

  // --- inodes, of which the data servers tell now and then what they say, for the metadata file ---
  // At most kMostInodeStates. Has no effect on a server without metadata file.
  virtual Status store_attributes(std::span<const InodeState> states) = 0;
  // What the inode of a dataset said last, for one whose data is gone. Size, links, mode, owner, times, version and
  // the target of a symbolic link; the rest is in the entry of its name. Errors: kNotFound.
  virtual Result<InodeState> last_inode(std::uint64_t dataset) = 0;

  // --- parts of a change over several servers; for CrossNames ---
  // At the coordinator. An undecided change whose driver is dead, or that is older than a few seconds, may be aborted
  // by anybody. Returns its id.
  virtual Result<std::uint64_t> begin_change() = 0;
  // At participants. What is claimed stays as it is until finish_change(). May be repeated.
  // Errors: kNotFound (no parent), kExists (no_replace), kIsDirectory, kNotDirectory, kClaimed.
  virtual Result<ClaimedName> claim_name(const NameClaim& claim) = 0;
  // Errors: kExists (kNew), kNotFound, kNotEmpty (kGone), kBusy (kMoved: has another parent meanwhile), kClaimed.
  virtual Status claim_directory(const DirectoryClaim& claim) = 0;
  // At the coordinator: applies its own part and commits the change. May be repeated.
  // Errors: kTimedOut (the change was aborted), kExists, kNotFound, kBusy (the entry is another one meanwhile), kClaimed.
  virtual Status decide_change(const Decision& decision) = 0;
  // At the coordinator. With `give_up` a pending change is aborted.
  virtual Result<ChangeOutcome> change_outcome(std::uint64_t change, bool give_up) = 0;
  // At participants: applies or undoes what was claimed, if it still is. `replaced` says that the caller is to drop
  // the victim's data, as after rename().
  virtual Result<RenameResult> finish_change(std::uint64_t change, bool committed) = 0;
  // At the coordinator, when all participants have finished a committed change.
  virtual Status forget_change(std::uint64_t change) = 0;

  // --- instances and servers ---
  // Errors: kExists.
  virtual Status create_instance(const InstanceInfo& info, const Permissions& root = {}) = 0;
  virtual Result<InstanceInfo> instance(std::string_view name) = 0;
  virtual Result<std::vector<InstanceInfo>> instances() = 0;
  // Takes a server out of an instance; the positions of the others stay. Needs no memory. Returns what is left. Errors: kNotFound
  // for an instance that does not exist or that the server is not part of.
  virtual Result<InstanceInfo> leave_instance(std::string_view name, std::uint32_t server_id) = 0;
  // Errors: kNotEmpty unless the tree is empty.
  virtual Status remove_instance(std::string_view name) = 0;
  // Adds a server or replaces the record of the same segment name. Returns its id.
  virtual Result<std::uint32_t> join_server(ServerInfo info) = 0;
  virtual Status leave_server(std::uint32_t id) = 0;
  virtual Result<std::vector<ServerInfo>> servers() = 0;

  // --- the cluster map ---
  virtual Result<ClusterMap> map() = 0;
  // To the first metadata server: `server`, of a deployment of `count` servers, serves (or, when it says so, is gone).
  // Said again and again; the epoch rises when this is news. Returns the epoch. Errors: kInvalidArgument (another
  // count), kBusy (another server with that index was heard lately).
  virtual Result<std::uint64_t> join_map(const MapServer& server, std::uint32_t count) = 0;
};

}  // namespace imss::metadata
