// Where datasets that grow have data: what they take, holes, memory ahead of need, and ranges that are cleared.
#include <algorithm>

#include "client/session_internal.h"
#include "segment/fault.h"

namespace imss::client {

namespace {

// Up to so many blocks the servers that have them are asked, and beyond that all servers.
constexpr std::uint64_t kFewBlocks = 4;
// A time of change that is younger may yet be that of a write which is under way.
constexpr std::uint64_t kSettledNs = 2'000'000'000;

// Of what lies in one block.
struct Part {
  std::uint64_t block;
  std::uint64_t offset;
  std::uint64_t bytes;
};

Part part_at(std::uint64_t block_bytes, std::uint64_t offset, std::uint64_t end) {
  const std::uint64_t within = offset % block_bytes;
  return {1 + offset / block_bytes, within, std::min(block_bytes - within, end - offset)};
}

store::DataService* server_of(const Dataset& dataset, std::uint32_t position) {
  store::DataService* const store = dataset.instance->stores[position].get();
  return store != nullptr && store->serving() ? store : nullptr;
}

}  // namespace

// What a server that is out of reach has is left out.
Result<std::uint64_t> Session::stored_units(Dataset& dataset, const store::Attributes& attributes) {
  if (const auto noted = attributes.noted_units()) return *noted;
  // No block beyond was ever begun.
  const std::uint64_t last = dataset.layout.block_count != 0 ? dataset.layout.block_count : attributes.highest_block;
  if (last == 0) return std::uint64_t{0};
  std::vector<bool> ask(dataset.layout.server_count, last > kFewBlocks);
  for (std::uint64_t block = 1; block <= last && last <= kFewBlocks; ++block) {
    const auto positions = locate(dataset, block);
    if (!positions.ok()) continue;  // a LOCAL block that was never written
    for (const std::uint32_t position : *positions) ask[position] = true;
  }
  const auto now = static_cast<std::uint64_t>(coarse_realtime_ns());
  std::uint64_t bytes = 0;
  bool complete = true;
  for (std::uint32_t position = 0; position < dataset.layout.server_count; ++position) {
    if (!ask[position]) continue;
    store::DataService* const store = server_of(dataset, position);
    const auto stored = store != nullptr ? store->stored(dataset.id, 1, last, false) : Result<store::StoredBlocks>(Code::kIo);
    complete = complete && stored.ok();
    if (stored.ok()) bytes += stored->bytes;
  }
  const std::uint64_t units = (bytes + store::kUnitBytes - 1) / store::kUnitBytes;
  if (complete && last > kFewBlocks && attributes.changed_ns + kSettledNs < now) {
    IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(dataset));
    // Otherwise it is counted again.
    [[maybe_unused]] const Status noted =
        home->note_allocated(dataset.id, store::Attributes::note_of(attributes.changed_ns, units));
  }
  return units;
}

// The least block from `first` on that is stored anywhere; 0: none.
Result<std::uint64_t> Session::next_stored(const Dataset& dataset, std::uint64_t first, std::uint64_t last) {
  std::uint64_t next = 0;
  for (std::uint32_t position = 0; position < dataset.layout.server_count; ++position) {
    store::DataService* const store = dataset.instance->stores[position].get();
    if (store == nullptr || store->lost()) continue;
    if (!store->serving()) return out_of_reach(dataset, position);
    IMSS_ASSIGN_OR_RETURN(const store::StoredBlocks found, store->stored(dataset.id, first, last, true));
    if (found.first != 0 && (next == 0 || found.first < next)) next = found.first;
  }
  return next;
}

Result<std::uint64_t> Session::seek(Dataset& dataset, std::uint64_t offset, bool hole) {
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(dataset));
  IMSS_ASSIGN_OR_RETURN(const store::Attributes attributes, home->attributes(dataset.id));
  const std::uint64_t size = attributes.size;
  if (offset >= size) return Code::kNotFound;
  const std::uint64_t block_bytes = dataset.layout.block_bytes;
  const std::uint64_t last = 1 + (size - 1) / block_bytes;
  std::uint64_t block = 1 + offset / block_bytes;
  std::uint64_t within = offset % block_bytes;
  while (block <= last) {
    const auto positions = locate(dataset, block);
    if (!positions.ok() && positions.code() != Code::kNotFound) return positions.status();
    std::uint64_t at = hole ? within : block_bytes;  // of a LOCAL block that was never written
    Status status;
    for (const std::uint32_t position : positions.ok() ? *positions : std::vector<std::uint32_t>()) {
      store::DataService* const store = server_of(dataset, position);
      const auto found = store != nullptr ? store->seek({dataset.id, block}, within, hole, block_bytes)
                                          : Result<std::uint64_t>(out_of_reach(dataset, position));
      status = found.status();
      if (!found.ok()) continue;
      at = *found;
      break;
    }
    IMSS_RETURN_IF_ERROR(status);
    if (at < block_bytes) {
      const std::uint64_t found = (block - 1) * block_bytes + at;
      if (found < size) return found;
      break;
    }
    ++block;
    within = 0;
    if (hole || block > last) continue;
    IMSS_ASSIGN_OR_RETURN(block, next_stored(dataset, block, last));
    if (block == 0) break;
  }
  return hole ? Result<std::uint64_t>(size) : Code::kNotFound;
}

Status Session::allocate(Dataset& dataset, std::uint64_t offset, std::uint64_t bytes, bool keep_size) {
  // Copies follow one order of versions, which only writing gives.
  if (dataset.layout.replicas > 1) return Status(Code::kNotSupported, "datasets with copies get memory by writing");
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(dataset));
  const std::uint64_t end = offset + bytes;
  for (;;) {
    IMSS_RETURN_IF_ERROR(complete_truncation(dataset, *home));
    IMSS_ASSIGN_OR_RETURN(const store::Attributes before, home->attributes(dataset.id));
    for (std::uint64_t at = offset; at < end;) {
      const Part part = part_at(dataset.layout.block_bytes, at, end);
      IMSS_RETURN_IF_ERROR(announce(dataset, part.block));
      Status status;
      std::uint32_t position = 0;
      if (replicas_of(dataset, part.block, true, std::span(&position, 1), &status) == 0) return status;
      store::DataService* const store = server_of(dataset, position);
      if (store == nullptr) return out_of_reach(dataset, position);
      IMSS_RETURN_IF_ERROR(store->allocate({dataset.id, part.block}, part.offset, part.bytes,
                                           dataset.layout.block_bytes, before.generation));
      segment::fault_point("allocate.one_block");
      at += part.bytes;
    }
    IMSS_RETURN_IF_ERROR(home->extend_size(dataset.id, keep_size ? 0 : end));
    IMSS_ASSIGN_OR_RETURN(const store::Attributes after, home->attributes(dataset.id));
    if (after.generation == before.generation) return {};
  }
}

Status Session::grow(Dataset& dataset, std::uint64_t size) {
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(dataset));
  return home->extend_size(dataset.id, size);
}

Status Session::clear(Dataset& dataset, std::uint64_t offset, std::uint64_t bytes) {
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(dataset));
  IMSS_RETURN_IF_ERROR(complete_truncation(dataset, *home));
  IMSS_ASSIGN_OR_RETURN(const store::Attributes attributes, home->attributes(dataset.id));
  const std::uint64_t block_bytes = dataset.layout.block_bytes;
  // No block beyond was ever begun.
  const std::uint64_t stored_end = attributes.highest_block * block_bytes;
  const std::uint64_t end = std::min(offset + bytes, dataset.layout.replicas > 1 ? attributes.size : stored_end);
  if (dataset.layout.replicas > 1) {
    IMSS_RETURN_IF_ERROR(clear_copies(dataset, offset, end));
    return home->extend_size(dataset.id, 0);
  }
  for (std::uint64_t at = offset; at < end;) {
    const Part part = part_at(block_bytes, at, end);
    const std::uint64_t whole = part.bytes == block_bytes ? (end - at) / block_bytes : 0;
    for (std::uint32_t position = 0; position < dataset.layout.server_count; ++position) {
      store::DataService* const store = dataset.instance->stores[position].get();
      if (store == nullptr || store->lost()) continue;
      if (!store->serving()) return out_of_reach(dataset, position);
      IMSS_RETURN_IF_ERROR(whole != 0 ? store->erase_range(dataset.id, part.block, part.block + whole - 1)
                                      : store->clear({dataset.id, part.block}, part.offset, part.bytes));
    }
    segment::fault_point("clear.one_step");
    at += whole != 0 ? whole * block_bytes : part.bytes;
  }
  return home->extend_size(dataset.id, 0);  // stamps the time
}

// Zeros are written over what is stored, so that all copies follow one order of versions.
Status Session::clear_copies(Dataset& dataset, std::uint64_t offset, std::uint64_t end) {
  const std::uint64_t block_bytes = dataset.layout.block_bytes;
  const std::vector<std::byte> zeros(block_bytes);
  for (std::uint64_t at = offset; at < end;) {
    IMSS_ASSIGN_OR_RETURN(const std::uint64_t next, next_stored(dataset, 1 + at / block_bytes, 1 + (end - 1) / block_bytes));
    if (next == 0) break;
    at = std::max(at, (next - 1) * block_bytes);
    const Part part = part_at(block_bytes, at, end);
    IMSS_RETURN_IF_ERROR(write_replicated(dataset, part.block, part.offset, std::span(zeros).first(part.bytes)));
    at += part.bytes;
  }
  return {};
}

}  // namespace imss::client
