// What two ports tell each other on the line between them before they can use UCX.
//
// Pure functions over bytes of a peer that may be anybody: what is not a greeting is an error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace imss::net {

struct Greeting {
  std::uint64_t connection = 0;  // what the messages to the sender of the greeting shall name
  std::uint16_t port_number =
      0;  // where its UCX listens for the other; 0 from the one that connects
};

std::vector<std::byte> encode_greeting(const Greeting& greeting);

// The greeting that `bytes` are, or nothing when they are its beginning. Errors: kIo for what is no
// greeting, has bytes behind it, or is one of another version.
Result<std::optional<Greeting>> decode_greeting(std::span<const std::byte> bytes);

}  // namespace imss::net
