// Servers of this node whose segment this process does not map: it may not, or has no address space
// left for it, or sees another shared-memory file system. They are asked by messages, as those of
// other nodes are. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "client/remote_store.h"
#include "metadata/values.h"

namespace imss::client {

// The name by which a server of this node is reached by messages; none when it takes no messages.
std::optional<std::string> listening_name(const std::string& host, std::uint16_t port);

struct UnmappedStore {
  std::shared_ptr<store::DataService> store;  // null: there is no way to reach it
  RemoteStore* asked = nullptr;               // the same where everything is asked of the server
};
UnmappedStore unmapped_store(const metadata::ServerInfo& server,
                             const std::function<Result<std::shared_ptr<net::Peers>>()>& peers);

}  // namespace imss::client
