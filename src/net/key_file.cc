#include "net/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "base/text.h"

namespace imss::net {
namespace {

constexpr std::size_t kKeyChars = 40;
constexpr std::size_t kMaxFileBytes = 4096;
constexpr std::string_view kPublic = "public";
constexpr std::string_view kSecret = "secret";
constexpr std::string_view kComment =
    "# The key pair of an IMSS instance. Whoever can read this file can use and control the "
    "instance.\n";

bool is_key(std::string_view text) {
  constexpr std::string_view kPunctuation = ".-:+=^!/*?&<>()[]{}@%$#";  // of Z85
  return text.size() == kKeyChars && std::ranges::all_of(text, [&](char c) {
           return is_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'z') ||
                  kPunctuation.find(c) != std::string_view::npos;
         });
}

Status not_a_key_file(const std::string& path) {
  return Status(Code::kCorrupt,
                concat(path,
                       " is not a key file: it needs a line 'public KEY' and a line "
                       "'secret KEY', with keys of 40 characters"));
}

// Looks at the opened file, not at its name, which may have been given to another file meanwhile.
Status check_private(int fd, const std::string& path) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return Status::from_errno(errno, concat("cannot look at ", path));
  if (!S_ISREG(info.st_mode)) return not_a_key_file(path);
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Status(Code::kPermission, concat("others than its owner can use the key file ", path,
                                            ": run chmod 600 ", path));
  }
  return {};
}

Result<ControlKeys> read_open(int fd, const std::string& path) {
  IMSS_RETURN_IF_ERROR(check_private(fd, path));
  std::array<char, kMaxFileBytes + 1> text;
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const ssize_t got = read(fd, text.data() + bytes, text.size() - bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::from_errno(errno, concat("cannot read ", path));
    if (got == 0) break;
    bytes += static_cast<std::size_t>(got);
  }
  if (bytes > kMaxFileBytes) return not_a_key_file(path);
  return parse_keys({text.data(), bytes}, path);
}

Status write_open(int fd, std::string_view text, const std::string& path) {
  // The mode given to open() is cut by the umask, which may be stranger than it should be.
  if (fchmod(fd, S_IRUSR | S_IWUSR) != 0)
    return Status::from_errno(errno, concat("cannot protect ", path));
  while (!text.empty()) {
    const ssize_t put = write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Status::from_errno(errno, concat("cannot write ", path));
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  if (fsync(fd) != 0) return Status::from_errno(errno, concat("cannot write ", path));
  return {};
}

}  // namespace

Result<ControlKeys> parse_keys(std::string_view text, const std::string& path) {
  ControlKeys keys;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    const std::size_t blank = std::min(line.find_first_of(" \t"), line.size());
    const std::string_view value = trim(line.substr(blank));
    std::string* key = nullptr;
    if (line.substr(0, blank) == kPublic) key = &keys.public_key;
    if (line.substr(0, blank) == kSecret) key = &keys.secret_key;
    if (key == nullptr || !key->empty() || !is_key(value)) return not_a_key_file(path);
    *key = value;
  }
  if (keys.public_key.empty() || keys.secret_key.empty()) return not_a_key_file(path);
  return keys;
}

Result<ControlKeys> read_key_file(const std::string& path) {
  // Without waiting, should it be a pipe.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT)
    return Status(Code::kNotFound, concat("there is no key file ", path));
  if (fd < 0) return Status::from_errno(errno, concat("cannot open the key file ", path));
  Result<ControlKeys> keys = read_open(fd, path);
  close(fd);
  return keys;
}

Status write_key_file(const std::string& path, const ControlKeys& keys) {
  if (!is_key(keys.public_key) || !is_key(keys.secret_key)) {
    return Status(Code::kInvalidArgument, "the keys are not two keys of 40 characters");
  }
  const std::string text =
      concat(kComment, kPublic, " ", keys.public_key, "\n", kSecret, " ", keys.secret_key, "\n");
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (fd < 0 && errno == EEXIST) {
    return Status(Code::kExists, concat(path, " is there already and is not overwritten"));
  }
  if (fd < 0) return Status::from_errno(errno, concat("cannot make the key file ", path));
  Status status = write_open(fd, text, path);
  if (close(fd) != 0 && status.ok())
    status = Status::from_errno(errno, concat("cannot write ", path));
  if (!status.ok()) unlink(path.c_str());
  return status;
}

}  // namespace imss::net
