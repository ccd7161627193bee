// What one worker of a block benchmark owns: a session, a dataset, a file on tmpfs and a buffer.
//
// Thread-owned. Its operations go block by block through the working set, in order or in a random
// order that is the same for every contender.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "bench_blocks.h"
#include "client/session.h"

namespace imss::bench {

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

class BlockWorker {
 public:
  // `shared` is null where the worker is a process and connects by itself.
  static Result<std::unique_ptr<BlockWorker>> make(const BenchStore& store, const BlockCase& wanted,
                                                   client::Session* shared, unsigned worker);
  ~BlockWorker();
  BlockWorker(const BlockWorker&) = delete;
  BlockWorker& operator=(const BlockWorker&) = delete;

  // Makes the dataset of so many blocks, without content.
  Status create(std::uint64_t block_count);
  // Removes it.
  Status remove();
  // Fills all blocks and the file.
  Status populate();
  // Finds out where the blocks are now.
  Status locate();

  Status set(std::uint64_t operations);
  Status get(std::uint64_t operations);
  Status file_write(std::uint64_t operations);
  Status file_read(std::uint64_t operations);
  // REQUIRES: located.
  Status copy_in(std::uint64_t operations);
  Status copy_out(std::uint64_t operations);
  // Goes back to the first block.
  void rewind() { position_ = 0; }

  client::Session& session() const { return *session_; }
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

  const BlockCase case_;
  std::unique_ptr<client::Session> own_session_;
  client::Session* session_ = nullptr;
  std::string name_;
  std::int32_t handle_ = -1;
  ScratchFile file_;
  std::vector<std::byte> buffer_;
  std::uint64_t block_count_ = 0;
  std::uint64_t position_ = 0;
  std::vector<std::uint32_t> order_;
  std::vector<std::byte*> addresses_;
};

}  // namespace imss::bench
