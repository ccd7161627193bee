#include "metadata/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace imss {
namespace {

constexpr std::string_view kSnapshotSuffix = ".snapshot.tmp";
// A larger group buffer is given back after its commit.
constexpr std::size_t kKeptBufferBytes = 4 << 20;

Status check_record(std::uint16_t kind, std::span<const std::byte> payload) {
  if (kind >= kJournalFirstOwnKind) {
    return Status(Code::kInvalidArgument,
                  "kind " + std::to_string(kind) + " belongs to the metadata file itself");
  }
  if (payload.size() > kJournalMaxPayloadBytes) {
    return Status(Code::kInvalidArgument,
                  "a state record of " + std::to_string(payload.size()) +
                      " bytes exceeds the 64 KiB that a metadata file takes");
  }
  return Status();
}

}  // namespace

Journal::Journal(LockedJournalFile file, JournalFault fault)
    : path_(std::move(file.path)),
      fd_(std::move(file.fd)),
      fault_(std::move(fault)),
      boot_(journal_boot()) {}

Result<Journal> Journal::open(const std::string& path, const ReplayCallback& replay,
                              JournalFault fault) {
  IMSS_ASSIGN_OR_RETURN(LockedJournalFile file, open_locked_journal_file(path, fault));
  const std::uint64_t file_bytes = file.bytes;
  Journal journal(std::move(file), std::move(fault));
  if (file_bytes == 0) {
    // A new file is a snapshot of nothing, so that every file begins alike and appears whole.
    IMSS_RETURN_IF_ERROR(journal.begin_snapshot());
    IMSS_RETURN_IF_ERROR(journal.finish_snapshot());
    return journal;
  }
  IMSS_RETURN_IF_ERROR(journal.load(file_bytes, replay));
  return journal;
}

Status Journal::load(std::uint64_t file_bytes, const ReplayCallback& replay) {
  JournalReader reader(fd_, file_bytes, path_);
  IMSS_ASSIGN_OR_RETURN(const JournalScan scan, scan_journal(reader));
  IMSS_RETURN_IF_ERROR(replay_journal(reader, scan, replay));
  header_ = scan.header;
  segment_nonce_ = scan.segment_nonce;
  snapshot_bytes_ = scan.snapshot_bytes;
  end_ = scan.whole_bytes;
  next_sequence_ = scan.next_sequence;
  IMSS_RETURN_IF_ERROR(cut_tail(file_bytes));
  // What an earlier owner committed without sync may still be on its way.
  IMSS_RETURN_IF_ERROR(sync_file());
  // A snapshot that its owner did not finish; we hold the lock, so nobody is writing it.
  ::unlink((path_ + std::string(kSnapshotSuffix)).c_str());
  return Status();
}

Status Journal::cut_tail(std::uint64_t file_bytes) {
  if (file_bytes == end_) return Status();
  IMSS_RETURN_IF_ERROR(step("journal.open.cut", "cut"));
  if (::ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0)
    return journal_file_error(errno, "cut", path_);
  cut_bytes_ = file_bytes - end_;
  return Status();
}

Status Journal::step(const char* name, std::string_view action) const {
  const int error_number = pass_journal_step(fault_, name);
  return error_number == 0 ? Status() : journal_file_error(error_number, action, path_);
}

void Journal::push(std::uint16_t kind, std::span<const std::byte> payload) {
  encode_journal_record(pending_, header_.checksum_seed, {next_sequence_, kind, payload});
  ++next_sequence_;
}

Status Journal::append(std::uint16_t kind, std::span<const std::byte> payload) {
  IMSS_RETURN_IF_ERROR(check_record(kind, payload));
  push(kind, payload);
  if (snapshot_) snapshot_->append(kind, payload);
  return Status();
}

Status Journal::set_segment_nonce(std::uint64_t segment_nonce) {
  if (snapshot_)
    return Status(Code::kBusy, "a snapshot of metadata file " + path_ + " is being written");
  const std::size_t group_bytes = pending_.size();
  const JournalNoncePayload payload{segment_nonce};
  push(kJournalNonce, journal_bytes_of(payload));
  const Status status = commit(true);
  if (status.ok()) {
    segment_nonce_ = segment_nonce;
  } else if (!pending_.empty()) {
    pending_.resize(group_bytes);
    --next_sequence_;
  }
  return status;
}

Status Journal::commit(bool sync) {
  if (failed_) {
    return Status(Code::kIo, "metadata file " + path_ +
                                 " takes no commit since its disk failed; write a snapshot");
  }
  const bool behind = durable_ < end_;
  if (pending_.empty() && !(sync && behind)) return Status();
  // What the commit record says about the groups before it must be true before it is written.
  if (sync && behind) IMSS_RETURN_IF_ERROR(sync_file());
  IMSS_RETURN_IF_ERROR(write_group());
  return sync ? sync_file() : Status();
}

Status Journal::write_group() {
  const std::size_t group_bytes = pending_.size();
  const JournalCommitPayload commit{end_, durable_, boot_};
  push(kJournalCommit, journal_bytes_of(commit));
  Status status = step("journal.commit.begin", "write");
  if (status.ok()) status = write_journal_file(fd_, end_, pending_, path_);
  if (status.ok()) status = step("journal.commit.written", "write");
  if (!status.ok()) {
    // A part of the group may be in the file; behind a shorter group it would look like damage.
    if (::ftruncate(fd_.get(), static_cast<off_t>(end_)) != 0) failed_ = true;
    pending_.resize(group_bytes);
    --next_sequence_;
    return status;
  }
  end_ += pending_.size();
  pending_.clear();
  if (pending_.capacity() > kKeptBufferBytes) pending_.shrink_to_fit();
  return Status();
}

Status Journal::sync_file() {
  Status status = ::fdatasync(fd_.get()) == 0 ? Status() : journal_file_error(errno, "sync", path_);
  if (status.ok()) status = step("journal.commit.synced", "sync");
  if (!status.ok()) {
    // The kernel reports a lost page once and then forgets it: a second sync would prove nothing.
    failed_ = true;
    return Status(Code::kUnknownOutcome, status.message());
  }
  durable_ = end_;
  return Status();
}

Status Journal::begin_snapshot() {
  if (snapshot_)
    return Status(Code::kBusy,
                  "a snapshot of metadata file " + path_ + " is being written already");
  JournalSnapshot::Options options{path_ + std::string(kSnapshotSuffix), segment_nonce_,
                                   header_.generation + 1, fault_};
  IMSS_ASSIGN_OR_RETURN(JournalSnapshot snapshot, JournalSnapshot::create(std::move(options)));
  // The group goes first: whatever the caller appends from now on is newer.
  for (std::span<const std::byte> rest = pending_; !rest.empty();) {
    const std::optional<JournalRecord> record = parse_journal_record(rest, header_.checksum_seed);
    if (!record)
      return Status(Code::kCorrupt,
                    "the uncommitted group of metadata file " + path_ + " is damaged in memory");
    snapshot.append(record->kind, record->payload);
    rest = rest.subspan(journal_record_bytes(record->payload.size()));
  }
  snapshot_ = std::make_unique<JournalSnapshot>(std::move(snapshot));
  return Status();
}

Status Journal::append_snapshot(std::uint16_t kind, std::span<const std::byte> payload) {
  if (!snapshot_)
    return Status(Code::kInvalidArgument, "no snapshot of metadata file " + path_ + " was begun");
  IMSS_RETURN_IF_ERROR(check_record(kind, payload));
  snapshot_->append(kind, payload);
  return snapshot_->status();
}

Status Journal::finish_snapshot() {
  if (!snapshot_)
    return Status(Code::kInvalidArgument, "no snapshot of metadata file " + path_ + " was begun");
  Status status = snapshot_->finish();
  if (status.ok()) status = replace_file();
  snapshot_.reset();
  return status;
}

Status Journal::replace_file() {
  if (::rename(snapshot_->path().c_str(), path_.c_str()) != 0)
    return journal_file_error(errno, "replace", path_);
  // From here on the new file is the one that has the name.
  header_ = snapshot_->header();
  end_ = durable_ = snapshot_bytes_ = snapshot_->bytes();
  next_sequence_ = snapshot_->next_sequence();
  pending_.clear();
  fd_ = std::move(*snapshot_).keep();
  failed_ = false;
  Status status = step("journal.snapshot.renamed", "sync the directory of");
  if (status.ok()) status = sync_journal_directory(path_);
  if (status.ok()) status = step("journal.snapshot.named", "sync the directory of");
  if (!status.ok()) {
    // After a power failure the old file could be back, without what we would commit to the new
    // one.
    failed_ = true;
    return Status(Code::kUnknownOutcome, status.message());
  }
  return Status();
}

Status Journal::abandon_snapshot() {
  if (!snapshot_)
    return Status(Code::kInvalidArgument, "no snapshot of metadata file " + path_ + " was begun");
  snapshot_.reset();
  return Status();
}

}  // namespace imss
