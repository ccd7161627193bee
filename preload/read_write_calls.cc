// Bytes of open files, and their positions.
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <span>
#include <vector>

#include "calls.h"

namespace imss::preload {
namespace {

constexpr std::size_t kMostBytes = 0x7FFFF000;  // of one call, as in the kernel

// What is no file has no bytes. 0: go on.
int refused(const Description& description, bool writes) {
  if (description.kind == Kind::kPath) return EBADF;
  const int access_mode = description.flags & O_ACCMODE;
  if (writes ? access_mode == O_RDONLY : access_mode == O_WRONLY) return EBADF;
  return description.kind == Kind::kDirectory ? EISDIR : 0;
}

ssize_t read_bytes(InStore& guard, Description& description, void* buffer, std::size_t bytes, std::int64_t offset) {
  const auto got = description.file->read(static_cast<std::uint64_t>(offset), {static_cast<std::byte*>(buffer), bytes});
  return got.ok() ? static_cast<ssize_t>(*got) : guard.fail(got.status().error_number());
}

ssize_t write_bytes(InStore& guard, Description& description, const void* buffer, std::size_t bytes, std::int64_t offset) {
  const auto written =
      description.file->write(static_cast<std::uint64_t>(offset), {static_cast<const std::byte*>(buffer), bytes});
  return written.ok() ? static_cast<ssize_t>(*written) : guard.fail(written.status().error_number());
}

// One buffer after the other, until one is not filled.
template <typename One>
ssize_t each_buffer(const iovec* buffers, int count, One one) {
  if (count < 0 || count > IOV_MAX) {
    errno = EINVAL;
    return -1;
  }
  ssize_t total = 0;
  for (int i = 0; i < count; ++i) {
    if (buffers[i].iov_len == 0) continue;
    const ssize_t done = one(buffers[i].iov_base, buffers[i].iov_len, total);
    if (done < 0) return total > 0 ? total : -1;
    total += done;
    if (static_cast<std::size_t>(done) < buffers[i].iov_len) break;
  }
  return total;
}

// One call writes or appends its buffers together.
std::vector<std::byte> gather(const iovec* buffers, int count) {
  std::vector<std::byte> all;
  for (int i = 0; i < count; ++i) {
    const auto* const bytes = static_cast<const std::byte*>(buffers[i].iov_base);
    all.insert(all.end(), bytes, bytes + buffers[i].iov_len);
  }
  return all;
}

ssize_t write_all(int fd, Description& description, const iovec* buffers, int count, std::int64_t offset) {
  if (count < 0 || count > IOV_MAX) {
    errno = EINVAL;
    return -1;
  }
  const std::vector<std::byte> all = count == 1 ? std::vector<std::byte>() : gather(buffers, count);
  const void* const data = count == 1 ? buffers[0].iov_base : all.data();
  const std::size_t bytes = count == 1 ? buffers[0].iov_len : all.size();
  return offset < 0 ? write_ours(fd, description, data, bytes) : write_ours_at(description, data, bytes, offset);
}

ssize_t read_vector(int fd, Description& description, const iovec* buffers, int count, std::int64_t offset) {
  return each_buffer(buffers, count, [&](void* buffer, std::size_t bytes, ssize_t before) {
    return offset < 0 ? read_ours(fd, description, buffer, bytes) : read_ours_at(description, buffer, bytes, offset + before);
  });
}

}  // namespace

ssize_t read_ours(int fd, Description& description, void* buffer, std::size_t bytes) {
  InStore guard;
  if (const int error_number = refused(description, false); error_number != 0) return guard.fail(error_number);
  bytes = std::min(bytes, kMostBytes);
  if (bytes == 0) return 0;
  const auto wanted = static_cast<std::int64_t>(bytes);
  const std::int64_t from = take_range(fd, description, wanted);
  const ssize_t got = read_bytes(guard, description, buffer, bytes, from);
  if (got < wanted) give_back(fd, description, wanted - std::max<ssize_t>(got, 0));
  return got;
}

ssize_t write_ours(int fd, Description& description, const void* buffer, std::size_t bytes) {
  InStore guard;
  if (const int error_number = refused(description, true); error_number != 0) return guard.fail(error_number);
  bytes = std::min(bytes, kMostBytes);
  if (bytes == 0) return 0;
  if (description.appends.load(std::memory_order_relaxed)) {
    client::Session& session = *connected_view()->session;
    const auto at = session.append(description.file->dataset(), {static_cast<const std::byte*>(buffer), bytes});
    if (!at.ok()) return guard.fail(at.status().error_number());
    description.file->dataset().wrote = false;  // the append has stamped the time, see OpenFile::write()
    set_position(fd, description, static_cast<std::int64_t>(*at + bytes));
    return static_cast<ssize_t>(bytes);
  }
  const auto wanted = static_cast<std::int64_t>(bytes);
  const std::int64_t from = take_range(fd, description, wanted);
  const ssize_t written = write_bytes(guard, description, buffer, bytes, from);
  if (written < wanted) give_back(fd, description, wanted - std::max<ssize_t>(written, 0));
  return written;
}

ssize_t read_ours_at(Description& description, void* buffer, std::size_t bytes, std::int64_t offset) {
  InStore guard;
  if (const int error_number = refused(description, false); error_number != 0) return guard.fail(error_number);
  if (offset < 0) return guard.fail(EINVAL);
  if (bytes == 0) return 0;
  return read_bytes(guard, description, buffer, std::min(bytes, kMostBytes), offset);
}

// With O_APPEND at the end, as Linux does it.
ssize_t write_ours_at(Description& description, const void* buffer, std::size_t bytes, std::int64_t offset) {
  InStore guard;
  if (const int error_number = refused(description, true); error_number != 0) return guard.fail(error_number);
  if (offset < 0) return guard.fail(EINVAL);
  bytes = std::min(bytes, kMostBytes);
  if (bytes == 0) return 0;
  if (!description.appends.load(std::memory_order_relaxed)) return write_bytes(guard, description, buffer, bytes, offset);
  const auto at = connected_view()->session->append(description.file->dataset(), {static_cast<const std::byte*>(buffer), bytes});
  if (!at.ok()) return guard.fail(at.status().error_number());
  description.file->dataset().wrote = false;
  return static_cast<ssize_t>(bytes);
}

std::int64_t seek_ours(int fd, Description& description, std::int64_t offset, int whence) {
  InStore guard;
  if (description.kind == Kind::kPath) return guard.fail(EBADF);
  std::int64_t base = 0;
  if (whence == SEEK_CUR) {
    base = position(fd, description);
    if (offset == 0) return base;
  } else if (whence == SEEK_DATA || whence == SEEK_HOLE) {
    if (description.kind == Kind::kDirectory) return guard.fail(EINVAL);
    if (offset < 0) return guard.fail(ENXIO);
    const auto found = description.file->seek(static_cast<std::uint64_t>(offset), whence);
    if (!found.ok()) return guard.fail(found.status().error_number());
    base = static_cast<std::int64_t>(*found);
    offset = 0;
  } else if (whence == SEEK_END) {
    struct stat status = {};
    if (status_of_ours(description, &status) != 0) return guard.keep_errno(-1);
    base = description.kind == Kind::kDirectory ? 0 : status.st_size;
  } else if (whence != SEEK_SET) {
    return guard.fail(EINVAL);
  }
  std::int64_t target = 0;
  if (__builtin_add_overflow(base, offset, &target)) return guard.fail(EOVERFLOW);
  if (target < 0) return guard.fail(EINVAL);
  set_position(fd, description, target);
  return target;
}

}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

// Each of these is one of the store's for a number of the store, and the C library's for any other.
#define IMSS_BY_NUMBER(fd, ours, others)           \
  if (is_ours(fd)) [[unlikely]] {                  \
    if (const Use used = use(fd)) return ours;     \
  }                                                \
  return others

IMSS_INTERCEPT ssize_t read(int fd, void* buffer, size_t bytes) {
  IMSS_BY_NUMBER(fd, read_ours(fd, *used, buffer, bytes), IMSS_REAL(read)(fd, buffer, bytes));
}
IMSS_INTERCEPT ssize_t __read_chk(int fd, void* buffer, size_t bytes, size_t room) {
  if (bytes > room) __builtin_trap();
  IMSS_BY_NUMBER(fd, read_ours(fd, *used, buffer, bytes), IMSS_REAL(read)(fd, buffer, bytes));
}
IMSS_INTERCEPT ssize_t write(int fd, const void* buffer, size_t bytes) {
  IMSS_BY_NUMBER(fd, write_ours(fd, *used, buffer, bytes), IMSS_REAL(write)(fd, buffer, bytes));
}
IMSS_INTERCEPT ssize_t pread64(int fd, void* buffer, size_t bytes, off64_t offset) {
  IMSS_BY_NUMBER(fd, read_ours_at(*used, buffer, bytes, offset), IMSS_REAL(pread64)(fd, buffer, bytes, offset));
}
IMSS_INTERCEPT ssize_t pread(int fd, void* buffer, size_t bytes, off_t offset) {
  IMSS_BY_NUMBER(fd, read_ours_at(*used, buffer, bytes, offset), IMSS_REAL(pread64)(fd, buffer, bytes, offset));
}
IMSS_INTERCEPT ssize_t __pread_chk(int fd, void* buffer, size_t bytes, off_t offset, size_t room) {
  if (bytes > room) __builtin_trap();
  IMSS_BY_NUMBER(fd, read_ours_at(*used, buffer, bytes, offset), IMSS_REAL(pread64)(fd, buffer, bytes, offset));
}
IMSS_INTERCEPT ssize_t __pread64_chk(int fd, void* buffer, size_t bytes, off64_t offset, size_t room) {
  if (bytes > room) __builtin_trap();
  IMSS_BY_NUMBER(fd, read_ours_at(*used, buffer, bytes, offset), IMSS_REAL(pread64)(fd, buffer, bytes, offset));
}
IMSS_INTERCEPT ssize_t pwrite64(int fd, const void* buffer, size_t bytes, off64_t offset) {
  IMSS_BY_NUMBER(fd, write_ours_at(*used, buffer, bytes, offset), IMSS_REAL(pwrite64)(fd, buffer, bytes, offset));
}
IMSS_INTERCEPT ssize_t pwrite(int fd, const void* buffer, size_t bytes, off_t offset) {
  IMSS_BY_NUMBER(fd, write_ours_at(*used, buffer, bytes, offset), IMSS_REAL(pwrite64)(fd, buffer, bytes, offset));
}

IMSS_INTERCEPT ssize_t readv(int fd, const iovec* buffers, int count) {
  IMSS_BY_NUMBER(fd, read_vector(fd, *used, buffers, count, -1), IMSS_REAL(readv)(fd, buffers, count));
}
IMSS_INTERCEPT ssize_t writev(int fd, const iovec* buffers, int count) {
  IMSS_BY_NUMBER(fd, write_all(fd, *used, buffers, count, -1), IMSS_REAL(writev)(fd, buffers, count));
}
IMSS_INTERCEPT ssize_t preadv64(int fd, const iovec* buffers, int count, off64_t offset) {
  IMSS_BY_NUMBER(fd, offset < 0 ? (errno = EINVAL, -1) : read_vector(fd, *used, buffers, count, offset),
                 IMSS_REAL(preadv64)(fd, buffers, count, offset));
}
IMSS_INTERCEPT ssize_t preadv(int fd, const iovec* buffers, int count, off_t offset) {
  return preadv64(fd, buffers, count, offset);
}
IMSS_INTERCEPT ssize_t pwritev64(int fd, const iovec* buffers, int count, off64_t offset) {
  IMSS_BY_NUMBER(fd, offset < 0 ? (errno = EINVAL, -1) : write_all(fd, *used, buffers, count, offset),
                 IMSS_REAL(pwritev64)(fd, buffers, count, offset));
}
IMSS_INTERCEPT ssize_t pwritev(int fd, const iovec* buffers, int count, off_t offset) {
  return pwritev64(fd, buffers, count, offset);
}
// Flags ask for what is so anyway (RWF_DSYNC, RWF_HIPRI), or cannot be had.
IMSS_INTERCEPT ssize_t preadv64v2(int fd, const iovec* buffers, int count, off64_t offset, int flags) {
  IMSS_BY_NUMBER(fd, (flags & ~(RWF_HIPRI | RWF_NOWAIT)) != 0 || offset < -1
                         ? (errno = flags != 0 ? EOPNOTSUPP : EINVAL, -1)
                         : read_vector(fd, *used, buffers, count, offset),
                 IMSS_REAL(preadv64v2)(fd, buffers, count, offset, flags));
}
IMSS_INTERCEPT ssize_t preadv2(int fd, const iovec* buffers, int count, off_t offset, int flags) {
  return preadv64v2(fd, buffers, count, offset, flags);
}
IMSS_INTERCEPT ssize_t pwritev64v2(int fd, const iovec* buffers, int count, off64_t offset, int flags) {
  IMSS_BY_NUMBER(fd, (flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC)) != 0 || offset < -1
                         ? (errno = flags != 0 ? EOPNOTSUPP : EINVAL, -1)
                         : write_all(fd, *used, buffers, count, offset),
                 IMSS_REAL(pwritev64v2)(fd, buffers, count, offset, flags));
}
IMSS_INTERCEPT ssize_t pwritev2(int fd, const iovec* buffers, int count, off_t offset, int flags) {
  return pwritev64v2(fd, buffers, count, offset, flags);
}

IMSS_INTERCEPT off64_t lseek64(int fd, off64_t offset, int whence) noexcept {
  IMSS_BY_NUMBER(fd, seek_ours(fd, *used, offset, whence), IMSS_REAL(lseek64)(fd, offset, whence));
}
IMSS_INTERCEPT off_t lseek(int fd, off_t offset, int whence) noexcept {
  IMSS_BY_NUMBER(fd, seek_ours(fd, *used, offset, whence), IMSS_REAL(lseek64)(fd, offset, whence));
}
