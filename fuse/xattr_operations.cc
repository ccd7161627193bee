#include "xattr_operations.h"

#include <cerrno>
#include <span>
#include <vector>

#include "requests.h"

namespace imss::fuse {

namespace {

// `bytes` 0 asks how long the answer is.
void reply_bytes(fuse_req_t request, const Result<std::vector<std::uint8_t>>& answer, std::size_t bytes) {
  if (!answer.ok()) return reply(request, answer.status());
  if (bytes == 0) {
    fuse_reply_xattr(request, answer->size());
  } else if (answer->size() > bytes) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, reinterpret_cast<const char*>(answer->data()), answer->size());
  }
}

void get(fuse_req_t request, fuse_ino_t inode, const char* name, std::size_t bytes) {
  reply_bytes(request, files(request).extended_attribute(number_of(request, inode), name), bytes);
}

void list(fuse_req_t request, fuse_ino_t inode, std::size_t bytes) {
  reply_bytes(request, files(request).list_extended_attributes(number_of(request, inode)), bytes);
}

void set(fuse_req_t request, fuse_ino_t inode, const char* name, const char* value, std::size_t bytes, int flags) {
  reply(request, files(request).set_extended_attribute(number_of(request, inode), name,
                                                       std::as_bytes(std::span(value, bytes)), flags));
}

void remove(fuse_req_t request, fuse_ino_t inode, const char* name) {
  reply(request, files(request).remove_extended_attribute(number_of(request, inode), name));
}

}  // namespace

void add_xattr_operations(fuse_lowlevel_ops& table) {
  table.getxattr = get;
  table.listxattr = list;
  table.setxattr = set;
  table.removexattr = remove;
}

}  // namespace imss::fuse
