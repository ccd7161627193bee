// Engines of this process that clients reach over the network, as if they were on another node.
#pragma once

#include <catch2/catch.hpp>
#include <memory>

#include "engines.h"
#include "server/network_service.h"

namespace imss::client {

// Reaches this node, but is no name of it: what is said to be there is asked over the network.
inline constexpr const char* kElsewhere = "0.0.0.0";

template <typename Handler>
std::unique_ptr<server::NetworkService> serve(const std::shared_ptr<segment::Segment>& segment,
                                              std::uint16_t port) {
  server::NetworkOptions options;
  options.enabled = true;
  options.address = "*";  // as servers of other nodes listen
  auto started = server::NetworkService::start(
      options, port, segment, [segment] { return std::make_unique<Handler>(segment); });
  INFO(started.status().message());
  REQUIRE(started.ok());
  return std::move(*started);
}

}  // namespace imss::client
