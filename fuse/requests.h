// What the answers to the kernel's requests share: the file view, numbers of inodes, and replies. Stateless; any thread.
#pragma once

#include <fuse_lowlevel.h>

#include "kernel_features.h"
#include "posix/file_system.h"

namespace imss::fuse {

inline posix::FileSystem& files(fuse_req_t request) {
  return static_cast<Door*>(fuse_req_userdata(request))->files;
}

// The kernel's number of the root is fixed; no dataset or directory of an instance has that id.
inline posix::InodeNumber number_of(fuse_req_t request, fuse_ino_t inode) {
  return inode == FUSE_ROOT_ID ? files(request).root() : inode;
}
inline fuse_ino_t inode_of(fuse_req_t request, posix::InodeNumber number) {
  return number == files(request).root() ? FUSE_ROOT_ID : number;
}

inline posix::OpenFile* file_of(const fuse_file_info* info) { return reinterpret_cast<posix::OpenFile*>(info->fh); }

inline void reply(fuse_req_t request, const Status& status) { fuse_reply_err(request, status.error_number()); }

}  // namespace imss::fuse
