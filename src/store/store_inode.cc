// Inodes: attributes, sizes, appends, truncation, links and opens.
#include <algorithm>
#include <new>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "segment/edit_one.h"
#include "store/process_stamp.h"
#include "store/store_internal.h"

namespace imss::store {

using segment::Extents;
using segment::Held;
using segment::kDenseFlag;
using segment::Participant;
using segment::Transaction;
using segment::Values;

namespace {

// Service words of a data server's segment.
constexpr std::uint32_t kSweptRecoveries = 0;
constexpr std::uint32_t kSweptProcesses = 1;

std::uint64_t now_ns() { return static_cast<std::uint64_t>(coarse_realtime_ns()); }

// Neither times nor the highest block go back.
void advance(segment::Word& word, std::uint64_t to) {
  std::uint64_t seen = word.load(std::memory_order_relaxed);
  while (seen < to && !word.compare_exchange_weak(seen, to)) {
  }
}

bool is_pending(const Inode& inode) {
  const std::uint64_t intent = inode.truncation.load();
  return intent != 0 && generation_of_word(intent) == generation_of_word(inode.size_word.load());
}

Status no_inode(std::uint64_t dataset) {
  return Status(Code::kNotFound, "dataset " + std::to_string(dataset) + " is not there any more");
}

}  // namespace

Status Store::create_inode(std::uint64_t dataset, const Attributes& attributes) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Extents extents(*segment_);
  IMSS_ASSIGN_OR_RETURN(const Held held, extents.take(*me, segment::class_for(sizeof(Inode)), false));
  std::byte* place = segment_->base() + held.ref.offset();
  std::memset(place, 0, sizeof(Inode));
  auto* inode = reinterpret_cast<Inode*>(place);
  inode->size_word.store(make_size_word(0, attributes.size));
  inode->links.store(attributes.links);
  inode->mode.store(attributes.mode);
  inode->owner.store(static_cast<std::uint64_t>(attributes.uid) << 32 | attributes.gid);
  const std::uint64_t now = now_ns();
  for (segment::Word* time : {&inode->accessed_ns, &inode->modified_ns, &inode->changed_ns, &inode->created_ns}) {
    time->store(now);
  }
  inode->type.store(static_cast<std::uint64_t>(attributes.type));
  inode->block_bytes.store(attributes.block_bytes);
  inode->block_count.store(attributes.block_count);
  inode->version.store(1);
  inode->placement.store(attributes.placement);
  segment::fault_point("inode.filled");
  return insert_new(*me, {dataset, 0}, held, kDenseFlag);
}

Result<Inode*> Store::pin_inode(Participant& me, std::uint64_t dataset, Pinned* pinned) {
  IMSS_RETURN_IF_ERROR(pin(me, {dataset, 0}, kInodePin, 0, pinned));
  if (pinned->ref.none()) return no_inode(dataset);
  return segment_->at<Inode>(pinned->ref.offset());
}

Result<Attributes> Store::attributes(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(const Inode* const inode, pin_inode(*me, dataset, &pinned));
  Attributes out;
  const std::uint64_t size_word = inode->size_word.load();
  out.size = size_of_word(size_word);
  out.generation = generation_of_word(size_word);
  out.links = inode->links.load();
  out.opens = inode->opens.load();
  out.mode = static_cast<std::uint32_t>(inode->mode.load());
  out.uid = static_cast<std::uint32_t>(inode->owner.load() >> 32);
  out.gid = static_cast<std::uint32_t>(inode->owner.load());
  out.accessed_ns = inode->accessed_ns.load();
  out.modified_ns = inode->modified_ns.load();
  out.changed_ns = inode->changed_ns.load();
  out.created_ns = inode->created_ns.load();
  out.type = static_cast<NodeType>(inode->type.load());
  out.block_bytes = inode->block_bytes.load();
  out.block_count = inode->block_count.load();
  out.version = inode->version.load();
  out.placement = inode->placement.load();
  out.highest_block = inode->highest_block.load();
  return out;
}

Status Store::set_attributes(std::uint64_t dataset, const Attributes& attributes) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  inode->mode.store(attributes.mode);
  inode->owner.store(static_cast<std::uint64_t>(attributes.uid) << 32 | attributes.gid);
  inode->accessed_ns.store(attributes.accessed_ns);
  inode->modified_ns.store(attributes.modified_ns);
  advance(inode->changed_ns, now_ns());
  inode->version.fetch_add(1);
  return {};
}

Status Store::extend_size(std::uint64_t dataset, std::uint64_t end) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  std::uint64_t word = inode->size_word.load();
  while (size_of_word(word) < end &&
         !inode->size_word.compare_exchange_weak(word, make_size_word(generation_of_word(word), end))) {
  }
  const std::uint64_t now = now_ns();
  advance(inode->modified_ns, now);
  advance(inode->changed_ns, now);
  return {};
}

Status Store::announce_block(std::uint64_t dataset, std::uint64_t block) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  advance(inode->highest_block, block);
  segment::fault_point("inode.block_announced");
  return {};
}

Result<std::uint64_t> Store::reserve_append(std::uint64_t dataset, std::uint64_t bytes) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  std::uint64_t word = inode->size_word.load();
  do {
    if (size_of_word(word) + bytes > kSizeMask) return Status(Code::kInvalidArgument, "the dataset would become too large");
  } while (!inode->size_word.compare_exchange_weak(word, word + bytes));
  return size_of_word(word);
}

Result<Store::Truncation> Store::begin_truncation(std::uint64_t dataset, std::uint64_t size) {
  if (size >= kSizeMask) return Status(Code::kInvalidArgument, "a dataset holds less than 256 TiB");
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  for (;;) {
    std::uint64_t word = inode->size_word.load();
    if (size >= size_of_word(word)) {
      if (!inode->size_word.compare_exchange_strong(word, make_size_word(generation_of_word(word), size))) continue;
      advance(inode->modified_ns, now_ns());
      return Truncation{size, size_of_word(word), generation_of_word(word), false};
    }
    Transaction change(*segment_, *me);
    IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
    if (is_pending(*inode)) return Code::kBusy;  // the caller completes that one first
    const std::uint64_t shrunk = make_size_word(generation_of_word(word) + 1, size);
    // The intent first, so that whoever finds it can finish the removal. It counts once the size word has the
    // generation that it names: should we die in between, nothing was truncated.
    inode->truncation.store(make_size_word(generation_of_word(shrunk), size + 1));
    segment::fault_point("truncation.intended");
    if (!inode->size_word.compare_exchange_strong(word, shrunk)) continue;
    segment::fault_point("truncation.begun");
    advance(inode->modified_ns, now_ns());
    advance(inode->changed_ns, now_ns());
    return Truncation{size, size_of_word(word), (generation_of_word(word) + 1) & 0xffff, true};
  }
}

Result<Store::Truncation> Store::pending_truncation(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  const std::uint64_t intent = inode->truncation.load();
  if (intent == 0 || generation_of_word(intent) != generation_of_word(inode->size_word.load())) return Truncation{};
  return Truncation{size_of_word(intent) - 1, kSizeMask, generation_of_word(intent), true};
}

Status Store::finish_truncation(std::uint64_t dataset, const Truncation& truncation) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  // Only the truncation that was finished: another one may have begun.
  std::uint64_t intent = make_size_word(truncation.generation, truncation.size + 1);
  inode->truncation.compare_exchange_strong(intent, 0);
  return {};
}

// --- links and opens -----------------------------------------------------------------------------------

Status Store::open(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  segment::Table opens(*segment_, segment::kOpenTable);
  const segment::Key key{dataset, me->process.load()};
  return segment::edit_one(
      opens, *me, key,
      [&](Transaction& change, segment::TableEdit& edit, segment::Entry* entry, const Values& old) -> Status {
        IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
        if (inode->links.load() == 0) return no_inode(dataset);
        if (entry != nullptr) {
          edit.update(key, entry, {old.value0 + 1, old.value1, old.value2});
          return {};
        }
        change.store(inode->opens, inode->opens.load() + 1);
        return edit.insert(*me, key, {1, 1, own_process_stamp()});
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
          return {};
        }
        edit.erase(key, entry);
        change.store(inode->opens, inode->opens.load() - 1);
        last = inode->opens.load() == 1 && inode->links.load() == 0;
        return {};
      }));
  return last;
}

Result<bool> Store::change_links(std::uint64_t dataset, int by) {
  IMSS_ASSIGN_OR_RETURN(Participant* const me, segment_->self());
  Pinned pinned;
  IMSS_ASSIGN_OR_RETURN(Inode* const inode, pin_inode(*me, dataset, &pinned));
  Transaction change(*segment_, *me);
  IMSS_RETURN_IF_ERROR(change.lock(inode->lock));
  const std::uint64_t links = inode->links.load();
  // Removing the last name twice (a repeated clean-up) has no further effect.
  const std::uint64_t now = by < 0 ? (links == 0 ? 0 : links - 1) : links + 1;
  change.store(inode->links, now);
  const bool last = now == 0 && inode->opens.load() == 0;
  IMSS_RETURN_IF_ERROR(change.commit());
  advance(inode->changed_ns, now_ns());
  return last;
}

Status Store::erase_inode(std::uint64_t dataset) { return erase({dataset, 0}); }

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

// Opens outlive the threads that made them: a process is gone when none of its threads is registered here and the
// system does not know it any more either.
Status Store::sweep(const std::function<void(std::uint64_t dataset)>& orphan) {
  segment::Superblock& block = segment_->super();
  segment::Word& swept = block.service_root[kSweptRecoveries];
  segment::Word& seen = block.service_root[kSweptProcesses];
  const std::uint64_t recoveries = block.recoveries.load();
  std::unordered_set<std::uint64_t> present;
  const std::uint64_t processes = processes_present(&present);
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
                             opens.push_back({key, values.value0, values.value2});
                             return true;
                           }));
  // Only now: whoever opened something before the table was read has registered before that.
  processes_present(&present);
  bool hidden = false;
  std::vector<std::uint64_t> orphans;
  for (const Open& open : opens) {
    if (present.contains(open.key.second)) continue;
    if (process_lives(open.stamp)) {
      hidden = true;  // when it ends, nothing here tells: look again next time
      continue;
    }
    const auto last = forget_opens(*me, open.key.first, open.key.second, open.count);
    if (last.ok() && *last) orphans.push_back(open.key.first);
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
    if (found.ok() && found->links == 0 && found->opens == 0) orphan(dataset);
  }
  swept.store(recoveries);
  seen.store(hidden ? 0 : processes);
  return {};
}

}  // namespace imss::store
