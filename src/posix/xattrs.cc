// Extended attributes of files, at their home data server, and of directories, at their metadata server.
#include <linux/limits.h>
#include <sys/xattr.h>

#include <cerrno>

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
  if (name == "system.posix_acl_access" || name == "system.posix_acl_default") return {};
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

Status FileSystem::remove_extended_attribute(InodeNumber number, std::string_view name) {
  IMSS_RETURN_IF_ERROR(check_name(name));
  return change_xattr(number, {store::XattrMode::kRemove, std::string(name), {}});
}

}  // namespace imss::posix
