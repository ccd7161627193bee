// Writes a new metadata file beside the current one: header, then a snapshot, streamed.
//
// Owned by a Journal and used by its thread. The first error sticks: later calls do nothing, and
// finish() reports it. A snapshot that is destroyed without having been kept removes its file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "metadata/journal_file.h"
#include "metadata/journal_format.h"

namespace imss {

class JournalSnapshot {
 public:
  struct Options {
    std::string path;  // of the new file, absolute
    std::uint64_t segment_nonce = 0;
    std::uint64_t generation = 0;
    JournalFault fault;
  };

  // Errors: kSystem, kNoSpace; an old file of that name is gone then.
  static Result<JournalSnapshot> create(Options options);
  JournalSnapshot(JournalSnapshot&& other) noexcept;
  JournalSnapshot& operator=(JournalSnapshot&&) = delete;
  ~JournalSnapshot();

  void append(std::uint16_t kind, std::span<const std::byte> payload);
  // Writes the end record and everything that is still buffered, and makes the file durable.
  Status finish();
  // Hands over the descriptor; the file has another name by now and is not removed any more.
  JournalFd keep() &&;

  const Status& status() const { return status_; }
  const std::string& path() const { return options_.path; }
  std::uint64_t bytes() const { return file_bytes_ + buffer_.size(); }
  std::uint64_t next_sequence() const { return next_sequence_; }
  const JournalFileHeader& header() const { return header_; }

 private:
  JournalSnapshot(Options options, JournalFd fd);
  void flush();
  Status step(const char* name);

  Options options_;
  JournalFd fd_;
  JournalFileHeader header_{};
  Status status_;
  std::vector<std::byte> buffer_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t next_sequence_ = 1;
  bool remove_ = true;
};

}  // namespace imss
