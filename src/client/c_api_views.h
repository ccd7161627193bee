// The zero-copy views that this process holds, by number.
//
// Concurrent. A number is never used again, so that a copy of a released view is noticed. A view
// keeps its segment mapped, whatever else is released.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "client/session.h"

namespace imss::client::c_api {

class Views {
 public:
  // Takes a view into the table and returns its number.
  std::uint64_t add(const store::View& view, std::shared_ptr<const InstanceServers> servers);
  // Ends it. Errors: kInvalidArgument for a number that is not held.
  Status release(std::uint64_t number);

  void lock_for_fork() IMSS_ACQUIRE(mutex_) { mutex_.lock(); }
  void unlock_after_fork() IMSS_RELEASE(mutex_) { mutex_.unlock(); }
  // In a fork child: the pins are the parent's; the views only stay mapped.
  void forget_pins();

 private:
  struct Held {
    store::View view;
    std::uint64_t holder_id = 0;  // of the participant when the view was taken
    std::shared_ptr<const InstanceServers> servers;
  };
  Mutex mutex_;
  std::unordered_map<std::uint64_t, Held> held_ IMSS_GUARDED_BY(mutex_);
  std::uint64_t last_number_ IMSS_GUARDED_BY(mutex_) = 0;
};

}  // namespace imss::client::c_api
