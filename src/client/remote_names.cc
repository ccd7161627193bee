#include "client/remote_names.h"

#include "segment/segment.h"

namespace imss::client {

using metadata::EntryInfo;
using metadata::InstanceInfo;
using metadata::PendingEntry;
using metadata::RemovedEntry;
using metadata::ServerInfo;
using net::Operation;
using segment::deadline_ms;

namespace {

// Ids are asked for in bunches; those left at the end are never used.
constexpr std::uint32_t kIdsAtOnce = 64;

RemovedEntry removed_of(net::RecordFields fields) {
  return {{segment::Ref(fields.record), 0}, std::move(fields.entry)};
}

metadata::RenameResult renamed_of(net::RenameReply reply) {
  metadata::RenameResult result;
  result.replaced = reply.replaced;
  result.victim = removed_of(std::move(reply.victim));
  return result;
}

}  // namespace

Result<std::uint64_t> RemoteNames::new_id() {
  const MutexLock lock(ids_mutex_);
  if (ids_left_ == 0) {
    IMSS_ASSIGN_OR_RETURN(const auto reply,
                          server_.ask<Operation::kNewIds>({kIdsAtOnce}, deadline_ms()));
    next_id_ = reply.number;
    ids_left_ = kIdsAtOnce;
  }
  --ids_left_;
  return next_id_++;
}

// --- names ---

Result<EntryInfo> RemoteNames::lookup(std::uint64_t parent, std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(
      auto reply, server_.ask<Operation::kLookup>({parent, std::string(name)}, deadline_ms()));
  return std::move(reply.entry);
}

Result<PendingEntry> RemoteNames::prepare(const EntryInfo& info) {
  auto reply = server_.ask<Operation::kPrepare>({info}, deadline_ms());
  // If it was executed its record goes to the reaper, with whatever has the same id.
  if (reply.code() == Code::kUnknownOutcome)
    return Status(Code::kBadHandle, reply.status().message());
  IMSS_RETURN_IF_ERROR(reply.status());
  PendingEntry pending{{segment::Ref(reply->record), 0}, std::move(reply->entry)};
  if (reply->inherits_group) pending.group = reply->group;
  return pending;
}

Status RemoteNames::publish(PendingEntry& pending) {
  return server_.ask<Operation::kPublish>({pending.record.ref.word()}, deadline_ms()).status();
}

void RemoteNames::abandon(PendingEntry& pending) {
  // Not heard, the server reaps it.
  [[maybe_unused]] const auto reply =
      server_.ask<Operation::kAbandon>({pending.record.ref.word()}, deadline_ms());
}

Result<RemovedEntry> RemoteNames::remove(std::uint64_t parent, std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(
      auto reply, server_.ask<Operation::kRemoveName>({parent, std::string(name)}, deadline_ms()));
  return removed_of(std::move(reply));
}

void RemoteNames::forget(RemovedEntry& removed) {
  [[maybe_unused]] const auto reply =
      server_.ask<Operation::kForget>({removed.record.ref.word()}, deadline_ms());
}

void RemoteNames::leave_to_reaper(const RemovedEntry& removed) {
  [[maybe_unused]] const auto reply =
      server_.ask<Operation::kLeaveToReaper>({removed.record.ref.word()}, deadline_ms());
}

Result<metadata::RenameResult> RemoteNames::rename(std::uint64_t from_parent,
                                                   std::string_view from_name,
                                                   std::uint64_t to_parent,
                                                   std::string_view to_name, bool no_replace) {
  IMSS_ASSIGN_OR_RETURN(
      auto reply, server_.ask<Operation::kRename>({from_parent, std::string(from_name), to_parent,
                                                   std::string(to_name), no_replace},
                                                  deadline_ms()));
  return renamed_of(std::move(reply));
}

Status RemoteNames::exchange(std::uint64_t from_parent, std::string_view from_name,
                             std::uint64_t to_parent, std::string_view to_name) {
  return server_
      .ask<Operation::kExchangeNames>(
          {from_parent, std::string(from_name), to_parent, std::string(to_name)}, deadline_ms())
      .status();
}

// --- directories ---

Status RemoteNames::make_directory(std::uint64_t parent, std::string_view name,
                                   const metadata::Permissions& permissions, std::uint64_t* id) {
  const std::uint64_t wanted = id != nullptr ? *id : 0;
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kMakeDirectory>(
                            {parent, std::string(name), permissions, wanted}, deadline_ms()));
  if (id != nullptr) *id = reply.number;
  return {};
}

Status RemoteNames::remove_directory(std::uint64_t parent, std::string_view name) {
  return server_.ask<Operation::kRemoveDirectory>({parent, std::string(name)}, deadline_ms())
      .status();
}

Result<metadata::DirectoryInfo> RemoteNames::directory(std::uint64_t id) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kGetDirectory>({id}, deadline_ms()));
  return reply.directory;
}

Status RemoteNames::change_directory(std::uint64_t id, const store::AttributeChange& change) {
  return server_.ask<Operation::kChangeDirectory>({id, change}, deadline_ms()).status();
}

Result<store::XattrValue> RemoteNames::directory_xattr(std::uint64_t id, std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(auto reply, server_.ask<Operation::kReadDirectoryXattr>(
                                        {id, std::string(name)}, deadline_ms()));
  return std::move(reply.value);
}

Status RemoteNames::change_directory_xattr(std::uint64_t id, const store::XattrChange& change) {
  return server_.ask<Operation::kChangeDirectoryXattr>({id, change}, deadline_ms()).status();
}

Result<bool> RemoteNames::list(std::uint64_t directory, std::uint64_t cookie, std::size_t limit,
                               std::vector<EntryInfo>* out) {
  const auto most = static_cast<std::uint32_t>(std::min<std::size_t>(limit, UINT32_MAX));
  IMSS_ASSIGN_OR_RETURN(auto reply,
                        server_.ask<Operation::kList>({directory, cookie, most}, deadline_ms()));
  for (EntryInfo& entry : reply.entries) out->push_back(std::move(entry));
  return reply.more;
}

// --- inodes ---

Status RemoteNames::store_attributes(std::span<const metadata::InodeState> states) {
  return server_.ask<Operation::kStoreAttributes>({{states.begin(), states.end()}}, deadline_ms()).status();
}

Result<metadata::InodeState> RemoteNames::last_inode(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(auto reply, server_.ask<Operation::kLastInode>({dataset}, deadline_ms()));
  return std::move(reply.state);
}

// --- parts of a change over several servers ---

Result<std::uint64_t> RemoteNames::begin_change() {
  IMSS_ASSIGN_OR_RETURN(const auto reply, server_.ask<Operation::kBeginChange>({}, deadline_ms()));
  return reply.number;
}

Result<metadata::ClaimedName> RemoteNames::claim_name(const metadata::NameClaim& claim) {
  IMSS_ASSIGN_OR_RETURN(auto reply, server_.ask<Operation::kClaimName>({claim}, deadline_ms()));
  return std::move(reply.claimed);
}

Status RemoteNames::claim_directory(const metadata::DirectoryClaim& claim) {
  return server_.ask<Operation::kClaimDirectory>({claim}, deadline_ms()).status();
}

Status RemoteNames::decide_change(const metadata::Decision& decision) {
  return server_.ask<Operation::kDecideChange>({decision}, deadline_ms()).status();
}

Result<metadata::ChangeOutcome> RemoteNames::change_outcome(std::uint64_t change, bool give_up) {
  IMSS_ASSIGN_OR_RETURN(const auto reply, server_.ask<Operation::kChangeOutcome>(
                                              {change, give_up}, deadline_ms()));
  if (reply.outcome > metadata::ChangeOutcome::kCommitted)
    return Status(Code::kIo, "a metadata server answered with an unknown outcome of a change");
  return reply.outcome;
}

Result<metadata::RenameResult> RemoteNames::finish_change(std::uint64_t change, bool committed) {
  IMSS_ASSIGN_OR_RETURN(
      auto reply, server_.ask<Operation::kFinishChange>({change, committed}, deadline_ms()));
  return renamed_of(std::move(reply));
}

Status RemoteNames::forget_change(std::uint64_t change) {
  return server_.ask<Operation::kForgetChange>({change}, deadline_ms()).status();
}

// --- instances and servers ---

Status RemoteNames::create_instance(const InstanceInfo& info, const metadata::Permissions& root) {
  return server_.ask<Operation::kCreateInstance>({info, root}, deadline_ms()).status();
}

Result<InstanceInfo> RemoteNames::instance(std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(auto reply,
                        server_.ask<Operation::kGetInstance>({std::string(name)}, deadline_ms()));
  return std::move(reply.instance);
}

Result<std::vector<InstanceInfo>> RemoteNames::instances() {
  IMSS_ASSIGN_OR_RETURN(auto reply, server_.ask<Operation::kListInstances>({}, deadline_ms()));
  return std::move(reply.instances);
}

Result<InstanceInfo> RemoteNames::leave_instance(std::string_view name, std::uint32_t server_id) {
  IMSS_ASSIGN_OR_RETURN(auto reply, server_.ask<Operation::kLeaveInstance>(
                                        {std::string(name), server_id}, deadline_ms()));
  return std::move(reply.instance);
}

Status RemoteNames::remove_instance(std::string_view name) {
  return server_.ask<Operation::kRemoveInstance>({std::string(name)}, deadline_ms()).status();
}

Result<std::uint32_t> RemoteNames::join_server(ServerInfo info) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kJoinServer>({std::move(info)}, deadline_ms()));
  return static_cast<std::uint32_t>(reply.number);
}

Status RemoteNames::leave_server(std::uint32_t id) {
  return server_.ask<Operation::kLeaveServer>({id}, deadline_ms()).status();
}

Result<std::vector<ServerInfo>> RemoteNames::servers() {
  IMSS_ASSIGN_OR_RETURN(auto reply, server_.ask<Operation::kListServers>({}, deadline_ms()));
  return std::move(reply.servers);
}

// --- the cluster map ---

Result<metadata::ClusterMap> RemoteNames::map() {
  IMSS_ASSIGN_OR_RETURN(auto reply, server_.ask<Operation::kGetMap>({}, deadline_ms()));
  return std::move(reply.map);
}

Result<std::uint64_t> RemoteNames::join_map(const metadata::MapServer& server,
                                            std::uint32_t count) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kJoinMap>({server, count}, deadline_ms()));
  return reply.number;
}

}  // namespace imss::client
