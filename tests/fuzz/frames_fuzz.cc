// Any bytes are refused or read as the header of a frame of the control plane, and as the greeting
// of two ports; what was read is written as the same bytes.
#include <algorithm>

#include "fuzz/require.h"
#include "net/module/greeting.h"
#include "net/module/zmq_frame.h"

namespace imss {
namespace {

void read_frame(std::span<const std::byte> bytes) {
  const auto header = net::decode_frame_header(bytes);
  if (!header) return;
  require(std::ranges::equal(net::encode_frame_header(*header), bytes),
          "a frame's header that was read is written as the same bytes");
}

// As it comes from a line: in pieces of any size.
void read_greeting(std::span<const std::byte> bytes) {
  bool refused = false;
  for (std::size_t i = 1; i <= bytes.size(); ++i) {
    const auto greeting = net::decode_greeting(bytes.first(i));
    require(greeting.ok() || !greeting.status().message().empty(), "a refusal has a sentence");
    require(!refused || !greeting.ok(), "more bytes do not make sense of nonsense");
    refused = !greeting.ok();
    if (refused || !greeting->has_value()) continue;
    require(std::ranges::equal(net::encode_greeting(**greeting), bytes.first(i)),
            "a greeting that was read is written as the same bytes");
  }
}

}  // namespace
}  // namespace imss

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data),
                                         std::min<std::size_t>(size, 64));
  imss::read_frame(bytes);
  imss::read_greeting(bytes);
  return 0;
}
