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
#include "metadata/name_service.h"
#include "segment/segment.h"
#include "segment/table.h"

namespace imss::metadata {

struct NamePlaces;
struct NameRef;
struct PinnedDirectory;
struct ServiceSpare;
struct DirectoryRecord;

class Namespace final : public NameService {
 public:
  // Is told the id that a name is likely to stand for.
  using IdKnown = std::function<void(std::uint64_t id)>;

  explicit Namespace(std::shared_ptr<segment::Segment> segment);

  // Makes the empty namespace in a new segment, or the part of it that server `index` of `count` has.
  Status format(std::uint32_t index = 0, std::uint32_t count = 1);

  // As lookup() below. The id is known one wait for memory earlier than the rest: `id_known` may use the time.
  Result<EntryInfo> lookup(std::uint64_t parent, std::string_view name, const IdKnown& id_known);

  // --- what NameService says ---
  bool serving() const override { return segment_->serving(); }
  Result<std::uint64_t> new_id() override;
  // --- names ---
  Result<EntryInfo> lookup(std::uint64_t parent, std::string_view name) override { return lookup(parent, name, {}); }
  Result<PendingEntry> prepare(const EntryInfo& info) override;
  Status publish(PendingEntry& pending) override;
  void abandon(PendingEntry& pending) override;
  Status make_directory(std::uint64_t parent, std::string_view name, const Permissions& permissions,
                        std::uint64_t* id = nullptr) override;
  Result<RemovedEntry> remove(std::uint64_t parent, std::string_view name) override;
  void forget(RemovedEntry& removed) override;
  void leave_to_reaper(const RemovedEntry& removed) override;
  Status remove_directory(std::uint64_t parent, std::string_view name) override;
  Result<RenameResult> rename(std::uint64_t from_parent, std::string_view from_name, std::uint64_t to_parent,
                              std::string_view to_name, bool no_replace = false) override;
  Status exchange(std::uint64_t from_parent, std::string_view from_name, std::uint64_t to_parent,
                  std::string_view to_name) override;
  // --- directories ---
  Result<DirectoryInfo> directory(std::uint64_t id) override;
  Status change_directory(std::uint64_t id, const store::AttributeChange& change) override;
  Result<store::XattrValue> directory_xattr(std::uint64_t id, std::string_view name) override;
  Status change_directory_xattr(std::uint64_t id, const store::XattrChange& change) override;
  Result<bool> list(std::uint64_t directory, std::uint64_t cookie, std::size_t limit, std::vector<EntryInfo>* out) override;
  // --- inodes ---
  Status store_attributes(std::span<const InodeState> states) override;
  Result<InodeState> last_inode(std::uint64_t dataset) override;
  // --- parts of a change over several servers ---
  Result<std::uint64_t> begin_change() override;
  Result<ClaimedName> claim_name(const NameClaim& claim) override;
  Status claim_directory(const DirectoryClaim& claim) override;
  Status decide_change(const Decision& decision) override;
  Result<ChangeOutcome> change_outcome(std::uint64_t change, bool give_up) override;
  Result<RenameResult> finish_change(std::uint64_t change, bool committed) override;
  Status forget_change(std::uint64_t change) override;
  // --- instances and servers ---
  Status create_instance(const InstanceInfo& info, const Permissions& root = {}) override;
  Result<InstanceInfo> instance(std::string_view name) override;
  Result<std::vector<InstanceInfo>> instances() override;
  Result<InstanceInfo> leave_instance(std::string_view name, std::uint32_t server_id) override;
  Status remove_instance(std::string_view name) override;
  Result<std::uint32_t> join_server(ServerInfo info) override;
  Status leave_server(std::uint32_t id) override;
  Result<std::vector<ServerInfo>> servers() override;
  // --- the cluster map ---
  Result<ClusterMap> map() override;
  Result<std::uint64_t> join_map(const MapServer& server, std::uint32_t count) override;

  // Its place among the metadata servers of its deployment.
  struct Place {
    std::uint32_t index = 0;
    std::uint32_t count = 1;
    bool operator==(const Place&) const = default;
  };
  Place place() const;
  // The first server: marks those gone that were not heard after `since_ns` (CLOCK_MONOTONIC).
  Status mark_silent(std::int64_t since_ns);
  // The others: what the first says.
  Status copy_map(const ClusterMap& map);

  // The first of `count` new ids in a row.
  Result<std::uint64_t> new_ids(std::uint64_t count);

  // --- upkeep ---
  // A change over several servers that this one has a part in.
  struct OpenChange {
    std::uint64_t id = 0;
    bool claims = false;                      // has claims here
    bool committed = false;                   // is coordinated here, and committed
    bool pending = false;                     // is coordinated here, and not decided
    std::vector<std::uint32_t> participants;  // of a committed one
  };
  Result<std::vector<OpenChange>> open_changes();
  // Calls `reap` with the datasets that dead authors left behind; an entry is forgotten when it returns ok.
  Status reap_limbo(const std::function<Status(const EntryInfo&)>& reap);

  segment::Segment& segment() const { return *segment_; }

  // Puts a name from the metadata file into its directory, with its old ids.
  Status restore_entry(const EntryInfo& info);
  Status restore_instance(const InstanceInfo& info);
  // Mode, owner and times of a directory that is back, once everything in it is.
  Status restore_directory(const DirectoryInfo& info);
  Status restore_directory_xattrs(const DirectoryXattrs& xattrs);
  Status restore_inode(const InodeState& state);
  // No id up to this one is given out again.
  void reserve_ids(std::uint64_t last);

 private:
  friend class Journaller;
  struct Names;
  struct Found;
  Result<PinnedDirectory> pin_directory(segment::Participant& me, std::uint64_t id, std::uint32_t pin_slot);
  Result<Found> find_entry(segment::Participant& me, std::uint64_t parent, std::string_view name,
                           const IdKnown& id_known = {});
  Status ensure_chunk(segment::Participant& me, std::uint64_t id, DirectoryRecord& directory, std::uint64_t slot);
  segment::Word* slot_word(std::uint64_t directory, std::uint64_t slot);
  Status show_entry(segment::Participant& me, segment::Transaction& change, segment::TableEdit& edit,
                    const NamePlaces& places, const PendingEntry& pending, DirectoryRecord& dir, std::uint64_t* slot);
  Status take_slot(segment::Transaction& change, std::uint64_t id, DirectoryRecord& directory,
                   std::uint64_t* slot, segment::Word** word);
  void fill_directory_record(segment::Ref ref, std::uint64_t id, std::uint64_t parent, const Permissions& permissions);
  void mark_name_dirty(std::uint64_t parent, std::string_view name);
  Status make_directory_record(segment::Participant& me, std::uint64_t id, std::uint64_t parent,
                               const Permissions& permissions);
  Result<Permissions> permissions_of(segment::Participant& me, std::uint64_t directory);
  Status drop_directory_records(segment::Participant& me, std::uint64_t id);
  Status drop_directory(segment::Participant& me, RemovedEntry& removed);
  Status reap_one(segment::Participant& me, RemovedEntry& removed,
                  const std::function<Status(const EntryInfo&)>& reap);
  Status make_instance(const InstanceInfo& info, const Permissions& root, bool restored);
  Status drop_service(segment::Key key, bool in_map = false);
  struct PutOptions {
    bool replace = false;
    bool effect = false;  // that is what a request is for
    bool in_map = false;  // raises the epoch of the cluster map
  };
  Status put_record(segment::Table& table, segment::Key key, const void* record, std::size_t bytes, PutOptions options);
  Status drop_record(segment::Table& table, segment::Key key, bool in_map = false);
  Result<std::vector<std::byte>> stored_xattrs(segment::Participant& me, std::uint64_t directory, segment::Values* seen);
  Status put_inode(const InodeState& state, bool* changed);
  void forget_attributes(const EntryInfo& info);
  template <typename Read>
  Status read_service(segment::Key key, Read&& read);
  Status put_service(segment::Key key, const void* record, std::size_t bytes, PutOptions options);
  Status raise_epoch(segment::Transaction& change);
  Status put_map_server(const MapServer& server, bool raise);
  Result<PendingEntry> prepare_record(segment::Participant& me, const EntryInfo& info, std::uint64_t flags);
  struct EditOptions {
    segment::Word* lease = nullptr;
    bool claimed_too = false;  // `decide` sees entries that a change over several servers holds
  };
  template <typename Decide>
  Status edit_names(segment::Participant& me, std::initializer_list<NameRef> names, Decide&& decide,
                    const EditOptions& options);
  template <typename Decide>
  Status edit_names(segment::Participant& me, std::initializer_list<NameRef> names, Decide&& decide) {
    return edit_names(me, names, std::forward<Decide>(decide), EditOptions());
  }
  template <typename Attempt>
  Status with_spare(segment::Participant& me, Attempt&& attempt);
  struct RenamePlan;
  Status plan_rename(segment::Participant& me, RenamePlan& plan);
  Status apply_rename(segment::Participant& me, RenamePlan& plan, segment::Transaction& change);
  Status commit_rename(segment::Participant& me, RenamePlan& plan, RenameResult* result);
  Status check_cycle(segment::Participant& me, std::uint64_t moved, std::uint64_t parent);
  struct ExchangePlan;
  Status plan_exchange(segment::Participant& me, ExchangePlan& plan);
  Status apply_exchange(segment::Participant& me, ExchangePlan& plan, segment::Transaction& change);
  Status commit_exchange(segment::Participant& me, ExchangePlan& plan);
  // Whether a directory lies on another server.
  bool elsewhere(std::uint64_t directory) const;
  bool spread() const { return place().count > 1; }
  // Status::claimed() when such a change holds a name in the directory.
  Status claim_within(segment::Participant& me, std::uint64_t directory);
  Status try_claim_name(segment::Participant& me, const NameClaim& claim, const PendingEntry& pending,
                        ServiceSpare& spare, ClaimedName* result);
  Status present_under(const segment::Values& values) const;
  Status claim_new_directory(segment::Participant& me, const DirectoryClaim& claim);
  Status claim_present_directory(segment::Participant& me, const DirectoryClaim& claim);
  struct NameFinish;
  Result<RenameResult> finish_name(segment::Participant& me, std::uint64_t change, bool committed);
  Status apply_name_claim(segment::Participant& me, NameFinish& finish, segment::Transaction& change,
                          segment::TableEdit& edit, const NamePlaces& places);
  Status finish_directory(segment::Participant& me, segment::Key key, bool committed);
  Status try_add_decided(segment::Participant& me, const Decision& decision, const PendingEntry& pending,
                         ServiceSpare& spare);
  Status erase_decided(segment::Participant& me, const Decision& decision, ServiceSpare& spare);

  std::shared_ptr<segment::Segment> segment_;
  segment::Table entries_;
  segment::Table directories_;
  segment::Table services_;
  segment::Table attributes_;
};

}  // namespace imss::metadata
