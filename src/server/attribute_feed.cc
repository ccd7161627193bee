#include "server/attribute_feed.h"

#include <utility>

#include "client/session_internal.h"
#include "segment/fault.h"

namespace imss::server {
namespace {

// Of looks at all inodes, which take a while in a large store that changes fast.
constexpr auto kBetweenLooks = std::chrono::seconds(3);
constexpr std::size_t kMostAtOnce = 1 << 16;
// Rounds in which the ring's first mark may be missing: its author was stopped, or died.
constexpr int kMaxStalledRounds = 4;

}  // namespace

Status AttributeFeed::send(metadata::NameService& names, bool at_once) {
  look_for_losses();
  batch_.clear();
  Status status = send_changed(names);
  const auto now = std::chrono::steady_clock::now();
  if (status.ok() && (send_all_ || send_marked_) && (at_once || now - last_look_ >= kBetweenLooks)) {
    last_look_ = now;
    const bool changed_only = !send_all_;
    send_all_ = false;
    send_marked_ = false;
    status = send_inodes(names, changed_only);
  }
  // The marks of what did not arrive are gone.
  if (!status.ok()) send_all_ = true;
  return status;
}

// Marks that were not made, because their author died between its change and them, or never arrive.
void AttributeFeed::look_for_losses() {
  const std::uint64_t recoveries = store_.segment().super().recoveries.load();
  if (recoveries != recoveries_seen_) send_all_ = true;
  recoveries_seen_ = recoveries;
  if (stalled_rounds_ > kMaxStalledRounds) store_.lose_changes();
}

Status AttributeFeed::send_changed(metadata::NameService& names) {
  bool lost = false;
  const std::vector<std::uint64_t> changed = store_.take_changed(kMostAtOnce, &lost);
  if (lost) send_marked_ = true;
  stalled_rounds_ = changed.empty() && !lost && store_.changes_pending() ? stalled_rounds_ + 1 : 0;
  for (const std::uint64_t dataset : std::exchange(again_, {})) IMSS_RETURN_IF_ERROR(add(names, dataset));
  for (const std::uint64_t dataset : changed) IMSS_RETURN_IF_ERROR(add(names, dataset));
  return flush(names);
}

Status AttributeFeed::send_inodes(metadata::NameService& names, bool changed_only) {
  Status status;
  IMSS_RETURN_IF_ERROR(store_.for_each_inode(changed_only, [&](std::uint64_t dataset) {
    status = add(names, dataset);
    return status.ok();
  }));
  IMSS_RETURN_IF_ERROR(status);
  return flush(names);
}

Status AttributeFeed::add(metadata::NameService& names, std::uint64_t dataset) {
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
  batch_.push_back(std::move(state));
  return batch_.size() == metadata::kMostInodeStates ? flush(names) : Status();
}

Status AttributeFeed::flush(metadata::NameService& names) {
  if (batch_.empty()) return {};
  segment::fault_point("attributes.taken");
  IMSS_RETURN_IF_ERROR(names.store_attributes(batch_));
  // What was removed while it was under way has come too late for the name's removal to take it along.
  std::erase_if(batch_, [&](metadata::InodeState& state) {
    const bool told = state.gone;
    state.gone = store_.attributes(state.dataset).code() == Code::kNotFound;
    return told || !state.gone;
  });
  if (batch_.empty()) return {};
  const Status status = names.store_attributes(batch_);
  batch_.clear();
  return status;
}

}  // namespace imss::server
