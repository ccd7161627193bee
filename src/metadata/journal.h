// The metadata file: a journal of state records with an occasional snapshot, in one regular file.
//
// Lets a later deployment have names, instances and policies again. The caller writes *state* (the
// newest value of a key, or that it is gone), so replaying a record twice or an old one before a
// newer one does no harm. Records take effect in groups: commit() closes one, and replay sees whole
// groups only. A snapshot is a new file that takes the place of the old one in a single step.
// Layout and recovery rules: docs/metadata_file.md.
//
// Thread-owned: one thread at a time uses a Journal; it blocks on the disk, so never on the request
// path. Errors: kNoSpace leaves the file as it was after the last commit and the group buffered, so
// commit() may be repeated. When the disk failed to confirm what it was given, kUnknownOutcome is
// returned once and kIo afterwards, until finish_snapshot() has written everything anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "metadata/journal_file.h"
#include "metadata/journal_format.h"
#include "metadata/journal_scan.h"
#include "metadata/journal_snapshot.h"

namespace imss {

class Journal {
 public:
  // Opens the file, creates it when it is absent or empty, locks it against other servers, calls
  // `replay` for every state record of every whole group in order, and cuts a torn tail. A refused
  // file is unchanged. A `replay` that fails ends it: its status is returned. `fault` is asked at
  // each of journal_steps(). Errors: kBusy (locked), kCorrupt (with the offset), kIncompatible,
  // kInvalidArgument, kNoSpace, kSystem.
  static Result<Journal> open(const std::string& path, const ReplayCallback& replay,
                              JournalFault fault = {});

  Journal(Journal&&) noexcept = default;
  Journal& operator=(Journal&&) = delete;
  // Does not commit: what is only buffered is lost.
  ~Journal() = default;

  // The nonce of the segment whose state the file mirrors; 0 in a new file.
  std::uint64_t segment_nonce() const { return segment_nonce_; }
  // Commits the new nonce, together with what is buffered, and makes it durable; nothing changes on
  // error. Errors: as commit(true); kBusy while a snapshot is being written.
  Status set_segment_nonce(std::uint64_t segment_nonce);

  // Adds a state record to the group, in memory; also to a snapshot that is being written.
  // Errors: kInvalidArgument, without effect, when kind >= 0xFF00 or the payload exceeds 64 KiB.
  Status append(std::uint16_t kind, std::span<const std::byte> payload);
  // Writes the group in one go. With `sync` it returns when all that was ever committed is on disk;
  // without, the group survives the process but perhaps not the machine. An empty group writes
  // nothing.
  Status commit(bool sync);
  // Bytes of the group that is not committed yet; the caller bounds them by committing.
  std::size_t pending_bytes() const { return pending_.size(); }

  // Starts a new file beside the current one. append() and commit() go on meanwhile.
  // Errors: kBusy when a snapshot is being written, kNoSpace, kSystem.
  Status begin_snapshot();
  // Errors: as append(), and those of writing; the first error sticks and finish_snapshot() reports
  // it too.
  Status append_snapshot(std::uint16_t kind, std::span<const std::byte> payload);
  // Puts the new file in the place of the old one, durably, with all that was ever appended; the
  // group is empty then. Keys that changed while the snapshot was streamed must have been appended
  // before. On error the old file stays in use and the snapshot is gone.
  Status finish_snapshot();
  Status abandon_snapshot();
  bool in_snapshot() const { return snapshot_ != nullptr; }

  // Bytes of the file, and of the header and snapshot that it begins with: the difference is
  // journal.
  std::uint64_t bytes() const { return end_; }
  std::uint64_t snapshot_bytes() const { return snapshot_bytes_; }
  // Bytes of torn tail that open() cut off.
  std::uint64_t cut_bytes() const { return cut_bytes_; }
  std::uint64_t generation() const { return header_.generation; }
  // Absolute, without symbolic links.
  const std::string& path() const { return path_; }

 private:
  Journal(LockedJournalFile file, JournalFault fault);
  Status load(std::uint64_t file_bytes, const ReplayCallback& replay);
  Status cut_tail(std::uint64_t file_bytes);
  Status write_group();
  Status sync_file();
  Status replace_file();
  Status step(const char* name, std::string_view action) const;
  void push(std::uint16_t kind, std::span<const std::byte> payload);

  std::string path_;
  JournalFd fd_;
  JournalFault fault_;
  std::uint64_t boot_ = 0;
  JournalFileHeader header_{};
  std::uint64_t segment_nonce_ = 0;
  std::uint64_t end_ = 0;      // of the last whole group
  std::uint64_t durable_ = 0;  // the file up to here is known to be on disk
  std::uint64_t snapshot_bytes_ = 0;
  std::uint64_t cut_bytes_ = 0;
  std::uint64_t next_sequence_ = 1;  // behind what is buffered
  bool failed_ = false;              // the disk may hold anything between durable_ and end_
  std::vector<std::byte> pending_;   // encoded records of the group
  std::unique_ptr<JournalSnapshot> snapshot_;
};

}  // namespace imss
