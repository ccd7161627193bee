// What files take: statfs, st_blocks, holes, and memory ahead of need.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <vector>

#include "posix/file_system.h"

namespace imss::posix {

using metadata::EntryInfo;

namespace {

constexpr std::uint64_t kFewBlocks = 4;
constexpr std::uint64_t kCopyBytes = 1 << 20;
// An interrupt is looked for between calls.
constexpr std::uint64_t kMostCopied = 64 << 20;

Status check_range(std::uint64_t offset, std::uint64_t bytes) {
  if (bytes == 0) return Code::kInvalidArgument;
  if (offset > store::kSizeMask || bytes > store::kSizeMask - offset) return Status::from_errno(EFBIG, "fallocate");
  return {};
}

// Of a small file all of whose servers are mapped: looking is as cheap as knowing where to look.
std::optional<blkcnt_t> units_mapped(const EntryInfo& entry, const client::InstanceServers& servers, std::uint64_t last) {
  std::uint64_t bytes = 0;
  for (std::uint32_t position = 0; position < entry.layout.server_count; ++position) {
    store::Store* const store = servers.mapped[position];
    if (store == nullptr) return std::nullopt;
    const auto stored = store->stored(entry.id, 1, last, false);
    if (!stored.ok()) return std::nullopt;
    bytes += stored->bytes;
  }
  return static_cast<blkcnt_t>((bytes + store::kUnitBytes - 1) / store::kUnitBytes);
}

}  // namespace

Result<blkcnt_t> FileSystem::units_of(const EntryInfo& entry, const client::InstanceServers& servers,
                                      const store::Attributes& attributes) {
  if (const auto noted = attributes.noted_units()) return static_cast<blkcnt_t>(*noted);
  if (attributes.highest_block == 0 && attributes.block_count == 0) return blkcnt_t{0};
  if (attributes.highest_block <= kFewBlocks && attributes.block_count == 0) {
    if (const auto units = units_mapped(entry, servers, attributes.highest_block)) return *units;
  }
  IMSS_ASSIGN_OR_RETURN(const auto dataset, dataset_of(entry));
  IMSS_ASSIGN_OR_RETURN(const std::uint64_t units, session_.stored_units(*dataset, attributes));
  return static_cast<blkcnt_t>(units);
}

// A server that is out of reach counts as full.
Result<struct statvfs> FileSystem::space() {
  IMSS_ASSIGN_OR_RETURN(const auto servers, session_.instance(instance_));
  std::uint64_t total = 0;
  std::uint64_t used = 0;
  for (std::size_t position = 0; position < servers->stores.size(); ++position) {
    const auto& store = servers->stores[position];
    if (!store || store->lost()) continue;
    const std::uint64_t capacity = servers->servers[position].capacity_bytes;
    const auto said = store->serving() ? store->space() : Result<store::Space>(Code::kIo);
    total += said.ok() ? said->capacity_bytes : capacity;
    used += said.ok() ? said->used_bytes : capacity;
  }
  struct statvfs space = {};
  space.f_bsize = space.f_frsize = 4096;
  space.f_blocks = total / space.f_frsize;
  space.f_bfree = space.f_bavail = (total - std::min(used, total)) / space.f_frsize;
  space.f_namemax = kMaxNameBytes;
  return space;
}

Result<std::uint64_t> OpenFile::seek(std::uint64_t offset, int whence) const {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return Code::kInvalidArgument;
  auto found = session_.seek(*dataset_, offset, whence == SEEK_HOLE);
  if (found.code() == Code::kNotFound) return Status::from_errno(ENXIO, "lseek");
  return found;
}

Status OpenFile::allocate(int mode, std::uint64_t offset, std::uint64_t bytes) {
  if ((flags_ & O_ACCMODE) == O_RDONLY) return Code::kBadHandle;
  IMSS_RETURN_IF_ERROR(check_range(offset, bytes));
  const bool keeps_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  Status status = Code::kNotSupported;
  switch (mode & ~FALLOC_FL_KEEP_SIZE) {
    case 0:
      status = session_.allocate(*dataset_, offset, bytes, keeps_size);
      break;
    case FALLOC_FL_PUNCH_HOLE:
      if (keeps_size) status = session_.clear(*dataset_, offset, bytes);
      break;
    case FALLOC_FL_ZERO_RANGE:
      status = session_.clear(*dataset_, offset, bytes);
      // Files with copies have the zeros stored, as far as they had data.
      if (status.ok() && dataset_->layout.replicas == 1) status = session_.allocate(*dataset_, offset, bytes, keeps_size);
      if (status.ok() && dataset_->layout.replicas > 1 && !keeps_size) status = session_.grow(*dataset_, offset + bytes);
      break;
    default:
      break;
  }
  if (status.ok()) dataset_->wrote = false;  // stamped already
  return status;
}

Result<std::size_t> OpenFile::copy_to(OpenFile& to, std::uint64_t from_offset, std::uint64_t to_offset,
                                      std::uint64_t bytes) {
  if ((to.flags_ & O_APPEND) != 0) return Code::kBadHandle;
  bytes = std::min(bytes, kMostCopied);
  std::vector<std::byte> buffer(std::min(bytes, kCopyBytes));
  std::size_t copied = 0;
  while (copied < bytes) {
    const std::size_t piece = std::min<std::size_t>(buffer.size(), bytes - copied);
    const auto got = read(from_offset + copied, std::span(buffer).first(piece));
    if (!got.ok()) return copied != 0 ? Result<std::size_t>(copied) : got;
    if (*got == 0) break;
    const auto written = to.write(to_offset + copied, std::span(buffer).first(*got));
    if (!written.ok()) return copied != 0 ? Result<std::size_t>(copied) : written;
    copied += *got;
    if (*got < piece) break;
  }
  return copied;
}

}  // namespace imss::posix
