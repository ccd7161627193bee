#include "client/c_api_views.h"

#include <utility>

namespace imss::client::c_api {

std::uint64_t Views::add(const store::View& view, std::shared_ptr<const InstanceServers> servers) {
  const MutexLock lock(mutex_);
  const std::uint64_t number = ++last_number_;
  // A copy from another node has no holder.
  const std::uint64_t holder_id = view.holder == nullptr ? 0 : view.holder->id.load();
  held_[number] = Held{view, holder_id, std::move(servers)};
  return number;
}

Status Views::release(std::uint64_t number) {
  Held held;
  {
    const MutexLock lock(mutex_);
    const auto found = held_.find(number);
    if (found == held_.end()) {
      return Status(Code::kInvalidArgument,
                    "this view is not held; it may have been released already");
    }
    held = std::move(found->second);
    held_.erase(found);
  }
  // A thread that ended took its pins along, and its participant may be another thread's by now.
  const bool pinned = held.view.pin != nullptr && held.view.holder->id.load() == held.holder_id;
  if (pinned) store::release(held.view);
  return {};
}

void Views::forget_pins() {
  const MutexLock lock(mutex_);
  for (auto& [number, held] : held_) held.view.pin = nullptr;
}

}  // namespace imss::client::c_api
