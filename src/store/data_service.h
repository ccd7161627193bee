// What a data server can be asked: blocks and inodes of datasets.
//
// Two classes answer: Store executes in the calling thread on a mapped segment, RemoteStore (src/client) sends a
// message to a server on another node. Concurrent; any thread.
//
// Common errors: kNoSpace (nothing applied), kTimedOut, kFenced, kCorrupt, kTooManyOpen (participants), and from
// another node kIo (not applied) and kUnknownOutcome (may have been applied).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "segment/layout.h"
#include "store/attributes.h"

namespace imss::store {

struct BlockId {
  std::uint64_t dataset = 0;
  std::uint64_t block = 0;  // data blocks count from 1
  bool operator==(const BlockId&) const = default;
};

// A block in shared memory, pinned by the calling thread, which must release it before it ends; or, from a server on
// another node, a copy of the block as it was.
struct View {
  std::span<const std::byte> bytes;
  std::uint64_t version = 0;
  segment::Word* pin = nullptr;                // in shared memory
  segment::Participant* holder = nullptr;
  std::shared_ptr<const std::byte[]> copy;     // otherwise
};
// Without effect on a view that was released.
void release(View& view);

inline constexpr std::uint64_t kAnyVersion = ~0ULL;

inline constexpr std::uint64_t kAnyGeneration = ~0ULL;

struct PutOptions {
  std::uint64_t version = 0;                     // of a further replica: applied only if newer; 0: the next one
  std::uint64_t expected_version = kAnyVersion;  // kBusy when the block has another version (0: absent)
  std::uint64_t generation = 0;                  // truncate generation of the dataset that the writer has seen
};

struct Truncation {
  std::uint64_t size = 0;
  std::uint64_t old_size = 0;    // kSizeMask when somebody else began it
  std::uint64_t generation = 0;  // that it begins
  bool pending = false;
};

// What a server has of some blocks of a dataset.
struct StoredBlocks {
  std::uint64_t bytes = 0;  // of memory that holds data
  std::uint64_t first = 0;  // the least number among them; 0: none is stored
};

struct Space {
  std::uint64_t capacity_bytes = 0;
  std::uint64_t used_bytes = 0;
};

class DataService {
 public:
  virtual ~DataService() = default;
  // Whether there is any point in asking: false once the server is known to have ended.
  virtual bool serving() const = 0;
  // Whether what it stored is gone for good: it ended and does not come back, or another one is in its place. One that is
  // neither serving nor lost may come back with all it has.
  virtual bool lost() const = 0;

  // --- blocks ---
  // Replaces the whole block by `content` (1 byte to 64 MiB); what follows it in the block reads as zeros.
  // Atomic. Returns the block's version after the call. Errors: kBusy, see PutOptions.
  virtual Result<std::uint64_t> put(BlockId id, std::span<const std::byte> content, PutOptions options = {}) = 0;
  // Copies `out.size()` bytes from byte `offset` of the block; holes and absent blocks are zeros. `present`, if
  // given, gets whether the block exists.
  virtual Status get(BlockId id, std::uint64_t offset, std::span<std::byte> out, bool* present = nullptr) = 0;
  // Writes `data` at byte `offset`, in place. `block_bytes` is the size of the dataset's blocks.
  // Errors: kInvalidArgument beyond the block.
  virtual Status write(BlockId id, std::uint64_t offset, std::span<const std::byte> data, std::uint64_t block_bytes,
               std::uint64_t generation = 0) = 0;
  // Truncation `generation` cuts the block at `offset`: what is behind reads as zeros. Applied once, however many
  // finish the same truncation, so it never hits what was written after it.
  virtual Status cut(BlockId id, std::uint64_t offset, std::uint64_t generation) = 0;
  // Removes the block; absent is fine.
  virtual Status erase(BlockId id) = 0;
  // Removes data blocks first..last of the dataset that are stored here; with `before`, only those older than that
  // truncate generation.
  virtual Status erase_range(std::uint64_t dataset, std::uint64_t first, std::uint64_t last,
                     std::uint64_t before = kAnyGeneration) = 0;
  // Version of the block, 0 when absent.
  virtual Result<std::uint64_t> version(BlockId id) = 0;
  // Pins the block for reading in place. Absent or partly written blocks are made whole first.
  // Errors: kTooManyOpen when the thread holds kViewPins views.
  virtual Result<View> view(BlockId id, std::uint64_t block_bytes) = 0;

  // --- holes ---
  // Of data blocks first..last of the dataset that are stored here; with `only_first` no bytes are counted.
  virtual Result<StoredBlocks> stored(std::uint64_t dataset, std::uint64_t first, std::uint64_t last, bool only_first) = 0;
  // The first byte of the block from `offset` on that has data or, with `hole`, has none; `block_bytes` when there is none.
  virtual Result<std::uint64_t> seek(BlockId id, std::uint64_t offset, bool hole, std::uint64_t block_bytes) = 0;
  // Makes a range read as zeros, in place. Its pages become holes where the block is stored in pieces; their memory stays
  // the block's.
  virtual Status clear(BlockId id, std::uint64_t offset, std::uint64_t bytes) = 0;
  // Gives a range memory, with zeros where it had no data, so that writing into it needs no more.
  virtual Status allocate(BlockId id, std::uint64_t offset, std::uint64_t bytes, std::uint64_t block_bytes,
                          std::uint64_t generation) = 0;

  // --- copies ---
  // Between the two, this process is writing further copies of the block, of which this server has the first.
  // Should it die, the block is listed by torn_blocks() until repaired() is called.
  virtual Status begin_copies(BlockId id) = 0;
  virtual void end_copies() = 0;
  virtual std::vector<BlockId> torn_blocks() const = 0;
  virtual Status repaired(BlockId id) = 0;

  // --- inodes ---
  // Without links it is one without a name, for whoever opens it next. Errors: kExists.
  virtual Status create_inode(std::uint64_t dataset, const Attributes& attributes) = 0;
  // Errors: kNotFound.
  virtual Result<Attributes> attributes(std::uint64_t dataset) = 0;
  // Atomic. Changes at the same time lose nothing of one another but where both name the same field.
  virtual Status change_attributes(std::uint64_t dataset, const AttributeChange& change) = 0;
  // Grows the size to `end` if it is smaller and stamps the modification time.
  virtual Status extend_size(std::uint64_t dataset, std::uint64_t end) = 0;
  // To be called before data block `block` of a dataset that grows is written for the first time, so that it is
  // found when the dataset is dropped, even if its writer dies before the size says so.
  virtual Status announce_block(std::uint64_t dataset, std::uint64_t block) = 0;
  // Reserves `bytes` at the end of the dataset and returns where they begin; appends never overlap.
  virtual Result<std::uint64_t> reserve_append(std::uint64_t dataset, std::uint64_t bytes) = 0;
  // Sets the size and starts a new truncate generation when it shrinks. The caller removes the blocks beyond
  // `size` and then calls finish_truncation; a later truncation completes an unfinished one first.
  virtual Result<Truncation> begin_truncation(std::uint64_t dataset, std::uint64_t size) = 0;
  virtual Result<Truncation> pending_truncation(std::uint64_t dataset) = 0;
  virtual Status finish_truncation(std::uint64_t dataset, const Truncation& truncation) = 0;

  // Opens by this process, so that an unlinked dataset stays until nobody has it open.
  virtual Status open(std::uint64_t dataset) = 0;
  // Returns true when the dataset has neither name nor opener left: the caller drops it.
  virtual Result<bool> close(std::uint64_t dataset) = 0;
  // The dataset has one more name, or one less. Names are told apart by their links (metadata::EntryInfo), so that
  // doing it twice is the same as once. Errors: kNotFound when the last name is gone, kTooManyLinks.
  virtual Status add_link(std::uint64_t dataset, std::uint64_t link) = 0;
  // Returns true as close() does.
  virtual Result<bool> remove_link(std::uint64_t dataset, std::uint64_t link) = 0;
  // The caller could not drop such a dataset: its server does, when it can.
  virtual void leave_orphan(std::uint64_t dataset) = 0;
  // Removes the inode itself, the last step of dropping a dataset.
  virtual Status erase_inode(std::uint64_t dataset) = 0;

  // Keeps Attributes::allocated.
  virtual Status note_allocated(std::uint64_t dataset, std::uint64_t noted) = 0;

  // --- extended attributes ---
  // The value of one or, without name, the names of all, each ended by a NUL. Errors: kNotFound, kNoData.
  virtual Result<XattrValue> xattr(std::uint64_t dataset, std::string_view name) = 0;
  // Atomic. Errors: kNotFound, and those of changed_xattrs().
  virtual Status change_xattr(std::uint64_t dataset, const XattrChange& change) = 0;

  virtual Result<Space> space() = 0;
  // Applies what dead processes of the server's node had committed, so that it is seen.
  virtual Status settle() = 0;
};

}  // namespace imss::store
