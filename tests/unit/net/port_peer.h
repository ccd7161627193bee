// One side of a connection in tests: a port, what has arrived at it, and bounded waiting.
//
// Thread-owned, like its port.
#pragma once

#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "net/module.h"

namespace imss::net {

struct Arrived {
  Connection* connection = nullptr;
  std::string head;
  std::unique_ptr<Payload> payload;
};

class PortUser final : public PortHandler {
 public:
  PortUser() {
    auto module = load_module();
    if (!module.ok()) throw std::runtime_error(module.status().message());
    auto made = (*module)->make_port(*this);
    if (!made.ok()) throw std::runtime_error(made.status().message());
    port = std::move(*made);
  }

  void accepted(Connection& connection) override { connections.push_back(&connection); }
  void arrived(Connection& connection, std::span<const std::byte> head,
               std::unique_ptr<Payload> payload) override {
    arrivals.push_back({&connection,
                        {reinterpret_cast<const char*>(head.data()), head.size()},
                        std::move(payload)});
    if (on_arrival) on_arrival(arrivals.back());
  }
  void closed(Connection& connection, const Status& why) override {
    ended.push_back(&connection);
    reasons.push_back(why);
  }

  void send(Connection& to, const std::string& head, ConstPieces payload = {},
            Completion done = {}) {
    port->send(to, {reinterpret_cast<const std::byte*>(head.data()), head.size()}, payload,
               std::move(done));
  }

  std::vector<Connection*> connections;
  std::vector<Arrived> arrivals;
  std::vector<Connection*> ended;
  std::vector<Status> reasons;
  std::function<void(Arrived&)> on_arrival;
  std::unique_ptr<Port> port;  // last, so that it ends first
};

// Drives the peers until the condition holds; false when it did not within the time.
inline bool drive(std::vector<PortUser*> peers, const std::function<bool()>& condition,
                  std::chrono::milliseconds time = std::chrono::seconds(20)) {
  const auto last = std::chrono::steady_clock::now() + time;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > last) return false;
    bool any = false;
    for (PortUser* peer : peers) any |= peer->port->progress();
    // One of them sleeps briefly; the other's events come from it.
    if (!any) peers.front()->port->wait(1);
  }
  return true;
}

inline std::vector<std::byte> pattern(std::size_t bytes, unsigned seed) {
  std::vector<std::byte> result(bytes);
  std::uint32_t value = seed * 2654435761U + 1;
  for (std::byte& one : result) {
    value = value * 1664525U + 1013904223U;
    one = static_cast<std::byte>(value >> 24);
  }
  return result;
}

}  // namespace imss::net
