// POSIX access control lists as the kernel hands them over in an extended attribute, and the mode that goes with one.
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace imss::posix {

inline constexpr char kAccessListName[] = "system.posix_acl_access";
inline constexpr char kDefaultListName[] = "system.posix_acl_default";

struct AccessList {
  std::uint32_t mode = 0;  // its nine bits of permission
  bool minimal = false;    // it says no more than the mode
};

// Nothing for bytes that are no valid list.
std::optional<AccessList> read_access_list(std::span<const std::uint8_t> bytes);
// Has the list say what a mode says. REQUIRES: a valid list.
void apply_mode(std::span<std::uint8_t> bytes, std::uint32_t mode);

}  // namespace imss::posix
