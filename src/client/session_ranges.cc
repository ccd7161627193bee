// Byte ranges of datasets that grow: read, write, append and truncate over blocks.
//
// A range is cut at block boundaries; each piece goes where the policy says. Size and truncation follow the inode's
// size word: a writer looks at the truncate generation before and after it has copied, and repeats when a
// truncation came in between, so that nothing it acknowledges is lost.
#include <algorithm>
#include <vector>

#include "client/session_internal.h"
#include "segment/fault.h"

namespace imss::client {

namespace {

struct Piece {
  std::uint64_t block;  // counted from 1
  std::uint64_t offset;
  std::size_t bytes;
};

Piece first_piece(std::uint64_t block_bytes, std::uint64_t offset, std::size_t bytes) {
  const std::uint64_t within = offset % block_bytes;
  return {1 + offset / block_bytes, within, std::min<std::size_t>(bytes, block_bytes - within)};
}

}  // namespace

Result<store::DataService*> Session::home_of(const Dataset& dataset) {
  store::DataService* home = dataset.instance->stores[dataset.layout.home_server].get();
  if (home != nullptr && home->serving()) return home;
  return Status(Code::kIo, "the data server that holds the inode of " + format_uri(dataset.uri) + " is gone");
}

Result<std::size_t> Session::read_at(Dataset& dataset, std::uint64_t offset, std::span<std::byte> out,
                                     store::Attributes* seen) {
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(dataset));
  IMSS_ASSIGN_OR_RETURN(const store::Attributes attributes, home->attributes(dataset.id));
  if (seen != nullptr) *seen = attributes;
  if (offset >= attributes.size) return std::size_t{0};
  const std::size_t total = std::min<std::size_t>(out.size(), attributes.size - offset);
  const Piece first = first_piece(dataset.layout.block_bytes, offset, total);
  if (first.bytes == total) {
    IMSS_RETURN_IF_ERROR(get(dataset, first.block, first.offset, out.first(total)));
    return total;
  }
  std::vector<BlockRange> pieces;
  for (std::size_t done = 0; done < total;) {
    const Piece piece = first_piece(dataset.layout.block_bytes, offset + done, total - done);
    pieces.push_back({piece.block, piece.offset, out.subspan(done, piece.bytes), {}});
    done += piece.bytes;
  }
  IMSS_RETURN_IF_ERROR(get_list(dataset, pieces));
  return total;
}

Status Session::write_at(Dataset& dataset, std::uint64_t offset, std::span<const std::byte> data) {
  if (data.empty()) return {};
  if (offset > store::kSizeMask - data.size()) return Status(Code::kInvalidArgument, "a dataset holds less than 256 TiB");
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(dataset));
  for (;;) {
    IMSS_RETURN_IF_ERROR(complete_truncation(dataset, *home));
    IMSS_ASSIGN_OR_RETURN(const store::Attributes before, home->attributes(dataset.id));
    std::size_t done = 0;
    while (done < data.size()) {
      const Piece piece = first_piece(dataset.layout.block_bytes, offset + done, data.size() - done);
      IMSS_RETURN_IF_ERROR(write(dataset, piece.block, piece.offset, data.subspan(done, piece.bytes)));
      done += piece.bytes;
    }
    IMSS_RETURN_IF_ERROR(home->extend_size(dataset.id, offset + data.size()));
    IMSS_ASSIGN_OR_RETURN(const store::Attributes after, home->attributes(dataset.id));
    if (after.generation == before.generation) return {};
  }
}

Result<std::uint64_t> Session::append(Dataset& dataset, std::span<const std::byte> data) {
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(dataset));
  IMSS_ASSIGN_OR_RETURN(const std::uint64_t offset, home->reserve_append(dataset.id, data.size()));
  segment::fault_point("append.reserved");
  IMSS_RETURN_IF_ERROR(write_at(dataset, offset, data));
  return offset;
}

Status Session::truncate(Dataset& dataset, std::uint64_t size) {
  if (dataset.layout.block_count != 0) {
    return Status(Code::kInvalidArgument, format_uri(dataset.uri) + " has a fixed number of blocks");
  }
  IMSS_ASSIGN_OR_RETURN(store::DataService* const home, home_of(dataset));
  for (;;) {
    IMSS_RETURN_IF_ERROR(complete_truncation(dataset, *home));
    auto begun = home->begin_truncation(dataset.id, size);
    if (begun.code() == Code::kBusy) continue;  // another one began: complete that first
    if (!begun.ok()) return begun.status();
    segment::fault_point("truncate.begun");
    const Status status = begun->pending ? finish_truncation(dataset, *home, *begun) : Status();
    return status.code() == Code::kIo ? Status(Code::kUnknownOutcome, status.message()) : status;
  }
}

// Whoever comes across a truncation that somebody began finishes it, dead author or not.
Status Session::complete_truncation(Dataset& dataset, store::DataService& home) {
  IMSS_ASSIGN_OR_RETURN(const store::Truncation pending, home.pending_truncation(dataset.id));
  return pending.pending ? finish_truncation(dataset, home, pending) : Status();
}

Status Session::finish_truncation(Dataset& dataset, store::DataService& home,
                                  const store::Truncation& truncation) {
  const std::uint64_t block_bytes = dataset.layout.block_bytes;
  const std::uint64_t kept = (truncation.size + block_bytes - 1) / block_bytes;
  const std::uint64_t within = truncation.size % block_bytes;
  const std::uint64_t last = truncation.old_size == store::kSizeMask
                                 ? kLocationBit - 1
                                 : (truncation.old_size + block_bytes - 1) / block_bytes;
  for (std::uint32_t position = 0; position < dataset.layout.server_count; ++position) {
    store::DataService* const store = dataset.instance->stores[position].get();
    if (store == nullptr || store->lost()) continue;
    // What it has beyond the new size would be there again when the dataset grows.
    if (!store->serving()) return out_of_reach(dataset, position);
    if (within != 0) IMSS_RETURN_IF_ERROR(store->cut({dataset.id, kept}, within, truncation.generation));
    IMSS_RETURN_IF_ERROR(store->erase_range(dataset.id, kept + 1, last, truncation.generation));
    segment::fault_point("truncate.blocks_erased");
  }
  return home.finish_truncation(dataset.id, truncation);
}

}  // namespace imss::client
