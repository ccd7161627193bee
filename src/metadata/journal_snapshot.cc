#include "metadata/journal_snapshot.h"

#include <unistd.h>

#include <cerrno>

namespace imss {
namespace {

// Large enough that a write costs more than its call, small enough not to matter beside the
// segment.
constexpr std::size_t kBufferBytes = 1 << 20;

}  // namespace

JournalSnapshot::JournalSnapshot(Options options, JournalFd fd)
    : options_(std::move(options)),
      fd_(std::move(fd)),
      header_(make_journal_header(options_.segment_nonce, options_.generation,
                                  random_journal_seed())) {}

JournalSnapshot::JournalSnapshot(JournalSnapshot&& other) noexcept
    : options_(std::move(other.options_)),
      fd_(std::move(other.fd_)),
      header_(other.header_),
      status_(std::move(other.status_)),
      buffer_(std::move(other.buffer_)),
      file_bytes_(other.file_bytes_),
      next_sequence_(other.next_sequence_),
      remove_(std::exchange(other.remove_, false)) {}

JournalSnapshot::~JournalSnapshot() {
  if (remove_) ::unlink(options_.path.c_str());
}

Result<JournalSnapshot> JournalSnapshot::create(Options options) {
  IMSS_ASSIGN_OR_RETURN(JournalFd fd, create_locked_journal_file(options.path));
  JournalSnapshot snapshot(std::move(options), std::move(fd));
  IMSS_RETURN_IF_ERROR(snapshot.step("journal.snapshot.created"));
  const std::span<const std::byte> header = journal_bytes_of(snapshot.header_);
  snapshot.buffer_.assign(header.begin(), header.end());
  snapshot.append(kJournalSnapshotBegin, {});
  return snapshot;
}

void JournalSnapshot::append(std::uint16_t kind, std::span<const std::byte> payload) {
  if (!status_.ok()) return;
  encode_journal_record(buffer_, header_.checksum_seed, {next_sequence_, kind, payload});
  ++next_sequence_;
  if (buffer_.size() >= kBufferBytes) flush();
}

void JournalSnapshot::flush() {
  status_ = write_journal_file(fd_, file_bytes_, buffer_, options_.path);
  if (!status_.ok()) return;
  file_bytes_ += buffer_.size();
  buffer_.clear();
}

Status JournalSnapshot::step(const char* name) {
  const int error_number = pass_journal_step(options_.fault, name);
  if (error_number == 0) return Status();
  return journal_file_error(error_number, "write a snapshot to", options_.path);
}

Status JournalSnapshot::finish() {
  const JournalSnapshotEndPayload end{next_sequence_ - 2};
  append(kJournalSnapshotEnd, journal_bytes_of(end));
  if (status_.ok()) flush();
  IMSS_RETURN_IF_ERROR(status_);
  IMSS_RETURN_IF_ERROR(step("journal.snapshot.streamed"));
  if (::fsync(fd_.get()) != 0) return journal_file_error(errno, "sync", options_.path);
  return step("journal.snapshot.synced");
}

JournalFd JournalSnapshot::keep() && {
  remove_ = false;
  return std::move(fd_);
}

}  // namespace imss
