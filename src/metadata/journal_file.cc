#include "metadata/journal_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <ctime>

#include "segment/fault.h"

namespace imss {
namespace {

constexpr std::array<std::string_view, 10> kSteps = {
    "journal.open.opened",       "journal.open.cut",        "journal.commit.begin",
    "journal.commit.written",    "journal.commit.synced",   "journal.snapshot.created",
    "journal.snapshot.streamed", "journal.snapshot.synced", "journal.snapshot.renamed",
    "journal.snapshot.named",
};

// How often the file may be replaced by its owner while we try to lock it.
constexpr int kLockAttempts = 16;

Status lock_error(int error_number, const std::string& path) {
  if (error_number == EWOULDBLOCK) {
    return Status(Code::kBusy,
                  "metadata file " + path +
                      " is in use by another server; stop that server or name another file");
  }
  return journal_file_error(error_number, "lock (the file system must support flock)", path);
}

}  // namespace

JournalFd& JournalFd::operator=(JournalFd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

JournalFd::~JournalFd() {
  if (fd_ >= 0) ::close(fd_);
}

std::span<const std::string_view> journal_steps() { return kSteps; }

int pass_journal_step(const JournalFault& fault, const char* name) {
  segment::fault_point(name);
  return fault ? fault(name) : 0;
}

Status journal_file_error(int error_number, std::string_view action, const std::string& path) {
  const std::string what = "cannot " + std::string(action) + " metadata file " + path;
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) {
    return Status(Code::kNoSpace, what + ": there is no room for it in its file system");
  }
  return Status::from_errno(error_number, what);
}

Result<LockedJournalFile> open_locked_journal_file(const std::string& path,
                                                   const JournalFault& fault) {
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    // O_NONBLOCK: a pipe of that name must not make us wait before we can refuse it.
    JournalFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
    if (fd.get() < 0) return journal_file_error(errno, "open", path);
    struct stat opened {};
    struct stat named {};
    if (::fstat(fd.get(), &opened) != 0) return journal_file_error(errno, "read", path);
    if (!S_ISREG(opened.st_mode)) {
      return Status(Code::kInvalidArgument,
                    path + " is not a regular file; name another metadata file");
    }
    const int injected = pass_journal_step(fault, "journal.open.opened");
    if (injected != 0) return lock_error(injected, path);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return lock_error(errno, path);
    // The owner may have replaced the file between open and lock: then we locked one without a
    // name.
    if (::stat(path.c_str(), &named) != 0 || named.st_dev != opened.st_dev ||
        named.st_ino != opened.st_ino) {
      continue;
    }
    if (::fstat(fd.get(), &opened) != 0) return journal_file_error(errno, "read", path);
    char* absolute = ::realpath(path.c_str(), nullptr);
    if (absolute == nullptr) return journal_file_error(errno, "find", path);
    LockedJournalFile file{std::move(fd), absolute, static_cast<std::uint64_t>(opened.st_size)};
    std::free(absolute);
    return file;
  }
  return Status(Code::kBusy,
                "metadata file " + path + " is being replaced by another server; stop that server");
}

Result<JournalFd> create_locked_journal_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return journal_file_error(errno, "replace", path);
  JournalFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) return journal_file_error(errno, "create", path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return lock_error(errno, path);
  return fd;
}

Status write_journal_file(const JournalFd& fd, std::uint64_t offset,
                          std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return journal_file_error(written < 0 ? errno : EIO, "write", path);
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return Status();
}

Status sync_journal_directory(const std::string& path) {
  const std::string directory = path.substr(0, path.find_last_of('/') + 1);
  const JournalFd fd(
      ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0)
    return journal_file_error(errno, "sync the directory of", path);
  return Status();
}

std::uint64_t journal_boot() {
  const JournalFd fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text{};
  const ssize_t bytes = fd.get() < 0 ? -1 : ::read(fd.get(), text.data(), text.size());
  if (bytes <= 0) return 0;
  std::uint64_t hash = 0xCBF29CE484222325;  // FNV-1a, 64 bits
  for (std::size_t i = 0; i < static_cast<std::size_t>(bytes); ++i) {
    hash = (hash ^ static_cast<unsigned char>(text[i])) * 0x100000001B3;
  }
  return hash == 0 ? 1 : hash;
}

std::uint32_t random_journal_seed() {
  std::uint32_t seed = 0;
  if (::getrandom(&seed, sizeof seed, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof seed)) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    seed = static_cast<std::uint32_t>(now.tv_nsec) ^ static_cast<std::uint32_t>(now.tv_sec << 8) ^
           static_cast<std::uint32_t>(::getpid() << 16);
  }
  return seed;
}

}  // namespace imss
