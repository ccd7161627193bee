#include "operations.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "requests.h"
#include "space_operations.h"
#include "xattr_operations.h"

namespace imss::fuse {
namespace {

using posix::FileSystem;
using posix::OpenFile;

// Other nodes change files without telling this kernel, so it keeps neither attributes, names nor pages.
constexpr double kCacheSeconds = 0;
constexpr unsigned kLargestWrite = 1 << 20;

posix::Owner caller(fuse_req_t request) {
  const fuse_ctx* const context = fuse_req_ctx(request);
  return {context->uid, context->gid};
}

void hand_over(std::unique_ptr<OpenFile> file, fuse_file_info* info) {
  info->fh = reinterpret_cast<std::uint64_t>(file.release());
  info->direct_io = 1;
}

fuse_entry_param entry_of(fuse_req_t request, const struct stat& status) {
  fuse_entry_param entry = {};
  entry.ino = inode_of(request, status.st_ino);
  entry.attr = status;
  entry.attr.st_ino = entry.ino;
  entry.attr_timeout = entry.entry_timeout = kCacheSeconds;
  return entry;
}

void reply_entry(fuse_req_t request, const Result<struct stat>& status) {
  if (!status.ok()) return reply(request, status.status());
  const fuse_entry_param entry = entry_of(request, *status);
  // An interrupted request has no one to use the entry.
  if (fuse_reply_entry(request, &entry) != 0) files(request).forget(status->st_ino, 1);
}

void reply_attributes(fuse_req_t request, Result<struct stat> status) {
  if (!status.ok()) return reply(request, status.status());
  status->st_ino = inode_of(request, status->st_ino);
  fuse_reply_attr(request, &*status, kCacheSeconds);
}

void init(void*, fuse_conn_info* connection) {
  connection->max_write = kLargestWrite;
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_WRITEBACK_CACHE);
  connection->want |= connection->capable & FUSE_CAP_ATOMIC_O_TRUNC;
}

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  reply_entry(request, files(request).lookup(number_of(request, parent), name));
}

void forget(fuse_req_t request, fuse_ino_t inode, std::uint64_t lookups) {
  files(request).forget(number_of(request, inode), lookups);
  fuse_reply_none(request);
}

void forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgotten) {
  for (std::size_t i = 0; i < count; ++i) {
    files(request).forget(number_of(request, forgotten[i].ino), forgotten[i].nlookup);
  }
  fuse_reply_none(request);
}

void get_attributes(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  reply_attributes(request, files(request).attributes(number_of(request, inode)));
}

std::uint64_t nanoseconds(const timespec& time) {
  return time.tv_sec < 0 ? 0 : static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

void set_attributes(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int set, fuse_file_info*) {
  posix::AttributeChange change;
  if ((set & FUSE_SET_ATTR_MODE) != 0) change.mode = wanted->st_mode & 07777;
  if ((set & FUSE_SET_ATTR_UID) != 0) change.uid = wanted->st_uid;
  if ((set & FUSE_SET_ATTR_GID) != 0) change.gid = wanted->st_gid;
  if ((set & FUSE_SET_ATTR_SIZE) != 0) change.size = static_cast<std::uint64_t>(wanted->st_size);
  if ((set & FUSE_SET_ATTR_ATIME) != 0) change.accessed_ns = nanoseconds(wanted->st_atim);
  if ((set & FUSE_SET_ATTR_MTIME) != 0) change.modified_ns = nanoseconds(wanted->st_mtim);
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  if ((set & FUSE_SET_ATTR_ATIME_NOW) != 0) change.accessed_ns = nanoseconds(now);
  if ((set & FUSE_SET_ATTR_MTIME_NOW) != 0) change.modified_ns = nanoseconds(now);
  reply_attributes(request, files(request).set_attributes(number_of(request, inode), change));
}

void read_link(fuse_req_t request, fuse_ino_t inode) {
  const auto target = files(request).read_symlink(number_of(request, inode));
  if (!target.ok()) return reply(request, target.status());
  fuse_reply_readlink(request, target->c_str());
}

void make_directory(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  reply_entry(request, files(request).make_directory(number_of(request, parent), name, mode, caller(request)));
}

void make_node(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  reply_entry(request, files(request).make_node(number_of(request, parent), name, mode, device, caller(request)));
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  reply(request, files(request).unlink(number_of(request, parent), name));
}

void remove_directory(fuse_req_t request, fuse_ino_t parent, const char* name) {
  reply(request, files(request).remove_directory(number_of(request, parent), name));
}

void make_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  reply_entry(request, files(request).make_symlink(number_of(request, parent), name, target, caller(request)));
}

void rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent, const char* new_name,
            unsigned flags) {
  reply(request, files(request).rename({number_of(request, parent), name}, {number_of(request, new_parent), new_name}, flags));
}

void link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char* name) {
  reply_entry(request, files(request).link(number_of(request, inode), number_of(request, parent), name));
}

void open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  auto file = files(request).open_file(number_of(request, inode), info->flags);
  if (!file.ok()) return reply(request, file.status());
  hand_over(std::move(*file), info);
  if (fuse_reply_open(request, info) != 0) delete file_of(info);
}

void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info) {
  struct stat status = {};
  FileSystem& view = files(request);
  auto file = view.create(number_of(request, parent), name, info->flags, mode, caller(request), &status);
  if (!file.ok()) return reply(request, file.status());
  hand_over(std::move(*file), info);
  const fuse_entry_param entry = entry_of(request, status);
  if (fuse_reply_create(request, &entry, info) != 0) {
    delete file_of(info);
    view.forget(status.st_ino, 1);
  }
}

void read(fuse_req_t request, fuse_ino_t, std::size_t bytes, off_t offset, fuse_file_info* info) {
  thread_local std::vector<std::byte> buffer;
  if (buffer.size() < bytes) buffer.resize(bytes);
  const auto got = file_of(info)->read(static_cast<std::uint64_t>(offset), std::span(buffer).first(bytes));
  if (!got.ok()) return reply(request, got.status());
  fuse_reply_buf(request, reinterpret_cast<const char*>(buffer.data()), *got);
}

void write(fuse_req_t request, fuse_ino_t, const char* data, std::size_t bytes, off_t offset, fuse_file_info* info) {
  const auto content = std::as_bytes(std::span(data, bytes));
  const auto place = static_cast<std::uint64_t>(offset);
  // What a mapping has changed, the kernel writes through any file of the inode that is open for writing.
  const auto written = info->writepage != 0 ? file_of(info)->write_back(place, content) : file_of(info)->write(place, content);
  if (!written.ok()) return reply(request, written.status());
  fuse_reply_write(request, *written);
}

void release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  delete file_of(info);
  fuse_reply_err(request, 0);
}

// What a write has acknowledged is in the memory of all copies.
void sync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) { fuse_reply_err(request, 0); }

void list(fuse_req_t request, fuse_ino_t inode, std::size_t bytes, off_t offset, fuse_file_info*) {
  std::vector<char> buffer(bytes);
  std::size_t used = 0;
  const auto take = [&](const FileSystem::Listed& listed) {
    const std::string name(listed.name);
    struct stat status = {};
    status.st_ino = inode_of(request, listed.number);
    status.st_mode = listed.mode;
    const std::size_t needed = fuse_add_direntry(request, buffer.data() + used, bytes - used, name.c_str(), &status,
                                                 static_cast<off_t>(listed.offset));
    if (needed > bytes - used) return false;
    used += needed;
    return true;
  };
  const Status listed = files(request).list(number_of(request, inode), static_cast<std::uint64_t>(offset), take);
  if (!listed.ok()) return reply(request, listed);
  fuse_reply_buf(request, buffer.data(), used);
}

}  // namespace

const fuse_lowlevel_ops& operations() {
  static const fuse_lowlevel_ops table = [] {
    fuse_lowlevel_ops ops = {};
    ops.init = init;
    ops.lookup = lookup;
    ops.forget = forget;
    ops.forget_multi = forget_multi;
    ops.getattr = get_attributes;
    ops.setattr = set_attributes;
    ops.readlink = read_link;
    ops.mknod = make_node;
    ops.mkdir = make_directory;
    ops.unlink = unlink;
    ops.rmdir = remove_directory;
    ops.symlink = make_symlink;
    ops.rename = rename;
    ops.link = link;
    ops.open = open;
    ops.create = create;
    ops.read = read;
    ops.write = write;
    ops.release = release;
    ops.fsync = sync;
    ops.fsyncdir = sync;
    ops.readdir = list;
    add_xattr_operations(ops);
    add_space_operations(ops);
    return ops;
  }();
  return table;
}

}  // namespace imss::fuse
