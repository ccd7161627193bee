// Reads a metadata file: finds out how much of it counts, and hands that to whoever wants the
// records.
//
// A scan changes nothing. It runs twice over the file: once to judge it, once to replay it, so that
// a file that is refused has not been replayed in part. One thread at a time per reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "metadata/journal_file.h"
#include "metadata/journal_format.h"

namespace imss {

// Takes one state record of the caller's; its error ends the replay and is what opening reports.
using ReplayCallback =
    std::function<Status(std::uint16_t kind, std::span<const std::byte> payload)>;

// A window over a file, so that a file of any size is read with bounded memory.
class JournalReader {
 public:
  JournalReader(const JournalFd& fd, std::uint64_t file_bytes, const std::string& path)
      : fd_(fd), file_bytes_(file_bytes), path_(path) {}

  // Up to `count` bytes at `offset`, fewer at the end of the file; valid until the next call.
  // Errors: kSystem.
  Result<std::span<const std::byte>> bytes_at(std::uint64_t offset, std::size_t count);

  std::uint64_t file_bytes() const { return file_bytes_; }
  const std::string& path() const { return path_; }

 private:
  const JournalFd& fd_;
  std::uint64_t file_bytes_;
  const std::string& path_;
  std::vector<std::byte> window_;
  std::uint64_t window_offset_ = 0;
};

struct JournalScan {
  JournalFileHeader header{};
  std::uint64_t segment_nonce = 0;   // the newest one
  std::uint64_t snapshot_bytes = 0;  // the file up to the end of its snapshot
  std::uint64_t whole_bytes = 0;     // the file up to the end of its last whole group
  std::uint64_t next_sequence = 0;   // behind that group
};

// Judges the file. What follows whole_bytes is a tail that may be cut.
// Errors: kCorrupt with the offset when the damage is in what was once whole, kIncompatible,
// kSystem.
Result<JournalScan> scan_journal(JournalReader& reader);

// Calls `replay` for every state record up to scan.whole_bytes, in order.
Status replay_journal(JournalReader& reader, const JournalScan& scan, const ReplayCallback& replay);

}  // namespace imss
