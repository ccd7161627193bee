#include "net/module/greeting.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace imss::net {
namespace {

// As on the line; both ends are little-endian.
struct WireGreeting {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t port_number;
  std::uint64_t connection;
};
static_assert(sizeof(WireGreeting) == 16);

constexpr std::uint32_t kMagic = 0x50534d49;  // "IMSP"
constexpr std::uint16_t kVersion = 1;

}  // namespace

std::vector<std::byte> encode_greeting(const Greeting& greeting) {
  const WireGreeting wire = {kMagic, kVersion, greeting.port_number, greeting.connection};
  std::vector<std::byte> bytes(sizeof wire);
  std::memcpy(bytes.data(), &wire, sizeof wire);
  return bytes;
}

Result<std::optional<Greeting>> decode_greeting(std::span<const std::byte> bytes) {
  // Nonsense is refused as soon as it shows, not when enough of it has come.
  if (std::memcmp(bytes.data(), &kMagic, std::min(bytes.size(), sizeof kMagic)) != 0) {
    return Status(Code::kIo, "it is no port of this system");
  }
  WireGreeting wire;
  if (bytes.size() < sizeof wire) return std::optional<Greeting>();
  std::memcpy(&wire, bytes.data(), sizeof wire);
  if (wire.version != kVersion) {
    return Status(Code::kIo, "it speaks version " + std::to_string(wire.version) +
                                 " of the protocol, and this is version " +
                                 std::to_string(kVersion));
  }
  if (bytes.size() > sizeof wire) return Status(Code::kIo, "its greeting is too long");
  return std::optional<Greeting>({wire.connection, wire.port_number});
}

}  // namespace imss::net
