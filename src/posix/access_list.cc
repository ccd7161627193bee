#include "posix/access_list.h"

#include <cstring>

namespace imss::posix {

namespace {

// As in linux/posix_acl_xattr.h: a version, then entries of tag (u16), permissions (u16) and id (u32).
constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kHeadBytes = 4;
constexpr std::size_t kEntryBytes = 8;
enum Tag : std::uint16_t { kUserObject = 1, kUser = 2, kGroupObject = 4, kGroup = 8, kMask = 16, kOther = 32 };

std::uint16_t number_at(std::span<const std::uint8_t> bytes, std::size_t at) {
  std::uint16_t number = 0;
  std::memcpy(&number, bytes.data() + at, sizeof(number));
  return number;
}

}  // namespace

std::optional<AccessList> read_access_list(std::span<const std::uint8_t> bytes) {
  std::uint32_t version = 0;
  if (bytes.size() < kHeadBytes || (bytes.size() - kHeadBytes) % kEntryBytes != 0) return std::nullopt;
  std::memcpy(&version, bytes.data(), sizeof(version));
  if (version != kVersion) return std::nullopt;
  std::uint32_t seen = 0;
  std::uint32_t last = 0;
  std::uint32_t group = 0;
  AccessList list;
  for (std::size_t at = kHeadBytes; at < bytes.size(); at += kEntryBytes) {
    const std::uint16_t tag = number_at(bytes, at);
    const std::uint32_t permissions = number_at(bytes, at + 2);
    const bool named = tag == kUser || tag == kGroup;
    const bool known = named || tag == kUserObject || tag == kGroupObject || tag == kMask || tag == kOther;
    // In order, and each but those with a name once.
    if (!known || permissions > 7 || tag < last || (!named && (seen & tag) != 0)) return std::nullopt;
    seen |= tag;
    last = tag;
    if (tag == kUserObject) list.mode |= permissions << 6;
    if (tag == kOther) list.mode |= permissions;
    // The mask counts as the group's part of the mode.
    if (tag == kGroupObject || tag == kMask) group = permissions;
  }
  list.mode |= group << 3;
  constexpr std::uint32_t kNeeded = kUserObject | kGroupObject | kOther;
  if ((seen & kNeeded) != kNeeded) return std::nullopt;
  if ((seen & (kUser | kGroup)) != 0 && (seen & kMask) == 0) return std::nullopt;
  list.minimal = seen == kNeeded;
  return list;
}

void apply_mode(std::span<std::uint8_t> bytes, std::uint32_t mode) {
  bool masked = false;
  for (std::size_t at = kHeadBytes; at + kEntryBytes <= bytes.size(); at += kEntryBytes) {
    masked = masked || number_at(bytes, at) == kMask;
  }
  for (std::size_t at = kHeadBytes; at + kEntryBytes <= bytes.size(); at += kEntryBytes) {
    const std::uint16_t tag = number_at(bytes, at);
    const bool of_group = tag == (masked ? kMask : kGroupObject);
    if (!of_group && tag != kUserObject && tag != kOther) continue;
    bytes[at + 2] = static_cast<std::uint8_t>(tag == kUserObject ? mode >> 6 & 7 : of_group ? mode >> 3 & 7 : mode & 7);
  }
}

}  // namespace imss::posix
