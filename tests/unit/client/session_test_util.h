// What the tests of sessions share: datasets by a short name in the instance of a World, and their
// content.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engines.h"

namespace sessions {

using engines::stamped;
using engines::World;
using imss::Status;
using imss::client::Dataset;
using imss::client::DatasetOptions;
using imss::client::Session;
using Bytes = std::vector<std::byte>;

// An open dataset, closed at the end.
class Opened {
 public:
  Opened(Session& session, const std::string& path)
      : Opened(session, session.open(World::uri(path))) {}
  Opened(Session& session, imss::Result<std::int32_t> handle)
      : session_(session), handle_(std::move(handle)) {
    if (handle_.ok()) dataset_ = *session.dataset(*handle_);
  }
  ~Opened() {
    if (handle_.ok()) [[maybe_unused]]
      const Status status = session_.release(*handle_);
  }
  bool ok() const { return handle_.ok(); }
  Status status() const { return handle_.status(); }
  Dataset& operator*() const { return *dataset_; }

 private:
  Session& session_;
  imss::Result<std::int32_t> handle_;
  std::shared_ptr<Dataset> dataset_;
};

// Makes a dataset in the parent and releases it.
inline void make(World& world, const std::string& path, const DatasetOptions& options,
                 std::uint64_t blocks = 0, std::uint64_t stamp = 1) {
  auto handle = world.session().create(World::uri(path), options);
  INFO(handle.status().message());
  REQUIRE(handle.ok());
  auto dataset = *world.session().dataset(*handle);
  for (std::uint64_t block = 1; block <= blocks; ++block) {
    REQUIRE(world.session().put(*dataset, block, stamped(options.block_bytes, stamp + block)).ok());
  }
  REQUIRE(world.session().release(*handle).ok());
}

// A range of a block; it can be read.
inline Bytes get(Session& session, Dataset& dataset, std::uint64_t block, std::size_t bytes,
                 std::uint64_t offset = 0) {
  Bytes out(bytes);
  const Status status = session.get(dataset, block, offset, out);
  INFO(status.message());
  REQUIRE(status.ok());
  return out;
}

inline Bytes read(World& world, const std::string& path, std::uint64_t block, std::size_t bytes) {
  Opened dataset(world.session(), path);
  INFO(path << ": " << dataset.status().message());
  REQUIRE(dataset.ok());
  return get(world.session(), *dataset, block, bytes);
}

inline bool exists(World& world, const std::string& path) {
  return world.session().resolve(World::uri(path)).ok();
}

inline DatasetOptions blocks_of(std::uint64_t block_bytes, std::uint64_t block_count = 4) {
  DatasetOptions options;
  options.block_bytes = block_bytes;
  options.block_count = block_count;
  return options;
}

// How many blocks and inodes a server stores, without those of one dataset.
inline std::uint64_t stored_blocks(World& world, std::size_t server, std::uint64_t without = 0) {
  std::uint64_t count = 0;
  const auto visit = [&](imss::store::BlockId id, const imss::segment::Values&) {
    if (id.dataset != without) ++count;
    return true;
  };
  REQUIRE(world.data(server).store.for_each_block(visit).ok());
  return count;
}

// The same of all servers.
inline std::uint64_t all_blocks(World& world, std::uint64_t without = 0) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < world.data_servers(); ++i) count += stored_blocks(world, i, without);
  return count;
}

}  // namespace sessions
