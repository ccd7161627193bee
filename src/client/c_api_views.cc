#include "client/c_api_views.h"

#include <utility>

namespace imss::client::c_api {

std::uint64_t Views::add(const store::View& view, std::shared_ptr<const InstanceServers> servers) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t number = ++last_number_;
  held_[number] = Held{view, view.holder->id.load(), std::move(servers)};
  return number;
}

Status Views::release(std::uint64_t number) {
  Held held;
  {
    const std::lock_guard lock(mutex_);
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
  if (pinned) store::Store::release(held.view);
  return {};
}

void Views::forget_pins() {
  for (auto& [number, held] : held_) held.view.pin = nullptr;
}

}  // namespace imss::client::c_api
