// Exchange of two names: one transaction over both, and over the directories that they are in.
#include <algorithm>
#include <array>

#include "metadata/names_edit.h"
#include "metadata/namespace_internal.h"

namespace imss::metadata {

using segment::Extents;
using segment::Participant;
using segment::Ref;
using segment::Transaction;
using segment::Values;
using segment::Word;

// Of each pair the first is what has the name `names[0]` before.
struct Namespace::ExchangePlan {
  std::array<NameRef, 2> names;
  std::array<EntryInfo, 2> infos;
  std::array<PinnedDirectory, 2> parents;
  std::array<PinnedDirectory, 2> moved;  // a directory that gets another parent
  std::array<segment::Held, 2> records;  // new ones: [0] has the second name
  std::array<segment::Key, 2> keys;
  bool same_parent() const { return names[0].parent == names[1].parent; }
};

namespace {

bool names_directory(const EntryInfo& info) { return info.type == NodeType::kDirectory; }

}  // namespace

// Everything that can be found out and prepared before the locks.
Status Namespace::plan_exchange(Participant& me, ExchangePlan& plan) {
  constexpr std::array kParentPins = {kFirstDirectoryPin, kSecondDirectoryPin};
  constexpr std::array kMovedPins = {kThirdDirectoryPin, kFourthDirectoryPin};
  for (std::size_t i = 0; i < 2; ++i) {
    plan.parents[i] = {};
    plan.moved[i] = {};
  }
  for (std::size_t i = 0; i < 2; ++i) {
    IMSS_ASSIGN_OR_RETURN(Found found, find_entry(me, plan.names[i].parent, plan.names[i].name));
    if (!found.exists) return Code::kNotFound;
    plan.infos[i] = std::move(found.info);
    IMSS_ASSIGN_OR_RETURN(plan.parents[i], pin_directory(me, plan.names[i].parent, kParentPins[i]));
    if (!names_directory(plan.infos[i]) || plan.same_parent()) continue;
    if (spread()) return Status(Code::kNotSupported, "a directory that gets another parent is known to several servers");
    IMSS_ASSIGN_OR_RETURN(plan.moved[i], pin_directory(me, plan.infos[i].id, kMovedPins[i]));
  }
  return {};
}

// REQUIRES: the chains of both names are locked, `infos` is what they say, and the rename lease when a directory moves.
Status Namespace::apply_exchange(Participant& me, ExchangePlan& plan, Transaction& change) {
  std::array<DirectoryRecord*, 2> directories = {plan.parents[0].record, plan.parents[1].record};
  std::sort(directories.begin(), directories.end());
  for (DirectoryRecord* directory : directories) IMSS_RETURN_IF_ERROR(change.lock(directory->lock));
  for (std::size_t i = 0; i < 2; ++i) {
    const DirectoryRecord& dir = *plan.parents[i].record;
    if (dir.id.load() != plan.names[i].parent || dir.removed.load() != 0) return Code::kNotFound;
    if (dir.claim.load() != 0) return Status::claimed(dir.claim.load());
    if (plan.moved[i].record == nullptr) continue;
    if (plan.moved[i].record->id.load() != plan.infos[i].id) return Code::kFenced;
    IMSS_RETURN_IF_ERROR(check_cycle(me, plan.infos[i].id, plan.names[1 - i].parent));
  }
  for (std::size_t i = 0; i < 2; ++i) {
    // What has name i now gets the place of the other one.
    const std::uint64_t slot = plan.infos[1 - i].cookie - 1;
    Word* const word = slot_word(plan.names[1 - i].parent, slot);
    if (word == nullptr) return Code::kCorrupt;
    segment_->at<EntryRecord>(plan.records[i].ref.offset())->slot = slot;  // nobody sees the record yet
    change.store(*word, plan.records[i].ref.word());
    if (plan.moved[i].record != nullptr) change.store(plan.moved[i].record->parent, plan.names[1 - i].parent);
    if (i == 1 && plan.same_parent()) continue;
    DirectoryRecord& dir = *plan.parents[i].record;
    const bool loses = names_directory(plan.infos[i]) && !names_directory(plan.infos[1 - i]);
    const bool gains = !names_directory(plan.infos[i]) && names_directory(plan.infos[1 - i]);
    if (!plan.same_parent() && (loses || gains)) {
      change.store(dir.subdirectories, gains ? dir.subdirectories.load() + 1 : dir.subdirectories.load() - 1);
    }
    stamp(change, dir);
  }
  return {};
}

// kFenced: what was found before the locks has changed.
Status Namespace::commit_exchange(Participant& me, ExchangePlan& plan) {
  const bool moves_directory = plan.moved[0].record != nullptr || plan.moved[1].record != nullptr;
  return edit_names(
      me, {plan.names[0], plan.names[1]},
      [&](Transaction& change, segment::TableEdit& edit, const NamePlaces& places) -> Status {
        for (std::size_t i = 0; i < 2; ++i) {
          if (places.entry[i] == nullptr) return Code::kNotFound;
          EntryInfo now;
          if (!read_entry(*segment_, Ref(places.values[i].value0), &now)) return Code::kCorrupt;
          // Names are told apart by their links; all else, such as the slot, is taken from what stands now.
          if (now.link != plan.infos[i].link) return Code::kFenced;
          plan.infos[i] = now;
          plan.keys[i] = places.key[i];
        }
        IMSS_RETURN_IF_ERROR(apply_exchange(me, plan, change));
        for (std::size_t i = 0; i < 2; ++i) {
          const Values& old = places.values[1 - i];
          edit.update(places.key[1 - i], places.entry[1 - i],
                      {plan.records[i].ref.word(), segment::next_version(old.value1), plan.infos[i].id});
          change.store(me.hand[plan.records[i].slot], Extents::retired(Ref(places.values[i].value0)));
        }
        return segment::store_outcome(change, {});
      },
      {.lease = moves_directory ? &segment_->super().service_root[kRenameLease] : nullptr});
}

Status Namespace::exchange(std::uint64_t from_parent, std::string_view from_name, std::uint64_t to_parent,
                           std::string_view to_name) {
  IMSS_RETURN_IF_ERROR(check_name(from_parent, from_name));
  IMSS_RETURN_IF_ERROR(check_name(to_parent, to_name));
  if (from_parent == kInstancesDirectory || to_parent == kInstancesDirectory) {
    return Status(Code::kInvalidArgument, "instances cannot be exchanged");
  }
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Extents extents(*segment_);
  ExchangePlan plan;
  plan.names = {NameRef{from_parent, from_name}, NameRef{to_parent, to_name}};
  for (;;) {
    IMSS_RETURN_IF_ERROR(plan_exchange(*me, plan));
    if (plan.infos[0].id == plan.infos[1].id) return {};  // two names of one file, or one name
    Status status;
    std::size_t prepared = 0;
    for (; prepared < 2 && status.ok(); ++prepared) {
      EntryInfo moved = plan.infos[prepared];
      moved.parent = plan.names[1 - prepared].parent;
      moved.name = plan.names[1 - prepared].name;
      const auto record = prepare_record(*me, moved, Ref::kHeld);
      status = record.status();
      if (!record.ok()) break;
      plan.records[prepared] = record->record;
    }
    segment::fault_point("names.exchange_prepared");
    if (status.ok()) status = commit_exchange(*me, plan);
    if (status.ok()) {
      segment::fault_point("names.exchanged");
      for (const segment::Key key : plan.keys) mark_dirty(*segment_, DirtyKind::kEntry, key);
      extents.trim(*me);
      return {};
    }
    for (std::size_t i = 0; i < prepared; ++i) extents.put_back(*me, plan.records[i]);
    if (status.code() != Code::kFenced || !segment_->serving()) return status;
  }
}

}  // namespace imss::metadata
