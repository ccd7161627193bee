// Who refers to a dataset: its names (links) and the processes that have it open.
#include <algorithm>
#include <unordered_set>
#include <vector>

#include "base/hash.h"
#include "segment/edit_one.h"
#include "segment/outcome.h"
#include "store/process_stamp.h"
#include "store/store_internal.h"

namespace imss::store {

using segment::Participant;
using segment::Transaction;
using segment::Values;

namespace {

constexpr std::uint64_t kNotSwept = ~0ULL;

// Of a client on another node: no process here has the id 0.
constexpr std::uint64_t kRemoteStamp = 1ULL << 32;

// Of an entry of the open table that is a link. Its key is {~dataset, link}; an id is far from having all its upper
// bits set.
constexpr std::uint64_t kLinkStamp = 2ULL << 32;
constexpr std::uint64_t kMaxLinks = 65'000;  // as in ext4

}  // namespace

// --- opens --------------------------------------------------------------------------------------------------

Status Store::open(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  return add_open(dataset, me->process.load(), own_process_stamp());
}

Status Store::open_for(std::uint64_t dataset, std::uint64_t client) { return add_open(dataset, client, kRemoteStamp); }

Result<bool> Store::close_for(std::uint64_t dataset, std::uint64_t client) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  return forget_opens(*me, dataset, client, 1);
}

Status Store::add_open(std::uint64_t dataset, std::uint64_t process, std::uint64_t stamp) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  segment::Table opens(*segment_, segment::kOpenTable);
  const segment::Key key{dataset, process};
  return segment::edit_one(
      opens, *me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& old) -> Status {
        IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
        if (inode->links.load() == 0 && (inode->type.load() & kInodeUnnamed) == 0) return no_inode(dataset);
        if (entry != nullptr) {
          edit.update(key, entry, {old.value0 + 1, old.value1, old.value2});
        } else {
          change.store(inode->opens, inode->opens.load() + 1);
          IMSS_RETURN_IF_ERROR(edit.insert(*me, key, {1, 1, stamp}));
        }
        return segment::store_outcome(change, {});
      });
}

Result<bool> Store::close(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  return forget_opens(*me, dataset, me->process.load(), 1);
}

Result<bool> Store::forget_opens(Participant& me, std::uint64_t dataset, std::uint64_t process,
                                 std::uint64_t count) {
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(me, dataset, &pinned));
  segment::Table opens(*segment_, segment::kOpenTable);
  const segment::Key key{dataset, process};
  bool last = false;
  IMSS_RETURN_IF_ERROR(segment::edit_one(
      opens, me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& old) -> Status {
        IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
        if (entry == nullptr) return no_inode(dataset);
        if (old.value0 > count) {
          edit.update(key, entry, {old.value0 - count, old.value1, old.value2});
        } else {
          edit.erase(key, entry);
          change.store(inode->opens, inode->opens.load() - 1);
          last = inode->opens.load() == 1 && inode->links.load() == 0;
        }
        return segment::store_outcome(change, {.word0 = last ? 1U : 0U});
      }));
  return last;
}

// --- links ---------------------------------------------------------------------------------------------------

// Sees the link under the inode's lock. The link that the inode was created with is a word of the inode, so that a
// dataset with one name needs no more; others have an entry of the open table each.
template <typename Decide>
Status Store::edit_link(std::uint64_t dataset, std::uint64_t link, Decide&& decide) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  segment::Table opens(*segment_, segment::kOpenTable);
  const segment::Key key{~dataset, link};
  IMSS_RETURN_IF_ERROR(segment::edit_one(
      opens, *me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values&) -> Status {
        IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
        return decide(*me, *inode, change, edit, key, entry);
      }));
  advance(inode->changed_ns, now_ns());
  note_change(*inode, dataset);
  return {};
}

Status Store::add_link(std::uint64_t dataset, std::uint64_t link) {
  IMSS_RETURN_IF_ERROR(edit_link(dataset, link,
                   [&](Participant& me, Inode& inode, Transaction& change, segment::TableEdit& edit, segment::Key key,
                       segment::Entry* entry) -> Status {
                     const std::uint64_t links = inode.links.load();
                     // One that never had a name may get one while it is open.
                     const bool unnamed = (inode.type.load() & kInodeUnnamed) != 0 && inode.opens.load() != 0;
                     if (links == 0 && !unnamed) return no_inode(dataset);
                     if (entry != nullptr || inode.first_link.load() == link) return {};
                     if (links >= kMaxLinks) return Code::kTooManyLinks;
                     change.store(inode.links, links + 1);
                     return edit.insert(me, key, {1, 1, kLinkStamp});
                   }));
  return named(dataset);
}

// From here on a dataset whose last name goes gets no other one.
Status Store::named(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  auto inode = pin_inode(*me, dataset, &pinned);
  if (inode.ok() && ((*inode)->type.load() & kInodeUnnamed) != 0) (*inode)->type.fetch_and(~kInodeUnnamed);
  return inode.code() == Code::kNotFound ? Status() : inode.status();
}

Result<bool> Store::remove_link(std::uint64_t dataset, std::uint64_t link) {
  bool last = false;
  IMSS_RETURN_IF_ERROR(edit_link(dataset, link,
                                 [&](Participant&, Inode& inode, Transaction& change, segment::TableEdit& edit,
                                     segment::Key key, segment::Entry* entry) -> Status {
                                   std::uint64_t links = inode.links.load();
                                   const bool first = inode.first_link.load() == link;
                                   if (first) change.store(inode.first_link, 0);
                                   if (entry != nullptr) edit.erase(key, entry);
                                   if (first || entry != nullptr) change.store(inode.links, --links);
                                   last = links == 0 && inode.opens.load() == 0;
                                   return {};
                                 }));
  return last;
}

// Which processes have threads registered, as one number.
std::uint64_t Store::processes_present(std::unordered_set<std::uint64_t>* tokens) {
  const segment::Superblock& block = segment_->super();
  std::uint64_t all = 1;
  for (std::uint32_t slot = 0; slot < block.max_participants; ++slot) {
    const Participant& other = segment_->participant(slot);
    if (other.id.load() == 0) continue;
    const std::uint64_t token = other.process.load();
    if (tokens->insert(token).second) all += mix64(token);
  }
  return all;
}

void Store::leave_orphan(std::uint64_t) { segment_->super().service_root[kSweptRecoveries].store(kNotSwept); }

// Opens outlive the threads that made them: a process is gone when none of its threads is registered here and the
// system does not know it any more either.
Status Store::sweep(const SweepActions& actions) {
  segment::Superblock& block = segment_->super();
  segment::Word& swept = block.service_root[kSweptRecoveries];
  segment::Word& seen = block.service_root[kSweptProcesses];
  const std::uint64_t recoveries = block.recoveries.load();
  std::unordered_set<std::uint64_t> present;
  const std::uint64_t processes = processes_present(&present) + mix64(actions.remote_changes);
  if (swept.load() == recoveries && seen.load() == processes) return {};
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  struct Open {
    segment::Key key;
    std::uint64_t count = 0;
    std::uint64_t stamp = 0;
  };
  std::vector<Open> opens;
  IMSS_RETURN_IF_ERROR(segment::Table(*segment_, segment::kOpenTable)
                           .for_each([&](segment::Key key, const Values& values) {
                             if (values.value2 != kLinkStamp) opens.push_back({key, values.value0, values.value2});
                             return true;
                           }));
  // Only now: whoever opened something before the table was read has registered before that.
  processes_present(&present);
  bool again = false;
  std::erase_if(opens, [&](const Open& open) {
    if (present.contains(open.key.second)) return true;
    if (open.stamp == kRemoteStamp) return actions.remote_lives && actions.remote_lives(open.key.second);
    if (!process_lives(open.stamp)) return false;
    again = true;  // when it ends, nothing here tells
    return true;
  });
  if (!opens.empty()) IMSS_RETURN_IF_ERROR(actions.settle());
  Status outcome;
  std::vector<std::uint64_t> orphans;
  for (const Open& open : opens) {
    const auto last = forget_opens(*me, open.key.first, open.key.second, open.count);
    if (last.ok() && *last) orphans.push_back(open.key.first);
    if (!last.ok() && last.code() != Code::kNotFound) outcome = last.status();
  }
  // Only who dies leaves a dataset without name and opener.
  if (swept.load() != recoveries) {
    IMSS_RETURN_IF_ERROR(blocks_.for_each([&](segment::Key key, const Values&) {
      if (key.second == 0) orphans.push_back(key.first);
      return true;
    }));
  }
  std::sort(orphans.begin(), orphans.end());
  orphans.erase(std::unique(orphans.begin(), orphans.end()), orphans.end());
  for (const std::uint64_t dataset : orphans) {
    auto found = attributes(dataset);
    if (!found.ok() || found->links != 0 || found->opens != 0) continue;
    if (const Status dropped = actions.drop(dataset); !dropped.ok()) outcome = dropped;
  }
  if (!outcome.ok()) {
    swept.store(kNotSwept);
    return outcome;
  }
  swept.store(recoveries);
  seen.store(again ? 0 : processes);
  return {};
}

}  // namespace imss::store
