// The file view in both worlds: with the servers' segments mapped, and with everything asked by message.
#pragma once

#include <fcntl.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engines.h"
#include "posix/file_system.h"
#include "server/data_requests.h"
#include "server/name_requests.h"
#include "support/scratch.h"
#include "unit/client/serve.h"

namespace views {

using engines::kKiB;
using imss::posix::FileSystem;
using imss::posix::OpenFile;

constexpr std::uint64_t kBlockBytes = 64 * kKiB;

// One metadata server, two data servers, and a view of imss://w over them.
class View {
 public:
  explicit View(bool remote, imss::posix::FileOptions options = {.block_bytes = kBlockBytes}) {
    imss::metadata::InstanceInfo info;
    info.name = "w";
    info.block_bytes = kBlockBytes;
    for (int i = 0; i < 2; ++i) {
      imss::metadata::ServerInfo record;
      record.nonce = (*data[i].hosted).super().nonce;
      record.host = "localhost";
      record.segment_name = data[i].hosted.segment()->name();
      record.capacity_bytes = (*data[i].hosted).super().capacity_bytes;
      if (remote) {
        services_[i] = imss::client::serve<imss::server::DataRequests>(data[i].hosted.segment(), 0);
        record.port = services_[i]->port();
        record.host = imss::client::kElsewhere;
      }
      const auto id = names.names.join_server(record);
      REQUIRE(id.ok());
      info.servers.push_back(*id);
    }
    REQUIRE(names.names.create_instance(info).ok());
    if (remote) {
      name_service_ = imss::client::serve<imss::server::NameRequests>(names.hosted.segment(), 0);
      imss::client::ConnectOptions connect;
      connect.hosts = {imss::Host{imss::client::kElsewhere, 0}};
      connect.port = name_service_->port();
      auto connected = imss::client::Session::connect(connect);
      INFO(connected.status().message());
      REQUIRE(connected.ok());
      session = std::move(*connected);
    } else {
      session = std::move(*imss::client::Session::connect_segment(names.hosted.segment()->name()));
    }
    auto made = FileSystem::open(*session, "w", options);
    REQUIRE(made.ok());
    files = std::move(*made);
    const auto servers = session->instance("w");
    for (const auto* mapped : (*servers)->mapped) REQUIRE((mapped == nullptr) == remote);
  }

  std::unique_ptr<OpenFile> create(std::string_view name, int flags = O_RDWR) {
    auto file = files->create(files->root(), name, flags, 0640, {7, 8}, &status);
    INFO(file.status().message());
    REQUIRE(file.ok());
    return std::move(*file);
  }
  struct stat now() { return *files->attributes(status.st_ino); }
  std::vector<std::byte> read(OpenFile& file, std::uint64_t offset, std::size_t bytes) {
    std::vector<std::byte> out(bytes, std::byte{0xee});
    const auto got = file.read(offset, out);
    REQUIRE(got.ok());
    out.resize(*got);
    return out;
  }
  void require_sound() {
    names.hosted.require_sound();
    for (auto& server : data) server.hosted.require_sound();
  }

  const imss::test::Scratch scratch;
  engines::NameEngine names;
  engines::DataEngine data[2];
  std::unique_ptr<imss::client::Session> session;
  std::unique_ptr<FileSystem> files;
  struct stat status = {};  // of what was created last

 private:
  std::unique_ptr<imss::server::NetworkService> name_service_;
  std::unique_ptr<imss::server::NetworkService> services_[2];
};

}  // namespace views
