#include "metadata/journal_format.h"

#include <cstring>

#include "base/hash.h"

namespace imss {
namespace {

constexpr char kMagic[8] = {'I', 'M', 'S', 'S', 'M', 'E', 'T', 'A'};

std::uint32_t checksum_of(std::span<const std::byte> bytes, std::uint32_t begun_with) {
  return crc32c(bytes.data(), bytes.size(), begun_with);
}

std::uint32_t header_checksum(const JournalFileHeader& header) {
  return checksum_of(journal_bytes_of(header).first(offsetof(JournalFileHeader, checksum)), 0);
}

JournalRecordHeader record_header_at(std::span<const std::byte> bytes) {
  JournalRecordHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

}  // namespace

std::uint32_t journal_record_checksum(std::span<const std::byte> bytes,
                                      std::uint32_t checksum_seed) {
  constexpr std::size_t kBefore = offsetof(JournalRecordHeader, checksum);
  const std::uint32_t crc = checksum_of(bytes.first(kBefore), checksum_seed);
  return checksum_of(bytes.subspan(kBefore + sizeof crc), crc);
}

JournalFileHeader make_journal_header(std::uint64_t segment_nonce, std::uint64_t generation,
                                      std::uint32_t checksum_seed) {
  JournalFileHeader header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kJournalVersion;
  header.header_bytes = sizeof header;
  header.incompatible = kJournalKnownIncompatible;
  header.segment_nonce = segment_nonce;
  header.generation = generation;
  header.checksum_seed = checksum_seed;
  header.checksum = header_checksum(header);
  return header;
}

Result<JournalFileHeader> parse_journal_header(std::span<const std::byte> bytes,
                                               const std::string& path) {
  JournalFileHeader header;
  const std::string file = "metadata file " + path;
  if (bytes.size() < sizeof header || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    return Status(Code::kCorrupt,
                  path + " is not a metadata file; name another file or move this one away");
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  // The version comes before the checksum: another version may keep its checksum elsewhere.
  if (header.version != kJournalVersion) {
    return Status(Code::kIncompatible,
                  file + " has format version " + std::to_string(header.version) +
                      ", this program reads version " + std::to_string(kJournalVersion) +
                      "; use the version that wrote it or name another file");
  }
  if (header.header_bytes != sizeof header || header.checksum != header_checksum(header)) {
    return Status(Code::kCorrupt,
                  file + " is damaged at offset 0: the checksum of its header is wrong");
  }
  if ((header.incompatible & ~kJournalKnownIncompatible) != 0) {
    return Status(Code::kIncompatible, file + " uses features that this program does not know" +
                                           "; use the version that wrote it or name another file");
  }
  return header;
}

void encode_journal_record(std::vector<std::byte>& out, std::uint32_t checksum_seed,
                           const JournalRecord& record) {
  const std::size_t start = out.size();
  out.resize(start + journal_record_bytes(record.payload.size()));  // padding becomes zero
  JournalRecordHeader header{};
  header.length = static_cast<std::uint32_t>(record.payload.size());
  header.sequence = record.sequence;
  header.kind = record.kind;
  const std::span<std::byte> bytes = std::span(out).subspan(start);
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!record.payload.empty()) {
    std::memcpy(bytes.data() + sizeof header, record.payload.data(), record.payload.size());
  }
  header.checksum = journal_record_checksum(bytes, checksum_seed);
  std::memcpy(bytes.data(), &header, sizeof header);
}

std::optional<std::size_t> journal_claimed_bytes(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(JournalRecordHeader)) return std::nullopt;
  const JournalRecordHeader header = record_header_at(bytes);
  if (header.length > kJournalMaxPayloadBytes || header.flags != 0 || header.reserved != 0) {
    return std::nullopt;
  }
  return journal_record_bytes(header.length);
}

std::uint64_t journal_claimed_sequence(std::span<const std::byte> bytes) {
  return record_header_at(bytes).sequence;
}

std::optional<JournalRecord> parse_journal_record(std::span<const std::byte> bytes,
                                                  std::uint32_t checksum_seed) {
  const std::optional<std::size_t> claimed = journal_claimed_bytes(bytes);
  if (!claimed || *claimed > bytes.size()) return std::nullopt;
  const JournalRecordHeader header = record_header_at(bytes);
  if (header.checksum != journal_record_checksum(bytes.first(*claimed), checksum_seed))
    return std::nullopt;
  return JournalRecord{header.sequence, header.kind, bytes.subspan(sizeof header, header.length)};
}

}  // namespace imss
