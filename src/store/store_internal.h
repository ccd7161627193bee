// Shared by the files of the data engine: pins and payload copies.
#pragma once

#include <cstring>
#include <utility>

#include "base/clock.h"
#include "segment/entry_state.h"
#include "segment/extents.h"
#include "segment/fault.h"
#include "segment/pages.h"
#include "store/store.h"

namespace imss::store {

// Which of a participant's pins an operation uses.
inline constexpr std::uint32_t kBlockPin = 0;
inline constexpr std::uint32_t kInodePin = 1;

// A block's entry and extent, held by a pin until destroyed. `ref` is none when the block is absent.
struct Store::Pinned {
  segment::Snapshot snapshot;
  segment::Ref ref;
  segment::Word* pin = nullptr;

  Pinned() = default;
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  Pinned(Pinned&& other) noexcept
      : snapshot(other.snapshot), ref(other.ref), pin(std::exchange(other.pin, nullptr)) {}
  Pinned& operator=(Pinned&& other) noexcept {
    release();
    snapshot = other.snapshot;
    ref = other.ref;
    pin = std::exchange(other.pin, nullptr);
    return *this;
  }
  ~Pinned() { release(); }
  void release() {
    // Release: whoever reuses the extent after it saw the pin gone also sees our copy finished.
    if (pin != nullptr) pin->store(0, std::memory_order_release);
    pin = nullptr;
  }
  bool dense() const { return (snapshot.values.value1 & segment::kDenseFlag) != 0; }
  segment::EntryState state() const { return segment::state_of(snapshot.values.value1); }
};

inline Status no_inode(std::uint64_t dataset) {
  return Status(Code::kNotFound, "dataset " + std::to_string(dataset) + " is not there any more");
}

inline std::uint64_t now_ns() { return static_cast<std::uint64_t>(coarse_realtime_ns()); }

// Neither times nor the highest block go back.
inline void advance(segment::Word& word, std::uint64_t to) {
  std::uint64_t seen = word.load(std::memory_order_relaxed);
  while (seen < to && !word.compare_exchange_weak(seen, to)) {
  }
}

// Whether a block of truncate generation `generation` is older than `before`. Generations have 16 bits and wrap; the
// comparison is good for distances below 32,768.
inline bool older(std::uint64_t generation, std::uint64_t before) {
  if (before == kAnyGeneration) return true;
  return static_cast<std::int16_t>(static_cast<std::uint16_t>(generation - before)) < 0;
}

// Ranged writes and reads of the same bytes race by design, as they do in files; the copy is therefore hidden
// from ThreadSanitizer.
#if defined(__SANITIZE_THREAD__)
__attribute__((no_sanitize("thread"))) inline void copy_payload(void* to, const void* from, std::size_t bytes) {
  auto* out = static_cast<volatile unsigned char*>(to);
  const auto* in = static_cast<const volatile unsigned char*>(from);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = in[i];
}
__attribute__((no_sanitize("thread"))) inline void zero_payload(void* to, std::size_t bytes) {
  auto* out = static_cast<volatile unsigned char*>(to);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = 0;
}
#else
inline void copy_payload(void* to, const void* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
inline void zero_payload(void* to, std::size_t bytes) { std::memset(to, 0, bytes); }
#endif

}  // namespace imss::store
