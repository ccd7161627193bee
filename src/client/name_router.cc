#include "client/name_router.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "base/text.h"
#include "metadata/authority.h"
#include "metadata/cross_names.h"

namespace imss::client {

using metadata::EntryInfo;
using metadata::InstanceInfo;
using metadata::MapServer;
using metadata::NameService;
using metadata::PendingEntry;
using metadata::RemovedEntry;
using metadata::RenameResult;
using metadata::ServerInfo;

namespace {

constexpr int kFirstPauseMs = 2;
constexpr int kLongestPauseMs = 100;

Status gone(std::uint32_t index) {
  return Status(Code::kIo, concat("metadata server ", std::to_string(index), " is gone"));
}

Status status_of(const Status& status) { return status; }
template <typename T>
Status status_of(const Result<T>& result) {
  return result.status();
}

}  // namespace

NameRouter::NameRouter(Options options)
    : count_(options.map.count),
      patient_(options.patient),
      reach_(std::move(options.reach)),
      newest_epoch_(std::move(options.newest_epoch)),
      seats_(std::make_unique<Seat[]>(options.map.count)),
      epoch_(options.map.epoch) {
  for (const MapServer& server : options.map.servers) {
    if (server.index != 0) seat(server);
  }
  const MutexLock lock(mutex_);
  seats_[0].names.store(options.first.names.get());
  seats_[0].local.store(options.first.local.get());
  kept_.push_back(std::move(options.first));
  map_ = std::move(options.map);
}

NameRouter::~NameRouter() {
  for (const ReachedNames& kept : kept_) {
    if (kept.local) kept.local->segment().leave();
  }
}

// Puts a server that has just become known into its place.
void NameRouter::seat(const MapServer& server) {
  ReachedNames reached = reach_(server);
  Seat& place = seats_[server.index];
  const MutexLock lock(mutex_);
  place.turn.fetch_add(1);
  place.names.store(reached.names.get());
  place.local.store(reached.local.get());
  place.turn.fetch_add(1);
  kept_.push_back(std::move(reached));
}

std::vector<std::shared_ptr<metadata::Namespace>> NameRouter::mapped() {
  std::vector<std::shared_ptr<metadata::Namespace>> all;
  const MutexLock lock(mutex_);
  for (std::uint32_t index = 0; index < count_; ++index) {
    const auto* const local = seats_[index].local.load();
    for (const ReachedNames& kept : kept_) {
      if (local != nullptr && kept.local.get() == local) all.push_back(kept.local);
    }
  }
  return all;
}

metadata::ClusterMap NameRouter::known_map() {
  look_for_news();
  const MutexLock lock(mutex_);
  return map_;
}

// --- the map ------------------------------------------------------------------------------------

void NameRouter::look_for_news() {
  std::uint64_t newest = newest_epoch_();
  if (const auto* const first = seats_[0].local.load())
    newest = std::max(newest, first->segment().super().map_epoch.load(std::memory_order_relaxed));
  if (newest > epoch_.load(std::memory_order_relaxed)) refresh();
}

// By one thread at a time; the others go on with what they know.
void NameRouter::refresh() {
  const auto process = static_cast<std::uint32_t>(::getpid());
  std::uint32_t other = refreshing_pid_.load();
  // A parent's thread does not go on in its fork child.
  if (other == process || !refreshing_pid_.compare_exchange_strong(other, process)) return;
  NameService* const first = seats_[0].names.load();
  auto fetched = first != nullptr ? first->map() : Result<metadata::ClusterMap>(gone(0));
  if (fetched.ok() && fetched->count == count_) {
    std::vector<MapServer> changed;
    {
      const MutexLock lock(mutex_);
      for (const MapServer& server : fetched->servers) {
        if (server.index == 0 || server.index >= count_) continue;
        const auto known = std::ranges::find(map_.servers, server.index, &MapServer::index);
        const bool same = known != map_.servers.end() && known->is_same_server(server);
        if (!same || seats_[server.index].names.load() == nullptr) changed.push_back(server);
      }
    }
    for (const MapServer& server : changed) seat(server);
    const std::uint64_t epoch = fetched->epoch;
    {
      const MutexLock lock(mutex_);
      map_ = std::move(*fetched);
    }
    epoch_.store(epoch);
  }
  refreshing_pid_.store(0);
}

// --- asking -------------------------------------------------------------------------------------

std::uint32_t NameRouter::authority(std::uint64_t directory) const {
  return metadata::authority_of(directory, count_);
}

NameRouter::Asked NameRouter::asked(std::uint32_t index) const {
  const Seat& place = seats_[index];
  Asked server;
  do {
    server.turn = place.turn.load();
    server.names = place.names.load();
    server.local = place.local.load();
  } while (server.turn % 2 != 0 || place.turn.load() != server.turn);
  return server;
}

std::vector<NameService*> NameRouter::services() const {
  std::vector<NameService*> all;
  for (std::uint32_t index = 0; index < count_; ++index) all.push_back(asked(index).names);
  return all;
}

// Whether a call that was not applied shall be made again: its server may come back, or be another
// one by then.
bool NameRouter::try_again(const Status& status, Deadline deadline, int* pause_ms) {
  const bool lost = status.code() == Code::kIo || (status.code() == Code::kFenced && serving());
  if (!lost || !patient_ || deadline.expired()) return false;
  std::this_thread::sleep_for(
      std::chrono::milliseconds(std::min(*pause_ms, deadline.remaining_ms())));
  *pause_ms = std::min(2 * *pause_ms, kLongestPauseMs);
  refresh();
  return true;
}

Status NameRouter::resolve(const Status& claimed, std::uint32_t index) {
  return metadata::CrossNames(services()).resolve(claimed.claim(), index);
}

// Calls `call(server)` with the server of that index, until it has an outcome.
template <typename Call>
auto NameRouter::at(std::uint32_t index, Call&& call) {
  const Deadline deadline = Deadline::from_now(segment::deadline_ms());
  int pause_ms = kFirstPauseMs;
  for (;;) {
    look_for_news();
    const Asked server = asked(index);
    using Outcome = decltype(call(server));
    Outcome outcome = server.names != nullptr ? call(server) : Outcome(gone(index));
    if (outcome.ok()) return outcome;
    Status status = status_of(outcome);
    if (status.code() == Code::kClaimed) {
      status = resolve(status, index);
      if (status.ok()) continue;
      outcome = Outcome(status);
    }
    if (!try_again(status, deadline, &pause_ms)) return outcome;
  }
}

// The same with all servers, for what may have parties on several.
template <typename Call>
auto NameRouter::across(Call&& call) {
  const Deadline deadline = Deadline::from_now(segment::deadline_ms());
  int pause_ms = kFirstPauseMs;
  for (;;) {
    look_for_news();
    metadata::CrossNames names(services());
    auto outcome = call(names);
    if (outcome.ok() || !try_again(status_of(outcome), deadline, &pause_ms)) return outcome;
  }
}

bool NameRouter::serving() const {
  const NameService* const first = seats_[0].names.load();
  return first != nullptr && first->serving();
}

// Any server gives ids out; one that is mapped does so without being asked.
Result<std::uint64_t> NameRouter::new_id() {
  for (std::uint32_t index = 0; index < count_; ++index) {
    if (auto* const local = seats_[index].local.load()) return local->new_id();
  }
  Result<std::uint64_t> id = gone(0);
  for (std::uint32_t index = 0; index < count_; ++index) {
    const Asked server = asked(index);
    if (server.names == nullptr || !server.names->serving()) continue;
    id = server.names->new_id();
    if (id.code() != Code::kIo && id.code() != Code::kFenced) return id;
  }
  return at(0, [](const Asked& server) { return server.names->new_id(); });
}

// --- names --------------------------------------------------------------------------------------

Result<EntryInfo> NameRouter::lookup(std::uint64_t parent, std::string_view name) {
  return at(authority(parent),
            [&](const Asked& server) { return server.names->lookup(parent, name); });
}

Result<EntryInfo> NameRouter::lookup(std::uint64_t parent, std::string_view name,
                                     const metadata::Namespace::IdKnown& id_known) {
  return at(authority(parent), [&](const Asked& server) {
    return server.local != nullptr ? server.local->lookup(parent, name, id_known)
                                   : server.names->lookup(parent, name);
  });
}

bool NameRouter::is_mapped(const PendingEntry& pending) const {
  const Asked server = asked(pending.server);
  return server.local != nullptr && server.turn == pending.turn;
}

Result<PendingEntry> NameRouter::prepare(const EntryInfo& info) {
  const std::uint32_t index = authority(info.parent);
  return at(index, [&](const Asked& server) {
    auto pending = server.names->prepare(info);
    if (pending.ok()) {
      pending->server = index;
      pending->turn = server.turn;
    }
    return pending;
  });
}

Status NameRouter::publish(PendingEntry& pending) {
  return at(pending.server, [&](const Asked& server) -> Status {
    if (server.turn == pending.turn) return server.names->publish(pending);
    return Status(Code::kBadHandle, concat("metadata server ", std::to_string(pending.server),
                                           " was replaced while a name was made"));
  });
}

// What was prepared or removed at a server that is gone went with it.
void NameRouter::abandon(PendingEntry& pending) {
  const Asked server = asked(pending.server);
  if (server.names != nullptr && server.turn == pending.turn) server.names->abandon(pending);
}

Result<RemovedEntry> NameRouter::remove(std::uint64_t parent, std::string_view name) {
  const std::uint32_t index = authority(parent);
  return at(index, [&](const Asked& server) {
    auto removed = server.names->remove(parent, name);
    if (removed.ok()) {
      removed->server = index;
      removed->turn = server.turn;
    }
    return removed;
  });
}

void NameRouter::forget(RemovedEntry& removed) {
  const Asked server = asked(removed.server);
  if (server.names != nullptr && server.turn == removed.turn) server.names->forget(removed);
}

void NameRouter::leave_to_reaper(const RemovedEntry& removed) {
  const Asked server = asked(removed.server);
  if (server.names != nullptr && server.turn == removed.turn)
    server.names->leave_to_reaper(removed);
}

// --- directories --------------------------------------------------------------------------------

Status NameRouter::make_directory(std::uint64_t parent, std::string_view name,
                                  const metadata::Permissions& permissions, std::uint64_t* id) {
  std::uint64_t wanted = id != nullptr ? *id : 0;
  if (wanted == 0) {
    IMSS_ASSIGN_OR_RETURN(wanted, new_id());
  }
  const Status made = across([&](metadata::CrossNames& names) {
    std::uint64_t made_id = wanted;
    return names.make_directory(parent, name, permissions, &made_id);
  });
  if (made.ok() && id != nullptr) *id = wanted;
  return made;
}

Status NameRouter::remove_directory(std::uint64_t parent, std::string_view name) {
  return across([&](metadata::CrossNames& names) { return names.remove_directory(parent, name); });
}

Result<RenameResult> NameRouter::rename(std::uint64_t from_parent, std::string_view from_name,
                                        std::uint64_t to_parent, std::string_view to_name,
                                        bool no_replace) {
  const std::uint32_t index = authority(to_parent);
  return across([&](metadata::CrossNames& names) {
    // Before: should another server take that place meanwhile, the victim is not its own.
    const std::uint32_t turn = asked(index).turn;
    auto renamed = names.rename(from_parent, from_name, to_parent, to_name, no_replace);
    if (renamed.ok()) {
      renamed->victim.server = index;
      renamed->victim.turn = turn;
    }
    return renamed;
  });
}

// --- inodes -------------------------------------------------------------------------------------

// All that can be told is told; the first error is the one to report.
Status NameRouter::store_attributes(std::span<const metadata::InodeState> states) {
  std::map<std::uint32_t, std::vector<metadata::InodeState>> of_server;
  for (const metadata::InodeState& state : states)
    of_server[metadata::giver_of(state.dataset)].push_back(state);
  Status outcome;
  for (const auto& [index, part] : of_server) {
    if (index >= count_) continue;  // no server gave such an id out: nobody will ask
    look_for_news();
    const Asked server = asked(index);
    const Status told =
        server.names != nullptr ? server.names->store_attributes(part) : gone(index);
    if (outcome.ok()) outcome = told;
  }
  return outcome;
}

Result<metadata::InodeState> NameRouter::last_inode(std::uint64_t dataset) {
  const std::uint32_t index = metadata::giver_of(dataset);
  if (index >= count_) return Code::kNotFound;
  return at(index, [&](const Asked& server) { return server.names->last_inode(dataset); });
}

namespace {
Status of_one_server() {
  return Status(Code::kNotSupported, "a part of a change is asked of the server that has it");
}
}  // namespace

Result<std::uint64_t> NameRouter::begin_change() { return of_one_server(); }
Result<metadata::ClaimedName> NameRouter::claim_name(const metadata::NameClaim&) {
  return of_one_server();
}
Status NameRouter::claim_directory(const metadata::DirectoryClaim&) { return of_one_server(); }
Status NameRouter::decide_change(const metadata::Decision&) { return of_one_server(); }
Result<metadata::ChangeOutcome> NameRouter::change_outcome(std::uint64_t, bool) {
  return of_one_server();
}
Result<RenameResult> NameRouter::finish_change(std::uint64_t, bool) { return of_one_server(); }
Status NameRouter::forget_change(std::uint64_t) { return of_one_server(); }

Status NameRouter::exchange(std::uint64_t from_parent, std::string_view from_name,
                            std::uint64_t to_parent, std::string_view to_name) {
  if (authority(from_parent) != authority(to_parent))
    return Status(Code::kNotSupported, "names on two metadata servers cannot be exchanged");
  return at(authority(from_parent), [&](const Asked& server) {
    return server.names->exchange(from_parent, from_name, to_parent, to_name);
  });
}

Result<metadata::DirectoryInfo> NameRouter::directory(std::uint64_t id) {
  return at(authority(id), [&](const Asked& server) { return server.names->directory(id); });
}

Status NameRouter::change_directory(std::uint64_t id, const store::AttributeChange& change) {
  return at(authority(id),
            [&](const Asked& server) { return server.names->change_directory(id, change); });
}

Result<store::XattrValue> NameRouter::directory_xattr(std::uint64_t id, std::string_view name) {
  return at(authority(id),
            [&](const Asked& server) { return server.names->directory_xattr(id, name); });
}

Status NameRouter::change_directory_xattr(std::uint64_t id, const store::XattrChange& change) {
  return at(authority(id),
            [&](const Asked& server) { return server.names->change_directory_xattr(id, change); });
}

Result<bool> NameRouter::list(std::uint64_t directory, std::uint64_t cookie, std::size_t limit,
                              std::vector<EntryInfo>* out) {
  const std::size_t before = out->size();
  return at(authority(directory), [&](const Asked& server) {
    out->resize(before);
    return server.names->list(directory, cookie, limit, out);
  });
}

// --- what the first server has ------------------------------------------------------------------

Status NameRouter::create_instance(const InstanceInfo& info, const metadata::Permissions& root) {
  return at(0, [&](const Asked& server) { return server.names->create_instance(info, root); });
}

Result<InstanceInfo> NameRouter::instance(std::string_view name) {
  return at(0, [&](const Asked& server) { return server.names->instance(name); });
}

Result<std::vector<InstanceInfo>> NameRouter::instances() {
  return at(0, [](const Asked& server) { return server.names->instances(); });
}

Result<InstanceInfo> NameRouter::leave_instance(std::string_view name, std::uint32_t server_id) {
  return at(0,
            [&](const Asked& server) { return server.names->leave_instance(name, server_id); });
}

Status NameRouter::remove_instance(std::string_view name) {
  return at(0, [&](const Asked& server) { return server.names->remove_instance(name); });
}

Result<std::uint32_t> NameRouter::join_server(ServerInfo info) {
  return at(0, [&](const Asked& server) { return server.names->join_server(info); });
}

Status NameRouter::leave_server(std::uint32_t id) {
  return at(0, [&](const Asked& server) { return server.names->leave_server(id); });
}

Result<std::vector<ServerInfo>> NameRouter::servers() {
  return at(0, [](const Asked& server) { return server.names->servers(); });
}

Result<metadata::ClusterMap> NameRouter::map() {
  return at(0, [](const Asked& server) { return server.names->map(); });
}

Result<std::uint64_t> NameRouter::join_map(const MapServer& server, std::uint32_t count) {
  return at(0, [&](const Asked& first) { return first.names->join_map(server, count); });
}

}  // namespace imss::client
