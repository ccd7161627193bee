// Inodes: attributes, opening, listing and space.
#include "posix/access_time.h"
#include "posix/file_system.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"

namespace imss::posix {

using metadata::EntryInfo;
using metadata::NodeType;
using store::type_bits;

namespace {

timespec time_of(std::uint64_t nanoseconds) {
  return {static_cast<time_t>(nanoseconds / 1'000'000'000), static_cast<long>(nanoseconds % 1'000'000'000)};
}

// All but the size.
store::AttributeChange named_fields(const AttributeChange& change) {
  using Change = store::AttributeChange;
  Change named;
  const auto name = [&named](std::uint32_t field, const auto& wanted, auto* value) {
    if (!wanted) return;
    named.fields |= field;
    *value = *wanted;
  };
  name(Change::kMode, change.mode, &named.mode);
  name(Change::kUid, change.uid, &named.uid);
  name(Change::kGid, change.gid, &named.gid);
  name(Change::kAccessed, change.accessed_ns, &named.accessed_ns);
  name(Change::kModified, change.modified_ns, &named.modified_ns);
  return named;
}

}  // namespace

Result<std::unique_ptr<FileSystem>> FileSystem::open(client::Session& session, const std::string& instance,
                                                     const FileOptions& options) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, session.instance(instance));
  std::unique_ptr<FileSystem> made(new FileSystem(session, instance, options));
  made->root_ = servers->info.root;
  return made;
}

Result<EntryInfo> FileSystem::known(InodeNumber number) {
  const MutexLock lock(mutex_);
  const auto found = known_.find(number);
  if (found == known_.end()) return Code::kFenced;
  return found->second.entry;
}

void FileSystem::remember(const EntryInfo& entry, bool nameless) {
  const MutexLock lock(mutex_);
  Known& known = known_[entry.id];
  known.entry = entry;
  known.nameless = nameless;
  ++known.lookups;
}

bool FileSystem::stays_nameless(InodeNumber number) {
  const MutexLock lock(mutex_);
  const auto found = known_.find(number);
  return found != known_.end() && found->second.nameless;
}

void FileSystem::forget(InodeNumber number, std::uint64_t lookups) {
  const MutexLock lock(mutex_);
  const auto found = known_.find(number);
  if (found == known_.end()) return;
  found->second.lookups -= std::min(found->second.lookups, lookups);
  if (found->second.lookups == 0) known_.erase(found);
}

Result<std::shared_ptr<store::DataService>> FileSystem::home_of(const EntryInfo& entry) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, session_.instance(instance_));
  return home_in(*servers, entry);
}

Result<std::shared_ptr<store::DataService>> FileSystem::home_in(const client::InstanceServers& servers,
                                                                const EntryInfo& entry) {
  const std::uint32_t home = entry.layout.home_server;
  if (home >= servers.stores.size() || !servers.stores[home] || !servers.stores[home]->serving()) return Code::kIo;
  return servers.stores[home];
}

FileSystem::Held FileSystem::hold(const EntryInfo& entry) {
  remember(entry);
  if (entry.type == NodeType::kDirectory) [[maybe_unused]] const auto seen = directory_status(entry.id);
  return {this, [this, id = entry.id](const FileSystem*) { forget(id, 1); }};
}

// One that somebody still has open: as it was seen last, but empty and without a name.
Result<struct stat> FileSystem::removed_directory_status(InodeNumber number) {
  const MutexLock lock(mutex_);
  const auto found = known_.find(number);
  if (found == known_.end() || found->second.last == nullptr) return Code::kNotFound;
  struct stat status = *found->second.last;
  status.st_nlink = 0;
  status.st_size = 0;
  return status;
}

Result<struct stat> FileSystem::directory_status(InodeNumber number) {
  const auto found = session_.names().directory(number);
  if (found.code() == Code::kNotFound) return removed_directory_status(number);
  IMSS_RETURN_IF_ERROR(found.status());
  const metadata::DirectoryInfo& directory = *found;
  struct stat status = {};
  status.st_ino = number;
  status.st_mode = S_IFDIR | (directory.mode & 07777);
  status.st_nlink = 2 + directory.subdirectories;
  status.st_uid = directory.uid;
  status.st_gid = directory.gid;
  status.st_size = static_cast<off_t>(directory.entries);
  status.st_blksize = 4096;
  status.st_atim = time_of(directory.accessed_ns);
  status.st_mtim = time_of(directory.modified_ns);
  status.st_ctim = time_of(directory.changed_ns);
  const MutexLock lock(mutex_);
  if (const auto known = known_.find(number); known != known_.end()) {
    if (known->second.last == nullptr) known->second.last = std::make_unique<struct stat>();
    *known->second.last = status;
  }
  return status;
}

Result<struct stat> FileSystem::status_of(const EntryInfo& entry) {
  if (type_bits(entry.type) == S_IFDIR) return directory_status(entry.id);
  IMSS_ASSIGN_OR_RETURN(const auto servers, session_.instance(instance_));
  IMSS_ASSIGN_OR_RETURN(const auto home, home_in(*servers, entry));
  IMSS_ASSIGN_OR_RETURN(const store::Attributes attributes, home->attributes(entry.id));
  struct stat status = {};
  status.st_ino = entry.id;
  status.st_mode = type_bits(entry.type) | (attributes.mode & 07777);
  status.st_nlink = attributes.links;
  status.st_uid = attributes.uid;
  status.st_gid = attributes.gid;
  status.st_size = static_cast<off_t>(attributes.size);
  status.st_blksize = static_cast<blksize_t>(std::max<std::uint64_t>(attributes.block_bytes, 4096));
  if (entry.type == NodeType::kDataset) {
    IMSS_ASSIGN_OR_RETURN(status.st_blocks, units_of(entry, *servers, attributes));
  }
  if (store::is_device(entry.type)) {
    IMSS_ASSIGN_OR_RETURN(status.st_rdev, session_.device_of(entry, *servers));
  }
  status.st_atim = time_of(attributes.accessed_ns);
  status.st_mtim = time_of(attributes.modified_ns);
  status.st_ctim = time_of(attributes.changed_ns);
  return status;
}

Result<struct stat> FileSystem::attributes(InodeNumber number) {
  if (number == root_) return directory_status(root_);
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, known(number));
  return status_of(entry);
}

Result<std::shared_ptr<client::Dataset>> FileSystem::dataset_of(const EntryInfo& entry) {
  IMSS_ASSIGN_OR_RETURN(const auto servers, session_.instance(instance_));
  return client::Session::peek(Uri{instance_, entry.name}, {entry, 0, servers});
}

Result<struct stat> FileSystem::set_attributes(InodeNumber number, const AttributeChange& change) {
  const store::AttributeChange named = named_fields(change);
  EntryInfo entry;
  if (number != root_) {
    IMSS_ASSIGN_OR_RETURN(entry, known(number));
  }
  if (number == root_ || type_bits(entry.type) == S_IFDIR) {
    if (change.size) return Code::kIsDirectory;
    if (named.fields != 0) IMSS_RETURN_IF_ERROR(session_.names().change_directory(number, named));
    if (change.mode) IMSS_RETURN_IF_ERROR(change_list_mode(number, *change.mode));
    return directory_status(number);
  }
  if (change.size) {
    if (entry.type != NodeType::kDataset) return Code::kInvalidArgument;
    if (*change.size > store::kSizeMask) return Status::from_errno(EFBIG, "truncate");
    IMSS_ASSIGN_OR_RETURN(const auto dataset, dataset_of(entry));
    IMSS_RETURN_IF_ERROR(session_.truncate(*dataset, *change.size));
  }
  if (named.fields != 0) {
    IMSS_ASSIGN_OR_RETURN(const auto home, home_of(entry));
    IMSS_RETURN_IF_ERROR(home->change_attributes(entry.id, named));
    if (change.mode) IMSS_RETURN_IF_ERROR(change_list_mode(number, *change.mode));
  }
  return status_of(entry);
}

Result<std::string> FileSystem::read_symlink(InodeNumber number) {
  if (number == root_) return Code::kInvalidArgument;
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, known(number));
  if (entry.type != NodeType::kSymlink) return Code::kInvalidArgument;
  IMSS_ASSIGN_OR_RETURN(const auto servers, session_.instance(instance_));
  return session_.target_of(entry, *servers);
}

Result<std::unique_ptr<OpenFile>> FileSystem::open_file(InodeNumber number, int flags) {
  if (number == root_) return Code::kIsDirectory;
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, known(number));
  return open_entry(entry, flags);
}

Result<std::unique_ptr<OpenFile>> FileSystem::open_entry(const EntryInfo& entry, int flags) {
  if (entry.type == NodeType::kSymlink) return Code::kLoop;
  if (entry.type == NodeType::kDirectory) return Code::kIsDirectory;
  if (store::is_special(entry.type)) return Status::from_errno((flags & O_DIRECTORY) != 0 ? ENOTDIR : ENXIO, "open");
  if ((flags & O_DIRECTORY) != 0) return Code::kNotDirectory;
  IMSS_ASSIGN_OR_RETURN(const auto servers, session_.instance(instance_));
  IMSS_ASSIGN_OR_RETURN(const std::int32_t handle, session_.open_at({servers, entry.parent, entry.name}, entry));
  IMSS_ASSIGN_OR_RETURN(auto dataset, session_.dataset(handle));
  auto file = std::make_unique<OpenFile>(session_, handle, std::move(dataset), flags);
  if ((flags & O_TRUNC) != 0) IMSS_RETURN_IF_ERROR(session_.truncate(file->dataset(), 0));
  return file;
}

// Places 1 and 2 follow "." and "..", those behind them the entries by their cookies.
Status FileSystem::list(InodeNumber directory, std::uint64_t offset, const std::function<bool(const Listed&)>& take) {
  constexpr std::uint64_t kDots = 2;
  constexpr std::size_t kBatch = 256;
  IMSS_ASSIGN_OR_RETURN(const metadata::DirectoryInfo info, session_.names().directory(directory));
  if (const std::uint64_t now = access_due(info.accessed_ns, info.modified_ns, info.changed_ns); now != 0 && may_touch_) {
    // The listing is what was asked for.
    const Status touched =
        session_.names().change_directory(directory, {.fields = store::AttributeChange::kTouched, .accessed_ns = now});
    if (touched.code() == Code::kPermission) may_touch_ = false;
  }
  if (offset == 0 && !take({".", directory, S_IFDIR, 1})) return {};
  const InodeNumber parent = directory == root_ ? root_ : info.parent;
  if (offset <= 1 && !take({"..", parent, S_IFDIR, kDots})) return {};
  std::uint64_t cookie = offset <= kDots ? 0 : offset - kDots;
  for (;;) {
    std::vector<EntryInfo> entries;
    IMSS_ASSIGN_OR_RETURN(const bool more, session_.names().list(directory, cookie, kBatch, &entries));
    for (const EntryInfo& entry : entries) {
      if (!take({entry.name, entry.id, type_bits(entry.type), entry.cookie + kDots})) return {};
    }
    if (!more || entries.empty()) return {};
    cookie = entries.back().cookie;
  }
}

}  // namespace imss::posix
