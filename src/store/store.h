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
#include "segment/segment.h"
#include "segment/table.h"
#include "store/inode.h"

namespace imss::store {

struct BlockId {
  std::uint64_t dataset = 0;
  std::uint64_t block = 0;  // data blocks count from 1
  bool operator==(const BlockId&) const = default;
};

// A block pinned in shared memory by the calling thread, which must release it before it ends.
struct View {
  std::span<const std::byte> bytes;
  std::uint64_t version = 0;
  segment::Word* pin = nullptr;
  segment::Participant* holder = nullptr;
};

inline constexpr std::uint64_t kAnyVersion = ~0ULL;

inline constexpr std::uint64_t kAnyGeneration = ~0ULL;

struct PutOptions {
  std::uint64_t version = 0;                     // of a further replica: applied only if newer; 0: the next one
  std::uint64_t expected_version = kAnyVersion;  // kBusy when the block has another version (0: absent)
  std::uint64_t generation = 0;                  // truncate generation of the dataset that the writer has seen
};

class Store {
 public:
  explicit Store(std::shared_ptr<segment::Segment> segment)
      : segment_(std::move(segment)), blocks_(*segment_, segment::kBlockTable) {}

  // --- blocks ---
  // Replaces the whole block by `content` (1 byte to 64 MiB); what follows it in the block reads as zeros.
  // Atomic. Returns the block's version after the call. Errors: kBusy, see PutOptions.
  Result<std::uint64_t> put(BlockId id, std::span<const std::byte> content, PutOptions options = {});
  // Copies `out.size()` bytes from byte `offset` of the block; holes and absent blocks are zeros. `present`, if
  // given, gets whether the block exists.
  Status get(BlockId id, std::uint64_t offset, std::span<std::byte> out, bool* present = nullptr);
  // Writes `data` at byte `offset`, in place. `block_bytes` is the size of the dataset's blocks.
  // Errors: kInvalidArgument beyond the block.
  Status write(BlockId id, std::uint64_t offset, std::span<const std::byte> data, std::uint64_t block_bytes,
               std::uint64_t generation = 0);
  // Truncation `generation` cuts the block at `offset`: what is behind reads as zeros. Applied once, however many
  // finish the same truncation, so it never hits what was written after it.
  Status cut(BlockId id, std::uint64_t offset, std::uint64_t generation);
  // Removes the block; absent is fine.
  Status erase(BlockId id);
  // Removes data blocks first..last of the dataset that are stored here; with `before`, only those older than that
  // truncate generation.
  Status erase_range(std::uint64_t dataset, std::uint64_t first, std::uint64_t last,
                     std::uint64_t before = kAnyGeneration);
  // Version of the block, 0 when absent.
  Result<std::uint64_t> version(BlockId id);
  // Pins the block for reading in place. Absent or partly written blocks are made whole first.
  // Errors: kTooManyOpen when the thread holds kViewPins views.
  Result<View> view(BlockId id, std::uint64_t block_bytes);
  static void release(View& view);

  // --- copies ---
  // Between the two, this process is writing further copies of the block, of which this server has the first.
  // Should it die, the block is listed by torn_blocks() until repaired() is called.
  Status begin_copies(BlockId id);
  void end_copies();
  std::vector<BlockId> torn_blocks() const;
  Status repaired(BlockId id);

  // --- inodes ---
  // Errors: kExists.
  Status create_inode(std::uint64_t dataset, const Attributes& attributes);
  // Errors: kNotFound.
  Result<Attributes> attributes(std::uint64_t dataset);
  // Stores mode, owner and times of `attributes`.
  Status set_attributes(std::uint64_t dataset, const Attributes& attributes);
  // Grows the size to `end` if it is smaller and stamps the modification time.
  Status extend_size(std::uint64_t dataset, std::uint64_t end);
  // To be called before data block `block` of a dataset that grows is written for the first time, so that it is
  // found when the dataset is dropped, even if its writer dies before the size says so.
  Status announce_block(std::uint64_t dataset, std::uint64_t block);
  // Reserves `bytes` at the end of the dataset and returns where they begin; appends never overlap.
  Result<std::uint64_t> reserve_append(std::uint64_t dataset, std::uint64_t bytes);
  // Sets the size and starts a new truncate generation when it shrinks. The caller removes the blocks beyond
  // `size` and then calls finish_truncation; a later truncation completes an unfinished one first.
  struct Truncation {
    std::uint64_t size = 0;
    std::uint64_t old_size = 0;    // kSizeMask when somebody else began it
    std::uint64_t generation = 0;  // that it begins
    bool pending = false;
  };
  Result<Truncation> begin_truncation(std::uint64_t dataset, std::uint64_t size);
  Result<Truncation> pending_truncation(std::uint64_t dataset);
  Status finish_truncation(std::uint64_t dataset, const Truncation& truncation);

  // Opens by this process, so that an unlinked dataset stays until nobody has it open.
  Status open(std::uint64_t dataset);
  // Returns true when the dataset has neither name nor opener left: the caller drops it.
  Result<bool> close(std::uint64_t dataset);
  // A name was added (+1) or removed (-1). Returns true as close() does.
  Result<bool> change_links(std::uint64_t dataset, int by);
  // Removes the inode itself, the last step of dropping a dataset.
  Status erase_inode(std::uint64_t dataset);

  // --- upkeep ---
  // Forgets the opens of processes that ended and calls `orphan` for datasets without name and opener. Cheap while
  // no process came, went or died.
  Status sweep(const std::function<void(std::uint64_t dataset)>& orphan);
  Status for_each_block(const std::function<bool(BlockId, const segment::Values&)>& visit);

  segment::Segment& segment() const { return *segment_; }

 private:
  struct Pinned;
  struct ExclusiveChange;
  Status pin(segment::Participant& me, BlockId id, std::uint32_t pin_slot, std::uint64_t flags, Pinned* pinned);
  Result<segment::Held> filled_extent(segment::Participant& me, std::span<const std::byte> content,
                                      std::uint64_t* entry_flags);
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
  Status zero_from(segment::Participant& me, segment::Ref ref, bool dense, std::uint64_t offset);
  Status make_whole(segment::Participant& me, BlockId id, std::uint64_t block_bytes);
  Status fill_holes(segment::Participant& me, segment::Ref ref, std::uint64_t bytes);
  Result<Inode*> pin_inode(segment::Participant& me, std::uint64_t dataset, Pinned* pinned);
  std::uint64_t processes_present(std::unordered_set<std::uint64_t>* tokens);
  Result<bool> forget_opens(segment::Participant& me, std::uint64_t dataset, std::uint64_t process,
                            std::uint64_t count);

  std::shared_ptr<segment::Segment> segment_;
  segment::Table blocks_;
};

}  // namespace imss::store
