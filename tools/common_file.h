// Files of the local file system: an owned descriptor, and reads and writes that are complete.
//
// Thread-owned. Errors: kSystem with the errno of the call; kIo when a file ends too early.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace imss::tools {

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  // Closes now and says whether everything was written.
  Status close();

 private:
  int fd_;
};

// Fills `out` from byte `offset` of the file.
Status read_exactly(int fd, std::span<std::byte> out, std::uint64_t offset);
// Writes all of it at the descriptor's position.
Status write_all(int fd, std::span<const std::byte> data);
Status write_all(int fd, std::string_view text);

}  // namespace imss::tools
