#include "client/remote_store.h"

#include "segment/segment.h"

namespace imss::client {

using net::Operation;
using segment::deadline_ms;
using store::BlockId;

namespace {

Status too_little() { return Status(Code::kIo, "a server answered with less than was asked for"); }

}  // namespace

Result<std::uint64_t> RemoteStore::put(BlockId id, std::span<const std::byte> content,
                                       store::PutOptions options) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kPut>({id.dataset, id.block, options.version,
                                                      options.expected_version, options.generation},
                                                     deadline_ms(), {content, {}, nullptr}));
  return reply.version;
}

Status RemoteStore::get(BlockId id, std::uint64_t offset, std::span<std::byte> out, bool* present) {
  if (out.empty() && present == nullptr) return {};
  Status status = get_once(id, offset, out, false, present);
  // The bytes changed while they were sent from where they are stored.
  if (status.code() == Code::kAgain) status = get_once(id, offset, out, true, present);
  return status.code() == Code::kAgain ? Status(Code::kIo, status.message()) : status;
}

Status RemoteStore::get_once(BlockId id, std::uint64_t offset, std::span<std::byte> out, bool copy,
                             bool* present) {
  std::size_t received = 0;
  const auto reply = server_.ask<Operation::kGet>({id.dataset, id.block, offset, out.size(), copy},
                                                  deadline_ms(), {{}, out, &received});
  if (!reply.ok()) return reply.status();
  if (received != out.size()) return too_little();
  if (present != nullptr) *present = reply->present;
  return {};
}

void RemoteStore::begin_get(Request& request, BlockId id, std::uint64_t offset,
                            std::span<std::byte> out) {
  server_.begin<Operation::kGet>(request.call, {id.dataset, id.block, offset, out.size(), false},
                                 request.deadline, {{}, out, nullptr});
}

Status RemoteStore::finish_get(Request& request) {
  const auto reply = server_.finish<Operation::kGet>(request.call, request.deadline);
  if (!reply.ok()) return reply.status();
  return request.call.reply_bytes == request.call.into.size() ? Status() : too_little();
}

void RemoteStore::begin_put(Request& request, BlockId id, std::span<const std::byte> content,
                            store::PutOptions options) {
  server_.begin<Operation::kPut>(
      request.call,
      {id.dataset, id.block, options.version, options.expected_version, options.generation},
      request.deadline, {content, {}, nullptr});
}

Status RemoteStore::finish_put(Request& request) {
  return server_.finish<Operation::kPut>(request.call, request.deadline).status();
}

Status RemoteStore::write(BlockId id, std::uint64_t offset, std::span<const std::byte> data,
                          std::uint64_t block_bytes, std::uint64_t generation) {
  if (data.empty()) return {};
  return server_
      .ask<Operation::kWrite>({id.dataset, id.block, offset, block_bytes, generation},
                              deadline_ms(), {data, {}, nullptr})
      .status();
}

Status RemoteStore::cut(BlockId id, std::uint64_t offset, std::uint64_t generation) {
  return server_.ask<Operation::kCut>({id.dataset, id.block, offset, generation}, deadline_ms())
      .status();
}

Status RemoteStore::erase(BlockId id) {
  return server_.ask<Operation::kErase>({id.dataset, id.block}, deadline_ms()).status();
}

Status RemoteStore::erase_range(std::uint64_t dataset, std::uint64_t first, std::uint64_t last,
                                std::uint64_t before) {
  if (first > last) return {};
  return server_.ask<Operation::kEraseRange>({dataset, first, last, before}, deadline_ms())
      .status();
}

Result<std::uint64_t> RemoteStore::version(BlockId id) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kVersion>({id.dataset, id.block}, deadline_ms()));
  return reply.version;
}

// A copy: memory of another node cannot be looked at.
Result<store::View> RemoteStore::view(BlockId id, std::uint64_t block_bytes) {
  std::shared_ptr<std::byte[]> copy(new std::byte[block_bytes]);
  IMSS_RETURN_IF_ERROR(get(id, 0, {copy.get(), block_bytes}));
  store::View view;
  view.bytes = {copy.get(), block_bytes};
  view.copy = std::move(copy);
  return view;
}

Status RemoteStore::begin_copies(BlockId id) {
  return server_.ask<Operation::kBeginCopies>({id.dataset, id.block}, deadline_ms()).status();
}

void RemoteStore::end_copies() {
  // Not heard, the server takes the block for torn and makes its copies equal once more.
  [[maybe_unused]] const auto ended = server_.ask<Operation::kEndCopies>({}, deadline_ms());
}

Status RemoteStore::repaired(BlockId id) {
  return server_.ask<Operation::kRepaired>({id.dataset, id.block}, deadline_ms()).status();
}

Status RemoteStore::create_inode(std::uint64_t dataset, const store::Attributes& attributes) {
  return server_.ask<Operation::kCreateInode>({dataset, attributes}, deadline_ms()).status();
}

Result<store::Attributes> RemoteStore::attributes(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kGetAttributes>({dataset}, deadline_ms()));
  return reply.attributes;
}

Status RemoteStore::change_attributes(std::uint64_t dataset, const store::AttributeChange& change) {
  return server_.ask<Operation::kChangeAttributes>({dataset, change}, deadline_ms()).status();
}

Status RemoteStore::extend_size(std::uint64_t dataset, std::uint64_t end) {
  return server_.ask<Operation::kExtendSize>({dataset, end}, deadline_ms()).status();
}

Status RemoteStore::announce_block(std::uint64_t dataset, std::uint64_t block) {
  return server_.ask<Operation::kAnnounceBlock>({dataset, block}, deadline_ms()).status();
}

Result<std::uint64_t> RemoteStore::reserve_append(std::uint64_t dataset, std::uint64_t bytes) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kReserveAppend>({dataset, bytes}, deadline_ms()));
  return reply.number;
}

namespace {

store::Truncation truncation_of(const net::TruncationFields& fields) {
  return {fields.size, fields.old_size, fields.generation, fields.pending};
}

}  // namespace

Result<store::Truncation> RemoteStore::begin_truncation(std::uint64_t dataset, std::uint64_t size) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kBeginTruncation>({dataset, size}, deadline_ms()));
  return truncation_of(reply);
}

Result<store::Truncation> RemoteStore::pending_truncation(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kPendingTruncation>({dataset}, deadline_ms()));
  return truncation_of(reply);
}

Status RemoteStore::finish_truncation(std::uint64_t dataset, const store::Truncation& truncation) {
  return server_
      .ask<Operation::kFinishTruncation>(
          {dataset,
           {truncation.size, truncation.old_size, truncation.generation, truncation.pending}},
          deadline_ms())
      .status();
}

Status RemoteStore::open(std::uint64_t dataset) {
  return server_.ask<Operation::kOpen>({dataset}, deadline_ms()).status();
}

Result<bool> RemoteStore::close(std::uint64_t dataset) {
  IMSS_ASSIGN_OR_RETURN(const auto reply, server_.ask<Operation::kClose>({dataset}, deadline_ms()));
  return reply.last;
}

Status RemoteStore::add_link(std::uint64_t dataset, std::uint64_t link) {
  return server_.ask<Operation::kAddLink>({dataset, link}, deadline_ms()).status();
}

Result<bool> RemoteStore::remove_link(std::uint64_t dataset, std::uint64_t link) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kRemoveLink>({dataset, link}, deadline_ms()));
  return reply.last;
}

Status RemoteStore::erase_inode(std::uint64_t dataset) {
  return server_.ask<Operation::kEraseInode>({dataset}, deadline_ms()).status();
}

Result<store::XattrValue> RemoteStore::xattr(std::uint64_t dataset, std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(
      auto reply, server_.ask<Operation::kReadXattr>({dataset, std::string(name)}, deadline_ms()));
  return std::move(reply.value);
}

Status RemoteStore::change_xattr(std::uint64_t dataset, const store::XattrChange& change) {
  return server_.ask<Operation::kChangeXattr>({dataset, change}, deadline_ms()).status();
}

Result<store::StoredBlocks> RemoteStore::stored(std::uint64_t dataset, std::uint64_t first,
                                                std::uint64_t last, bool only_first) {
  IMSS_ASSIGN_OR_RETURN(const auto reply, server_.ask<Operation::kStored>(
                                              {dataset, first, last, only_first}, deadline_ms()));
  return store::StoredBlocks{reply.bytes, reply.first};
}

Result<std::uint64_t> RemoteStore::seek(BlockId id, std::uint64_t offset, bool hole,
                                        std::uint64_t block_bytes) {
  IMSS_ASSIGN_OR_RETURN(const auto reply,
                        server_.ask<Operation::kSeekBlock>(
                            {id.dataset, id.block, offset, hole, block_bytes}, deadline_ms()));
  return reply.number;
}

Status RemoteStore::clear(BlockId id, std::uint64_t offset, std::uint64_t bytes) {
  return server_.ask<Operation::kClear>({id.dataset, id.block, offset, bytes}, deadline_ms())
      .status();
}

Status RemoteStore::allocate(BlockId id, std::uint64_t offset, std::uint64_t bytes,
                             std::uint64_t block_bytes, std::uint64_t generation) {
  return server_
      .ask<Operation::kAllocate>({id.dataset, id.block, offset, bytes, block_bytes, generation},
                                 deadline_ms())
      .status();
}

Status RemoteStore::note_allocated(std::uint64_t dataset, std::uint64_t noted) {
  return server_.ask<Operation::kNoteAllocated>({dataset, noted}, deadline_ms()).status();
}

Result<store::Space> RemoteStore::space() {
  IMSS_ASSIGN_OR_RETURN(const auto reply, server_.ask<Operation::kSpace>({}, deadline_ms()));
  return store::Space{reply.capacity_bytes, reply.used_bytes};
}

Status RemoteStore::settle() { return server_.ask<Operation::kSettle>({}, deadline_ms()).status(); }

}  // namespace imss::client
