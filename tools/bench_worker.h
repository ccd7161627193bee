// What one worker of a block benchmark owns: a dataset of the C interface, a file on tmpfs and a
// buffer.
//
// Thread-owned. Its operations go block by block through the working set, in order or in a random
// order that is the same for every contender.
#pragma once

#include <imss/imss.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "bench_blocks.h"
#include "bench_store.h"

namespace imss::bench {

inline constexpr std::uint64_t kListBlocks = 64;

// A file that is removed at the end.
class ScratchFile {
 public:
  static Result<ScratchFile> create(std::string path);
  ScratchFile() = default;
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&& other) noexcept;
  ~ScratchFile();
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
  std::string path_;
};

// This process as a client of the C interface, as long as any of these is there. Any thread.
class ClientProcess {
 public:
  static Result<ClientProcess> join();
  ClientProcess(ClientProcess&& other) noexcept : joined_(std::exchange(other.joined_, false)) {}
  ClientProcess& operator=(ClientProcess&& other) noexcept {
    std::swap(joined_, other.joined_);
    return *this;
  }
  ~ClientProcess();

 private:
  ClientProcess() = default;
  bool joined_ = true;
};

// What a call of the C interface has answered.
Status answer_of(std::int32_t returned);

class BlockWorker {
 public:
  static Result<std::unique_ptr<BlockWorker>> make(const BenchStore& store, const BlockCase& wanted,
                                                   unsigned worker);
  ~BlockWorker();
  BlockWorker(const BlockWorker&) = delete;
  BlockWorker& operator=(const BlockWorker&) = delete;

  // Makes the dataset of so many blocks, without content. Errors: kInvalidArgument for a block size
  // that is not a whole number of KiB.
  Status create(std::uint64_t block_count);
  // Removes it.
  Status remove();
  // Fills all blocks and the file.
  Status populate();
  // Finds out where the blocks are now.
  Status locate();

  Status set(std::uint64_t operations);
  Status get(std::uint64_t operations);
  // Lists of kListBlocks blocks, and the same of the file in one call. REQUIRES: in order, whole
  // lists.
  Status set_list(std::uint64_t operations);
  Status get_list(std::uint64_t operations);
  Status file_write_list(std::uint64_t operations);
  Status file_read_list(std::uint64_t operations);
  Status copy_in_list(std::uint64_t operations) { return copy_in(operations * kListBlocks); }
  Status copy_out_list(std::uint64_t operations) { return copy_out(operations * kListBlocks); }
  Status file_write(std::uint64_t operations);
  Status file_read(std::uint64_t operations);
  // REQUIRES: located.
  Status copy_in(std::uint64_t operations);
  Status copy_out(std::uint64_t operations);
  // Ends the connection and keeps the dataset, for others; comes back to it.
  Status leave();
  Status come_back();
  // Which block is next, from 0; the one after the last is the first.
  void seek(std::uint64_t block) { position_ = block < block_count_ ? block : 0; }

  std::uint64_t block_count() const { return block_count_; }
  std::span<std::byte> buffer() { return buffer_; }

 private:
  explicit BlockWorker(const BlockCase& wanted) : case_(wanted), buffer_(wanted.block_bytes) {}
  // Index of the next block, from 0.
  std::uint64_t next() {
    const std::uint64_t at = position_;
    position_ = at + 1 < block_count_ ? at + 1 : 0;
    return order_.empty() ? at : order_[at];
  }
  void shuffle();

  void fill_list();

  const BlockCase case_;
  std::optional<ClientProcess> client_;
  std::string name_;
  std::int32_t id_ = -1;
  std::array<imss_block_io, kListBlocks> list_{};
  ScratchFile file_;
  std::vector<std::byte> buffer_;
  std::uint64_t block_count_ = 0;
  std::uint64_t position_ = 0;
  std::vector<std::uint32_t> order_;
  std::vector<std::byte*> addresses_;
};

}  // namespace imss::bench
