#include "client/unmapped.h"

#include "client/reading_store.h"
#include "client/server_control.h"

namespace imss::client {
namespace {

constexpr int kLookMs = 500;

// The segment, if its blocks may be read where they are.
std::shared_ptr<segment::Segment> readable_segment(const metadata::ServerInfo& server) {
  auto segment = segment::Segment::open_read_only(server.segment_name);
  if (!segment.ok() || (*segment)->super().nonce != server.nonce) return nullptr;
  if ((*segment)->sharing() != segment::Sharing::kReadOnly) return nullptr;
  return *segment;
}

}  // namespace

// Servers without an address listen on loopback alone, whatever the node is called.
std::optional<std::string> listening_name(const std::string& host, std::uint16_t port) {
  for (const std::string& name : {std::string("localhost"), host}) {
    if (is_listening({name, port}, kLookMs)) return name;
  }
  return std::nullopt;
}

UnmappedStore unmapped_store(const metadata::ServerInfo& server,
                             const std::function<Result<std::shared_ptr<net::Peers>>()>& peers) {
  const auto port = static_cast<std::uint16_t>(server.port);
  const auto name = listening_name(server.host, port);
  if (!name) return {};
  const auto known = peers();
  if (!known.ok()) return {};
  if (auto segment = readable_segment(server)) {
    return {std::make_shared<ReadingStore>(*known, *name, port, std::move(segment)), nullptr};
  }
  const auto asked = std::make_shared<RemoteStore>(*known, *name, port, server.nonce);
  return {asked, asked.get()};
}

}  // namespace imss::client
