// A listening peer and one connected to it, and what their transfers came to.
//
// Thread-owned.
#pragma once

#include <catch2/catch.hpp>

#include "port_peer.h"

namespace imss::net {

using Piece = std::span<const std::byte>;

// What became of a transfer. Must stay where it is until its completion has run.
struct Outcome {
  int runs = 0;
  Status status = Code::kTimedOut;
  Completion completion() {
    return [this](const Status& result) {
      ++runs;
      status = result;
    };
  }
};

struct Pair {
  Pair() {
    auto number = server.port->listen("127.0.0.1", 0);
    REQUIRE(number.ok());
    port_number = *number;
    auto connected = client.port->connect("127.0.0.1", port_number);
    REQUIRE(connected.ok());
    to_server = *connected;
  }
  bool drive(const std::function<bool()>& condition) {
    return net::drive({&server, &client}, condition);
  }
  // Gives what must not happen any more the chance to happen.
  void settle() {
    const auto last = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
    (void)drive([&] { return std::chrono::steady_clock::now() > last; });
  }
  PortUser server;
  PortUser client;
  std::uint16_t port_number = 0;
  Connection* to_server = nullptr;
};

// Receives the payload of an arrived message, driving both sides.
inline std::vector<std::byte> take(Pair& pair, Arrived& arrived) {
  std::vector<std::byte> bytes(arrived.payload->bytes());
  const std::span<std::byte> piece(bytes);
  Outcome outcome;
  arrived.payload->receive(Pieces(&piece, 1), outcome.completion());
  REQUIRE(pair.drive([&] { return outcome.runs == 1; }));
  REQUIRE(outcome.status.ok());
  return bytes;
}

}  // namespace imss::net
