#include "client/c_api_calls.h"

#include <chrono>
#include <thread>

#include "base/hash.h"

namespace imss::client::c_api {

// Alone in its cache line, so that threads do not disturb each other.
struct alignas(64) Calls::Slot {
  std::atomic<CallMark> mark{0};
  std::atomic<bool> taken{true};
  Slot* next = nullptr;
};

// There is one Calls in a process, so that a thread needs one slot. A plain pointer costs the path
// of every call nothing; the guard, which gives the slot back at the end of the thread, stands
// apart.
thread_local constinit Calls::Slot* Calls::current_slot_ = nullptr;

struct Calls::SlotOfThread {
  ~SlotOfThread() {
    if (current_slot_ != nullptr) current_slot_->taken.store(false, std::memory_order_release);
    current_slot_ = nullptr;
  }
};

CallMark mark_of_instance(std::string_view name) {
  // Two instances with the same value only wait for each other's calls.
  std::uint64_t hash = 0;
  for (const char byte : name) hash = mix64(hash ^ static_cast<unsigned char>(byte));
  return std::uint64_t{3} << 32U | static_cast<std::uint32_t>(hash);
}

Calls::Slot& Calls::take_slot() {
  thread_local const SlotOfThread give_back;
  [[maybe_unused]] const SlotOfThread* arm_destructor = &give_back;
  for (Slot* slot = slots_.load(std::memory_order_acquire); slot != nullptr; slot = slot->next) {
    bool taken = false;
    if (slot->taken.compare_exchange_strong(taken, true, std::memory_order_acquire)) {
      current_slot_ = slot;
      return *slot;
    }
  }
  auto* slot = new Slot();
  slot->next = slots_.load(std::memory_order_relaxed);
  // Publishes the slot to wait_for and to threads that look for a free one.
  while (!slots_.compare_exchange_weak(slot->next, slot, std::memory_order_release)) {
  }
  current_slot_ = slot;
  return *slot;
}

Calls::Slot& Calls::slot_of_this_thread() {
  Slot* const slot = current_slot_;
  return slot != nullptr ? *slot : take_slot();
}

std::atomic<CallMark>& Calls::announce(CallMark mark) {
  std::atomic<CallMark>& word = slot_of_this_thread().mark;
  word.store(mark, std::memory_order_relaxed);
  // Pairs with the fence in wait_for: either the release sees the mark, or this call sees that what
  // it works on is released.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return word;
}

void Calls::wait_for(const std::function<bool(CallMark)>& concerns) {
  constexpr int kSpins = 64;
  constexpr auto kPause = std::chrono::microseconds(50);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const Slot& mine = slot_of_this_thread();
  for (Slot* slot = slots_.load(std::memory_order_acquire); slot != nullptr; slot = slot->next) {
    if (slot == &mine) continue;
    const CallMark seen = slot->mark.load(std::memory_order_acquire);
    if (seen == 0 || !concerns(seen)) continue;
    for (int spin = 0; slot->mark.load(std::memory_order_acquire) == seen; ++spin) {
      if (spin < kSpins) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(kPause);
      }
    }
  }
}

void Calls::forget_other_threads() {
  const Slot& mine = slot_of_this_thread();
  for (Slot* slot = slots_.load(std::memory_order_acquire); slot != nullptr; slot = slot->next) {
    if (slot == &mine) continue;
    slot->mark.store(0);
    slot->taken.store(false);
  }
}

}  // namespace imss::client::c_api
