#include "metadata/journaller.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "metadata/journaller_internal.h"
#include "metadata/namespace_internal.h"
#include "segment/edit_one.h"
#include "segment/futex.h"
#include "segment/segment_files.h"

namespace imss::metadata {

using segment::Extents;
using segment::Key;
using segment::Participant;
using segment::Ref;
using segment::Values;
using segment::Word;

namespace {

constexpr std::uint64_t kLargeCapacity = 256 << 20;
constexpr std::uint64_t kLargeRingBytes = 1 << 20;
constexpr std::uint64_t kSmallRingBytes = 64 << 10;
constexpr long kIdleMs = 500;
constexpr auto kGroupTime = std::chrono::milliseconds(5);  // how long a group collects changes
constexpr std::int64_t kSyncEveryNs = 1'000'000'000;
constexpr std::size_t kGroupKeys = 8192;
constexpr int kMaxStalledRounds = 200;
constexpr std::uint64_t kCompactBytes = 16 << 20;
constexpr std::uint64_t kEpochsAhead = 1 << 10;

}  // namespace

Journaller::Journaller(std::shared_ptr<segment::Segment> segment, Journal journal)
    : segment_(segment), namespace_(std::move(segment)), journal_(std::move(journal)) {}

Result<std::unique_ptr<Journaller>> Journaller::start(std::shared_ptr<segment::Segment> segment,
                                                      const std::string& path, bool taken_over) {
  Remembered remembered;
  auto journal = Journal::open(path, [&](std::uint16_t kind, std::span<const std::byte> payload) {
    return remembered.apply(kind, payload);
  });
  if (!journal.ok()) return journal.status();
  const std::uint64_t nonce = segment->super().nonce;
  const std::uint64_t file_nonce = journal->segment_nonce();
  if (taken_over && file_nonce != 0 && file_nonce != nonce) {
    return Status(Code::kInvalidArgument,
                  path + " is not the metadata file of the running segment " + segment->name() +
                      "; start the server with the file that belongs to it, or remove " +
                      segment::path_of(segment->name()) + " and with it what that server stored");
  }
  if (journal->cut_bytes() > 0) {
    IMSS_LOG_WARN("%s: cut %llu bytes that were not completely written", path.c_str(),
                  static_cast<unsigned long long>(journal->cut_bytes()));
  }
  std::unique_ptr<Journaller> journaller(new Journaller(std::move(segment), std::move(*journal)));
  IMSS_RETURN_IF_ERROR(journaller->check_place(remembered));
  if (!taken_over) IMSS_RETURN_IF_ERROR(journaller->restore(remembered));
  IMSS_RETURN_IF_ERROR(journaller->make_ring());
  journaller->recoveries_seen_ = journaller->segment_->super().recoveries.load();
  // The file mirrors this segment from here on.
  IMSS_RETURN_IF_ERROR(journaller->journal_.set_segment_nonce(nonce));
  IMSS_RETURN_IF_ERROR(journaller->snapshot());
  journaller->owner_pid_ = static_cast<std::uint32_t>(::getpid());
  journaller->thread_ = std::thread([raw = journaller.get()] { raw->run(); });
  return journaller;
}

Journaller::~Journaller() { stop(); }

void Journaller::stop() {
  if (!thread_.joinable()) return;
  if (owner_pid_ != static_cast<std::uint32_t>(::getpid())) {
    thread_.detach();  // a forked child has no such thread
    return;
  }
  stopping_.store(true);
  segment::futex_wake_all(segment_->super().service_root[kRingHead]);
  thread_.join();
}

// Instances first, then names from the roots downwards. Names whose directory is unknown are left out. What the
// directories themselves say comes last, as putting names into them changes it.
Status Journaller::restore(const Remembered& remembered) {
  std::multimap<std::uint64_t, const EntryInfo*> children;
  for (const auto& [key, info] : remembered.names) {
    if (info.type != NodeType::kInstance) children.emplace(info.parent, &info);
  }
  if (remembered.place_state.next_id != 0) {
    namespace_.reserve_ids(remembered.place_state.next_id);
    segment_->super().map_epoch.store(remembered.place_state.epoch + kEpochsAhead);
  }
  std::vector<std::uint64_t> directories;  // that are back
  for (const auto& [key, info] : remembered.instances) {
    IMSS_RETURN_IF_ERROR(namespace_.restore_instance(info));
    directories.push_back(info.root);
  }
  if (namespace_.place().count > 1) return restore_part(remembered);
  for (std::size_t next = 0; next < directories.size(); ++next) {
    const std::uint64_t parent = directories[next];
    const auto [first, last] = children.equal_range(parent);
    for (auto child = first; child != last; ++child) {
      const Status status = namespace_.restore_entry(*child->second);
      if (status.code() == Code::kExists) continue;
      IMSS_RETURN_IF_ERROR(status);
      ++restored_names_;
      if (child->second->type == NodeType::kDirectory) directories.push_back(child->second->id);
      const auto inode = remembered.inodes.find(child->second->id);
      if (inode != remembered.inodes.end()) IMSS_RETURN_IF_ERROR(namespace_.restore_inode(inode->second));
    }
  }
  for (const std::uint64_t id : directories) IMSS_RETURN_IF_ERROR(restore_said(remembered, id));
  return {};
}

// What a directory that is back said.
Status Journaller::restore_said(const Remembered& remembered, std::uint64_t directory) {
  const auto said = remembered.directories.find(directory);
  if (said != remembered.directories.end()) IMSS_RETURN_IF_ERROR(namespace_.restore_directory(said->second));
  const auto xattrs = remembered.xattrs.find(directory);
  if (xattrs != remembered.xattrs.end()) IMSS_RETURN_IF_ERROR(namespace_.restore_directory_xattrs(xattrs->second));
  return {};
}

Status Journaller::make_ring() {
  auto& root = segment_->super().service_root;
  if (root[kRingOffset].load() != 0) {
    // Of an earlier journaller. Whatever it had not drained is in the snapshot that follows.
    root[kRingTail].store(root[kRingHead].load());
    root[kRingOverflow].store(0);
    return {};
  }
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  const bool large = segment_->super().capacity_bytes >= kLargeCapacity;
  const std::uint64_t bytes = large ? kLargeRingBytes : kSmallRingBytes;
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const segment::Held held, extents.take(*me, segment::class_for(bytes), false));
  std::memset(segment_->base() + held.ref.offset(), 0, bytes);
  segment::Transaction change(*segment_, *me);
  change.store(root[kRingPlaces], bytes / sizeof(DirtyKey));
  change.store(root[kRingOffset], held.ref.offset());
  change.store(me->hand[held.slot], 0);
  return change.commit();
}

void Journaller::run() {
  ::pthread_setname_np(::pthread_self(), "imss-journal");
  while (!stopping_.load()) {
    if (!wait_for_work()) continue;
    if (snapshot_due()) {
      const Status status = snapshot();
      report(status, "snapshot");
      if (!status.ok()) std::this_thread::sleep_for(std::chrono::milliseconds(kIdleMs));
      continue;
    }
    std::size_t written = 0;
    while ((written = drain(kGroupKeys)) == kGroupKeys) {
    }
    if (place_due()) {
      written_place_ = place_state();
      report(journal_.append(kPlaceState, encode_place(written_place_)), "record");
    }
    // A mark that never arrives: its author was stopped for a whole turn of the ring.
    stalled_rounds_ = written == 0 ? stalled_rounds_ + 1 : 0;
    if (stalled_rounds_ > kMaxStalledRounds) need_snapshot_ = true;
    const bool sync = monotonic_ns() - last_sync_ns_ >= kSyncEveryNs;
    if (sync) last_sync_ns_ = monotonic_ns();
    report(journal_.commit(sync), "commit");
  }
  while (drain(kGroupKeys) == kGroupKeys) {
  }
  report(snapshot_due() ? snapshot() : journal_.commit(true), "last commit");
  segment_->leave();
}

// True when there is something to write. Sleeps otherwise.
bool Journaller::wait_for_work() {
  auto& root = segment_->super().service_root;
  if (root[kRingHead].load() == root[kRingTail].load() && !snapshot_due() && !place_due()) {
    root[kRingSleeping].store(1);
    const auto head = static_cast<std::uint32_t>(root[kRingHead].load());
    if (root[kRingHead].load() == root[kRingTail].load() && !stopping_.load()) {
      segment::futex_wait(root[kRingHead], head, kIdleMs);
    }
    root[kRingSleeping].store(0);
    if (root[kRingHead].load() == root[kRingTail].load()) return snapshot_due() || place_due();
    std::this_thread::sleep_for(kGroupTime);
  }
  return true;
}

bool Journaller::snapshot_due() {
  auto& root = segment_->super().service_root;
  const std::uint64_t recoveries = segment_->super().recoveries.load();
  if (root[kRingOverflow].load() != 0 || recoveries != recoveries_seen_) need_snapshot_ = true;
  if (journal_.bytes() > 4 * journal_.snapshot_bytes() + kCompactBytes) need_snapshot_ = true;
  return need_snapshot_;
}

std::size_t Journaller::drain(std::size_t limit) {
  auto& root = segment_->super().service_root;
  const std::uint64_t places = root[kRingPlaces].load();
  const auto* ring = segment_->at<DirtyKey>(root[kRingOffset].load());
  std::set<std::pair<std::uint64_t, std::pair<std::uint64_t, std::uint64_t>>> keys;
  std::uint64_t tail = root[kRingTail].load();
  std::size_t taken = 0;
  while (taken < limit && tail < root[kRingHead].load() && root[kRingOverflow].load() == 0) {
    const DirtyKey& dirty = ring[tail % places];
    const std::uint64_t kind_and_turn = dirty.kind_and_turn.load(std::memory_order_acquire);
    if (kind_and_turn >> 8 != tail + 1) break;  // its author is about to fill it, or died: then a snapshot follows
    const std::uint64_t kind = kind_and_turn & 0xff;
    keys.insert({kind, {dirty.first.load(), dirty.second.load()}});
    // A name that came or went changed the times of its directory.
    if (static_cast<DirtyKind>(kind) == DirtyKind::kEntry) {
      keys.insert({static_cast<std::uint64_t>(DirtyKind::kDirectory), {dirty.first.load(), 0}});
    }
    ++tail;
    ++taken;
  }
  for (const auto& [kind, key] : keys) {
    const Status status = write_state(kind, {key.first, key.second});
    if (!status.ok()) {
      need_snapshot_ = true;
      report(status, "record");
    }
  }
  // Only now: a mark that is still in the ring may be written twice, one that is gone was written.
  root[kRingTail].store(tail, std::memory_order_release);
  return taken;
}

Status Journaller::write_state(std::uint64_t kind, Key key) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  if (static_cast<DirtyKind>(kind) == DirtyKind::kPlace) {
    written_place_ = place_state();
    return journal_.append(kPlaceState, encode_place(written_place_));
  }
  if (static_cast<DirtyKind>(kind) == DirtyKind::kDirectory) return write_directory(key);
  if (static_cast<DirtyKind>(kind) == DirtyKind::kChange) return write_change(key);
  if (static_cast<DirtyKind>(kind) == DirtyKind::kInstance) {
    IMSS_ASSIGN_OR_RETURN(const auto instances, namespace_.instances());
    for (const InstanceInfo& info : instances) {
      if (info.root == key.first) return journal_.append(kInstanceState, encode_instance(info));
    }
    return journal_.append(kInstanceGone, encode_key(key));
  }
  if (static_cast<DirtyKind>(kind) == DirtyKind::kAttributes) {
    const auto state = namespace_.last_inode(key.first);
    if (state.code() == Code::kNotFound) return journal_.append(kInodeGone, encode_key(key));
    IMSS_RETURN_IF_ERROR(state.status());
    return journal_.append(kInodeState, encode_inode(*state));
  }
  for (;;) {
    segment::Snapshot snapshot;
    IMSS_RETURN_IF_ERROR(namespace_.entries_.find(key, &snapshot));
    // A reservation is not a name; a claimed name is the old one.
    if (snapshot.entry == nullptr || (snapshot.values.value1 & kReservation) != 0) {
      return journal_.append(kNameGone, encode_key(key));
    }
    const Ref ref = Ref(snapshot.values.value0).bare();
    const PinGuard guard(me->pins[kEntryPin], ref);
    if (!namespace_.entries_.unchanged(snapshot)) continue;
    EntryInfo info;
    if (!read_entry(*segment_, ref, &info)) return Status(Code::kCorrupt, "a directory entry is damaged");
    return journal_.append(kNameState, encode_name(key, info));
  }
}

// Streams the state of everything, then what became dirty meanwhile, into a new file.
Status Journaller::snapshot() {
  auto& root = segment_->super().service_root;
  recoveries_seen_ = segment_->super().recoveries.load();
  // Marks from here on are drained below; earlier ones are covered by what is streamed.
  root[kRingTail].store(root[kRingHead].load());
  root[kRingOverflow].store(0);
  need_snapshot_ = false;
  stalled_rounds_ = 0;
  Status status = journal_.begin_snapshot();
  if (status.ok()) status = stream_snapshot();
  if (status.ok()) {
    while (drain(kGroupKeys) > 0) {
    }
    status = journal_.finish_snapshot();
  } else if (journal_.in_snapshot()) {
    // The old file is in force either way, and the next snapshot writes its own.
    [[maybe_unused]] const Status abandoned = journal_.abandon_snapshot();
  }
  if (!status.ok()) need_snapshot_ = true;
  last_sync_ns_ = monotonic_ns();
  return status;
}

Status Journaller::stream_snapshot() {
  written_place_ = place_state();
  IMSS_RETURN_IF_ERROR(journal_.append_snapshot(kPlaceState, encode_place(written_place_)));
  IMSS_ASSIGN_OR_RETURN(const auto instances, namespace_.instances());
  if (namespace_.place().count > 1) {
    IMSS_RETURN_IF_ERROR(stream_parents());
    IMSS_RETURN_IF_ERROR(stream_changes());
  }
  for (const InstanceInfo& info : instances) {
    IMSS_RETURN_IF_ERROR(journal_.append_snapshot(kInstanceState, encode_instance(info)));
  }
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Status status;
  IMSS_RETURN_IF_ERROR(namespace_.entries_.for_each([&](Key key, const Values& values) {
    const Ref ref = Ref(values.value0).bare();
    const PinGuard guard(me->pins[kEntryPin], ref);
    segment::Snapshot now;
    status = namespace_.entries_.find(key, &now);
    // Changed since: it is in the ring, and drained before the snapshot ends.
    if (!status.ok() || now.entry == nullptr || Ref(now.values.value0).bare() != ref) return status.ok();
    if ((now.values.value1 & kReservation) != 0) return true;  // not a name; the claim is streamed
    EntryInfo info;
    if (!read_entry(*segment_, ref, &info)) {
      status = Status(Code::kCorrupt, "a directory entry is damaged");
    } else {
      status = journal_.append_snapshot(kNameState, encode_name(key, info));
    }
    return status.ok();
  }));
  IMSS_RETURN_IF_ERROR(status);
  return stream_attributes();
}

Status Journaller::stream_attributes() {
  Status status;
  IMSS_RETURN_IF_ERROR(namespace_.directories_.for_each([&](Key key, const Values&) {
    if (key.second != 0) return true;  // a chunk of slots
    auto info = namespace_.directory(key.first);
    if (info.code() == Code::kNotFound || info.code() == Code::kClaimed) return true;
    status = info.ok() ? journal_.append_snapshot(kDirectoryState, encode_directory(*info)) : info.status();
    if (!status.ok()) return false;
    const auto xattrs = xattr_record(key.first);
    status = xattrs.status();
    if (xattrs.ok() && !xattrs->empty()) status = journal_.append_snapshot(kDirectoryXattrs, *xattrs);
    return status.ok();
  }));
  IMSS_RETURN_IF_ERROR(status);
  IMSS_RETURN_IF_ERROR(namespace_.attributes_.for_each([&](Key key, const Values&) {
    const auto state = namespace_.last_inode(key.first);
    if (state.code() == Code::kNotFound) return true;
    status = state.ok() ? journal_.append_snapshot(kInodeState, encode_inode(*state)) : state.status();
    return status.ok();
  }));
  return status;
}

// Said once when it begins and once when it ends; the next snapshot writes everything anew.
void Journaller::report(const Status& status, const char* what) {
  if (status.ok() == !failing_) return;
  failing_ = !status.ok();
  if (failing_) {
    need_snapshot_ = true;
    IMSS_LOG_ERROR("metadata file %s: %s failed: %s", journal_.path().c_str(), what, status.message().c_str());
  } else {
    IMSS_LOG_WARN("metadata file %s: writing works again", journal_.path().c_str());
  }
}

}  // namespace imss::metadata
