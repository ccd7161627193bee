// The frames of the control plane: what travels between a client's DEALER and a server's ROUTER.
//
// A message is a header of 16 bytes and a body, each a ZeroMQ frame. When a connection is made
// (again), the client's socket sends an empty frame by itself (ZMQ_PROBE_ROUTER) and the server
// greets it. The client asks only on a connection that has been greeted, and asks again when
// another greeting comes before the answer: so no question is lost when a server restarts. A
// listener sends kListen after each greeting and is told kListening, after which it gets every
// announcement; kListening once more says that some were lost. Values; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace imss::net {

enum class FrameKind : std::uint8_t {
  kGreeting = 1,      // server: the connection is there
  kQuestion = 2,      // client; the id is the client's
  kAnswer = 3,        // server; the id of the question
  kListen = 4,        // client
  kListening = 5,     // server: announcements follow from now on, those before are lost
  kAnnouncement = 6,  // server
};

struct FrameHeader {
  FrameKind kind;
  std::uint64_t id = 0;  // 0 but in questions and answers
};

// Byte for byte: "IMSC", version, kind, two zeros, the id in little-endian order.
inline constexpr std::size_t kFrameHeaderBytes = 16;
inline constexpr std::uint8_t kFrameVersion = 1;
using FrameHeaderBytes = std::array<std::byte, kFrameHeaderBytes>;

FrameHeaderBytes encode_frame_header(const FrameHeader& header);
// Nothing for anything else than a header of this version.
std::optional<FrameHeader> decode_frame_header(std::span<const std::byte> bytes);

}  // namespace imss::net
