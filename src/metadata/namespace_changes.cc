// Changes over several servers, the coordinator's side: intents, the decision, and their outcome.
//
// An intent is an entry of the service table and needs no extent. Without one a change is aborted, or was applied
// everywhere: so what is undecided can be dropped at any moment, and a driver that comes too late finds nothing to
// decide.
#include <algorithm>

#include "base/clock.h"
#include "metadata/authority.h"
#include "metadata/names_edit.h"
#include "metadata/namespace_internal.h"

namespace imss::metadata {

using segment::Extents;
using segment::fault_point;
using segment::Key;
using segment::Participant;
using segment::Ref;
using segment::Transaction;
using segment::Values;
using segment::Word;

namespace {

// A change that is not decided after this time may be aborted: long for a driver that runs, short for those who wait
// for one that does not.
constexpr std::uint64_t kLeaseNs = 3'000'000'000;
constexpr std::uint64_t kParticipantBits = 16;

Key intent_key(std::uint64_t change) { return {change, kIntentKind}; }

std::uint64_t pack(const std::vector<std::uint32_t>& participants) {
  std::uint64_t word = 0;
  for (const std::uint32_t server : participants) word = word << kParticipantBits | (server + 1);
  return word;
}

std::vector<std::uint32_t> unpack(std::uint64_t word) {
  std::vector<std::uint32_t> participants;
  for (; word != 0; word >>= kParticipantBits) {
    participants.push_back(static_cast<std::uint32_t>(word & ((1U << kParticipantBits) - 1)) - 1);
  }
  return participants;
}

bool driver_lives(segment::Segment& segment, std::uint64_t participant) {
  const std::uint64_t slot = (participant & 0xffff) - 1;
  if (participant == 0 || slot >= segment.super().max_participants) return false;
  const auto index = static_cast<std::uint32_t>(slot);
  return segment.participant(index).id.load() == participant &&
         segment.probe(index) == segment::Segment::Liveness::kAlive;
}

Status aborted() {
  return Status(Code::kTimedOut, "the change took too long and was aborted by others; nothing was applied");
}

}  // namespace

Result<std::uint64_t> Namespace::begin_change() {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  IMSS_ASSIGN_OR_RETURN(const std::uint64_t change, new_id());
  const auto began = static_cast<std::uint64_t>(monotonic_ns());
  IMSS_RETURN_IF_ERROR(
      services_.put(*me, intent_key(change), {me->id.load(), kIntentPending, began}, false));
  fault_point("changes.begun");
  return change;
}

Result<ChangeOutcome> Namespace::change_outcome(std::uint64_t change, bool give_up) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  segment::Snapshot snapshot;
  IMSS_RETURN_IF_ERROR(services_.find(intent_key(change), &snapshot));
  if (snapshot.entry == nullptr) return ChangeOutcome::kAborted;
  if (snapshot.values.value1 == kIntentCommitted) return ChangeOutcome::kCommitted;
  const auto now = static_cast<std::uint64_t>(monotonic_ns());
  if (!give_up && now - snapshot.values.value2 < kLeaseNs && driver_lives(*segment_, snapshot.values.value0)) {
    return ChangeOutcome::kPending;
  }
  auto outcome = ChangeOutcome::kAborted;
  const Status status = segment::edit_one(
      services_, *me, intent_key(change),
      [&](Transaction&, segment::TableEdit& edit, segment::Entry* entry, const Values& values) -> Status {
        outcome = ChangeOutcome::kAborted;
        if (entry == nullptr) return Code::kNotFound;
        if (values.value1 == kIntentCommitted) {
          outcome = ChangeOutcome::kCommitted;
          return Code::kExists;
        }
        // Linearisation point of the abortion: from here on the driver finds nothing to decide.
        edit.erase(intent_key(change), entry);
        return {};
      });
  if (!status.ok() && status.code() != Code::kNotFound && status.code() != Code::kExists) return status;
  fault_point("changes.aborted");
  return outcome;
}

Status Namespace::forget_change(std::uint64_t change) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  const Status status = services_.erase(*me, intent_key(change));
  if (!status.ok()) return status.code() == Code::kNotFound ? Status() : status;
  mark_dirty(*segment_, DirtyKind::kChange, intent_key(change));
  return {};
}

// --- the decision ------------------------------------------------------------------------------------------

namespace {

// Turns the intent to committed. kAlreadyOpen: it is already.
Status commit_intent(const Decision& decision, ServiceEdit& services) {
  Values values;
  segment::Entry* intent = services.find(intent_key(decision.change), &values);
  if (intent == nullptr) return aborted();
  if (values.value1 == kIntentCommitted) return Code::kAlreadyOpen;
  services.update(intent_key(decision.change), intent, {0, kIntentCommitted, pack(decision.participants)});
  services.finish();
  return {};
}

}  // namespace

Status Namespace::decide_change(const Decision& decision) {
  IMSS_RETURN_IF_ERROR(check_name(decision.entry.parent, decision.entry.name));
  const bool sound = decision.participants.size() <= Decision::kMaxParticipants &&
                     std::ranges::all_of(decision.participants,
                                         [](std::uint32_t server) { return server < kMaxMetadataServers; });
  if (!sound) return Status(Code::kInvalidArgument, "a change has impossible participants");
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Status status;
  if (decision.adds) {
    IMSS_ASSIGN_OR_RETURN(const PendingEntry pending, prepare_record(*me, decision.entry, Ref::kHeld));
    status = with_spare(*me, [&](ServiceSpare& spare) { return try_add_decided(*me, decision, pending, spare); });
    if (!status.ok()) Extents(*segment_).put_back(*me, pending.record);
  } else {
    status = with_spare(*me, [&](ServiceSpare& spare) { return erase_decided(*me, decision, spare); });
  }
  if (status.code() == Code::kAlreadyOpen) return {};
  IMSS_RETURN_IF_ERROR(status);
  fault_point("changes.decided");
  // The intent first: a file that ends between the two shows a name twice rather than not at all.
  mark_dirty(*segment_, DirtyKind::kChange, intent_key(decision.change));
  mark_name_dirty(decision.entry.parent, decision.entry.name);
  return {};
}

Status Namespace::try_add_decided(Participant& me, const Decision& decision, const PendingEntry& pending,
                                  ServiceSpare& spare) {
  const EntryInfo& info = decision.entry;
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(const PinnedDirectory directory, pin_directory(me, info.parent, kFirstDirectoryPin));
    DirectoryRecord& dir = *directory.record;
    std::uint64_t slot = 0;
    const Status status = edit_names(
        me, {{info.parent, info.name}},
        [&](Transaction& change, segment::TableEdit& edit, const NamePlaces& places) -> Status {
          ServiceEdit services(services_, change, spare);
          IMSS_RETURN_IF_ERROR(services.lock(intent_key(decision.change)));
          IMSS_RETURN_IF_ERROR(commit_intent(decision, services));
          // Linearisation point: the transaction that shows the entry commits the change as well.
          return show_entry(me, change, edit, places, pending, dir, &slot);
        });
    if (status.code() != Code::kBusy) return status;
    IMSS_RETURN_IF_ERROR(ensure_chunk(me, info.parent, dir, slot));
  }
}

// The entry goes; what it named has a claim at some participant, or another name.
Status Namespace::erase_decided(Participant& me, const Decision& decision, ServiceSpare& spare) {
  const EntryInfo& info = decision.entry;
  IMSS_ASSIGN_OR_RETURN(const PinnedDirectory directory, pin_directory(me, info.parent, kFirstDirectoryPin));
  DirectoryRecord& dir = *directory.record;
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const std::uint32_t hand_slot, extents.empty_slot(me));
  const Status status = edit_names(
      me, {{info.parent, info.name}},
      [&](Transaction& change, segment::TableEdit& edit, const NamePlaces& places) -> Status {
        ServiceEdit services(services_, change, spare);
        IMSS_RETURN_IF_ERROR(services.lock(intent_key(decision.change)));
        IMSS_RETURN_IF_ERROR(commit_intent(decision, services));
        if (places.entry[0] == nullptr) return Code::kNotFound;
        const Ref ref = Ref(places.values[0].value0).bare();
        EntryInfo present;
        if (!read_entry(*segment_, ref, &present)) return Code::kCorrupt;
        if (present.link != info.link || present.id != info.id) return Code::kBusy;
        IMSS_RETURN_IF_ERROR(change.lock(dir.lock));
        const std::uint64_t slot = present.cookie - 1;
        Word* word = slot_word(info.parent, slot);
        if (word == nullptr) return Code::kCorrupt;
        // Linearisation point: the transaction that erases the entry commits the change as well.
        edit.erase(places.key[0], places.entry[0]);
        change.store(*word, kFreeSlot | dir.free_head.load());
        change.store(dir.free_head, slot + 1);
        change.store(dir.entries, dir.entries.load() - 1);
        if (present.type == NodeType::kDirectory) change.store(dir.subdirectories, dir.subdirectories.load() - 1);
        stamp(change, dir);
        change.store(me.hand[hand_slot], Extents::retired(ref));
        return {};
      });
  extents.trim(me);
  return status;
}

// --- upkeep --------------------------------------------------------------------------------------------------

Result<std::vector<Namespace::OpenChange>> Namespace::open_changes() {
  std::vector<OpenChange> changes;
  IMSS_RETURN_IF_ERROR(services_.for_each([&](Key key, const Values& values) {
    if (key.second < kIntentKind || key.second > kMovedDirectoryKind) return true;
    auto known = std::ranges::find(changes, key.first, &OpenChange::id);
    if (known == changes.end()) known = changes.insert(changes.end(), OpenChange{key.first, false, false, false, {}});
    if (key.second != kIntentKind) {
      known->claims = true;
    } else if (values.value1 == kIntentCommitted) {
      known->committed = true;
      known->participants = unpack(values.value2);
    } else {
      known->pending = true;
    }
    return true;
  }));
  return changes;
}

}  // namespace imss::metadata
