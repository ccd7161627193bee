// What the kernel's FUSE can do and this libfuse does not know: shared mappings of files whose reads and writes pass the
// page cache by. Before Linux 6.6 mmap with MAP_SHARED is ENODEV on such files.
//
// Source: include/uapi/linux/fuse.h of Linux, protocol 7.39 (FUSE_DIRECT_IO_ALLOW_MMAP).
#pragma once

#include <atomic>

#include <fuse_lowlevel.h>

namespace imss::posix {
class FileSystem;
}

namespace imss::fuse {

// Reads and writes of a session's device, looked at until the kernel and libfuse have agreed on what both can do.
// Concurrent; lives longer than the session.
class KernelFeatures {
 public:
  // Takes part in the session's talk from now on. REQUIRES: the session is mounted and its loop has not begun.
  // False when libfuse refuses; then nothing has changed.
  bool attach(fuse_session* session);

 private:
  static ssize_t read(int fd, void* buffer, size_t bytes, void* door);
  static ssize_t write(int fd, iovec* parts, int count, void* door);

  // The INIT request is the first thing that is read, and its answer the first that is written, by one thread: so
  // `maps_offered_` needs no order, and others only ever see `agreed_` later than they could.
  std::atomic<bool> agreed_{false};
  bool maps_offered_ = false;
};

// The user data of the FUSE session.
struct Door {
  posix::FileSystem& files;
  KernelFeatures features = {};
};

}  // namespace imss::fuse
