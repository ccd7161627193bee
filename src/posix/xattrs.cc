// Extended attributes of files, at their home data server, and of directories, at their metadata server.
#include <linux/limits.h>
#include <sys/xattr.h>

#include <cerrno>

#include "posix/access_list.h"
#include "posix/file_system.h"

namespace imss::posix {

using metadata::EntryInfo;

namespace {

// As the kernel looks at a name: EOPNOTSUPP for a class that nobody serves, EINVAL for a class without a name.
Status check_name(std::string_view name) {
  if (name.empty() || name.size() > XATTR_NAME_MAX) return Code::kRange;
  for (const std::string_view prefix : {"user.", "trusted.", "security."}) {
    if (name.starts_with(prefix)) return name.size() > prefix.size() ? Status() : Status(Code::kInvalidArgument);
  }
  if (name == kAccessListName || name == kDefaultListName) return {};
  return Code::kNotSupported;
}

}  // namespace

Result<store::XattrValue> FileSystem::read_xattr(InodeNumber number, std::string_view name) {
  if (number == root_) return session_.names().directory_xattr(root_, name);
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, known(number));
  if (store::type_bits(entry.type) == S_IFDIR) return session_.names().directory_xattr(number, name);
  IMSS_ASSIGN_OR_RETURN(const auto home, home_of(entry));
  return home->xattr(entry.id, name);
}

Status FileSystem::change_xattr(InodeNumber number, const store::XattrChange& change) {
  if (number == root_) return session_.names().change_directory_xattr(root_, change);
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, known(number));
  if (store::type_bits(entry.type) == S_IFDIR) return session_.names().change_directory_xattr(number, change);
  IMSS_ASSIGN_OR_RETURN(const auto home, home_of(entry));
  return home->change_xattr(entry.id, change);
}

Result<std::vector<std::uint8_t>> FileSystem::extended_attribute(InodeNumber number, std::string_view name) {
  IMSS_RETURN_IF_ERROR(check_name(name));
  return read_xattr(number, name);
}

Result<std::vector<std::uint8_t>> FileSystem::list_extended_attributes(InodeNumber number) {
  return read_xattr(number, {});
}

Status FileSystem::set_extended_attribute(InodeNumber number, std::string_view name, std::span<const std::byte> value,
                                          int flags) {
  IMSS_RETURN_IF_ERROR(check_name(name));
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) return Code::kInvalidArgument;
  if (value.size() > XATTR_SIZE_MAX) return Status::from_errno(E2BIG, "setxattr");
  store::XattrChange change;
  change.name = name;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(value.data());
  change.value.assign(bytes, bytes + value.size());
  if (name == kAccessListName || name == kDefaultListName) return set_access_list(number, name, change.value);
  if ((flags & XATTR_CREATE) != 0) change.mode = store::XattrMode::kCreate;
  if ((flags & XATTR_REPLACE) != 0) {
    // With both, as in tmpfs: what is there was not to be there, and what is not there was.
    if (change.mode == store::XattrMode::kCreate) {
      const auto present = read_xattr(number, name);
      return present.ok() ? Status(Code::kExists) : present.status();
    }
    change.mode = store::XattrMode::kReplace;
  }
  return change_xattr(number, change);
}

// What the mode says as well is not kept, as in other file systems.
Status FileSystem::set_access_list(InodeNumber number, std::string_view name, const store::XattrValue& value) {
  IMSS_ASSIGN_OR_RETURN(const struct stat status, attributes(number));
  if (S_ISLNK(status.st_mode)) return Code::kNotSupported;
  const auto list = read_access_list(value);
  if (!list) return Code::kInvalidArgument;
  if (name == kDefaultListName) {
    if (!S_ISDIR(status.st_mode)) return Code::kPermission;
    return change_xattr(number, {store::XattrMode::kSet, std::string(name), value});
  }
  const Status kept = change_xattr(
      number, {list->minimal ? store::XattrMode::kRemove : store::XattrMode::kSet, std::string(name), value});
  if (!kept.ok() && !(list->minimal && kept.code() == Code::kNoData)) return kept;
  store::AttributeChange mode;
  mode.fields = store::AttributeChange::kMode;
  mode.mode = (status.st_mode & 07000) | list->mode;
  if (S_ISDIR(status.st_mode)) return session_.names().change_directory(number, mode);
  IMSS_ASSIGN_OR_RETURN(const EntryInfo entry, known(number));
  IMSS_ASSIGN_OR_RETURN(const auto home, home_of(entry));
  return home->change_attributes(number, mode);
}

// The access list, where there is one, after a change of the mode.
Status FileSystem::change_list_mode(InodeNumber number, std::uint32_t mode) {
  auto list = read_xattr(number, kAccessListName);
  if (list.code() == Code::kNoData) return {};
  IMSS_RETURN_IF_ERROR(list.status());
  if (!read_access_list(*list)) return {};
  apply_mode(*list, mode);
  const Status changed = change_xattr(number, {store::XattrMode::kReplace, kAccessListName, std::move(*list)});
  return changed.code() == Code::kNoData ? Status() : changed;
}

Status FileSystem::remove_extended_attribute(InodeNumber number, std::string_view name) {
  IMSS_RETURN_IF_ERROR(check_name(name));
  return change_xattr(number, {store::XattrMode::kRemove, std::string(name), {}});
}

}  // namespace imss::posix
