// Which calls are under way in this process, so that a release can wait for those it concerns.
//
// Concurrent. Every thread announces its call in a slot of its own: one exchange when it begins and
// one store when it ends, no shared cache line. A release first makes what it releases unknown and
// then waits for the slots that name it. Slots are reused by later threads and never freed.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>

#include "segment/segment.h"

namespace imss::client::c_api {

// What a call works on, in one word; 0 is "no call".
using CallMark = std::uint64_t;
constexpr CallMark mark_of_dataset(std::int32_t id) {
  return std::uint64_t{1} << 32U | static_cast<std::uint32_t>(id);
}
// A release of a dataset: only the end of the connection waits for it.
constexpr CallMark mark_of_release(std::int32_t id) {
  return std::uint64_t{2} << 32U | static_cast<std::uint32_t>(id);
}
CallMark mark_of_instance(std::string_view name);

class Calls {
 public:
  // A call of the calling thread, from construction to destruction, with one deadline for all that it waits for. Calls
  // do not nest.
  class Scope {
   public:
    Scope(Calls& calls, CallMark mark) : mark_(calls.announce(mark)) {}
    ~Scope() { mark_.store(0, std::memory_order_release); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    const segment::OneDeadline deadline_;
    std::atomic<CallMark>& mark_;
  };

  // Returns once no other thread has a call under way whose mark `concerns` accepts. Calls that
  // begin afterwards are not waited for. Each call has its deadline, so this ends too.
  void wait_for(const std::function<bool(CallMark)>& concerns);
  // In a fork child: only the calling thread is there.
  void forget_other_threads();

 private:
  struct Slot;
  struct SlotOfThread;
  std::atomic<CallMark>& announce(CallMark mark);
  Slot& slot_of_this_thread();
  Slot& take_slot();

  static thread_local constinit Slot* current_slot_;

  std::atomic<Slot*> slots_{nullptr};
};

}  // namespace imss::client::c_api
