// System calls on the metadata file: the descriptor, the lock, whole writes, durable names.
//
// A JournalFd has one owner. The functions keep no state and may be called from any thread. Errors
// carry the name of the file; kNoSpace stands for a full file system, a quota and a limit on the
// file size alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace imss {

// Closes its descriptor, and so drops the lock on it.
class JournalFd {
 public:
  JournalFd() = default;
  explicit JournalFd(int fd) : fd_(fd) {}
  JournalFd(JournalFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  JournalFd& operator=(JournalFd&& other) noexcept;
  ~JournalFd();
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// Named points between the steps that reach the disk, in the order of docs/metadata_file.md. The
// function may end the process, or return an errno for the step to fail with; 0 goes on.
using JournalFault = std::function<int(std::string_view step)>;
std::span<const std::string_view> journal_steps();
// Passes the step `name`, also as a fault point of that name. Returns the errno to fail with, or 0.
int pass_journal_step(const JournalFault& fault, const char* name);

struct LockedJournalFile {
  JournalFd fd;
  std::string path;  // absolute, without symbolic links: it means the same file after a chdir
  std::uint64_t bytes = 0;
};

// Opens `path` for reading and writing, creates it empty (mode 0600) when absent, and takes the
// lock. Errors: kBusy when another process holds the lock, kInvalidArgument when it is no regular
// file, kSystem.
Result<LockedJournalFile> open_locked_journal_file(const std::string& path,
                                                   const JournalFault& fault);

// Creates the file `path` anew, also over an old one, and takes the lock on it. Errors: kSystem,
// kNoSpace.
Result<JournalFd> create_locked_journal_file(const std::string& path);

// Writes all of `bytes` at `offset`, or says why not; a part may be in the file then.
Status write_journal_file(const JournalFd& fd, std::uint64_t offset,
                          std::span<const std::byte> bytes, const std::string& path);

// Makes the directory entry of `path` durable.
Status sync_journal_directory(const std::string& path);

// Status of a failed step on the metadata file, with the errno given.
Status journal_file_error(int error_number, std::string_view action, const std::string& path);

// A number for this run of the kernel: what the page cache held is lost only when it changes. 0
// when unknown.
std::uint64_t journal_boot();

std::uint32_t random_journal_seed();

}  // namespace imss
