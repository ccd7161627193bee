#include "server/attribute_feed.h"

#include <algorithm>
#include <utility>

#include "client/session_internal.h"
#include "metadata/authority.h"
#include "segment/fault.h"

namespace imss::server {
namespace {

// Of looks at all inodes, which take a while in a large store that changes fast.
constexpr auto kBetweenLooks = std::chrono::seconds(3);
constexpr std::size_t kMostAtOnce = 1 << 16;
// Rounds in which the ring's first mark may be missing: its author was stopped, or died.
constexpr int kMaxStalledRounds = 4;

}  // namespace

Status AttributeFeed::send(const Tell& tell, bool at_once) {
  look_for_losses();
  for (auto& [server, part] : parts_) {
    part.batch.clear();
    part.status = {};
  }
  Status status = send_changed(tell);
  const auto now = std::chrono::steady_clock::now();
  const bool look = send_all_ || send_marked_ || owes();
  if (status.ok() && look && (at_once || now - last_look_ >= kBetweenLooks)) {
    last_look_ = now;
    status = send_inodes(tell);
  }
  // The marks of what did not arrive are gone.
  if (!status.ok()) send_all_ = true;
  for (const auto& [server, part] : parts_) {
    if (status.ok() && part.owed) status = part.missed;
  }
  return status;
}

bool AttributeFeed::owes() const {
  return std::ranges::any_of(parts_, [](const auto& entry) { return entry.second.owed; });
}

// Marks that were not made, because their author died between its change and them, or never arrive.
void AttributeFeed::look_for_losses() {
  const std::uint64_t recoveries = store_.segment().super().recoveries.load();
  if (recoveries != recoveries_seen_) send_all_ = true;
  recoveries_seen_ = recoveries;
  if (stalled_rounds_ > kMaxStalledRounds) store_.lose_changes();
}

Status AttributeFeed::send_changed(const Tell& tell) {
  bool lost = false;
  const std::vector<std::uint64_t> changed = store_.take_changed(kMostAtOnce, &lost);
  if (lost) send_marked_ = true;
  stalled_rounds_ = changed.empty() && !lost && store_.changes_pending() ? stalled_rounds_ + 1 : 0;
  for (const std::uint64_t dataset : std::exchange(again_, {})) IMSS_RETURN_IF_ERROR(add(tell, dataset));
  for (const std::uint64_t dataset : changed) IMSS_RETURN_IF_ERROR(add(tell, dataset));
  flush_all(tell);
  return {};
}

Status AttributeFeed::send_inodes(const Tell& tell) {
  // Of the others, those that are not owed anything are told only what is marked.
  const bool owed_only = !send_all_ && !send_marked_;
  const bool changed_only = !send_all_ && !owes();
  std::map<std::uint32_t, bool> owed;
  for (auto& [server, part] : parts_) {
    owed[server] = std::exchange(part.owed, !part.status.ok());
  }
  send_all_ = false;
  send_marked_ = false;
  Status status;
  const Status visited = store_.for_each_inode(changed_only, [&](std::uint64_t dataset) {
    if (!owed_only || owed[metadata::giver_of(dataset)]) status = add(tell, dataset);
    return status.ok();
  });
  flush_all(tell);
  return visited.ok() ? status : visited;
}

Status AttributeFeed::add(const Tell& tell, std::uint64_t dataset) {
  Part& part = parts_[metadata::giver_of(dataset)];
  if (!part.status.ok()) {
    part.owed = true;
    return {};
  }
  auto attributes = store_.take_attributes(dataset);
  metadata::InodeState state;
  state.dataset = dataset;
  state.gone = attributes.code() == Code::kNotFound;
  if (!state.gone) {
    IMSS_RETURN_IF_ERROR(attributes.status());
    state.gone = attributes->links == 0;
    state.attributes = *attributes;
    if (attributes->type == store::NodeType::kSymlink) {
      auto target = client::read_text(store_, dataset);
      // Not written yet, or gone meanwhile: the next round sees.
      if (target.code() == Code::kNotFound) {
        again_.push_back(dataset);
        return {};
      }
      IMSS_RETURN_IF_ERROR(target.status());
      state.target = std::move(*target);
    }
  }
  part.batch.push_back(std::move(state));
  if (part.batch.size() == metadata::kMostInodeStates) flush(tell, part);
  return {};
}

// Those that answered last come first.
void AttributeFeed::flush_all(const Tell& tell) {
  for (const bool owed : {false, true}) {
    for (auto& [server, part] : parts_) {
      if (part.owed == owed) flush(tell, part);
    }
  }
}

void AttributeFeed::flush(const Tell& tell, Part& part) {
  if (part.batch.empty()) return;
  part.status = deliver(tell, part);
  if (!part.status.ok()) {
    part.owed = true;
    part.missed = part.status;
  }
  part.batch.clear();
}

Status AttributeFeed::deliver(const Tell& tell, Part& part) {
  segment::fault_point("attributes.taken");
  IMSS_RETURN_IF_ERROR(tell(part.batch));
  // What was removed while it was under way has come too late for the name's removal to take it along.
  std::erase_if(part.batch, [&](metadata::InodeState& state) {
    const bool told = state.gone;
    state.gone = store_.attributes(state.dataset).code() == Code::kNotFound;
    return told || !state.gone;
  });
  return part.batch.empty() ? Status() : tell(part.batch);
}

}  // namespace imss::server
