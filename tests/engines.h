// What the tests of the engines share: hosted segments, a whole store in one process, blocks that
// show torn copies, and the check of a segment with its leaks.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/session.h"
#include "metadata/namespace.h"
#include "metadata/reach.h"
#include "segment/check.h"
#include "segment/host.h"
#include "segment/segment_files.h"
#include "store/reach.h"
#include "store/store.h"

namespace engines {

using imss::Code;
using imss::Status;
using imss::segment::Segment;

constexpr std::uint64_t kKiB = 1 << 10;
constexpr std::uint64_t kMiB = 1 << 20;

// A segment with its host, retired at the end.
class HostedSegment {
 public:
  HostedSegment(imss::segment::Role role, std::uint64_t capacity_bytes) {
    static std::atomic<int> made{0};
    imss::segment::HostOptions options;
    options.create.role = role;
    options.create.capacity_bytes = capacity_bytes;
    options.name =
        std::string(role == imss::segment::Role::kData ? "imss-data-" : "imss-metadata-") + "test" +
        std::to_string(::getpid()) + "-" + std::to_string(made.fetch_add(1));
    auto host = imss::segment::Host::start(options);
    INFO(host.status().message());
    REQUIRE(host.ok());
    host_ = std::move(*host);
  }
  HostedSegment(HostedSegment&&) = default;
  ~HostedSegment() {
    if (!host_) return;
    host_->stop(true);
    host_->segment()->leave();  // or the mapping would stay as long as this thread
  }

  void publish() { REQUIRE(host_->publish().ok()); }
  const std::shared_ptr<Segment>& segment() const { return host_->segment(); }
  Segment& operator*() const { return *host_->segment(); }

  // Completes what the dead had under way and verifies every structure; nothing may have leaked.
  void require_sound() const {
    Segment& segment = *host_->segment();
    segment.clean_up();
    imss::segment::CheckOptions options;
    options.reach = segment.super().role == static_cast<std::uint32_t>(imss::segment::Role::kData)
                        ? imss::segment::ReachVisitor(imss::store::visit)
                        : imss::segment::ReachVisitor(imss::metadata::visit);
    auto report = imss::segment::check_segment(segment, options);
    REQUIRE(report.ok());
    std::string errors;
    for (const auto& error : report->errors) errors += error + "\n";
    INFO(errors);
    CHECK(report->errors.empty());
    CHECK(report->leaked_extents == 0);
  }

 private:
  std::unique_ptr<imss::segment::Host> host_;
};

// A data server's segment and the engine on it.
struct DataEngine {
  explicit DataEngine(std::uint64_t capacity_bytes = 256 * kMiB)
      : hosted(imss::segment::Role::kData, capacity_bytes), store(hosted.segment()) {
    hosted.publish();
  }
  HostedSegment hosted;
  imss::store::Store store;
  std::uint32_t id = 0;  // once it has joined a metadata server
};

// A metadata server's segment and the engine on it.
struct NameEngine {
  explicit NameEngine(std::uint64_t capacity_bytes = 64 * kMiB)
      : hosted(imss::segment::Role::kMetadata, capacity_bytes), names(hosted.segment()) {
    REQUIRE(names.format().ok());
    hosted.publish();
  }
  HostedSegment hosted;
  imss::metadata::Namespace names;
};

// One metadata server, some data servers and the instance imss://w over them.
class World {
 public:
  explicit World(std::uint32_t data_servers = 2, std::uint64_t capacity_bytes = 64 * kMiB) {
    for (std::uint32_t i = 0; i < data_servers; ++i)
      data_.push_back(std::make_unique<DataEngine>(capacity_bytes));
    auto session = imss::client::Session::connect_segment(metadata_.hosted.segment()->name());
    REQUIRE(session.ok());
    session_ = std::move(*session);
    imss::metadata::InstanceInfo info;
    info.name = "w";
    info.block_bytes = 64 * kKiB;
    for (const auto& server : data_) {
      Segment& segment = *server->hosted;
      imss::metadata::ServerInfo record;
      record.nonce = segment.super().nonce;
      record.capacity_bytes = capacity_bytes;
      record.host = "localhost";
      record.segment_name = segment.name();
      auto id = session_->names().join_server(record);
      REQUIRE(id.ok());
      server->id = *id;
      info.servers.push_back(*id);
    }
    REQUIRE(session_->create_instance(info).ok());
  }

  imss::client::Session& session() { return *session_; }
  imss::metadata::Namespace& names() { return metadata_.names; }
  DataEngine& data(std::size_t index) { return *data_[index]; }
  std::size_t data_servers() const { return data_.size(); }
  NameEngine& metadata() { return metadata_; }
  static imss::Uri uri(const std::string& path) { return {"w", path}; }

  // What the servers do from time to time, in the order that is hardest: each server learns of the dead
  // only after those before it have removed what they left.
  void upkeep() {
    (*metadata_.hosted).clean_up();
    REQUIRE(session_->reap().ok());
    for (const auto& server : data_) {
      (*server->hosted).clean_up();
      REQUIRE(session_->sweep(server->store, server->id).ok());
    }
  }
  void require_sound() {
    metadata_.hosted.require_sound();
    for (const auto& server : data_) {
      if ((*server->hosted).serving()) server->hosted.require_sound();
    }
  }

 private:
  NameEngine metadata_;
  std::vector<std::unique_ptr<DataEngine>> data_;
  std::unique_ptr<imss::client::Session> session_;
};

// Content all of whose 8-byte words are the stamp, so that a mixture of two shows.
inline std::vector<std::byte> stamped(std::size_t bytes, std::uint64_t stamp) {
  std::vector<std::byte> content(bytes);
  for (std::size_t at = 0; at < bytes; at += sizeof(stamp)) {
    std::memcpy(content.data() + at, &stamp, std::min(sizeof(stamp), bytes - at));
  }
  return content;
}
inline std::uint64_t stamp_at(std::span<const std::byte> content, std::size_t at) {
  std::uint64_t stamp = 0;
  std::memcpy(&stamp, content.data() + at, std::min(sizeof(stamp), content.size() - at));
  return stamp;
}
inline bool is_stamped(std::span<const std::byte> content, std::uint64_t stamp) {
  for (std::size_t at = 0; at < content.size(); at += sizeof(stamp)) {
    if (std::memcmp(content.data() + at, &stamp, std::min(sizeof(stamp), content.size() - at)) != 0)
      return false;
  }
  return true;
}
// Content in which every byte tells its place and the seed.
inline std::byte byte_at(std::size_t at, unsigned seed) {
  return static_cast<std::byte>((at * 2654435761U >> 16) + at + seed);
}
inline std::vector<std::byte> pattern(std::size_t bytes, unsigned seed) {
  std::vector<std::byte> content(bytes);
  for (std::size_t at = 0; at < bytes; ++at) content[at] = byte_at(at, seed);
  return content;
}

}  // namespace engines
