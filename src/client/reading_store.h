// A data server of this node whose segment may be read and not changed: blocks are read where they
// are, everything else is asked of the server. Concurrent; any thread. Common errors: see
// store/data_service.h.
#pragma once

#include "client/remote_store.h"
#include "store/block_reader.h"

namespace imss::client {

class ReadingStore final : public RemoteStore {
 public:
  ReadingStore(std::shared_ptr<net::Peers> peers, const std::string& host, std::uint16_t port,
               std::shared_ptr<segment::Segment> segment)
      : RemoteStore(std::move(peers), host, port, segment->super().nonce),
        blocks_(std::move(segment)) {}

  bool serving() const override { return blocks_.segment().serving(); }
  bool lost() const override { return !serving(); }
  Status get(store::BlockId id, std::uint64_t offset, std::span<std::byte> out,
             bool* present = nullptr) override {
    const Status status = blocks_.get(id, offset, out, present);
    // What cannot be read safely, or not by this process any more, the server can.
    const bool ask = status.code() == Code::kAgain || status.code() == Code::kIo;
    return ask ? RemoteStore::get(id, offset, out, present) : status;
  }
  Result<std::uint64_t> version(store::BlockId id) override { return blocks_.version(id); }

 private:
  const store::BlockReader blocks_;
};

}  // namespace imss::client
