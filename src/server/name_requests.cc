#include "server/name_requests.h"

#include <algorithm>

#include "base/clock.h"

namespace imss::server {

using net::Nothing;
using net::Operation;
using segment::Outcome;

namespace {

constexpr std::uint32_t kMostListed = 1024;
constexpr std::uint32_t kMostIds = 4096;
constexpr std::int64_t kReapAfterNs = 1'500'000'000;

template <typename Request>
Result<Nothing> nothing(const Request&, const Outcome&) {
  return Nothing{};
}

}  // namespace

template <Operation kOperation, typename Execute, typename Repeat>
void NameRequests::once(Exchange& exchange, Execute&& execute, Repeat&& repeat) {
  answer_once<kOperation>(names_.segment(), exchange, execute, repeat);
}

void NameRequests::execute(Exchange& exchange) {
  switch (exchange.operation) {
    case Operation::kPrepare:
    case Operation::kPublish:
    case Operation::kAbandon:
    case Operation::kRemoveName:
    case Operation::kForget:
    case Operation::kLeaveToReaper:
    case Operation::kRename:
    case Operation::kFinishChange:
      return execute_on_records(exchange);
    case Operation::kBeginChange:
    case Operation::kClaimName:
    case Operation::kClaimDirectory:
    case Operation::kDecideChange:
    case Operation::kChangeOutcome:
    case Operation::kForgetChange:
      return execute_on_changes(exchange);
    case Operation::kNewIds:
    case Operation::kLookup:
    case Operation::kMakeDirectory:
    case Operation::kRemoveDirectory:
    case Operation::kExchangeNames:
    case Operation::kGetDirectory:
    case Operation::kList:
      return execute_on_directories(exchange);
    case Operation::kChangeDirectory:
    case Operation::kReadDirectoryXattr:
    case Operation::kChangeDirectoryXattr:
    case Operation::kStoreAttributes:
    case Operation::kLastInode:
      return execute_on_attributes(exchange);
    default:
      return execute_on_instances(exchange);
  }
}

Result<net::RecordFields> NameRequests::keep(const Exchange& exchange, bool prepared,
                                             const metadata::RemovedEntry& entry) {
  const std::uint64_t record = next_record_++;
  records_[record] = {exchange.connection, prepared, entry, 0};
  return net::RecordFields{record, entry.info};
}

Result<net::RenameReply> NameRequests::keep_victim(const Exchange& exchange,
                                                   const metadata::RenameResult& renamed) {
  net::RenameReply reply;
  reply.replaced = renamed.replaced;
  if (renamed.replaced) {
    IMSS_ASSIGN_OR_RETURN(reply.victim, keep(exchange, false, renamed.victim));
  }
  return reply;
}

// Records of other connections are none of the asker's business.
Result<NameRequests::Record> NameRequests::take(const Exchange& exchange, std::uint64_t record,
                                                bool prepared) {
  const auto found = records_.find(record);
  if (found == records_.end() || found->second.connection != exchange.connection ||
      found->second.prepared != prepared) {
    return Status(Code::kBadHandle, "the metadata server has no such name in the making");
  }
  const Record taken = found->second;
  records_.erase(found);
  return taken;
}

void NameRequests::execute_on_records(Exchange& exchange) {
  // Whoever has a record ends it soon with another request, which needs no room.
  const bool makes_record = exchange.operation == Operation::kPrepare ||
                            exchange.operation == Operation::kRemoveName ||
                            exchange.operation == Operation::kRename ||
                            exchange.operation == Operation::kFinishChange;
  if (makes_record && std::ranges::count_if(records_, [&](const auto& item) {
                        return item.second.connection == exchange.connection;
                      }) >= kMostOfConnection) {
    exchange.status = Status(Code::kBusy, "this connection has too many names in the making");
    return;
  }
  if (makes_record && records_.size() >= kMostRecords) {
    exchange.later = true;
    return;
  }
  switch (exchange.operation) {
    case Operation::kPrepare:
      return execute_prepare(exchange);
    case Operation::kPublish:
      return execute_publish(exchange);
    case Operation::kAbandon:
      return answer<Operation::kAbandon>(
          exchange, [&](const net::RecordRequest& request) -> Result<Nothing> {
            IMSS_ASSIGN_OR_RETURN(const Record record, take(exchange, request.record, true));
            metadata::PendingEntry pending{record.entry.record, record.entry.info, {}};
            names_.abandon(pending);
            return Nothing{};
          });
    case Operation::kRemoveName:
      return once<Operation::kRemoveName>(
          exchange,
          [&](const net::NameRequest& request) -> Result<net::RecordFields> {
            IMSS_ASSIGN_OR_RETURN(const metadata::RemovedEntry removed,
                                  names_.remove(request.parent, request.name));
            return keep(exchange, false, removed);
          },
          [](const net::NameRequest&, const Outcome&) -> Result<net::RecordFields> {
            return net::RecordFields{};  // the reaper sees to what it named
          });
    case Operation::kForget:
    case Operation::kLeaveToReaper:
      return answer<Operation::kForget>(
          exchange, [&](const net::RecordRequest& request) -> Result<Nothing> {
            IMSS_ASSIGN_OR_RETURN(Record record, take(exchange, request.record, false));
            if (exchange.operation == Operation::kForget) {
              names_.forget(record.entry);
            } else {
              names_.leave_to_reaper(record.entry);
            }
            return Nothing{};
          });
    case Operation::kFinishChange:
      return answer<Operation::kFinishChange>(
          exchange, [&](const net::FinishChangeRequest& request) -> Result<net::RenameReply> {
            IMSS_ASSIGN_OR_RETURN(const auto finished,
                                  names_.finish_change(request.change, request.committed));
            return keep_victim(exchange, finished);
          });
    default:
      return execute_rename(exchange);
  }
}

// What comes of a name that is given up is dropped, and directories are made by another request: a name for one that
// is there already must not take it along.
void NameRequests::execute_prepare(Exchange& exchange) {
  return answer<Operation::kPrepare>(
      exchange, [&](const net::EntryRequest& request) -> Result<net::PrepareReply> {
        const auto type = request.entry.type;
        if (type == metadata::NodeType::kDirectory || type == metadata::NodeType::kInstance)
          return Status(Code::kInvalidArgument, "a directory is not made by its name");
        IMSS_ASSIGN_OR_RETURN(const metadata::PendingEntry pending, names_.prepare(request.entry));
        IMSS_ASSIGN_OR_RETURN(auto kept, keep(exchange, true, {pending.record, pending.info}));
        return net::PrepareReply{kept.record, std::move(kept.entry), pending.group.has_value(),
                                 pending.group.value_or(0)};
      });
}

void NameRequests::execute_publish(Exchange& exchange) {
  return once<Operation::kPublish>(
      exchange,
      [&](const net::RecordRequest& request) -> Result<net::EntryReply> {
        IMSS_ASSIGN_OR_RETURN(const Record record, take(exchange, request.record, true));
        metadata::PendingEntry pending{record.entry.record, record.entry.info, {}};
        const Status published = names_.publish(pending);
        if (!published.ok()) {
          records_[request.record] = record;  // it stays prepared
          return published;
        }
        return net::EntryReply{pending.info};
      },
      [](const net::RecordRequest&, const Outcome& outcome) -> Result<net::EntryReply> {
        net::EntryReply reply;
        reply.entry.id = outcome.word0;
        reply.entry.cookie = outcome.word1;
        return reply;
      });
}

void NameRequests::execute_rename(Exchange& exchange) {
  return once<Operation::kRename>(
      exchange,
      [&](const net::RenameRequest& request) -> Result<net::RenameReply> {
        IMSS_ASSIGN_OR_RETURN(
            const auto renamed,
            names_.rename(request.from_parent, request.from_name, request.to_parent,
                          request.to_name, request.no_replace));
        return keep_victim(exchange, renamed);
      },
      [](const net::RenameRequest&, const Outcome& outcome) -> Result<net::RenameReply> {
        net::RenameReply reply;
        reply.replaced = outcome.word0 != 0;
        return reply;
      });
}

void NameRequests::execute_on_directories(Exchange& exchange) {
  switch (exchange.operation) {
    case Operation::kNewIds:
      return answer<Operation::kNewIds>(
          exchange, [&](const net::CountRequest& request) -> Result<net::NumberReply> {
            IMSS_ASSIGN_OR_RETURN(const std::uint64_t first,
                                  names_.new_ids(std::clamp(request.count, 1U, kMostIds)));
            return net::NumberReply{first};
          });
    case Operation::kLookup:
      return answer<Operation::kLookup>(
          exchange, [&](const net::NameRequest& request) -> Result<net::EntryReply> {
            IMSS_ASSIGN_OR_RETURN(auto entry, names_.lookup(request.parent, request.name));
            return net::EntryReply{std::move(entry)};
          });
    case Operation::kMakeDirectory:
      return once<Operation::kMakeDirectory>(
          exchange,
          [&](const net::MakeDirectoryRequest& request) -> Result<net::NumberReply> {
            std::uint64_t id = request.id;
            IMSS_RETURN_IF_ERROR(
                names_.make_directory(request.parent, request.name, request.permissions, &id));
            return net::NumberReply{id};
          },
          [](const net::MakeDirectoryRequest&, const Outcome& outcome) -> Result<net::NumberReply> {
            return net::NumberReply{outcome.word0};
          });
    case Operation::kRemoveDirectory:
      return once<Operation::kRemoveDirectory>(
          exchange,
          [&](const net::NameRequest& request) {
            return outcome(names_.remove_directory(request.parent, request.name));
          },
          nothing<net::NameRequest>);
    case Operation::kExchangeNames:
      return once<Operation::kExchangeNames>(
          exchange,
          [&](const net::ExchangeRequest& request) {
            return outcome(names_.exchange(request.from_parent, request.from_name,
                                           request.to_parent, request.to_name));
          },
          nothing<net::ExchangeRequest>);
    case Operation::kGetDirectory:
      return answer<Operation::kGetDirectory>(
          exchange, [&](const net::DirectoryRequest& request) -> Result<net::DirectoryReply> {
            IMSS_ASSIGN_OR_RETURN(const auto directory, names_.directory(request.directory));
            return net::DirectoryReply{directory};
          });
    default:
      return answer<Operation::kList>(
          exchange, [&](const net::ListRequest& request) -> Result<net::ListReply> {
            net::ListReply reply;
            const std::uint32_t limit = std::clamp(request.limit, 1U, kMostListed);
            IMSS_ASSIGN_OR_RETURN(
                reply.more, names_.list(request.directory, request.cookie, limit, &reply.entries));
            return reply;
          });
  }
}

// What directories and inodes say.
void NameRequests::execute_on_attributes(Exchange& exchange) {
  switch (exchange.operation) {
    case Operation::kChangeDirectory:
      return once<Operation::kChangeDirectory>(
          exchange,
          [&](const net::ChangeAttributesRequest& request) {
            return outcome(names_.change_directory(request.id, request.change));
          },
          nothing<net::ChangeAttributesRequest>);
    case Operation::kReadDirectoryXattr:
      return answer<Operation::kReadDirectoryXattr>(
          exchange, [&](const net::XattrRequest& request) -> Result<net::XattrReply> {
            IMSS_ASSIGN_OR_RETURN(auto value, names_.directory_xattr(request.id, request.name));
            return net::XattrReply{std::move(value)};
          });
    case Operation::kChangeDirectoryXattr:
      return once<Operation::kChangeDirectoryXattr>(
          exchange,
          [&](const net::ChangeXattrRequest& request) {
            return outcome(names_.change_directory_xattr(request.id, request.change));
          },
          nothing<net::ChangeXattrRequest>);
    case Operation::kStoreAttributes:
      return answer<Operation::kStoreAttributes>(
          exchange, [&](const net::StoreAttributesRequest& request) {
            return outcome(names_.store_attributes(request.states));
          });
    default:
      return answer<Operation::kLastInode>(
          exchange, [&](const net::DatasetRequest& request) -> Result<net::InodeStateReply> {
            IMSS_ASSIGN_OR_RETURN(auto state, names_.last_inode(request.dataset));
            return net::InodeStateReply{std::move(state)};
          });
  }
}

void NameRequests::execute_on_changes(Exchange& exchange) {
  switch (exchange.operation) {
    case Operation::kBeginChange:
      return answer<Operation::kBeginChange>(
          exchange, [&](const Nothing&) -> Result<net::NumberReply> {
            IMSS_ASSIGN_OR_RETURN(const std::uint64_t change, names_.begin_change());
            return net::NumberReply{change};
          });
    case Operation::kClaimName:
      return answer<Operation::kClaimName>(
          exchange, [&](const net::ClaimNameRequest& request) -> Result<net::ClaimNameReply> {
            IMSS_ASSIGN_OR_RETURN(auto claimed, names_.claim_name(request.claim));
            return net::ClaimNameReply{std::move(claimed)};
          });
    case Operation::kClaimDirectory:
      return answer<Operation::kClaimDirectory>(
          exchange, [&](const net::ClaimDirectoryRequest& request) {
            return outcome(names_.claim_directory(request.claim));
          });
    case Operation::kDecideChange:
      return answer<Operation::kDecideChange>(
          exchange, [&](const net::DecideChangeRequest& request) {
            return outcome(names_.decide_change(request.decision));
          });
    case Operation::kChangeOutcome:
      return answer<Operation::kChangeOutcome>(
          exchange,
          [&](const net::ChangeOutcomeRequest& request) -> Result<net::ChangeOutcomeReply> {
            IMSS_ASSIGN_OR_RETURN(const auto known,
                                  names_.change_outcome(request.change, request.give_up));
            return net::ChangeOutcomeReply{known};
          });
    default:
      return answer<Operation::kForgetChange>(exchange, [&](const net::ChangeRequest& request) {
        return outcome(names_.forget_change(request.change));
      });
  }
}

void NameRequests::execute_on_instances(Exchange& exchange) {
  switch (exchange.operation) {
    case Operation::kCreateInstance:
      return once<Operation::kCreateInstance>(
          exchange,
          [&](const net::InstanceRequest& request) {
            return outcome(names_.create_instance(request.instance, request.root));
          },
          nothing<net::InstanceRequest>);
    case Operation::kGetInstance:
      return answer<Operation::kGetInstance>(
          exchange, [&](const net::InstanceNameRequest& request) -> Result<net::InstanceReply> {
            IMSS_ASSIGN_OR_RETURN(auto instance, names_.instance(request.name));
            return net::InstanceReply{std::move(instance)};
          });
    case Operation::kListInstances:
      return answer<Operation::kListInstances>(
          exchange, [&](const Nothing&) -> Result<net::InstancesReply> {
            IMSS_ASSIGN_OR_RETURN(auto instances, names_.instances());
            return net::InstancesReply{std::move(instances)};
          });
    case Operation::kLeaveInstance:
      return once<Operation::kLeaveInstance>(
          exchange,
          [&](const net::LeaveInstanceRequest& request) -> Result<net::InstanceReply> {
            IMSS_ASSIGN_OR_RETURN(auto left, names_.leave_instance(request.name, request.server));
            return net::InstanceReply{std::move(left)};
          },
          [&](const net::LeaveInstanceRequest& request,
              const Outcome&) -> Result<net::InstanceReply> {
            IMSS_ASSIGN_OR_RETURN(auto left, names_.instance(request.name));
            return net::InstanceReply{std::move(left)};
          });
    case Operation::kRemoveInstance:
      return once<Operation::kRemoveInstance>(
          exchange,
          [&](const net::InstanceNameRequest& request) {
            return outcome(names_.remove_instance(request.name));
          },
          nothing<net::InstanceNameRequest>);
    case Operation::kJoinServer:
      return answer<Operation::kJoinServer>(
          exchange, [&](const net::ServerRequest& request) -> Result<net::NumberReply> {
            IMSS_ASSIGN_OR_RETURN(const std::uint32_t id, names_.join_server(request.server));
            return net::NumberReply{id};
          });
    case Operation::kLeaveServer:
      return answer<Operation::kLeaveServer>(exchange, [&](const net::ServerIdRequest& request) {
        return outcome(names_.leave_server(request.server));
      });
    case Operation::kListServers:
      return answer<Operation::kListServers>(
          exchange, [&](const Nothing&) -> Result<net::ServersReply> {
            IMSS_ASSIGN_OR_RETURN(auto servers, names_.servers());
            return net::ServersReply{std::move(servers)};
          });
    case Operation::kGetMap:
      return answer<Operation::kGetMap>(
          exchange, [&](const Nothing&) -> Result<net::MapReply> {
            IMSS_ASSIGN_OR_RETURN(auto map, names_.map());
            return net::MapReply{std::move(map)};
          });
    case Operation::kJoinMap:
      return answer<Operation::kJoinMap>(
          exchange, [&](const net::JoinMapRequest& request) -> Result<net::NumberReply> {
            IMSS_ASSIGN_OR_RETURN(const std::uint64_t epoch,
                                  names_.join_map(request.server, request.count));
            return net::NumberReply{epoch};
          });
    default:
      exchange.status =
          Status(Code::kNotSupported, "a metadata server does not know this operation");
  }
}

void NameRequests::connection_closed(std::uint64_t connection) {
  for (auto& [number, record] : records_) {
    if (record.connection != connection) continue;
    record.connection = 0;
    record.orphaned_ns = monotonic_ns();
  }
}

// What its author did not finish goes to the reaper, which looks whether there is an inode to
// remove.
void NameRequests::tick() {
  const std::int64_t now = monotonic_ns();
  std::erase_if(records_, [&](const auto& item) {
    if (item.second.connection != 0 || now - item.second.orphaned_ns < kReapAfterNs) return false;
    names_.leave_to_reaper(item.second.entry);
    return true;
  });
}

}  // namespace imss::server
