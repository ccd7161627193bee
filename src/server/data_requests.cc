#include "server/data_requests.h"

#include <vector>

#include "net/head.h"

namespace imss::server {

using net::Nothing;
using net::Operation;
using segment::Outcome;

namespace {

// Block 0 of a dataset is its inode, which only operations on inodes change.
Status check_data_block(std::uint64_t block) {
  if (block != 0) return {};
  return Status(Code::kInvalidArgument, "data blocks count from 1");
}

Status check_write(const net::WriteRequest& write) {
  if (write.block_bytes == 0 || write.block_bytes > net::kMaxPayloadBytes)
    return Status(Code::kInvalidArgument, "blocks have 1 byte to 64 MiB");
  return check_data_block(write.block);
}

Result<net::VersionReply> version_reply(const Result<std::uint64_t>& version) {
  if (!version.ok()) return version.status();
  return net::VersionReply{*version};
}

Result<net::LastReply> last_reply(const Result<bool>& last) {
  if (!last.ok()) return last.status();
  return net::LastReply{*last};
}

Result<net::TruncationFields> truncation_reply(const Result<store::Truncation>& truncation) {
  if (!truncation.ok()) return truncation.status();
  return net::TruncationFields{truncation->size, truncation->old_size, truncation->generation,
                               truncation->pending};
}

// Replies from the outcome that was stored.
Nothing nothing(const Outcome&) { return {}; }

}  // namespace

template <Operation kOperation, typename Execute, typename Repeat>
void DataRequests::once(Exchange& exchange, Execute&& execute, Repeat&& repeat) {
  using Reply = typename net::MessagesOf<kOperation>::Reply;
  answer_once<kOperation>(
      store_.segment(), exchange, execute,
      [&](const auto&, const Outcome& outcome) -> Result<Reply> { return repeat(outcome); });
}

void DataRequests::execute(Exchange& exchange) {
  switch (exchange.operation) {
    case Operation::kPut:
    case Operation::kGet:
    case Operation::kWrite:
    case Operation::kCut:
    case Operation::kErase:
    case Operation::kEraseRange:
    case Operation::kVersion:
    case Operation::kBeginCopies:
    case Operation::kEndCopies:
    case Operation::kTornBlocks:
    case Operation::kRepaired:
      return execute_on_blocks(exchange);
    case Operation::kStored:
    case Operation::kSeekBlock:
    case Operation::kNoteAllocated:
    case Operation::kClear:
    case Operation::kAllocate:
    case Operation::kSpace:
      return execute_on_holes(exchange);
    default:
      return execute_on_inodes(exchange);
  }
}

// A whole block is received into its extent.
Status DataRequests::stage(Exchange& exchange, std::size_t bytes) {
  if (exchange.operation != Operation::kPut) return {};
  IMSS_ASSIGN_OR_RETURN(exchange.staged, store_.stage(bytes));
  return {};
}

void DataRequests::execute_on_blocks(Exchange& exchange) {
  switch (exchange.operation) {
    case Operation::kPut:
      return once<Operation::kPut>(
          exchange,
          [&](const net::PutRequest& put) -> Result<net::VersionReply> {
            IMSS_RETURN_IF_ERROR(check_data_block(put.block));
            store::PutOptions options;
            options.version = put.version;
            options.expected_version = put.expected_version;
            options.generation = put.generation;
            const store::BlockId id{put.dataset, put.block};
            if (!exchange.staged.empty())
              return version_reply(store_.publish(id, std::move(exchange.staged), options));
            return version_reply(store_.put(id, exchange.payload, options));
          },
          [](const Outcome& outcome) { return net::VersionReply{outcome.word0}; });
    case Operation::kGet:
      return get(exchange);
    case Operation::kWrite:
      return once<Operation::kWrite>(
          exchange,
          [&](const net::WriteRequest& write) -> Result<Nothing> {
            IMSS_RETURN_IF_ERROR(check_write(write));
            IMSS_RETURN_IF_ERROR(store_.write({write.dataset, write.block}, write.offset,
                                              exchange.payload, write.block_bytes,
                                              write.generation));
            // Written twice is as good as once, but not over what another wrote in between.
            return outcome(segment::Outcomes(store_.segment()).store({}));
          },
          nothing);
    case Operation::kCut:
      return answer<Operation::kCut>(exchange, [&](const net::CutRequest& cut) -> Result<Nothing> {
        IMSS_RETURN_IF_ERROR(check_data_block(cut.block));
        return outcome(store_.cut({cut.dataset, cut.block}, cut.offset, cut.generation));
      });
    case Operation::kErase:
      return answer<Operation::kErase>(exchange,
                                       [&](const net::BlockFields& id) -> Result<Nothing> {
                                         IMSS_RETURN_IF_ERROR(check_data_block(id.block));
                                         return outcome(store_.erase({id.dataset, id.block}));
                                       });
    case Operation::kEraseRange:
      return answer<Operation::kEraseRange>(
          exchange, [&](const net::EraseRangeRequest& range) -> Result<Nothing> {
            IMSS_RETURN_IF_ERROR(check_data_block(range.first));
            return outcome(
                store_.erase_range(range.dataset, range.first, range.last, range.before));
          });
    case Operation::kVersion:
      return answer<Operation::kVersion>(exchange, [&](const net::BlockFields& id) {
        return version_reply(store_.version({id.dataset, id.block}));
      });
    case Operation::kBeginCopies:
      return answer<Operation::kBeginCopies>(
          exchange, [&](const net::BlockFields& id) -> Result<Nothing> {
            leave_copies(exchange.connection);  // one that was not ended was left undone
            copying_[exchange.connection] = {id.dataset, id.block};
            return Nothing{};
          });
    case Operation::kEndCopies:
      return answer<Operation::kEndCopies>(
          exchange, [&](const Nothing&) { return end_copies(exchange.connection); });
    case Operation::kTornBlocks:
      return answer<Operation::kTornBlocks>(exchange,
                                            [&](const Nothing&) -> Result<net::BlocksReply> {
                                              net::BlocksReply reply;
                                              for (const store::BlockId& id : store_.torn_blocks())
                                                reply.blocks.push_back({id.dataset, id.block});
                                              return reply;
                                            });
    default:
      return answer<Operation::kRepaired>(exchange, [&](const net::BlockFields& id) {
        return outcome(store_.repaired({id.dataset, id.block}));
      });
  }
}

void DataRequests::execute_on_holes(Exchange& exchange) {
  switch (exchange.operation) {
    case Operation::kStored:
      return answer<Operation::kStored>(
          exchange, [&](const net::StoredRequest& request) -> Result<net::StoredReply> {
            IMSS_RETURN_IF_ERROR(check_data_block(request.first));
            IMSS_ASSIGN_OR_RETURN(const auto stored, store_.stored(request.dataset, request.first,
                                                                   request.last, request.only_first));
            return net::StoredReply{stored.bytes, stored.first};
          });
    case Operation::kSeekBlock:
      return answer<Operation::kSeekBlock>(
          exchange, [&](const net::SeekRequest& request) -> Result<net::NumberReply> {
            IMSS_RETURN_IF_ERROR(check_data_block(request.block));
            IMSS_ASSIGN_OR_RETURN(const std::uint64_t at,
                                  store_.seek({request.dataset, request.block}, request.offset,
                                              request.hole, request.block_bytes));
            return net::NumberReply{at};
          });
    case Operation::kNoteAllocated:
      return answer<Operation::kNoteAllocated>(exchange, [&](const net::SizeRequest& request) {
        return outcome(store_.note_allocated(request.dataset, request.size));
      });
    case Operation::kClear:
      return once<Operation::kClear>(
          exchange,
          [&](const net::ClearRequest& request) -> Result<Nothing> {
            IMSS_RETURN_IF_ERROR(check_data_block(request.block));
            IMSS_RETURN_IF_ERROR(
                store_.clear({request.dataset, request.block}, request.offset, request.bytes));
            // Cleared twice is as good as once, but not over what another wrote in between.
            return outcome(segment::Outcomes(store_.segment()).store({}));
          },
          nothing);
    case Operation::kAllocate:
      return answer<Operation::kAllocate>(
          exchange, [&](const net::AllocateRequest& request) -> Result<Nothing> {
            IMSS_RETURN_IF_ERROR(check_data_block(request.block));
            return outcome(store_.allocate({request.dataset, request.block}, request.offset,
                                           request.bytes, request.block_bytes, request.generation));
          });
    default:
      return answer<Operation::kSpace>(exchange, [&](const Nothing&) -> Result<net::SpaceReply> {
        IMSS_ASSIGN_OR_RETURN(const auto space, store_.space());
        return net::SpaceReply{space.capacity_bytes, space.used_bytes};
      });
  }
}

void DataRequests::execute_on_inodes(Exchange& exchange) {
  switch (exchange.operation) {
    case Operation::kCreateInode:
      return once<Operation::kCreateInode>(
          exchange,
          [&](const net::InodeRequest& inode) {
            if (inode.attributes.links == 0) unnamed_[exchange.connection] = inode.dataset;
            return outcome(store_.create_inode(inode.dataset, inode.attributes));
          },
          nothing);
    case Operation::kGetAttributes:
      return answer<Operation::kGetAttributes>(
          exchange, [&](const net::DatasetRequest& request) -> Result<net::AttributesReply> {
            IMSS_ASSIGN_OR_RETURN(const auto attributes, store_.attributes(request.dataset));
            return net::AttributesReply{attributes};
          });
    case Operation::kChangeAttributes:
      return once<Operation::kChangeAttributes>(
          exchange,
          [&](const net::ChangeAttributesRequest& request) {
            return outcome(store_.change_attributes(request.id, request.change));
          },
          nothing);
    case Operation::kExtendSize:
      return answer<Operation::kExtendSize>(exchange, [&](const net::SizeRequest& request) {
        return outcome(store_.extend_size(request.dataset, request.size));
      });
    case Operation::kAnnounceBlock:
      return answer<Operation::kAnnounceBlock>(exchange, [&](const net::BlockFields& id) {
        return outcome(store_.announce_block(id.dataset, id.block));
      });
    case Operation::kReserveAppend:
      return once<Operation::kReserveAppend>(
          exchange,
          [&](const net::SizeRequest& request) -> Result<net::NumberReply> {
            IMSS_ASSIGN_OR_RETURN(const std::uint64_t offset,
                                  store_.reserve_append(request.dataset, request.size));
            return net::NumberReply{offset};
          },
          [](const Outcome& outcome) { return net::NumberReply{outcome.word0}; });
    case Operation::kBeginTruncation:
      return answer_once<Operation::kBeginTruncation>(
          store_.segment(), exchange,
          [&](const net::SizeRequest& request) {
            return truncation_reply(store_.begin_truncation(request.dataset, request.size));
          },
          [](const net::SizeRequest& request, const Outcome& outcome) {
            return truncation_reply(store::begun_truncation(request.size, outcome));
          });
    case Operation::kPendingTruncation:
      return answer<Operation::kPendingTruncation>(
          exchange, [&](const net::DatasetRequest& request) {
            return truncation_reply(store_.pending_truncation(request.dataset));
          });
    case Operation::kFinishTruncation:
      return answer<Operation::kFinishTruncation>(
          exchange, [&](const net::FinishTruncationRequest& request) {
            const net::TruncationFields& truncation = request.truncation;
            return outcome(store_.finish_truncation(
                request.dataset,
                {truncation.size, truncation.old_size, truncation.generation, truncation.pending}));
          });
    case Operation::kReadXattr:
      return answer<Operation::kReadXattr>(
          exchange, [&](const net::XattrRequest& request) -> Result<net::XattrReply> {
            IMSS_ASSIGN_OR_RETURN(auto value, store_.xattr(request.id, request.name));
            return net::XattrReply{std::move(value)};
          });
    case Operation::kChangeXattr:
      return once<Operation::kChangeXattr>(
          exchange,
          [&](const net::ChangeXattrRequest& request) {
            return outcome(store_.change_xattr(request.id, request.change));
          },
          nothing);
    default:
      return execute_on_users(exchange);
  }
}

// Who has a dataset open, and its names.
void DataRequests::execute_on_users(Exchange& exchange) {
  const std::uint64_t client = exchange.client;
  switch (exchange.operation) {
    case Operation::kOpen:
      return once<Operation::kOpen>(
          exchange,
          [&](const net::DatasetRequest& request) {
            const Status opened = store_.open_for(request.dataset, client);
            const auto made = unnamed_.find(exchange.connection);
            if (opened.ok() && made != unnamed_.end() && made->second == request.dataset)
              unnamed_.erase(made);
            return outcome(opened);
          },
          nothing);
    case Operation::kClose:
      return once<Operation::kClose>(
          exchange,
          [&](const net::DatasetRequest& request) {
            auto last = store_.close_for(request.dataset, client);
            if (exchange.reads_only && last.ok() && *last) {
              store_.leave_orphan(request.dataset);  // it may not remove the dataset itself
              last = false;
            }
            return last_reply(last);
          },
          [&](const Outcome& outcome) {
            return net::LastReply{outcome.word0 != 0 && !exchange.reads_only};
          });
    case Operation::kAddLink:
      return answer<Operation::kAddLink>(exchange, [&](const net::LinkRequest& request) {
        return outcome(store_.add_link(request.dataset, request.link));
      });
    case Operation::kRemoveLink:
      return answer<Operation::kRemoveLink>(exchange, [&](const net::LinkRequest& request) {
        return last_reply(store_.remove_link(request.dataset, request.link));
      });
    case Operation::kEraseInode:
      return answer<Operation::kEraseInode>(exchange, [&](const net::DatasetRequest& request) {
        return outcome(store_.erase_inode(request.dataset));
      });
    case Operation::kSettle:
      return answer<Operation::kSettle>(exchange,
                                        [&](const Nothing&) { return outcome(store_.settle()); });
    default:
      exchange.status = Status(Code::kNotSupported, "a data server does not know this operation");
  }
}

// A block that is whole and in one piece goes out from where it is stored; it stays pinned until it
// is sent.
void DataRequests::get(Exchange& exchange) {
  answer<Operation::kGet>(exchange, [&](const net::GetRequest& request) -> Result<net::GetReply> {
    if (request.bytes > net::kMaxPayloadBytes)
      return Status(Code::kInvalidArgument, "a range of more than 64 MiB");
    net::GetReply reply;
    const store::BlockId id{request.dataset, request.block};
    store::View view;
    if (!request.copy) {
      IMSS_ASSIGN_OR_RETURN(view, store_.view_stored(id, request.offset, request.bytes));
    }
    if (view.pin != nullptr) {
      reply.present = true;
      exchange.reply_payload = view.bytes;
      exchange.stored_payload = true;
      exchange.hold = std::shared_ptr<const void>(
          view.bytes.data(), [view](const void*) mutable { store::release(view); });
      return reply;
    }
    auto copy = std::make_shared<std::vector<std::byte>>(request.bytes);
    IMSS_RETURN_IF_ERROR(store_.get(id, request.offset, *copy, &reply.present));
    exchange.reply_payload = *copy;
    exchange.hold = copy;
    return reply;
  });
}

Result<Nothing> DataRequests::end_copies(std::uint64_t connection) {
  copying_.erase(connection);
  return Nothing{};
}

// It may have died between two copies, or before it opened what it had made.
void DataRequests::connection_closed(std::uint64_t connection) {
  leave_copies(connection);
  const auto made = unnamed_.find(connection);
  if (made == unnamed_.end()) return;
  store_.leave_orphan(made->second);
  unnamed_.erase(made);
}

// The block that was being copied is listed, and a server makes its copies equal.
void DataRequests::leave_copies(std::uint64_t connection) {
  const auto copying = copying_.find(connection);
  if (copying == copying_.end()) return;
  [[maybe_unused]] const Status noted =
      store_.note_torn(copying->second);  // without a place it is lost
  copying_.erase(copying);
}

}  // namespace imss::server
