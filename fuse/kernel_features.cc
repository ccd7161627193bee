#include "kernel_features.h"

#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace imss::fuse {
namespace {

// Bit 36 of the flags, in their second word.
constexpr std::uint32_t kDirectIoAllowMmap = 1U << 4;

}  // namespace

bool KernelFeatures::attach(fuse_session* session) {
  fuse_custom_io io = {};
  io.read = read;
  io.writev = write;
  return fuse_session_custom_io(session, &io, fuse_session_fd(session)) == 0;
}

ssize_t KernelFeatures::read(int fd, void* buffer, size_t bytes, void* door) {
  KernelFeatures& self = static_cast<Door*>(door)->features;
  const ssize_t got = ::read(fd, buffer, bytes);
  if (self.agreed_.load(std::memory_order_relaxed)) [[likely]] return got;
  struct {
    fuse_in_header head;
    fuse_init_in init;
  } request = {};
  if (got < static_cast<ssize_t>(sizeof(request))) return got;
  std::memcpy(&request, buffer, sizeof(request));
  if (request.head.opcode == FUSE_INIT && (request.init.flags & FUSE_INIT_EXT) != 0) {
    self.maps_offered_ = (request.init.flags2 & kDirectIoAllowMmap) != 0;
  }
  return got;
}

ssize_t KernelFeatures::write(int fd, iovec* parts, int count, void* door) {
  KernelFeatures& self = static_cast<Door*>(door)->features;
  if (!self.agreed_.exchange(true, std::memory_order_relaxed) && self.maps_offered_ && count == 2 &&
      parts[1].iov_len == sizeof(fuse_init_out)) {
    fuse_init_out answer;
    std::memcpy(&answer, parts[1].iov_base, sizeof(answer));
    answer.flags |= FUSE_INIT_EXT;
    answer.flags2 |= kDirectIoAllowMmap;
    iovec changed[] = {parts[0], {&answer, sizeof(answer)}};
    return ::writev(fd, changed, 2);
  }
  return ::writev(fd, parts, count);
}

}  // namespace imss::fuse
