#include "metadata/journal_format.h"

#include <array>
#include <cstring>

namespace imss {
namespace {

constexpr char kMagic[8] = {'I', 'M', 'S', 'S', 'M', 'E', 'T', 'A'};

// CRC32C eight bytes at a time (slicing-by-8).
using Crc32cTables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Crc32cTables make_crc32c_tables() {
  constexpr std::uint32_t kReversedPolynomial = 0x82F63B78;
  Crc32cTables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kReversedPolynomial : 0);
    tables[0][i] = crc;
  }
  for (std::size_t table = 1; table < 8; ++table) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint32_t crc = tables[table - 1][i];
      tables[table][i] = (crc >> 8) ^ tables[0][crc & 0xFF];
    }
  }
  return tables;
}

constexpr Crc32cTables kCrc32c = make_crc32c_tables();

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t begun_with) {
  std::uint32_t crc = ~begun_with;
  while (bytes.size() >= 8) {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    std::memcpy(&low, bytes.data(), 4);
    std::memcpy(&high, bytes.data() + 4, 4);
    low ^= crc;
    crc = kCrc32c[7][low & 0xFF] ^ kCrc32c[6][(low >> 8) & 0xFF] ^ kCrc32c[5][(low >> 16) & 0xFF] ^
          kCrc32c[4][low >> 24] ^ kCrc32c[3][high & 0xFF] ^ kCrc32c[2][(high >> 8) & 0xFF] ^
          kCrc32c[1][(high >> 16) & 0xFF] ^ kCrc32c[0][high >> 24];
    bytes = bytes.subspan(8);
  }
  for (const std::byte byte : bytes) {
    crc = (crc >> 8) ^ kCrc32c[0][(crc ^ static_cast<std::uint32_t>(byte)) & 0xFF];
  }
  return ~crc;
}

std::uint32_t header_checksum(const JournalFileHeader& header) {
  return crc32c(journal_bytes_of(header).first(offsetof(JournalFileHeader, checksum)), 0);
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
  const std::uint32_t crc = crc32c(bytes.first(kBefore), checksum_seed);
  return crc32c(bytes.subspan(kBefore + sizeof crc), crc);
}

JournalFileHeader make_journal_header(std::uint64_t segment_nonce, std::uint64_t generation,
                                      std::uint32_t checksum_seed) {
  JournalFileHeader header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kJournalVersion;
  header.header_bytes = sizeof header;
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
