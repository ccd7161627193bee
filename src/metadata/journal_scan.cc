#include "metadata/journal_scan.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

namespace imss {
namespace {

constexpr std::size_t kWindowBytes = 1 << 20;
constexpr std::size_t kMaxRecordBytes = journal_record_bytes(kJournalMaxPayloadBytes);
static_assert(kWindowBytes >= kMaxRecordBytes);

// The record at `offset`, or nothing when there is no sound one.
Result<std::optional<JournalRecord>> record_at(JournalReader& reader, std::uint32_t seed,
                                               std::uint64_t offset) {
  IMSS_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes,
                        reader.bytes_at(offset, kMaxRecordBytes));
  return parse_journal_record(bytes, seed);
}

// Follows the records of a file and knows which may come next.
class Walk {
 public:
  explicit Walk(const JournalFileHeader& header) {
    scan_.header = header;
    scan_.segment_nonce = header.segment_nonce;
    nonce_ = header.segment_nonce;
  }

  // Takes the record that ends at `next_offset`; false when a sound file cannot have it here.
  bool take(const JournalRecord& record, std::uint64_t next_offset) {
    if (record.sequence != sequence_) return false;
    if (!take_kind(record)) return false;
    ++sequence_;
    if (record.kind == kJournalSnapshotEnd) scan_.snapshot_bytes = next_offset;
    if (record.kind == kJournalSnapshotEnd || record.kind == kJournalCommit) {
      scan_.whole_bytes = next_offset;
      scan_.next_sequence = sequence_;
      scan_.segment_nonce = nonce_;
    }
    return true;
  }

  bool in_snapshot() const { return scan_.snapshot_bytes == 0; }
  std::uint64_t sequence() const { return sequence_; }
  const JournalScan& scan() const { return scan_; }

 private:
  bool take_kind(const JournalRecord& record) {
    if (sequence_ == 1) return record.kind == kJournalSnapshotBegin && record.payload.empty();
    if (record.kind < kJournalFirstOwnKind) return true;
    if (record.kind == kJournalNonce) {
      const auto nonce = journal_payload_as<JournalNoncePayload>(record.payload);
      if (nonce) nonce_ = nonce->segment_nonce;
      return nonce.has_value();
    }
    if (record.kind == kJournalSnapshotEnd) {
      const auto end = journal_payload_as<JournalSnapshotEndPayload>(record.payload);
      return in_snapshot() && end && end->record_count == sequence_ - 2;
    }
    if (record.kind == kJournalCommit) {
      const auto commit = journal_payload_as<JournalCommitPayload>(record.payload);
      return !in_snapshot() && commit && commit->group_offset == scan_.whole_bytes;
    }
    return false;
  }

  JournalScan scan_;
  std::uint64_t nonce_ = 0;
  std::uint64_t sequence_ = 1;
};

// Whether something behind the damage at `damage` proves that those bytes were once sound: a later
// commit that was written when they were on disk already, or by the kernel that still runs (which
// may have lost nothing from its page cache). Without proof, the machine stopped while the pages of
// the last groups were on their way to the disk in any order, and none of them was ever promised to
// be there.
Result<bool> damage_was_sound(JournalReader& reader, std::uint32_t seed, std::uint64_t damage,
                              std::uint64_t expected) {
  const std::uint64_t boot = journal_boot();
  for (std::uint64_t offset = damage;
       offset + sizeof(JournalRecordHeader) <= reader.file_bytes();) {
    IMSS_ASSIGN_OR_RETURN(const std::span<const std::byte> start,
                          reader.bytes_at(offset, sizeof(JournalRecordHeader)));
    if (start.size() < sizeof(JournalRecordHeader)) break;
    const std::uint64_t sequence = journal_claimed_sequence(start);
    const std::uint64_t most = expected + (offset - damage) / sizeof(JournalRecordHeader) + 1;
    std::optional<JournalRecord> record;
    if (sequence >= expected && sequence <= most) {
      IMSS_ASSIGN_OR_RETURN(record, record_at(reader, seed, offset));
    }
    if (!record) {
      offset += kJournalAlignment;
      continue;
    }
    if (record->kind == kJournalCommit) {
      const auto commit = journal_payload_as<JournalCommitPayload>(record->payload);
      if (commit && (commit->durable_bytes > damage || (boot != 0 && commit->boot == boot)))
        return true;
    }
    offset += journal_record_bytes(record->payload.size());
  }
  return false;
}

Status damaged(const JournalReader& reader, std::uint64_t offset, const std::string& how) {
  return Status(Code::kCorrupt, "metadata file " + reader.path() + " is damaged at offset " +
                                    std::to_string(offset) + ": " + how +
                                    "; nothing was changed, restore a copy or move the file away");
}

}  // namespace

Result<std::span<const std::byte>> JournalReader::bytes_at(std::uint64_t offset,
                                                           std::size_t count) {
  if (offset >= file_bytes_) return std::span<const std::byte>();
  const std::size_t wanted =
      static_cast<std::size_t>(std::min<std::uint64_t>(count, file_bytes_ - offset));
  const bool held = offset >= window_offset_ && offset + wanted <= window_offset_ + window_.size();
  if (!held) {
    window_.resize(kWindowBytes);
    std::size_t filled = 0;
    while (filled < window_.size()) {
      const ssize_t got = ::pread(fd_.get(), window_.data() + filled, window_.size() - filled,
                                  static_cast<off_t>(offset + filled));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        const Status status = journal_file_error(errno, "read", path_);
        window_.clear();
        return status;
      }
      if (got == 0) break;
      filled += static_cast<std::size_t>(got);
    }
    window_.resize(filled);
    window_offset_ = offset;
  }
  const std::span<const std::byte> window =
      std::span(window_).subspan(static_cast<std::size_t>(offset - window_offset_));
  return window.first(std::min(wanted, window.size()));
}

Result<JournalScan> scan_journal(JournalReader& reader) {
  IMSS_ASSIGN_OR_RETURN(const std::span<const std::byte> first,
                        reader.bytes_at(0, sizeof(JournalFileHeader)));
  IMSS_ASSIGN_OR_RETURN(const JournalFileHeader header, parse_journal_header(first, reader.path()));
  Walk walk(header);
  std::uint64_t offset = sizeof header;
  while (offset < reader.file_bytes()) {
    IMSS_ASSIGN_OR_RETURN(const std::optional<JournalRecord> record,
                          record_at(reader, header.checksum_seed, offset));
    if (!record) break;
    const std::uint64_t next_offset = offset + journal_record_bytes(record->payload.size());
    if (!walk.take(*record, next_offset)) break;
    offset = next_offset;
  }
  // A file gets its name only after its snapshot is on disk, so a snapshot without end is no torn
  // tail.
  if (walk.in_snapshot()) return damaged(reader, offset, "its snapshot is not whole");
  if (offset < reader.file_bytes()) {
    IMSS_ASSIGN_OR_RETURN(const bool was_sound,
                          damage_was_sound(reader, header.checksum_seed, offset, walk.sequence()));
    if (was_sound) return damaged(reader, offset, "no sound record there, but later ones follow");
  }
  return walk.scan();
}

Status replay_journal(JournalReader& reader, const JournalScan& scan,
                      const ReplayCallback& replay) {
  std::uint64_t offset = sizeof(JournalFileHeader);
  while (offset < scan.whole_bytes) {
    IMSS_ASSIGN_OR_RETURN(const std::optional<JournalRecord> record,
                          record_at(reader, scan.header.checksum_seed, offset));
    if (!record)
      return Status(Code::kIo, "metadata file " + reader.path() + " changed while it was read");
    offset += journal_record_bytes(record->payload.size());
    if (record->kind >= kJournalFirstOwnKind) continue;
    IMSS_RETURN_IF_ERROR(replay(record->kind, record->payload));
  }
  return Status();
}

}  // namespace imss
