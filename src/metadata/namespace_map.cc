// The cluster map: which metadata servers a deployment has, where they are, and which are gone.
//
// The first server's segment has the map; the others keep a copy, so that whoever reaches any of
// them finds all. What has the epoch of a map is at least as new as everything that was said under
// that epoch.
#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "metadata/authority.h"
#include "metadata/names_edit.h"
#include "metadata/namespace_internal.h"

namespace imss::metadata {

using segment::Extents;
using segment::Held;
using segment::Key;
using segment::Participant;
using segment::Ref;
using segment::Transaction;
using segment::Values;
using segment::Word;

namespace {

// A server that was heard so lately is not replaced by another one.
constexpr std::int64_t kLatelyNs = 2'000'000'000;

MapServer read_record(const MapServerRecord& record) {
  return {record.index,
          record.port,
          record.nonce,
          record.epoch,
          record.gone.load() != 0,
          text_of(record.host),
          text_of(record.segment_name)};
}

}  // namespace

Namespace::Place Namespace::place() const {
  const auto& root = segment_->super().service_root;
  const std::uint64_t count = root[kServerCount].load(std::memory_order_relaxed);
  if (count <= 1 || count > kMaxMetadataServers) return {};
  return {static_cast<std::uint32_t>(root[kServerIndex].load(std::memory_order_relaxed)),
          static_cast<std::uint32_t>(count)};
}

// As part of a change of the map.
Status Namespace::raise_epoch(Transaction& change) {
  IMSS_RETURN_IF_ERROR(change.lock(segment_->super().service_root[kMapLock]));
  Word& epoch = segment_->super().map_epoch;
  change.store(epoch, epoch.load() + 1);
  return {};
}

Result<ClusterMap> Namespace::map() {
  ClusterMap map;
  map.count = place().count;
  // Before the records: they may be newer than it says, and then are fetched again.
  map.epoch = segment_->super().map_epoch.load();
  if (map.count <= 1) return map;
  for (std::uint32_t index = 0; index < map.count; ++index) {
    MapServer server;
    const Status status = read_service({index, kMapServerKind}, [&](Ref ref) {
      if (!segment_->valid_ref(ref) || ref.bytes() < sizeof(MapServerRecord)) return false;
      server = read_record(*segment_->at<MapServerRecord>(ref.offset()));
      return server.index == index;
    });
    if (status.code() == Code::kNotFound) continue;
    IMSS_RETURN_IF_ERROR(status);
    map.servers.push_back(std::move(server));
  }
  return map;
}

Status Namespace::put_map_server(const MapServer& server, bool raise) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const Held held,
                        extents.take(*me, segment::class_for(sizeof(MapServerRecord)), false));
  std::memset(segment_->base() + held.ref.offset(), 0, sizeof(MapServerRecord));
  auto& record = *segment_->at<MapServerRecord>(held.ref.offset());
  record.nonce = server.nonce;
  record.epoch = server.epoch;
  record.heard_ns.store(static_cast<std::uint64_t>(monotonic_ns()));
  record.gone.store(server.gone ? 1 : 0);
  record.index = server.index;
  record.port = server.port;
  copy_text(record.host, server.host);
  copy_text(record.segment_name, server.segment_name);
  const Key key{server.index, kMapServerKind};
  const Status status = segment::edit_one(
      services_, *me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry,
          const Values& old) -> Status {
        if (raise) {
          IMSS_RETURN_IF_ERROR(raise_epoch(change));
          record.epoch = segment_->super().map_epoch.load() + 1;  // nobody sees the record yet
        }
        if (entry == nullptr) {
          change.store(me->hand[held.slot], 0);
          return edit.insert(*me, key, {held.ref.word(), 1, 0});
        }
        edit.update(key, entry, {held.ref.word(), segment::next_version(old.value1), 0});
        change.store(me->hand[held.slot], Extents::retired(Ref(old.value0)));
        return {};
      });
  if (!status.ok()) extents.put_back(*me, held);
  return status;
}

Result<std::uint64_t> Namespace::join_map(const MapServer& server, std::uint32_t count) {
  const Place here = place();
  if (here.index != 0 || count != here.count || server.index >= count) {
    return Status(Code::kInvalidArgument,
                  concat("metadata server ", std::to_string(server.index), " of ",
                         std::to_string(count), " cannot join at server ",
                         std::to_string(here.index), " of ", std::to_string(here.count),
                         "; start all of them with the same host file"));
  }
  bool news = true;
  std::int64_t heard_ns = 0;
  MapServer known;
  const Status found = read_service({server.index, kMapServerKind}, [&](Ref ref) {
    if (!segment_->valid_ref(ref) || ref.bytes() < sizeof(MapServerRecord)) return false;
    auto& record = *segment_->at<MapServerRecord>(ref.offset());
    known = read_record(record);
    heard_ns = static_cast<std::int64_t>(record.heard_ns.load());
    news = !known.is_same_server(server) || server.epoch == 0 || known.gone != server.gone;
    if (!news) record.heard_ns.store(static_cast<std::uint64_t>(monotonic_ns()));
    return true;
  });
  if (!found.ok() && found.code() != Code::kNotFound) return found;
  const bool other = found.ok() && !known.is_same_server(server);
  if (!news || (other && server.gone)) return segment_->super().map_epoch.load();
  if (other && !known.gone && monotonic_ns() - heard_ns < kLatelyNs) {
    return Status(Code::kBusy, concat("metadata server ", std::to_string(server.index), " is on ",
                                      known.host, " port ", std::to_string(known.port)));
  }
  IMSS_RETURN_IF_ERROR(put_map_server(server, true));
  mark_dirty(*segment_, DirtyKind::kPlace, {});
  return segment_->super().map_epoch.load();
}

Status Namespace::mark_silent(std::int64_t since_ns) {
  const std::uint32_t count = place().count;
  for (std::uint32_t index = 1; index < count; ++index) {
    MapServer silent;
    bool is_silent = false;
    const Status found = read_service({index, kMapServerKind}, [&](Ref ref) {
      if (!segment_->valid_ref(ref) || ref.bytes() < sizeof(MapServerRecord)) return false;
      const auto& record = *segment_->at<MapServerRecord>(ref.offset());
      silent = read_record(record);
      is_silent = !silent.gone && static_cast<std::int64_t>(record.heard_ns.load()) < since_ns;
      return true;
    });
    if (found.code() == Code::kNotFound || (found.ok() && !is_silent)) continue;
    IMSS_RETURN_IF_ERROR(found);
    silent.gone = true;
    IMSS_RETURN_IF_ERROR(put_map_server(silent, true));
    mark_dirty(*segment_, DirtyKind::kPlace, {});
  }
  return {};
}

Status Namespace::copy_map(const ClusterMap& map) {
  if (map.count != place().count) {
    return Status(Code::kInvalidArgument,
                  concat("the first metadata server counts ", std::to_string(map.count),
                         " servers, this one ", std::to_string(place().count)));
  }
  for (const MapServer& server : map.servers)
    IMSS_RETURN_IF_ERROR(put_map_server(server, false));
  segment_->super().map_epoch.store(map.epoch);
  return {};
}

}  // namespace imss::metadata
