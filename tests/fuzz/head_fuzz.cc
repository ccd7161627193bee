// Any bytes are refused with a sentence or read as a head that writes back to the same bytes. Each
// input is tried as it is and with its lengths and its checksum made right, where nearly all others
// end.
#include <cstring>
#include <vector>

#include "base/hash.h"
#include "fuzz/require.h"
#include "net/head.h"

namespace imss {
namespace {

void read(std::span<const std::byte> bytes, std::size_t payload_bytes) {
  const auto read = net::read_head(bytes, payload_bytes);
  if (!read.ok()) {
    require(!read.status().message().empty(), "a refusal has a sentence");
    require(read.code() == Code::kInvalidArgument || read.code() == Code::kIncompatible,
            "a refusal is one of two kinds");
    return;
  }
  require(read->fields.size() == read->head.field_bytes, "the fields are as long as they say");
  require(read->fields.data() == bytes.data() + sizeof(net::Head), "the fields are the input's");
  require(read->head.payload_bytes == payload_bytes && payload_bytes <= net::kMaxPayloadBytes,
          "the payload is as long as the head says");
  const auto again = net::write_head(read->head, read->fields);
  require(
      again.size() == bytes.size() && std::memcmp(again.data(), bytes.data(), bytes.size()) == 0,
      "a head that was read is written as the same bytes");
}

// A sound head with the input's other fields.
void repair(std::vector<std::byte>& bytes) {
  net::Head head;
  std::memcpy(&head, bytes.data(), sizeof head);
  head.magic = net::kHeadMagic;
  head.version = net::kProtocolVersion;
  head.field_bytes = static_cast<std::uint16_t>(bytes.size() - sizeof head);
  head.head_crc = 0;
  std::memcpy(bytes.data(), &head, sizeof head);
  head.head_crc = crc32c(bytes.data(), bytes.size());
  std::memcpy(bytes.data(), &head, sizeof head);
}

}  // namespace
}  // namespace imss

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace imss;
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> bytes(begin, begin + size);
  read(bytes, 0);
  if (size < sizeof(net::Head) || size > net::kMaxHeadBytes) return 0;
  net::Head head;
  std::memcpy(&head, data, sizeof head);
  read(bytes, head.payload_bytes);
  repair(bytes);
  read(bytes, head.payload_bytes);
  return 0;
}
