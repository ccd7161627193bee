// One metadata server and two data servers in one process. Owned by whoever made it; one thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/session.h"
#include "server/data_server.h"
#include "server/metadata_server.h"

namespace model {

inline constexpr std::uint16_t kMetadataPort = 5569;

class Servers {
 public:
  // New ones, or those that go on with the segments that killed ones have left.
  static imss::Result<std::unique_ptr<Servers>> start();
  // Ends them and removes their segments.
  void retire();
  // Completes whatever dead clients left.
  imss::Status settle(imss::client::Session& session);
  // What is wrong with the segments, leaks included; nothing when all is well.
  std::string check();
  // Stored blocks and inodes.
  std::uint64_t blocks();

 private:
  std::unique_ptr<imss::server::MetadataServer> metadata_;
  std::vector<std::unique_ptr<imss::server::DataServer>> data_;
};

imss::Result<std::unique_ptr<imss::client::Session>> connect();

}  // namespace model
