// A data server on another node: every call is a request to it. Concurrent; any thread. Common
// errors: see store/data_service.h.
#pragma once

#include "net/remote_server.h"
#include "store/data_service.h"

namespace imss::client {

class RemoteStore : public store::DataService {
 public:
  // `nonce`: of the server's segment.
  RemoteStore(std::shared_ptr<net::Peers> peers, const std::string& host, std::uint16_t port,
              std::uint64_t nonce)
      : server_(std::move(peers), host, port, nonce) {}

  // A request that is under way. What is begun must be finished, by the same thread.
  struct Request {
    explicit Request(Deadline until) : deadline(until) {}
    const Deadline deadline;
    net::Call call;
  };
  void begin_get(Request& request, store::BlockId id, std::uint64_t offset,
                 std::span<std::byte> out);
  // kAgain: the bytes changed on their way; get() copes with that.
  Status finish_get(Request& request);
  void begin_put(Request& request, store::BlockId id, std::span<const std::byte> content,
                 store::PutOptions options);
  Status finish_put(Request& request);

  bool serving() const override { return server_.answers(); }
  bool lost() const override { return server_.lost(); }
  bool is_at(const net::Peer& peer) const { return &server_.peer() == &peer; }
  // --- blocks ---
  Result<std::uint64_t> put(store::BlockId id, std::span<const std::byte> content,
                            store::PutOptions options = {}) override;
  Status get(store::BlockId id, std::uint64_t offset, std::span<std::byte> out,
             bool* present = nullptr) override;
  Status write(store::BlockId id, std::uint64_t offset, std::span<const std::byte> data,
               std::uint64_t block_bytes, std::uint64_t generation = 0) override;
  Status cut(store::BlockId id, std::uint64_t offset, std::uint64_t generation) override;
  Status erase(store::BlockId id) override;
  Status erase_range(std::uint64_t dataset, std::uint64_t first, std::uint64_t last,
                     std::uint64_t before = store::kAnyGeneration) override;
  Result<std::uint64_t> version(store::BlockId id) override;
  Result<store::View> view(store::BlockId id, std::uint64_t block_bytes) override;
  // --- holes ---
  Result<store::StoredBlocks> stored(std::uint64_t dataset, std::uint64_t first, std::uint64_t last,
                                     bool only_first) override;
  Result<std::uint64_t> seek(store::BlockId id, std::uint64_t offset, bool hole,
                             std::uint64_t block_bytes) override;
  Status clear(store::BlockId id, std::uint64_t offset, std::uint64_t bytes) override;
  Status allocate(store::BlockId id, std::uint64_t offset, std::uint64_t bytes,
                  std::uint64_t block_bytes, std::uint64_t generation) override;
  // --- copies ---
  Status begin_copies(store::BlockId id) override;
  void end_copies() override;
  std::vector<store::BlockId> torn_blocks() const override {
    return {};
  }  // its own node sees to them
  Status repaired(store::BlockId id) override;
  // --- inodes ---
  Status create_inode(std::uint64_t dataset, const store::Attributes& attributes) override;
  Result<store::Attributes> attributes(std::uint64_t dataset) override;
  Status change_attributes(std::uint64_t dataset, const store::AttributeChange& change) override;
  Status extend_size(std::uint64_t dataset, std::uint64_t end) override;
  Status announce_block(std::uint64_t dataset, std::uint64_t block) override;
  Result<std::uint64_t> reserve_append(std::uint64_t dataset, std::uint64_t bytes) override;
  Result<store::Truncation> begin_truncation(std::uint64_t dataset, std::uint64_t size) override;
  Result<store::Truncation> pending_truncation(std::uint64_t dataset) override;
  Status finish_truncation(std::uint64_t dataset, const store::Truncation& truncation) override;
  Status open(std::uint64_t dataset) override;
  Result<bool> close(std::uint64_t dataset) override;
  Status add_link(std::uint64_t dataset, std::uint64_t link) override;
  Result<bool> remove_link(std::uint64_t dataset, std::uint64_t link) override;
  // Opens it again: with this process its server finds it among what the dead had open.
  void leave_orphan(std::uint64_t dataset) override { [[maybe_unused]] const Status opened = open(dataset); }
  Status erase_inode(std::uint64_t dataset) override;
  Result<store::XattrValue> xattr(std::uint64_t dataset, std::string_view name) override;
  Status change_xattr(std::uint64_t dataset, const store::XattrChange& change) override;
  Status note_allocated(std::uint64_t dataset, std::uint64_t noted) override;
  Result<store::Space> space() override;
  Status settle() override;

 private:
  Status get_once(store::BlockId id, std::uint64_t offset, std::span<std::byte> out, bool copy,
                  bool* present);

  net::RemoteServer server_;
};

}  // namespace imss::client
