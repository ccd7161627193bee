#include "space_operations.h"

#include "requests.h"

namespace imss::fuse {

namespace {

void seek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info* info) {
  const auto found = file_of(info)->seek(static_cast<std::uint64_t>(offset), whence);
  if (!found.ok()) return reply(request, found.status());
  fuse_reply_lseek(request, static_cast<off_t>(*found));
}

void allocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t bytes, fuse_file_info* info) {
  reply(request, file_of(info)->allocate(mode, static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(bytes)));
}

void copy(fuse_req_t request, fuse_ino_t, off_t from_offset, fuse_file_info* from, fuse_ino_t, off_t to_offset,
          fuse_file_info* to, std::size_t bytes, int) {
  const auto copied = file_of(from)->copy_to(*file_of(to), static_cast<std::uint64_t>(from_offset),
                                             static_cast<std::uint64_t>(to_offset), bytes);
  if (!copied.ok()) return reply(request, copied.status());
  fuse_reply_write(request, *copied);
}

void space(fuse_req_t request, fuse_ino_t) {
  const auto space = files(request).space();
  if (!space.ok()) return reply(request, space.status());
  fuse_reply_statfs(request, &*space);
}

}  // namespace

void add_space_operations(fuse_lowlevel_ops& table) {
  table.lseek = seek;
  table.fallocate = allocate;
  table.copy_file_range = copy;
  table.statfs = space;
}

}  // namespace imss::fuse
