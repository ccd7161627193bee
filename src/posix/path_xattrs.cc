// Extended attributes at the end of a walk: who may see and change which. Source: xattr(7).
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "posix/path_view.h"

namespace imss::posix {

using metadata::NodeType;

// What the kernel does for a mount before it asks.
Status PathView::check_xattr(const Caller& caller, const Spot& spot, std::string_view name, bool writes) {
  if (!spot.is_there()) return Code::kNotFound;
  const auto refusal = [writes](const char* what) { return Status::from_errno(writes ? EPERM : ENODATA, what); };
  if (name.starts_with("trusted.")) return caller.all_mighty() ? Status() : refusal("trusted attributes are the superuser's");
  if (name.starts_with("user.")) {
    const bool has_any = spot.is_directory() || spot.entry->type == NodeType::kDataset;
    if (!has_any) return refusal("only files and directories have user attributes");
    return check(caller, spot, writes ? W_OK : R_OK);
  }
  if (!writes || caller.all_mighty()) return {};
  IMSS_ASSIGN_OR_RETURN(const struct stat found, status(spot));
  const bool owns = found.st_uid == caller.uid && name.starts_with("system.");
  return owns ? Status() : Status::from_errno(EPERM, "the attribute is its owner's");
}

FileSystem::Held PathView::hold(const Spot& spot) {
  metadata::EntryInfo entry;
  if (spot.entry) entry = *spot.entry;
  if (spot.is_directory()) entry.type = NodeType::kDirectory;
  entry.id = spot.number();
  return files_.hold(entry);
}

Result<std::vector<std::uint8_t>> PathView::xattr(const Caller& caller, const Spot& spot, std::string_view name) {
  IMSS_RETURN_IF_ERROR(check_xattr(caller, spot, name, false));
  const auto held = hold(spot);
  return files_.extended_attribute(spot.number(), name);
}

// Trusted ones are shown to the superuser only.
Result<std::vector<std::uint8_t>> PathView::list_xattrs(const Caller& caller, const Spot& spot) {
  if (!spot.is_there()) return Code::kNotFound;
  const auto held = hold(spot);
  IMSS_ASSIGN_OR_RETURN(std::vector<std::uint8_t> all, files_.list_extended_attributes(spot.number()));
  if (caller.all_mighty()) return all;
  std::vector<std::uint8_t> shown;
  for (auto name = all.begin(); name != all.end();) {
    const auto end = std::next(std::find(name, all.end(), std::uint8_t{0}));
    const std::string_view text(reinterpret_cast<const char*>(&*name), static_cast<std::size_t>(end - name));
    if (!text.starts_with("trusted.")) shown.insert(shown.end(), name, end);
    name = end;
  }
  return shown;
}

Status PathView::set_xattr(const Caller& caller, const Spot& spot, std::string_view name, std::span<const std::byte> value,
                           int flags) {
  IMSS_RETURN_IF_ERROR(check_xattr(caller, spot, name, true));
  const auto held = hold(spot);
  return files_.set_extended_attribute(spot.number(), name, value, flags);
}

Status PathView::remove_xattr(const Caller& caller, const Spot& spot, std::string_view name) {
  IMSS_RETURN_IF_ERROR(check_xattr(caller, spot, name, true));
  const auto held = hold(spot);
  return files_.remove_extended_attribute(spot.number(), name);
}

}  // namespace imss::posix
