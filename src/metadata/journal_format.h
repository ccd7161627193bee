// Layout of the metadata file: its header, its records, and how both are checked.
//
// Everything on disk is little-endian and described byte for byte in docs/metadata_file.md. The
// functions here are pure (no file, no state) and may be used from any thread; what they are given
// may be hostile, and a damaged structure is an answer, never a crash.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace imss {

static_assert(std::endian::native == std::endian::little, "the metadata file is little-endian");

inline constexpr std::uint32_t kJournalVersion = 1;
// Features without which the file cannot be understood. Files of programs that did not know one do without it.
inline constexpr std::uint64_t kJournalHasAttributes = 1;  // records of inodes and directories
inline constexpr std::uint64_t kJournalHasPlace = 2;  // records of its place among several servers, and of its part
inline constexpr std::uint64_t kJournalHasOwners = 4;  // owners of directories in the making, more times of directories
inline constexpr std::uint64_t kJournalHasXattrs = 8;  // records of extended attributes of directories
inline constexpr std::uint64_t kJournalKnownIncompatible =
    kJournalHasAttributes | kJournalHasPlace | kJournalHasOwners | kJournalHasXattrs;
inline constexpr std::size_t kJournalMaxPayloadBytes = 64 * 1024;
inline constexpr std::size_t kJournalAlignment = 8;

// Kinds from here on belong to the file itself; the caller's kinds are below.
inline constexpr std::uint16_t kJournalFirstOwnKind = 0xFF00;
inline constexpr std::uint16_t kJournalNonce = 0xFFFC;
inline constexpr std::uint16_t kJournalSnapshotEnd = 0xFFFD;
inline constexpr std::uint16_t kJournalSnapshotBegin = 0xFFFE;
inline constexpr std::uint16_t kJournalCommit = 0xFFFF;

struct JournalFileHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t header_bytes;
  std::uint64_t compatible;     // features that a reader may ignore
  std::uint64_t incompatible;   // features that a reader must know
  std::uint64_t segment_nonce;  // when the file was written; a nonce record after it counts more
  std::uint64_t generation;     // 1 for the first file, one more with every snapshot
  std::uint64_t reserved;       // 0
  std::uint32_t
      checksum_seed;       // random; records of another file never pass for records of this one
  std::uint32_t checksum;  // CRC32C of the 60 bytes before it
};
static_assert(sizeof(JournalFileHeader) == 64 && std::is_trivially_copyable_v<JournalFileHeader>);
static_assert(offsetof(JournalFileHeader, segment_nonce) == 32);
static_assert(offsetof(JournalFileHeader, checksum) == 60);

struct JournalRecordHeader {
  std::uint32_t length;  // bytes of payload, without padding
  std::uint32_t
      checksum;  // CRC32C, begun with the seed, of every other byte of the record and its padding
  std::uint64_t sequence;  // 1 for the first record of a file, then without gaps
  std::uint16_t kind;
  std::uint16_t flags;     // 0
  std::uint32_t reserved;  // 0
};
static_assert(sizeof(JournalRecordHeader) == 24 &&
              std::is_trivially_copyable_v<JournalRecordHeader>);
static_assert(offsetof(JournalRecordHeader, sequence) == 8);
static_assert(offsetof(JournalRecordHeader, kind) == 16);

// Payload of a commit record, which closes a group.
struct JournalCommitPayload {
  std::uint64_t group_offset;  // where in the file the group begins
  std::uint64_t
      durable_bytes;   // the file up to here was known to be on disk before this was written
  std::uint64_t boot;  // run of the kernel that took the group; 0 when unknown
};
static_assert(sizeof(JournalCommitPayload) == 24);

// Payload of the record that ends a snapshot.
struct JournalSnapshotEndPayload {
  std::uint64_t record_count;  // records between begin and end
};
static_assert(sizeof(JournalSnapshotEndPayload) == 8);

struct JournalNoncePayload {
  std::uint64_t segment_nonce;
};
static_assert(sizeof(JournalNoncePayload) == 8);

// One record inside bytes that somebody else holds.
struct JournalRecord {
  std::uint64_t sequence = 0;
  std::uint16_t kind = 0;
  std::span<const std::byte> payload;
};

// Bytes that a record takes in the file, header and padding included.
constexpr std::size_t journal_record_bytes(std::size_t payload_bytes) {
  const std::size_t bytes = sizeof(JournalRecordHeader) + payload_bytes;
  return (bytes + kJournalAlignment - 1) / kJournalAlignment * kJournalAlignment;
}

template <typename T>
std::span<const std::byte> journal_bytes_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

// The payload as a T, or nothing when its size is another.
template <typename T>
std::optional<T> journal_payload_as(std::span<const std::byte> payload) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (payload.size() != sizeof(T)) return std::nullopt;
  T value;
  std::byte* out = reinterpret_cast<std::byte*>(&value);
  for (std::size_t i = 0; i < sizeof(T); ++i) out[i] = payload[i];
  return value;
}

// A header with magic, version and checksum in place.
JournalFileHeader make_journal_header(std::uint64_t segment_nonce, std::uint64_t generation,
                                      std::uint32_t checksum_seed);

// Checks the first bytes of the file `path` (the name is for the sentence only).
// Errors: kCorrupt (no metadata file, or a damaged header), kIncompatible (another version or
// feature).
Result<JournalFileHeader> parse_journal_header(std::span<const std::byte> bytes,
                                               const std::string& path);

// Puts one record behind `out`. REQUIRES: payload.size() <= kJournalMaxPayloadBytes.
void encode_journal_record(std::vector<std::byte>& out, std::uint32_t checksum_seed,
                           const JournalRecord& record);

// How long the record that `bytes` begin with says it is, or nothing when its header cannot be one.
std::optional<std::size_t> journal_claimed_bytes(std::span<const std::byte> bytes);

// The record that `bytes` begin with, or nothing when it is cut short or its checksum does not
// match.
std::optional<JournalRecord> parse_journal_record(std::span<const std::byte> bytes,
                                                  std::uint32_t checksum_seed);

// The sequence number that the header at the start of `bytes` carries, unchecked. REQUIRES: 24
// bytes.
std::uint64_t journal_claimed_sequence(std::span<const std::byte> bytes);

// The checksum that belongs into the record in `bytes`, which hold exactly one, padding included.
std::uint32_t journal_record_checksum(std::span<const std::byte> bytes,
                                      std::uint32_t checksum_seed);

}  // namespace imss
