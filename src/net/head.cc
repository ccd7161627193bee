#include "net/head.h"

#include <cstring>

#include "base/hash.h"
#include "base/text.h"

namespace imss::net {

std::vector<std::byte> write_head(Head head, std::span<const std::byte> fields) {
  head.field_bytes = static_cast<std::uint16_t>(fields.size());
  head.head_crc = 0;
  std::vector<std::byte> bytes(sizeof(Head) + fields.size());
  std::memcpy(bytes.data(), &head, sizeof(Head));
  if (!fields.empty()) std::memcpy(bytes.data() + sizeof(Head), fields.data(), fields.size());
  head.head_crc = crc32c(bytes.data(), bytes.size());
  std::memcpy(bytes.data() + offsetof(Head, head_crc), &head.head_crc, sizeof(head.head_crc));
  return bytes;
}

Result<ReadHead> read_head(std::span<const std::byte> bytes, std::size_t payload_bytes) {
  ReadHead read;
  if (bytes.size() < sizeof(Head))
    return Status(Code::kInvalidArgument, "a message is shorter than its head");
  std::memcpy(&read.head, bytes.data(), sizeof(Head));
  if (read.head.magic != kHeadMagic)
    return Status(Code::kInvalidArgument, "bytes that are no message");
  if (read.head.version != kProtocolVersion) {
    return Status(Code::kIncompatible,
                  concat("a peer speaks version ", std::to_string(read.head.version),
                         " of the protocol, this program version ",
                         std::to_string(kProtocolVersion), "; use the same release on all nodes"));
  }
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  std::memset(copy.data() + offsetof(Head, head_crc), 0, sizeof(read.head.head_crc));
  if (crc32c(copy.data(), copy.size()) != read.head.head_crc) {
    return Status(Code::kInvalidArgument,
                  "a message was damaged on its way (checksum of the head)");
  }
  if (read.head.field_bytes != bytes.size() - sizeof(Head) ||
      read.head.payload_bytes != payload_bytes || payload_bytes > kMaxPayloadBytes) {
    return Status(Code::kInvalidArgument, "a message has lengths that do not fit it");
  }
  read.fields = bytes.subspan(sizeof(Head));
  return read;
}

}  // namespace imss::net
