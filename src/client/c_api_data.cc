// The C interface: blocks.
//
// get_data and set_data are the fast path: they announce themselves, load the session, find the
// dataset in the memory of their thread and execute on the mapped segment; no lock, no allocation.
#include <sys/stat.h>

#include <cstring>
#include <span>

#include <imss/imss.h>
#include "base/text.h"
#include "client/c_api_data.h"
#include "client/c_api_error.h"
#include "client/c_api_state.h"

using namespace imss;                 // NOLINT: this file defines the functions of imss.h
using namespace imss::client;         // NOLINT
using namespace imss::client::c_api;  // NOLINT

namespace {

Status bad_block(std::int32_t block) {
  return Status(Code::kInvalidArgument,
                concat("block ", std::to_string(block),
                       " is out of range; data blocks are numbered from 1 on"));
}

Status null_buffer() { return Status(Code::kInvalidArgument, "the buffer is a null pointer"); }

// Runs the body with the dataset of an id.
template <typename Body>
std::int32_t with_dataset(std::int32_t id, Body&& body) {
  return call([&]() -> decltype(body(std::declval<Session&>(), std::declval<Dataset&>())) {
    State& state = State::get();
    const Calls::Scope scope(state.calls, mark_of_dataset(id));
    Session* const session = state.session();
    if (session == nullptr) [[unlikely]] {
      return Status(Code::kBadHandle, concat("dataset id ", std::to_string(id), " is not open"));
    }
    const auto dataset = session->find(id);
    if (!dataset.ok()) [[unlikely]]
      return dataset.status();
    return body(*session, **dataset);
  });
}

std::span<std::byte> writable(void* buffer, std::uint64_t bytes) {
  return {static_cast<std::byte*>(buffer), bytes};
}
std::span<const std::byte> readable(const void* buffer, std::uint64_t bytes) {
  return {static_cast<const std::byte*>(buffer), bytes};
}

Status get_inner_metadata(Session& session, Dataset& dataset, void* buffer) {
  IMSS_ASSIGN_OR_RETURN(const store::Attributes attributes, session.attributes(dataset));
  imss_inner_metadata inner{};
  inner.layout_version = 1;
  inner.type = S_IFREG;
  inner.dataset_id = dataset.id;
  inner.size = attributes.size;
  inner.block_size_bytes = dataset.layout.block_bytes;
  inner.block_count = dataset.layout.block_count;
  inner.version = attributes.version;
  inner.mode = S_IFREG | attributes.mode;
  inner.uid = attributes.uid;
  inner.gid = attributes.gid;
  inner.link_count = static_cast<std::uint32_t>(attributes.links);
  inner.access_time_ns = static_cast<std::int64_t>(attributes.accessed_ns);
  inner.modification_time_ns = static_cast<std::int64_t>(attributes.modified_ns);
  inner.change_time_ns = static_cast<std::int64_t>(attributes.changed_ns);
  inner.creation_time_ns = static_cast<std::int64_t>(attributes.created_ns);
  std::memcpy(buffer, &inner, sizeof(inner));
  return {};
}

// Where a range begins. Errors: kInvalidArgument; the session checks the end.
Result<std::uint64_t> begin_of(off_t offset) {
  if (offset < 0) return Status(Code::kInvalidArgument, "an offset is not negative");
  return static_cast<std::uint64_t>(offset);
}

Status get_item(Session& session, Dataset& dataset, const imss_block_io& item) {
  if (item.size != 0)
    return get_range(session, dataset, item.block, item.buffer, item.size, item.offset);
  if (item.offset != 0) return Status(Code::kInvalidArgument, "a whole block begins at offset 0");
  if (item.block < 1) return bad_block(item.block);
  return get_block(session, dataset, item.block, item.buffer);
}

template <typename Execute>
std::int32_t each_item(std::int32_t id, imss_block_io* list, std::int32_t count, Execute execute) {
  return with_dataset(id, [&](Session& session, Dataset& dataset) -> Status {
    if (count < 0 || count > IMSS_BLOCK_LIST_MAX) {
      return Status(Code::kInvalidArgument,
                    concat("a list has 0 to 1048576 items, not ", std::to_string(count)));
    }
    if (list == nullptr && count > 0)
      return Status(Code::kInvalidArgument, "the list is a null pointer");
    Status first;
    for (std::int32_t index = 0; index < count; ++index) {
      const Status status = execute(session, dataset, list[index]);
      list[index].result_errno = errno_for(status);
      if (first.ok() && !status.ok()) first = status;
    }
    return first;
  });
}

}  // namespace

namespace imss::client::c_api {

Status check_set(const Dataset& dataset, std::int32_t block, const void* buffer, std::size_t size,
                 off_t offset) {
  IMSS_RETURN_IF_ERROR(check_get(dataset, block, buffer));
  if (block == 0)
    return Status(Code::kInvalidArgument,
                  "block 0 is the inner metadata; data blocks begin with 1");
  IMSS_ASSIGN_OR_RETURN(const std::uint64_t begin, begin_of(offset));
  const std::uint64_t block_bytes = dataset.layout.block_bytes;
  if (size == 0 && begin != 0)
    return Status(Code::kInvalidArgument, "a whole block (size 0) begins at offset 0");
  if (size > block_bytes || begin > block_bytes - size) {
    return Status(Code::kInvalidArgument, "the range reaches beyond the block");
  }
  return {};
}

Status check_get(const Dataset& dataset, std::int32_t block, const void* buffer) {
  if (buffer == nullptr) return null_buffer();
  if (block < 0) return bad_block(block);
  const std::uint64_t blocks = dataset.layout.block_count;
  if (blocks == 0 || static_cast<std::uint64_t>(block) <= blocks) return {};
  return Status(Code::kInvalidArgument,
                concat("block ", std::to_string(block), " is out of range; the last one is ",
                       std::to_string(blocks)));
}

Status get_block(Session& session, Dataset& dataset, std::int32_t block, void* buffer) {
  if (buffer == nullptr) [[unlikely]]
    return null_buffer();
  if (block < 1) [[unlikely]] {
    return block == 0 ? get_inner_metadata(session, dataset, buffer) : bad_block(block);
  }
  return session.get(dataset, static_cast<std::uint64_t>(block), 0,
                     writable(buffer, dataset.layout.block_bytes));
}

Status get_range(Session& session, Dataset& dataset, std::int32_t block, void* buffer,
                 std::size_t size, off_t offset) {
  if (buffer == nullptr) return null_buffer();
  if (block < 1) return bad_block(block);
  if (size == 0) return Status(Code::kInvalidArgument, "a range has at least 1 byte");
  IMSS_ASSIGN_OR_RETURN(const std::uint64_t begin, begin_of(offset));
  return session.get(dataset, static_cast<std::uint64_t>(block), begin, writable(buffer, size));
}

Status set_block_or_range(Session& session, Dataset& dataset, std::int32_t block,
                          const void* buffer, std::size_t size, off_t offset) {
  if (buffer == nullptr) [[unlikely]]
    return null_buffer();
  if (block < 1) [[unlikely]]
    return bad_block(block);
  const auto number = static_cast<std::uint64_t>(block);
  if (size == 0 && offset == 0) [[likely]] {
    return session.put(dataset, number, readable(buffer, dataset.layout.block_bytes));
  }
  if (size == 0) return Status(Code::kInvalidArgument, "a whole block (size 0) begins at offset 0");
  IMSS_ASSIGN_OR_RETURN(const std::uint64_t begin, begin_of(offset));
  return session.write(dataset, number, begin, readable(buffer, size));
}

}  // namespace imss::client::c_api

extern "C" {

int32_t get_data(int32_t id, int32_t block, void* buffer) {
  return with_dataset(id, [&](Session& session, Dataset& dataset) {
    return get_block(session, dataset, block, buffer);
  });
}

int32_t set_data(int32_t id, int32_t block, const void* buffer, size_t size, off_t offset) {
  return with_dataset(id, [&](Session& session, Dataset& dataset) {
    return set_block_or_range(session, dataset, block, buffer, size, offset);
  });
}

int32_t get_ndata(int32_t id, int32_t block, void* buffer, size_t size, off_t offset) {
  return with_dataset(id, [&](Session& session, Dataset& dataset) {
    return get_range(session, dataset, block, buffer, size, offset);
  });
}

int32_t set_ndata(int32_t id, int32_t block, const void* buffer, uint32_t size) {
  return with_dataset(id, [&](Session& session, Dataset& dataset) -> Status {
    if (buffer == nullptr) return null_buffer();
    if (block < 1) return bad_block(block);
    if (size == 0) return Status(Code::kInvalidArgument, "the content has at least 1 byte");
    return session.put(dataset, static_cast<std::uint64_t>(block), readable(buffer, size));
  });
}

int32_t get_datav(int32_t id, imss_block_io* list, int32_t count) {
  return each_item(id, list, count, get_item);
}

int32_t set_datav(int32_t id, imss_block_io* list, int32_t count) {
  return each_item(id, list, count,
                   [](Session& session, Dataset& dataset, const imss_block_io& item) {
                     return set_block_or_range(session, dataset, item.block, item.buffer, item.size,
                                               item.offset);
                   });
}

int32_t get_data_location(int32_t id, int32_t block, int32_t op) {
  return with_dataset(id, [&](Session& session, Dataset& dataset) -> Result<std::int32_t> {
    if (op != IMSS_LOCATION_GET && op != IMSS_LOCATION_SET) {
      return Status(Code::kInvalidArgument,
                    "the operation is IMSS_LOCATION_GET or IMSS_LOCATION_SET");
    }
    if (block < 1) return bad_block(block);
    IMSS_ASSIGN_OR_RETURN(
        const auto positions,
        session.locate(dataset, static_cast<std::uint64_t>(block), op == IMSS_LOCATION_SET));
    return static_cast<std::int32_t>(positions.front());
  });
}

}  // extern "C"
