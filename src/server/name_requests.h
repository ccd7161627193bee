// What a metadata server does with requests from other nodes: the namespace engine, executed for
// them. Thread-owned by its worker.
//
// A name that a client prepared or removed is a record in the hand of the worker's thread until the
// client says what becomes of it; if the client goes before, the record goes to the reaper, some
// time later, so that a request to make its inode has been executed or dropped by then.
#pragma once

#include <unordered_map>

#include "metadata/namespace.h"
#include "server/exchange.h"

namespace imss::server {

class NameRequests final : public Requests {
 public:
  explicit NameRequests(std::shared_ptr<segment::Segment> segment) : names_(std::move(segment)) {}
  void execute(Exchange& exchange) override;
  void connection_closed(std::uint64_t connection) override;
  void tick() override;

 private:
  // A name that is prepared (and then to be published or abandoned) or removed (and then to be
  // forgotten).
  struct Record {
    std::uint64_t connection = 0;  // 0: its author is gone
    bool prepared = false;
    metadata::RemovedEntry entry;
    std::int64_t orphaned_ns = 0;
  };
  // Of the slots of the hand, and of these for one connection, whose thread needs one at a time.
  static constexpr std::size_t kMostRecords = 32;
  static constexpr std::ptrdiff_t kMostOfConnection = 4;

  template <net::Operation kOperation, typename Execute, typename Repeat>
  void once(Exchange& exchange, Execute&& execute, Repeat&& repeat);
  void execute_on_records(Exchange& exchange);
  void execute_prepare(Exchange& exchange);
  void execute_publish(Exchange& exchange);
  void execute_rename(Exchange& exchange);
  void execute_on_attributes(Exchange& exchange);
  void execute_on_directories(Exchange& exchange);
  void execute_on_changes(Exchange& exchange);
  void execute_on_instances(Exchange& exchange);
  Result<net::RecordFields> keep(const Exchange& exchange, bool prepared,
                                 const metadata::RemovedEntry& entry);
  Result<net::RenameReply> keep_victim(const Exchange& exchange,
                                       const metadata::RenameResult& renamed);
  Result<Record> take(const Exchange& exchange, std::uint64_t record, bool prepared);

  metadata::Namespace names_;
  std::unordered_map<std::uint64_t, Record> records_;
  std::uint64_t next_record_ = 1;
};

}  // namespace imss::server
