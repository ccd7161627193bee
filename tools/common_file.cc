#include "common_file.h"

#include <cerrno>

namespace imss::tools {

Status File::close() {
  const int fd = fd_;
  fd_ = -1;
  if (fd >= 0 && ::close(fd) != 0) return Status::from_errno(errno, "close");
  return {};
}

Status read_exactly(int fd, std::span<std::byte> out, std::uint64_t offset) {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::from_errno(errno, "cannot read the file");
    if (got == 0) return Status(Code::kIo, "the file became shorter while it was read");
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Status write_all(int fd, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t put = ::write(fd, data.data(), data.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Status::from_errno(errno, "cannot write the file");
    data = data.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Status write_all(int fd, std::string_view text) {
  return write_all(fd, std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace imss::tools
