#include "client/handle_table.h"

#include <array>

#include "client/session.h"

namespace imss::client {
namespace {

constexpr std::uint32_t kIndexBits = 20;
constexpr std::uint32_t kGenerationMask = (1 << 11) - 1;

std::atomic<std::uint64_t> next_serial{1};

// The datasets that this thread used last.
struct Recent {
  std::uint64_t table = 0;
  std::int32_t handle = -1;
  const std::atomic<std::uint32_t>* generation = nullptr;
  std::uint32_t expected = 0;
  std::shared_ptr<Dataset> dataset;
};
thread_local std::array<Recent, 8> recent;

Status bad_handle(std::int32_t handle) {
  return Status(Code::kBadHandle, "dataset id " + std::to_string(handle) + " is not open");
}

}  // namespace

struct HandleTable::Chunk {
  std::array<Place, kChunkPlaces> places;
};

HandleTable::HandleTable() : serial_(next_serial.fetch_add(1)) {}

HandleTable::~HandleTable() {
  for (Recent& entry : recent) {
    if (entry.table == serial_) entry = {};
  }
  for (auto& chunk : chunks_) delete chunk.load();
}

HandleTable::Place* HandleTable::place_of(std::int32_t handle, std::uint32_t* generation) {
  if (handle < 0) return nullptr;
  const auto number = static_cast<std::uint32_t>(handle);
  const std::uint32_t index = number & (kMaxHandles - 1);
  *generation = number >> kIndexBits;
  Chunk* chunk = chunks_[index / kChunkPlaces].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : &chunk->places[index % kChunkPlaces];
}

Result<std::int32_t> HandleTable::add(std::shared_ptr<Dataset> dataset) {
  const MutexLock lock(mutex_);
  std::uint32_t index = used_;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else if (used_ == kMaxHandles) {
    return Status(Code::kTooManyOpen, "a process has at most " + std::to_string(kMaxHandles) + " datasets open");
  } else {
    auto& chunk = chunks_[index / kChunkPlaces];
    if (chunk.load() == nullptr) chunk.store(new Chunk(), std::memory_order_release);
    ++used_;
  }
  Place& place = chunks_[index / kChunkPlaces].load()->places[index % kChunkPlaces];
  place.dataset = std::move(dataset);
  const std::uint32_t generation = place.generation.load() + 1;
  place.generation.store(generation, std::memory_order_release);
  return static_cast<std::int32_t>((generation / 2 & kGenerationMask) << kIndexBits | index);
}

Result<Dataset*> HandleTable::find(std::int32_t handle) {
  Recent& entry = recent[static_cast<std::uint32_t>(handle) % recent.size()];
  if (entry.handle == handle && entry.table == serial_ &&
      entry.generation->load(std::memory_order_acquire) == entry.expected) [[likely]] {
    return entry.dataset.get();
  }
  auto shared = share(handle);
  if (!shared.ok()) return shared.status();
  std::uint32_t generation = 0;
  Place* place = place_of(handle, &generation);
  const std::uint32_t now = place->generation.load();
  if (now % 2 == 0 || (now / 2 & kGenerationMask) != generation) return bad_handle(handle);  // released meanwhile
  entry.table = serial_;
  entry.handle = handle;
  entry.generation = &place->generation;
  entry.expected = now;
  entry.dataset = std::move(*shared);
  return entry.dataset.get();
}

Result<std::shared_ptr<Dataset>> HandleTable::share(std::int32_t handle) {
  std::uint32_t generation = 0;
  Place* place = place_of(handle, &generation);
  if (place == nullptr) return bad_handle(handle);
  const MutexLock lock(mutex_);
  const std::uint32_t now = place->generation.load();
  if (now % 2 == 0 || (now / 2 & kGenerationMask) != generation) return bad_handle(handle);
  return place->dataset;
}

Result<std::shared_ptr<Dataset>> HandleTable::remove(std::int32_t handle) {
  std::uint32_t generation = 0;
  Place* place = place_of(handle, &generation);
  if (place == nullptr) return bad_handle(handle);
  for (Recent& entry : recent) {
    if (entry.table == serial_ && entry.handle == handle) entry = {};
  }
  const MutexLock lock(mutex_);
  const std::uint32_t now = place->generation.load();
  if (now % 2 == 0 || (now / 2 & kGenerationMask) != generation) return bad_handle(handle);
  place->generation.store(now + 1, std::memory_order_release);
  free_.push_back(static_cast<std::uint32_t>(handle) & (kMaxHandles - 1));
  return std::move(place->dataset);
}

std::vector<std::int32_t> HandleTable::all() {
  const MutexLock lock(mutex_);
  std::vector<std::int32_t> handles;
  for (std::uint32_t index = 0; index < used_; ++index) {
    const Place& place = chunks_[index / kChunkPlaces].load()->places[index % kChunkPlaces];
    const std::uint32_t generation = place.generation.load();
    if (generation % 2 == 0) continue;
    handles.push_back(static_cast<std::int32_t>((generation / 2 & kGenerationMask) << kIndexBits | index));
  }
  return handles;
}

}  // namespace imss::client
