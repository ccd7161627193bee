#include "net/module/zmq_frame.h"

#include <algorithm>

namespace imss::net {
namespace {

constexpr std::array kFrameMagic = {std::byte{'I'}, std::byte{'M'}, std::byte{'S'}, std::byte{'C'}};
constexpr std::size_t kVersionAt = 4;
constexpr std::size_t kKindAt = 5;
constexpr std::size_t kIdAt = 8;

}  // namespace

FrameHeaderBytes encode_frame_header(const FrameHeader& header) {
  FrameHeaderBytes bytes{};
  std::ranges::copy(kFrameMagic, bytes.begin());
  bytes[kVersionAt] = std::byte{kFrameVersion};
  bytes[kKindAt] = static_cast<std::byte>(header.kind);
  for (std::size_t i = 0; i < sizeof(header.id); ++i) {
    bytes[kIdAt + i] = static_cast<std::byte>(header.id >> (8 * i));
  }
  return bytes;
}

std::optional<FrameHeader> decode_frame_header(std::span<const std::byte> bytes) {
  if (bytes.size() != kFrameHeaderBytes) return std::nullopt;
  if (!std::ranges::equal(bytes.first<kFrameMagic.size()>(), kFrameMagic)) return std::nullopt;
  if (bytes[kVersionAt] != std::byte{kFrameVersion}) return std::nullopt;
  const auto kind = std::to_integer<std::uint8_t>(bytes[kKindAt]);
  if (kind < static_cast<std::uint8_t>(FrameKind::kGreeting) ||
      kind > static_cast<std::uint8_t>(FrameKind::kAnnouncement)) {
    return std::nullopt;
  }
  if (bytes[kKindAt + 1] != std::byte{0} || bytes[kKindAt + 2] != std::byte{0}) return std::nullopt;
  FrameHeader header{static_cast<FrameKind>(kind)};
  for (std::size_t i = 0; i < sizeof(header.id); ++i) {
    header.id |= std::to_integer<std::uint64_t>(bytes[kIdAt + i]) << (8 * i);
  }
  return header;
}

}  // namespace imss::net
