#include "base/file_text.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/text.h"

namespace imss {
namespace {

Result<std::string> read_all(int fd, const std::string& path, std::size_t limit_bytes) {
  std::string text;
  std::array<char, 16384> piece;
  for (;;) {
    const ssize_t got = read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::from_errno(errno, concat("cannot read ", path));
    if (got == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (text.size() > limit_bytes) {
      return Status(Code::kRange,
                    concat(path, " is longer than ", std::to_string(limit_bytes), " bytes"));
    }
  }
}

}  // namespace

Result<std::string> read_text_file(const std::string& path, std::size_t limit_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return Status(Code::kNotFound, concat("there is no file ", path));
  if (fd < 0) return Status::from_errno(errno, concat("cannot open ", path));
  Result<std::string> text = read_all(fd, path, limit_bytes);
  close(fd);
  return text;
}

}  // namespace imss
