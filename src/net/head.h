// The head of every message on the data plane: fixed fields of 64 bytes, little-endian, followed by
// the fields of the operation (see messages.h). Plain values and pure functions; any thread.
//
// Invariant: what read_head() accepts has a sound checksum, a version that this program speaks, and
// lengths that fit what arrived; everything else is refused before any field is looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "base/result.h"
#include "net/port.h"

namespace imss::net {

inline constexpr std::uint32_t kHeadMagic = 0x53534d49;  // "IMSS"
// Spoken between programs of one version; raised when a message changes its meaning.
inline constexpr std::uint16_t kProtocolVersion = 4;

struct Head {
  std::uint32_t magic = kHeadMagic;
  std::uint16_t version = kProtocolVersion;
  std::uint16_t operation = 0;
  std::uint64_t request = 0;  // chosen by the asker; the reply has the same
  std::uint64_t token = 0;    // of the session, from the answer to "hello"; 0 in replies
  // Of a change that must not be done twice: {place 16 bits, number 48 bits}; in a reply whose status is kClaimed, the
  // change that holds it.
  std::uint64_t sequence = 0;
  std::uint64_t epoch = 0;  // of the cluster map that the sender knows
  std::uint32_t payload_bytes = 0;
  std::uint32_t payload_crc = 0;  // CRC-32C of the payload
  // Of a request: the server does not begin it later than that, in ms of the server's clock modulo 2^32.
  std::uint32_t deadline_ms = 0;
  std::uint16_t field_bytes = 0;  // that follow the head
  std::uint16_t status = 0;       // Code of a reply, 0 in requests
  std::uint32_t flags = 0;
  std::uint32_t head_crc = 0;  // CRC-32C of head and fields with this field as zero
};
static_assert(sizeof(Head) == 64);
static_assert(std::is_trivially_copyable_v<Head>);

inline constexpr std::uint32_t kReplyFlag = 1;
// The fields are too long for the head and are the payload.
inline constexpr std::uint32_t kFieldsInPayload = 2;
// In a reply: the server does not know the session (any more) and has done nothing.
inline constexpr std::uint32_t kUnknownSession = 4;
// In a request: it was sent before and its answer did not come.
inline constexpr std::uint32_t kRepeated = 8;

inline constexpr std::uint32_t kPlaceShift = 48;  // of Head::sequence
inline constexpr std::uint64_t kNumberMask = (std::uint64_t{1} << kPlaceShift) - 1;

inline constexpr std::size_t kMaxFieldBytes = kMaxHeadBytes - sizeof(Head);

// Head and fields as they go out. REQUIRES: fields.size() <= kMaxFieldBytes.
std::vector<std::byte> write_head(Head head, std::span<const std::byte> fields);

// Errors: kInvalidArgument for garbage, kIncompatible for another protocol version.
struct ReadHead {
  Head head;
  std::span<const std::byte> fields;
};
Result<ReadHead> read_head(std::span<const std::byte> bytes, std::size_t payload_bytes);

}  // namespace imss::net
