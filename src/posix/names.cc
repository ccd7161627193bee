// Names: looking up, making, moving and removing.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "posix/file_system.h"

namespace imss::posix {

using metadata::EntryInfo;
using metadata::NodeType;

Result<client::Session::Place> FileSystem::place(InodeNumber parent, std::string_view name) {
  if (name.size() > kMaxNameBytes) return Code::kNameTooLong;
  if (name.empty()) return Code::kNotFound;
  if (name == "." || name == ".." || name.find('/') != std::string_view::npos) return Code::kInvalidArgument;
  IMSS_ASSIGN_OR_RETURN(auto servers, session_.instance(instance_));
  return Place{std::move(servers), parent, std::string(name)};
}

// A name whose inode is not there was removed meanwhile, or its data is gone: the next look tells.
Result<struct stat> FileSystem::lookup(InodeNumber parent, std::string_view name) {
  if (name.size() > kMaxNameBytes) return Code::kNameTooLong;
  std::uint64_t lost = 0;
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, session_.names().lookup(parent, name));
    auto status = status_of(entry);
    if (status.ok()) remember(entry);
    if (status.code() != Code::kNotFound) return status;
    if (entry.id == lost) return Code::kIo;
    lost = entry.id;
  }
}

client::DatasetOptions FileSystem::options_for(std::uint32_t mode, Owner owner) const {
  client::DatasetOptions options;
  options.policy = options_.policy;
  options.block_bytes = options_.block_bytes;
  options.replicas = options_.replicas;
  options.mode = mode & 07777;
  options.uid = owner.uid;
  options.gid = owner.gid;
  return options;
}

Result<std::unique_ptr<OpenFile>> FileSystem::create(InodeNumber parent, std::string_view name, int flags,
                                                     std::uint32_t mode, Owner owner, struct stat* status) {
  IMSS_ASSIGN_OR_RETURN(const Place where, place(parent, name));
  const client::DatasetOptions options = options_for(mode, owner);
  for (;;) {
    auto entry = session_.create_at(where, options);
    if (entry.code() == Code::kExists && (flags & O_EXCL) == 0) {
      entry = session_.names().lookup(parent, name);
      if (entry.code() == Code::kNotFound) continue;  // removed meanwhile
    }
    IMSS_RETURN_IF_ERROR(entry.status());
    auto file = open_entry(*entry, flags);
    if (file.code() == Code::kNotFound) {
      // Removed meanwhile, unless the name is still there.
      const auto now = session_.names().lookup(parent, name);
      if (now.ok() && now->id == entry->id) return Code::kIo;
      continue;
    }
    IMSS_RETURN_IF_ERROR(file.status());
    IMSS_ASSIGN_OR_RETURN(*status, status_of(*entry));
    remember(*entry);
    return file;
  }
}

Result<std::unique_ptr<OpenFile>> FileSystem::create_unnamed(InodeNumber directory, int flags, std::uint32_t mode,
                                                             Owner owner, struct stat* status) {
  if ((flags & O_ACCMODE) == O_RDONLY) return Code::kInvalidArgument;
  // Errors: ENOENT for a directory that is gone.
  IMSS_ASSIGN_OR_RETURN(const metadata::DirectoryInfo above, session_.names().directory(directory));
  IMSS_ASSIGN_OR_RETURN(const auto servers, session_.instance(instance_));
  client::DatasetOptions options = options_for(mode, owner);
  if ((above.mode & metadata::kSetGroupBit) != 0) options.gid = above.gid;
  EntryInfo entry;
  IMSS_ASSIGN_OR_RETURN(const std::int32_t handle, session_.create_unnamed(servers, options, &entry));
  IMSS_ASSIGN_OR_RETURN(auto dataset, session_.dataset(handle));
  auto file = std::make_unique<OpenFile>(session_, handle, std::move(dataset), flags);
  IMSS_ASSIGN_OR_RETURN(*status, status_of(entry));
  remember(entry, (flags & O_EXCL) != 0);
  return file;
}

Result<struct stat> FileSystem::make_directory(InodeNumber parent, std::string_view name, std::uint32_t mode,
                                               Owner owner) {
  IMSS_RETURN_IF_ERROR(place(parent, name).status());
  IMSS_RETURN_IF_ERROR(session_.names().make_directory(parent, name, {mode & 07777, owner.uid, owner.gid}));
  return lookup(parent, name);
}

Result<struct stat> FileSystem::make_symlink(InodeNumber parent, std::string_view name, const std::string& target,
                                             Owner owner) {
  IMSS_ASSIGN_OR_RETURN(const Place where, place(parent, name));
  client::DatasetOptions options;
  options.uid = owner.uid;
  options.gid = owner.gid;
  IMSS_RETURN_IF_ERROR(session_.symlink_at(where, target, options));
  return lookup(parent, name);
}

Result<struct stat> FileSystem::make_node(InodeNumber parent, std::string_view name, std::uint32_t mode,
                                          std::uint64_t device, Owner owner) {
  IMSS_ASSIGN_OR_RETURN(const Place where, place(parent, name));
  client::DatasetOptions options = options_for(mode, owner);
  const std::uint32_t type = mode & S_IFMT;
  if (type == 0 || type == S_IFREG) {
    IMSS_RETURN_IF_ERROR(session_.create_at(where, options).status());
    return lookup(parent, name);
  }
  for (const NodeType special : {NodeType::kFifo, NodeType::kSocket, NodeType::kCharacterDevice, NodeType::kBlockDevice}) {
    if (type != store::type_bits(special)) continue;
    if (store::is_device(special) && device > UINT32_MAX) return Code::kInvalidArgument;
    options.replicas = 1;
    IMSS_RETURN_IF_ERROR(session_.special_at(where, special, static_cast<std::uint32_t>(device), options));
    return lookup(parent, name);
  }
  return type == S_IFDIR ? Status::from_errno(EPERM, "mknod") : Status(Code::kInvalidArgument);
}

Result<struct stat> FileSystem::link(InodeNumber number, InodeNumber parent, std::string_view name) {
  if (number == root_) return Status::from_errno(EPERM, "link");
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, known(number));
  if (entry.type == NodeType::kDirectory) return Status::from_errno(EPERM, "link");
  if (stays_nameless(number)) return Code::kNotFound;
  IMSS_ASSIGN_OR_RETURN(const Place where, place(parent, name));
  IMSS_RETURN_IF_ERROR(session_.link_at(entry, where));
  return lookup(parent, name);
}

Status FileSystem::unlink(InodeNumber parent, std::string_view name) {
  IMSS_ASSIGN_OR_RETURN(const Place where, place(parent, name));
  return session_.unlink_at(where);
}

Status FileSystem::remove_directory(InodeNumber parent, std::string_view name) {
  IMSS_RETURN_IF_ERROR(place(parent, name).status());
  return session_.names().remove_directory(parent, name);
}

Status FileSystem::rename(Name from, Name to, unsigned flags) {
  if (flags == RENAME_EXCHANGE) {
    IMSS_RETURN_IF_ERROR(place(from.parent, from.name).status());
    IMSS_RETURN_IF_ERROR(place(to.parent, to.name).status());
    const Status exchanged = session_.names().exchange(from.parent, from.name, to.parent, to.name);
    return exchanged.code() == Code::kNotSupported ? Status(Code::kInvalidArgument, exchanged.message()) : exchanged;
  }
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE)) != 0) return Code::kInvalidArgument;
  const bool no_replace = flags != 0;
  IMSS_ASSIGN_OR_RETURN(const Place source, place(from.parent, from.name));
  IMSS_ASSIGN_OR_RETURN(const Place target, place(to.parent, to.name));
  IMSS_ASSIGN_OR_RETURN(const EntryInfo moved, session_.names().lookup(from.parent, from.name));
  const auto present = session_.names().lookup(to.parent, to.name);
  // Two names of one file both stay.
  if (present.ok() && present->id == moved.id) return no_replace ? Status(Code::kExists) : Status();
  return session_.rename_at(source, target, no_replace);
}

}  // namespace imss::posix
