// Any bytes are refused or decoded, as the request and as the reply of each operation; what was
// decoded has one encoding, which is those bytes. The first two bytes choose the message; 0 tries
// all of them.
#include <cstring>

#include "fuzz/require.h"
#include "net/codec.h"
#include "net/messages.h"

namespace imss {
namespace {

template <typename Message>
void decode_one(std::span<const std::byte> bytes) {
  const auto message = net::decode<Message>(bytes);
  if (!message.ok()) {
    require(message.code() == Code::kInvalidArgument, "what is no message is an invalid argument");
    require(!message.status().message().empty(), "a refusal has a sentence");
    return;
  }
  const auto again = net::encode(*message);
  require(again.size() == bytes.size() &&
              (bytes.empty() || std::memcmp(again.data(), bytes.data(), bytes.size()) == 0),
          "a message has one encoding");
}

void decode_as(std::uint16_t chosen, std::span<const std::byte> bytes) {
#define IMSS_DECODE(name, number, Request, Reply, effect, text) \
  if (chosen == 0 || chosen == number) {                        \
    decode_one<net::Request>(bytes);                            \
    decode_one<net::Reply>(bytes);                              \
  }
  IMSS_CONTROL_OPERATIONS(IMSS_DECODE)
  IMSS_DATA_OPERATIONS(IMSS_DECODE)
  IMSS_METADATA_OPERATIONS(IMSS_DECODE)
#undef IMSS_DECODE
}

}  // namespace
}  // namespace imss

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < sizeof(std::uint16_t)) return 0;
  std::uint16_t chosen = 0;
  std::memcpy(&chosen, data, sizeof chosen);
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  imss::decode_as(chosen, bytes.subspan(sizeof chosen));
  return 0;
}
