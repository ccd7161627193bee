// What a data server does with requests from other nodes: the data engine, executed for them.
// Thread-owned by its worker.
#pragma once

#include <unordered_map>

#include "server/exchange.h"
#include "store/store.h"

namespace imss::server {

class DataRequests final : public Requests {
 public:
  explicit DataRequests(std::shared_ptr<segment::Segment> segment) : store_(std::move(segment)) {}
  void execute(Exchange& exchange) override;
  Status stage(Exchange& exchange, std::size_t bytes) override;
  void connection_closed(std::uint64_t connection) override;

 private:
  template <net::Operation kOperation, typename Execute, typename Repeat>
  void once(Exchange& exchange, Execute&& execute, Repeat&& repeat);
  void execute_on_blocks(Exchange& exchange);
  void execute_on_holes(Exchange& exchange);
  void execute_on_inodes(Exchange& exchange);
  void execute_on_users(Exchange& exchange);
  void get(Exchange& exchange);
  Result<net::Nothing> end_copies(std::uint64_t connection);
  void leave_copies(std::uint64_t connection);

  store::Store store_;
  std::unordered_map<std::uint64_t, store::BlockId>
      copying_;  // by connection: what is being copied
  std::unordered_map<std::uint64_t, std::uint64_t>
      unnamed_;  // by connection: a dataset made without a name that is about to be opened
};

}  // namespace imss::server
