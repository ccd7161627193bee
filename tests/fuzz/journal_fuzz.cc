// Opens arbitrary bytes as a metadata file: refused or opened, never a crash, and what was opened
// is then usable. Reads no file but those in a directory of its own; one thread.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "metadata/journal.h"

namespace imss {
namespace {

// The first byte of an input says which checksums to make right first: without, nearly all inputs
// end there.
constexpr std::uint8_t kRepairHeader = 1;
constexpr std::uint8_t kRepairRecords = 2;

class Directory {
 public:
  Directory()
      : path_((::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") +
              std::string("/journal-fuzz-XXXXXX")) {
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(path_); }
  std::string file() const { return path_ + "/metadata"; }

 private:
  std::string path_;
};

void repair_header(std::span<std::byte> bytes) {
  JournalFileHeader header;
  if (bytes.size() < sizeof header) return;
  std::memcpy(&header, bytes.data(), sizeof header);
  header = make_journal_header(header.segment_nonce, header.generation, header.checksum_seed);
  std::memcpy(bytes.data(), &header, sizeof header);
}

void repair_records(std::span<std::byte> bytes) {
  JournalFileHeader header;
  if (bytes.size() < sizeof header) return;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::span<std::byte> rest = bytes.subspan(sizeof header);
  for (;;) {
    const std::optional<std::size_t> record_bytes = journal_claimed_bytes(rest);
    if (!record_bytes || *record_bytes > rest.size()) return;
    const std::uint32_t checksum =
        journal_record_checksum(rest.first(*record_bytes), header.checksum_seed);
    std::memcpy(rest.data() + offsetof(JournalRecordHeader, checksum), &checksum, sizeof checksum);
    rest = rest.subspan(*record_bytes);
  }
}

void require(bool condition) {
  if (!condition) std::abort();
}

// A file that opened once opens again, with all that it had and what was committed since.
void use(const std::string& path, std::uint64_t record_count) {
  constexpr std::byte kPayload[] = {std::byte{1}, std::byte{2}};
  {
    Result<Journal> journal =
        Journal::open(path, [](std::uint16_t, std::span<const std::byte>) { return Status(); });
    require(journal.ok() && journal->cut_bytes() == 0);
    require(journal->append(1, kPayload).ok() && journal->commit(true).ok());
  }
  std::uint64_t again = 0;
  const auto count = [&](std::uint16_t, std::span<const std::byte>) {
    ++again;
    return Status();
  };
  Result<Journal> journal = Journal::open(path, count);
  require(journal.ok() && again == record_count + 1);
  require(journal->begin_snapshot().ok() && journal->finish_snapshot().ok());
}

}  // namespace
}  // namespace imss

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const imss::Directory directory;
  if (size == 0) return 0;
  const std::uint8_t mode = data[0];
  std::vector<std::byte> bytes(size - 1);
  std::transform(data + 1, data + size, bytes.begin(),
                 [](std::uint8_t byte) { return std::byte{byte}; });
  if ((mode & imss::kRepairHeader) != 0) imss::repair_header(bytes);
  if ((mode & imss::kRepairRecords) != 0) imss::repair_records(bytes);

  const std::string path = directory.file();
  {
    const imss::JournalFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    imss::require(imss::write_journal_file(fd, 0, bytes, path).ok());
  }
  std::uint64_t record_count = 0;
  bool opened = false;
  {
    const auto count = [&](std::uint16_t, std::span<const std::byte>) {
      ++record_count;
      return imss::Status();
    };
    opened = imss::Journal::open(path, count).ok();
  }
  if (opened) imss::use(path, record_count);
  return 0;
}
