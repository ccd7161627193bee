// Block input and output: placement, copies, and the seam between mapped and other servers.
#include <algorithm>
#include <cstring>
#include <vector>

#include "client/session_internal.h"
#include "segment/fault.h"

namespace imss::client {

using store::BlockId;
using store::DataService;
using store::Store;

namespace {

constexpr std::uint32_t kMaxCopies = 3;

Status out_of_range(const Dataset& dataset, std::uint64_t block) {
  return Status(Code::kInvalidArgument, "block " + std::to_string(block) + " of " + format_uri(dataset.uri) +
                                            " is out of range; its data blocks are 1 to " +
                                            std::to_string(dataset.layout.block_count));
}

bool in_range(const Dataset& dataset, std::uint64_t block) {
  return block >= 1 && block < kLocationBit &&
         (dataset.layout.block_count == 0 || block <= dataset.layout.block_count);
}

// Null: it cannot be reached.
DataService* served(const Dataset& dataset, std::uint32_t position) {
  DataService* store = dataset.instance->stores[position].get();
  return store != nullptr && store->serving() ? store : nullptr;
}

Result<DataService*> reach(const Dataset& dataset, std::uint32_t position) {
  DataService* store = served(dataset, position);
  if (store == nullptr) return out_of_reach(dataset, position);
  return store;
}

// The seam: on a server whose segment is mapped this thread executes the call, any other one is sent it. The call
// takes either class, so that the compiler sees through the one that executes.
template <typename Call>
auto execute(const Dataset& dataset, std::uint32_t position, Call&& call) -> decltype(call(std::declval<Store&>())) {
  Store* const store = dataset.instance->mapped[position];
  if (store != nullptr) [[likely]] {
    if (!store->serving()) return out_of_reach(dataset, position);
    return call(*store);
  }
  DataService* const remote = served(dataset, position);
  if (remote == nullptr) return out_of_reach(dataset, position);
  return call(*remote);
}

// A copy of a block that is about to be written; null when that copy is gone for good. Errors: kIo for a server that may
// come back: it would be read from there, so nothing is written without it.
Result<DataService*> copy_to_write(const Dataset& dataset, std::uint32_t position) {
  DataService* const store = dataset.instance->stores[position].get();
  if (store == nullptr || store->lost()) return static_cast<DataService*>(nullptr);
  if (!store->serving()) return out_of_reach(dataset, position);
  return store;
}

// Looked at before the first copy is written, so that what cannot be done as a whole changes nothing.
Status check_copies(const Dataset& dataset, std::span<const std::uint32_t> positions) {
  for (const std::uint32_t position : positions) IMSS_RETURN_IF_ERROR(copy_to_write(dataset, position).status());
  return {};
}

// Says in the first copy's segment that further copies are on their way, until destroyed.
class CopyIntent {
 public:
  ~CopyIntent() { end(); }
  Status begin(const Dataset& dataset, std::uint32_t position, BlockId id) {
    end();
    DataService& store = *dataset.instance->stores[position];
    IMSS_RETURN_IF_ERROR(store.begin_copies(id));
    store_ = &store;
    mapped_ = dataset.instance->mapped[position];
    id_ = id;
    return {};
  }
  // What comes of a write that ends with `why`. When some copies may be new and others old, a server makes them equal once
  // all can be reached; a server on another node notices that the intent is not ended.
  Status failed(const Status& why, std::uint32_t written) {
    if (written == 0 && !may_be_applied(why)) return why;
    if (mapped_ != nullptr) {
      [[maybe_unused]] const Status noted = mapped_->note_torn(id_);  // without a place it is lost
      end();
    }
    store_ = nullptr;
    if (written == 0) return why;
    return Status(Code::kUnknownOutcome, "a copy of the block could not be written: " + why.message());
  }

 private:
  void end() {
    if (store_ != nullptr) store_->end_copies();
    store_ = nullptr;
  }
  DataService* store_ = nullptr;
  Store* mapped_ = nullptr;
  BlockId id_;
};

}  // namespace

// LOCAL: where the block is, or for a write where it shall be.
Result<std::uint32_t> Session::recorded_location(const Dataset& dataset, std::uint64_t block, bool writing) {
  const std::uint32_t server_count = dataset.layout.server_count;
  IMSS_ASSIGN_OR_RETURN(DataService* const home, reach(dataset, dataset.layout.home_server));
  const BlockId record{dataset.id, block | kLocationBit};
  for (;;) {
    std::uint32_t position = 0;
    bool present = false;
    IMSS_RETURN_IF_ERROR(home->get(record, 0, std::as_writable_bytes(std::span(&position, 1)), &present));
    if (present) return position < server_count ? position : Result<std::uint32_t>(Code::kCorrupt);
    if (!writing) return kNoLocalServer;
    position = dataset.instance->local_position;
    // A writer without a server of the dataset on its node: recorded all the same, or the next writer would look
    // for the block elsewhere.
    if (position >= server_count) position = dataset.layout.home_server;
    store::PutOptions options;
    options.expected_version = 0;  // the first writer decides
    auto put = home->put(record, std::as_bytes(std::span(&position, 1)), options);
    if (put.ok()) return position;
    if (put.code() != Code::kBusy) return put.status();
  }
}

std::uint32_t Session::replicas_of(const Dataset& dataset, std::uint64_t block, bool writing,
                                   std::span<std::uint32_t> out, Status* status) {
  // With one server every policy says the same.
  if (dataset.layout.server_count == 1) {
    out[0] = 0;
    return 1;
  }
  const auto policy = static_cast<Policy>(dataset.layout.policy);
  PlacementInput input{dataset.id, block, dataset.layout.block_count};
  if (policy == Policy::kLocal) {
    auto position = recorded_location(dataset, block, writing);
    if (!position.ok()) {
      *status = position.status();
      return 0;
    }
    input.local_index = *position;
  }
  return place_block(dataset, input, out);
}

std::uint32_t Session::place_block(const Dataset& dataset, const PlacementInput& input,
                                   std::span<std::uint32_t> out) {
  const std::span<const ServerWeight> servers(dataset.instance->weights.data(), dataset.layout.server_count);
  return place(static_cast<Policy>(dataset.layout.policy), input, servers,
               out.first(std::min<std::size_t>(out.size(), dataset.layout.replicas)));
}

// The truncate generation to write under. Datasets with a fixed number of blocks are not truncated while in use.
Result<std::uint64_t> Session::generation_of(const Dataset& dataset) {
  if (dataset.layout.block_count != 0) return std::uint64_t{0};
  IMSS_ASSIGN_OR_RETURN(DataService* const home, reach(dataset, dataset.layout.home_server));
  IMSS_ASSIGN_OR_RETURN(const store::Attributes attributes, home->attributes(dataset.id));
  return attributes.generation;
}

// Tells the home server of a dataset that grows that the block may exist from now on.
Status Session::announce(Dataset& dataset, std::uint64_t block) {
  std::uint64_t known = dataset.announced.load(std::memory_order_relaxed);
  if (dataset.layout.block_count != 0 || block <= known) return {};
  IMSS_ASSIGN_OR_RETURN(DataService* const home, reach(dataset, dataset.layout.home_server));
  IMSS_RETURN_IF_ERROR(home->announce_block(dataset.id, block));
  while (known < block && !dataset.announced.compare_exchange_weak(known, block, std::memory_order_relaxed)) {
  }
  return {};
}

Status Session::put(Dataset& dataset, std::uint64_t block, std::span<const std::byte> content) {
  if (!in_range(dataset, block)) return out_of_range(dataset, block);
  if (content.size() > dataset.layout.block_bytes) {
    return Status(Code::kInvalidArgument, "the content is larger than the block");
  }
  IMSS_RETURN_IF_ERROR(announce(dataset, block));
  Status status;
  std::uint32_t positions[kMaxCopies];
  const std::uint32_t copies = replicas_of(dataset, block, true, positions, &status);
  if (!status.ok()) return status;
  // The first replica that can be reached gives the version; the others follow it.
  store::PutOptions options;
  IMSS_ASSIGN_OR_RETURN(options.generation, generation_of(dataset));
  std::uint32_t written = 0;
  CopyIntent intent;
  if (copies > 1) IMSS_RETURN_IF_ERROR(check_copies(dataset, std::span(positions).first(copies)));
  for (std::uint32_t i = 0; i < copies; ++i) {
    if (copies > 1) {
      const auto copy = copy_to_write(dataset, positions[i]);
      if (!copy.ok()) return intent.failed(copy.status(), written);
      if (*copy == nullptr) {
        status = out_of_reach(dataset, positions[i]);
        continue;
      }
      if (written == 0) IMSS_RETURN_IF_ERROR(intent.begin(dataset, positions[i], {dataset.id, block}));
    }
    auto version = execute(dataset, positions[i], [&](auto& store) -> Result<std::uint64_t> {
      return store.put({dataset.id, block}, content, options);
    });
    if (version.code() == Code::kFenced && copies > 1) {
      status = version.status();
      continue;
    }
    if (!version.ok()) return intent.failed(version.status(), written);
    options.version = *version;
    ++written;
    segment::fault_point("replicas.one_written");
  }
  if (written == 0) return status;
  // Looked at first: a store would take the line away from all threads that use the dataset.
  if (!dataset.wrote.load(std::memory_order_relaxed)) dataset.wrote.store(true, std::memory_order_relaxed);
  if (dataset.layout.block_count != 0) return {};
  IMSS_ASSIGN_OR_RETURN(DataService* const home, reach(dataset, dataset.layout.home_server));
  return home->extend_size(dataset.id, (block - 1) * dataset.layout.block_bytes + content.size());
}

Status Session::get(Dataset& dataset, std::uint64_t block, std::uint64_t offset, std::span<std::byte> out) {
  if (!in_range(dataset, block)) return out_of_range(dataset, block);
  if (offset > dataset.layout.block_bytes || out.size() > dataset.layout.block_bytes - offset) {
    return Status(Code::kInvalidArgument, "the range reaches beyond the block");
  }
  Status status;
  std::uint32_t positions[kMaxCopies];
  const std::uint32_t copies = replicas_of(dataset, block, false, positions, &status);
  if (!status.ok()) return status;
  for (std::uint32_t i = 0; i < copies; ++i) {
    status = execute(dataset, positions[i],
                     [&](auto& store) -> Status { return store.get({dataset.id, block}, offset, out); });
    if (status.ok() || !unreachable(status)) return status;
  }
  return status;
}

Status Session::write(Dataset& dataset, std::uint64_t block, std::uint64_t offset,
                      std::span<const std::byte> data) {
  if (!in_range(dataset, block)) return out_of_range(dataset, block);
  if (offset > dataset.layout.block_bytes || data.size() > dataset.layout.block_bytes - offset) {
    return Status(Code::kInvalidArgument, "the range reaches beyond the block");
  }
  IMSS_RETURN_IF_ERROR(announce(dataset, block));
  if (dataset.layout.replicas > 1) {
    IMSS_RETURN_IF_ERROR(write_replicated(dataset, block, offset, data));
  } else {
    Status status;
    std::uint32_t position = 0;
    if (replicas_of(dataset, block, true, std::span(&position, 1), &status) == 0) return status;
    IMSS_ASSIGN_OR_RETURN(const std::uint64_t generation, generation_of(dataset));
    IMSS_RETURN_IF_ERROR(execute(dataset, position, [&](auto& store) -> Status {
      return store.write({dataset.id, block}, offset, data, dataset.layout.block_bytes, generation);
    }));
  }
  // Looked at first: a store would take the line away from all threads that use the dataset.
  if (!dataset.wrote.load(std::memory_order_relaxed)) dataset.wrote.store(true, std::memory_order_relaxed);
  if (dataset.layout.block_count != 0) return {};
  IMSS_ASSIGN_OR_RETURN(DataService* const home, reach(dataset, dataset.layout.home_server));
  return home->extend_size(dataset.id, (block - 1) * dataset.layout.block_bytes + offset + data.size());
}

// With copies a ranged write replaces the whole block, so that all copies follow one order of versions.
Status Session::write_replicated(Dataset& dataset, std::uint64_t block, std::uint64_t offset,
                                 std::span<const std::byte> data) {
  Status status;
  std::uint32_t positions[kMaxCopies];
  const std::uint32_t copies = replicas_of(dataset, block, true, positions, &status);
  if (!status.ok()) return status;
  std::vector<std::byte> content(dataset.layout.block_bytes);
  store::PutOptions options;
  IMSS_ASSIGN_OR_RETURN(options.generation, generation_of(dataset));
  std::uint32_t written = 0;
  CopyIntent intent;
  IMSS_RETURN_IF_ERROR(check_copies(dataset, std::span(positions).first(copies)));
  for (std::uint32_t i = 0; i < copies; ++i) {
    const auto copy = copy_to_write(dataset, positions[i]);
    if (!copy.ok()) return intent.failed(copy.status(), written);
    if (*copy == nullptr) {
      status = out_of_reach(dataset, positions[i]);
      continue;
    }
    DataService& store = **copy;
    if (written == 0) IMSS_RETURN_IF_ERROR(intent.begin(dataset, positions[i], {dataset.id, block}));
    for (;;) {
      if (written == 0) {
        // The version is read before the content: a put in between makes the conditional put fail.
        IMSS_ASSIGN_OR_RETURN(options.expected_version, store.version({dataset.id, block}));
        IMSS_RETURN_IF_ERROR(store.get({dataset.id, block}, 0, content));
        std::memcpy(content.data() + offset, data.data(), data.size());
      }
      auto version = store.put({dataset.id, block}, content, options);
      if (version.code() == Code::kBusy) continue;
      if (version.code() == Code::kFenced) {
        status = version.status();
        break;
      }
      if (!version.ok()) return intent.failed(version.status(), written);
      options.expected_version = store::kAnyVersion;
      options.version = *version;
      ++written;
      break;
    }
  }
  return written == 0 ? status : Status();
}

Result<store::View> Session::view(Dataset& dataset, std::uint64_t block) {
  if (!in_range(dataset, block)) return out_of_range(dataset, block);
  IMSS_RETURN_IF_ERROR(announce(dataset, block));  // a view makes the block
  Status status;
  std::uint32_t positions[kMaxCopies];
  const std::uint32_t copies = replicas_of(dataset, block, false, positions, &status);
  if (!status.ok()) return status;
  for (std::uint32_t i = 0; i < copies; ++i) {
    auto store = reach(dataset, positions[i]);
    if (store.ok()) return (*store)->view({dataset.id, block}, dataset.layout.block_bytes);
    status = store.status();
  }
  return status;
}

// LOCAL: the recorded position, kNoLocalServer for a block that was never written.
Result<std::uint32_t> Session::known_location(const Dataset& dataset, std::uint64_t block) {
  if (dataset.layout.server_count != 1) return recorded_location(dataset, block, false);
  // With one server nothing is recorded.
  IMSS_ASSIGN_OR_RETURN(DataService* const only, reach(dataset, 0));
  IMSS_ASSIGN_OR_RETURN(const std::uint64_t version, only->version({dataset.id, block}));
  return version != 0 ? 0 : kNoLocalServer;
}

Result<std::vector<std::uint32_t>> Session::locate(Dataset& dataset, std::uint64_t block, bool writing) {
  if (!in_range(dataset, block)) return out_of_range(dataset, block);
  PlacementInput input{dataset.id, block, dataset.layout.block_count};
  if (static_cast<Policy>(dataset.layout.policy) == Policy::kLocal) {
    IMSS_ASSIGN_OR_RETURN(input.local_index, known_location(dataset, block));
    if (input.local_index == kNoLocalServer && !writing) {
      return Status(Code::kNotFound, "block " + std::to_string(block) + " of " + format_uri(dataset.uri) +
                                         " was never written, so it is nowhere yet");
    }
    // Asking is not writing: nothing is recorded.
    if (input.local_index == kNoLocalServer) input.local_index = dataset.instance->local_position;
    if (input.local_index >= dataset.layout.server_count) input.local_index = dataset.layout.home_server;
  }
  std::uint32_t positions[kMaxCopies];
  const std::uint32_t copies = place_block(dataset, input, positions);
  return std::vector<std::uint32_t>(positions, positions + copies);
}

}  // namespace imss::client
