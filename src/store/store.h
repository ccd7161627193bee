// The data engine: blocks and inodes of datasets, as functions over one data server's segment.
//
// Concurrent and stateless: any thread of any process that has mapped the segment executes these calls itself.
// A whole-block put writes a fresh extent and swaps it in, so readers see the old block or the new one. Ranged
// writes go in place. Reads take no lock. Invariant: whatever an entry of the block table references is owned by
// that entry alone, and an extent is reused only when no participant pins it.
//
// Common errors: kNoSpace (nothing applied), kTimedOut, kFenced, kCorrupt, kTooManyOpen (participants).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>
#include <unordered_set>

#include "base/result.h"
#include "segment/outcome.h"
#include "segment/segment.h"
#include "segment/table.h"
#include "store/data_service.h"
#include "store/inode.h"

namespace imss::segment {
struct Place;
}

namespace imss::store {

class Store;

// What begin_truncation(size) returned, from the outcome that it stored (segment/outcome.h).
Truncation begun_truncation(std::uint64_t size, const segment::Outcome& outcome);

// A whole block in the making whose content comes from another node: an extent in the hand of the thread that made
// this, which nobody else sees. Ends by Store::publish(), or gives the extent back when it is destroyed, by that
// thread and with no transfer into it under way.
class StagedBlock {
 public:
  StagedBlock() = default;
  ~StagedBlock() { reset(); }
  StagedBlock(StagedBlock&& other) noexcept { *this = std::move(other); }
  StagedBlock& operator=(StagedBlock&& other) noexcept {
    if (this == &other) return *this;
    reset();
    store_ = std::exchange(other.store_, nullptr);
    held_ = other.held_;
    memory_ = std::exchange(other.memory_, {});
    flags_ = other.flags_;
    return *this;
  }
  bool empty() const { return store_ == nullptr; }
  std::span<std::byte> memory() const { return memory_; }

 private:
  friend class Store;
  void reset();
  Store* store_ = nullptr;
  segment::Held held_;
  std::span<std::byte> memory_;
  std::uint64_t flags_ = 0;  // of the entry
};

class Store final : public DataService {
 public:
  explicit Store(std::shared_ptr<segment::Segment> segment)
      : segment_(std::move(segment)), blocks_(*segment_, segment::kBlockTable) {}

  // --- what DataService says ---
  bool serving() const override { return segment_->serving(); }
  bool lost() const override { return !serving(); }
  // --- blocks ---
  Result<std::uint64_t> put(BlockId id, std::span<const std::byte> content, PutOptions options = {}) override;
  Status get(BlockId id, std::uint64_t offset, std::span<std::byte> out, bool* present = nullptr) override;
  Status write(BlockId id, std::uint64_t offset, std::span<const std::byte> data, std::uint64_t block_bytes,
               std::uint64_t generation = 0) override;
  Status cut(BlockId id, std::uint64_t offset, std::uint64_t generation) override;
  Status erase(BlockId id) override;
  Status erase_range(std::uint64_t dataset, std::uint64_t first, std::uint64_t last,
                     std::uint64_t before = kAnyGeneration) override;
  Result<std::uint64_t> version(BlockId id) override;
  Result<View> view(BlockId id, std::uint64_t block_bytes) override;
  // --- holes ---
  Result<StoredBlocks> stored(std::uint64_t dataset, std::uint64_t first, std::uint64_t last, bool only_first) override;
  Result<std::uint64_t> seek(BlockId id, std::uint64_t offset, bool hole, std::uint64_t block_bytes) override;
  Status clear(BlockId id, std::uint64_t offset, std::uint64_t bytes) override;
  Status allocate(BlockId id, std::uint64_t offset, std::uint64_t bytes, std::uint64_t block_bytes,
                  std::uint64_t generation) override;
  // --- copies ---
  Status begin_copies(BlockId id) override;
  void end_copies() override;
  std::vector<BlockId> torn_blocks() const override;
  Status repaired(BlockId id) override;
  // --- inodes ---
  Status create_inode(std::uint64_t dataset, const Attributes& attributes) override;
  Result<Attributes> attributes(std::uint64_t dataset) override;
  Status change_attributes(std::uint64_t dataset, const AttributeChange& change) override;
  Status extend_size(std::uint64_t dataset, std::uint64_t end) override;
  Status announce_block(std::uint64_t dataset, std::uint64_t block) override;
  Result<std::uint64_t> reserve_append(std::uint64_t dataset, std::uint64_t bytes) override;
  Result<Truncation> begin_truncation(std::uint64_t dataset, std::uint64_t size) override;
  Result<Truncation> pending_truncation(std::uint64_t dataset) override;
  Status finish_truncation(std::uint64_t dataset, const Truncation& truncation) override;
  Status open(std::uint64_t dataset) override;
  Result<bool> close(std::uint64_t dataset) override;
  Status add_link(std::uint64_t dataset, std::uint64_t link) override;
  Result<bool> remove_link(std::uint64_t dataset, std::uint64_t link) override;
  void leave_orphan(std::uint64_t dataset) override;
  Status erase_inode(std::uint64_t dataset) override;
  Result<XattrValue> xattr(std::uint64_t dataset, std::string_view name) override;
  Status change_xattr(std::uint64_t dataset, const XattrChange& change) override;
  Status note_allocated(std::uint64_t dataset, std::uint64_t noted) override;
  Result<Space> space() override;
  Status settle() override;

  // --- for clients on other nodes ---
  // Pins a range of a block that is stored in one piece, to be sent from there; a view without pin when it is not.
  // Errors: kFenced.
  Result<View> view_stored(BlockId id, std::uint64_t offset, std::uint64_t bytes);
  // A put in two steps: memory for a content of `bytes`, and the swap once it is there and verified. Errors: as put.
  Result<StagedBlock> stage(std::uint64_t bytes);
  Result<std::uint64_t> publish(BlockId id, StagedBlock staged, PutOptions options);
  // The copies of the block may differ: its writer is gone.
  Status note_torn(BlockId id);
  // `client` is a random number that stands for the process.
  Status open_for(std::uint64_t dataset, std::uint64_t client);
  Result<bool> close_for(std::uint64_t dataset, std::uint64_t client);

  // A hint: attributes() of this dataset is likely to be called.
  void expect_attributes(std::uint64_t dataset) const { blocks_.prefetch({dataset, 0}); }

  // --- for the metadata file: which inodes changed ---
  // From here on changes are noted, in a ring in the segment; has no effect when they are already.
  Status note_changes();
  // Up to `limit` datasets whose inode was made or changed since take_attributes() took it last. `lost`: the ring was
  // too short, so that all inodes have to be looked at for their mark. For one thread of the server.
  std::vector<std::uint64_t> take_changed(std::size_t limit, bool* lost);
  bool changes_pending() const;
  // The next take_changed() finds the ring lost: somebody may have died, or stopped, while it noted a change.
  void lose_changes();
  // All datasets with an inode here, or those whose inode is marked as changed. `visit` returns false to stop.
  Status for_each_inode(bool changed_only, const std::function<bool(std::uint64_t dataset)>& visit);

  // The attributes, from which on the inode counts as unchanged. Errors: kNotFound.
  Result<Attributes> take_attributes(std::uint64_t dataset);

  // --- upkeep ---
  // Forgets the opens of processes that ended and removes datasets without name and opener. Cheap while no process
  // came, went or died. What fails is tried again by the next call, whose outcome it then is.
  struct SweepActions {
    // Called before opens are forgotten: what the dead had committed on other servers must be applied there, or a
    // block of theirs would appear after the dataset is gone.
    std::function<Status()> settle;
    // Removes what is stored of a dataset, here and elsewhere.
    std::function<Status(std::uint64_t dataset)> drop;
    // Whether a client on another node is still there; empty: none is. `remote_changes` grows when one goes.
    std::function<bool(std::uint64_t client)> remote_lives = {};
    std::uint64_t remote_changes = 0;
  };
  Status sweep(const SweepActions& actions);
  Status for_each_block(const std::function<bool(BlockId, const segment::Values&)>& visit);

  segment::Segment& segment() const { return *segment_; }

 private:
  struct Pinned;
  struct ExclusiveChange;
  // With `foreseen` what it reads is likely to be in the cache, at that place.
  Status pin(segment::Participant& me, BlockId id, std::uint32_t pin_slot, std::uint64_t flags, Pinned* pinned,
             const segment::Place* foreseen = nullptr);
  Result<segment::Held> filled_extent(segment::Participant& me, std::span<const std::byte> content,
                                      std::uint64_t* entry_flags);
  Result<std::uint64_t> swap_in(segment::Participant& me, BlockId id, const segment::Held& held, std::uint64_t flags,
                                const PutOptions& options);
  friend class StagedBlock;
  void give_up(const segment::Held& held);
  Status write_pages(segment::Participant& me, segment::Ref ref, std::uint64_t offset,
                     std::span<const std::byte> data);
  Status fill_exclusive(segment::Participant& me, segment::Ref ref, std::uint64_t offset,
                        std::span<const std::byte> data);
  Status first_write(segment::Participant& me, BlockId id, std::uint64_t offset,
                     std::span<const std::byte> data, std::uint64_t block_bytes, std::uint64_t generation);
  Status erase_one(BlockId id, std::uint64_t before);
  Status change_exclusively(segment::Participant& me, BlockId id, const ExclusiveChange& what);
  Status move_to_full(segment::Participant& me, BlockId id, std::uint64_t block_bytes);
  Status insert_new(segment::Participant& me, BlockId id, const segment::Held& held, std::uint64_t flags,
                    std::uint64_t generation = 0);
  Status copy_moved(segment::Participant& me, segment::Ref from, bool from_dense, segment::Ref to, bool to_dense);
  struct Zeroed {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };
  Status zero_range(segment::Participant& me, segment::Ref ref, bool dense, Zeroed range);
  Status clear_range(segment::Participant& me, BlockId id, std::uint64_t offset, std::uint64_t bytes);
  Status make_whole(segment::Participant& me, BlockId id, std::uint64_t block_bytes);
  Status fill_holes(segment::Participant& me, segment::Ref ref, std::uint64_t offset, std::uint64_t bytes);
  void note_change(Inode& inode, std::uint64_t dataset) {
    // A later look at the inode by whoever takes the mark away sees the change: all these are in one order.
    if ((inode.type.load() & kInodeDirty) != 0) return;
    if (segment_->super().service_root[kDirtyRing].load() == 0) return;
    if ((inode.type.fetch_or(kInodeDirty) & kInodeDirty) == 0) note_change(dataset);
  }
  void note_change(std::uint64_t dataset);
  Result<std::vector<std::byte>> stored_xattrs(segment::Participant& me, std::uint64_t dataset, segment::Values* seen,
                                               bool* present);
  Result<Inode*> pin_inode(segment::Participant& me, std::uint64_t dataset, Pinned* pinned);
  std::uint64_t processes_present(std::unordered_set<std::uint64_t>* tokens);
  Status add_open(std::uint64_t dataset, std::uint64_t process, std::uint64_t stamp);
  Status named(std::uint64_t dataset);
  template <typename Decide>
  Status edit_link(std::uint64_t dataset, std::uint64_t link, Decide&& decide);
  Result<bool> forget_opens(segment::Participant& me, std::uint64_t dataset, std::uint64_t process,
                            std::uint64_t count);

  std::shared_ptr<segment::Segment> segment_;
  segment::Table blocks_;
};

}  // namespace imss::store
