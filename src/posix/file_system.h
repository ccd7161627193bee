// The file view of one instance: POSIX semantics over a session, see docs/files.md.
//
// Concurrent: any thread may call any method. Inodes are named by their numbers, the ids of datasets and directories;
// whoever has looked one up may use its number until it forgets it. Errors are those of the kernel's tmpfs, as
// Status::error_number() says; permissions are the caller's to check.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "client/session.h"

namespace imss::posix {

using InodeNumber = std::uint64_t;

// Whose new files and directories are (but for the group, in a directory with the setgid bit), and how files are laid out.
struct Owner {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};
struct FileOptions {
  Policy policy = Policy::kRoundRobin;
  std::uint64_t block_bytes = 1 << 20;  // a power of two from 64 KiB on
  std::uint32_t replicas = 1;
};

struct AttributeChange {
  std::optional<std::uint32_t> mode = {};
  std::optional<std::uint32_t> uid = {};
  std::optional<std::uint32_t> gid = {};
  std::optional<std::uint64_t> size = {};
  std::optional<std::uint64_t> accessed_ns = {};
  std::optional<std::uint64_t> modified_ns = {};
};

// An open file description. Its dataset stays until it is closed, also without a name.
class OpenFile {
 public:
  OpenFile(client::Session& session, std::int32_t handle, std::shared_ptr<client::Dataset> dataset, int flags)
      : session_(session), handle_(handle), dataset_(std::move(dataset)), flags_(flags) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile();
  // Fewer bytes than asked for at the end only. Errors: EBADF unless open for reading.
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out);
  // With O_APPEND at the end, wherever `offset` is. Errors: EBADF unless open for writing, EFBIG.
  Result<std::size_t> write(std::uint64_t offset, std::span<const std::byte> data);
  // At `offset` also with O_APPEND: what a mapping of the file has changed.
  Result<std::size_t> write_back(std::uint64_t offset, std::span<const std::byte> data);
  // Errors: EINVAL unless open for writing.
  Status truncate(std::uint64_t size);
  // lseek(2) with SEEK_DATA or SEEK_HOLE. Errors: ENXIO, EINVAL for another `whence`.
  Result<std::uint64_t> seek(std::uint64_t offset, int whence) const;
  // As fallocate(2). Memory is taken at once, so that writing into the range needs no more. Errors: EBADF, EINVAL, EFBIG,
  // ENOSPC, EOPNOTSUPP for modes other than 0, KEEP_SIZE, PUNCH_HOLE and ZERO_RANGE and, but for the last two, for files
  // with copies.
  Status allocate(int mode, std::uint64_t offset, std::uint64_t bytes);
  // Copies up to `bytes` from here to another file of the view; fewer at the end, or when there are many.
  Result<std::size_t> copy_to(OpenFile& to, std::uint64_t from_offset, std::uint64_t to_offset, std::uint64_t bytes);
  client::Dataset& dataset() { return *dataset_; }

 private:
  void touch(const store::Attributes& seen);
  client::Session& session_;
  const std::int32_t handle_;
  const std::shared_ptr<client::Dataset> dataset_;
  const int flags_;
  std::atomic<bool> may_touch_{true};  // false: this process may only read there
};

class FileSystem {
 public:
  // REQUIRES: the session lives longer. Errors: kNotFound without such an instance.
  static Result<std::unique_ptr<FileSystem>> open(client::Session& session, const std::string& instance,
                                                  const FileOptions& options);
  InodeNumber root() const { return root_; }

  // --- names; each that returns a status counts one look-up of the inode, to be forgotten ---
  Result<struct stat> lookup(InodeNumber parent, std::string_view name);
  void forget(InodeNumber number, std::uint64_t lookups);
  // Opens with O_CREAT, which `flags` need not have; O_EXCL, O_TRUNC and O_NOFOLLOW are heeded.
  Result<std::unique_ptr<OpenFile>> create(InodeNumber parent, std::string_view name, int flags, std::uint32_t mode,
                                           Owner owner, struct stat* status);
  // As O_TMPFILE in a directory: the file goes with its last opening, unless link() gives it a name before (not with O_EXCL).
  Result<std::unique_ptr<OpenFile>> create_unnamed(InodeNumber directory, int flags, std::uint32_t mode, Owner owner,
                                                   struct stat* status);
  Result<struct stat> make_directory(InodeNumber parent, std::string_view name, std::uint32_t mode, Owner owner);
  Result<struct stat> make_symlink(InodeNumber parent, std::string_view name, const std::string& target, Owner owner);
  // As mknod(2): `mode` has the type's bits, none being those of a file. A number of a device that has more than the 32
  // bits of the kernel's is EINVAL.
  Result<struct stat> make_node(InodeNumber parent, std::string_view name, std::uint32_t mode, std::uint64_t device,
                                Owner owner);
  Result<struct stat> link(InodeNumber number, InodeNumber parent, std::string_view name);
  Status unlink(InodeNumber parent, std::string_view name);
  Status remove_directory(InodeNumber parent, std::string_view name);
  struct Name {
    InodeNumber parent = 0;
    std::string_view name;
  };
  // `flags` as of renameat2(2). Errors: EINVAL for all but RENAME_NOREPLACE and RENAME_EXCHANGE, and for an exchange that takes
  // several metadata servers.
  Status rename(Name from, Name to, unsigned flags);

  // --- inodes ---
  Result<struct stat> attributes(InodeNumber number);
  Result<struct stat> set_attributes(InodeNumber number, const AttributeChange& change);
  Result<std::string> read_symlink(InodeNumber number);
  // Extended attributes of the classes user, trusted, security, and the two of POSIX ACLs, of any inode. The mode follows
  // an access list, and the list the mode. `flags` as of setxattr(2). Errors: EOPNOTSUPP (another class), ERANGE (the name),
  // E2BIG (the value), ENODATA, EEXIST, ENOSPC; EINVAL for bytes that are no access list, EACCES for a default one of no directory.
  Result<std::vector<std::uint8_t>> extended_attribute(InodeNumber number, std::string_view name);
  Status set_extended_attribute(InodeNumber number, std::string_view name, std::span<const std::byte> value, int flags);
  Status remove_extended_attribute(InodeNumber number, std::string_view name);
  // The names, each ended by a NUL.
  Result<std::vector<std::uint8_t>> list_extended_attributes(InodeNumber number);
  // Errors: ELOOP for a symbolic link, EISDIR, ENOTDIR with O_DIRECTORY, ENXIO for what make_node() made but a file.
  Result<std::unique_ptr<OpenFile>> open_file(InodeNumber number, int flags);
  // Gives entries after the place `offset` (0: the beginning), "." and ".." among them, until `take` returns false.
  // A place stays good whatever is created or removed.
  struct Listed {
    std::string_view name;
    InodeNumber number = 0;
    std::uint32_t mode = 0;     // the type's bits
    std::uint64_t offset = 0;   // to go on after this entry
  };
  Status list(InodeNumber directory, std::uint64_t offset, const std::function<bool(const Listed&)>& take);
  Result<struct statvfs> space();

  // The inode's number is known as long; of a directory also what it was like, should it be removed.
  using Held = std::shared_ptr<const FileSystem>;
  Held hold(const metadata::EntryInfo& entry);

  // --- the same by entries, for who walks paths (path_view.h): nothing is remembered, nothing to be forgotten ---
  using EntryInfo = metadata::EntryInfo;
  Result<struct stat> status_of(const EntryInfo& entry);
  Result<struct stat> directory_status(InodeNumber number);
  Result<struct stat> lookup_once(InodeNumber parent, std::string_view name);
  Result<std::unique_ptr<OpenFile>> open_entry(const EntryInfo& entry, int flags);
  Result<std::string> target_of(const EntryInfo& entry);
  Status link_entry(const EntryInfo& entry, InodeNumber parent, std::string_view name);
  Result<struct stat> change_entry(const EntryInfo& entry, const AttributeChange& change);
  Status change_directory(InodeNumber number, const AttributeChange& change);

  // Around fork(2), so that the child gets the tables in order.
  void lock_for_fork() IMSS_ACQUIRE(mutex_) { mutex_.lock(); }
  void unlock_after_fork() IMSS_RELEASE(mutex_) { mutex_.unlock(); }

 private:
  using Place = client::Session::Place;
  struct Known {
    EntryInfo entry;
    std::uint64_t lookups = 0;
    bool nameless = false;  // and is to stay so
    std::unique_ptr<struct stat> last;  // of a directory: when it was there
  };
  FileSystem(client::Session& session, std::string instance, const FileOptions& options)
      : session_(session), instance_(std::move(instance)), options_(options) {}
  Result<Place> place(InodeNumber parent, std::string_view name);
  client::DatasetOptions options_for(std::uint32_t mode, Owner owner) const;
  Result<EntryInfo> known(InodeNumber number);
  void remember(const EntryInfo& entry, bool nameless = false);
  bool stays_nameless(InodeNumber number);
  Result<struct stat> removed_directory_status(InodeNumber number);
  static Result<std::shared_ptr<store::DataService>> home_in(const client::InstanceServers& servers, const EntryInfo& entry);
  Result<blkcnt_t> units_of(const EntryInfo& entry, const client::InstanceServers& servers,
                            const store::Attributes& attributes);
  Result<std::shared_ptr<store::DataService>> home_of(const EntryInfo& entry);
  Status set_access_list(InodeNumber number, std::string_view name, const store::XattrValue& value);
  Status change_list_mode(InodeNumber number, std::uint32_t mode);
  Status change_xattr(InodeNumber number, const store::XattrChange& change);
  Result<store::XattrValue> read_xattr(InodeNumber number, std::string_view name);
  Result<std::shared_ptr<client::Dataset>> dataset_of(const EntryInfo& entry);

  client::Session& session_;
  const std::string instance_;
  const FileOptions options_;
  InodeNumber root_ = 0;
  std::atomic<bool> may_touch_{true};  // directories, as in OpenFile
  Mutex mutex_;
  std::unordered_map<InodeNumber, Known> known_ IMSS_GUARDED_BY(mutex_);
};

}  // namespace imss::posix
