// When reading stamps the time of access: as Linux's relatime. Stateless; any thread.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace imss::posix {

// The time to stamp, or 0 while the one that is there is good enough: it is younger than a day and than both changes.
inline std::uint64_t access_due(std::uint64_t accessed_ns, std::uint64_t modified_ns, std::uint64_t changed_ns) {
  constexpr std::uint64_t kDayNs = 86'400'000'000'000;
  const auto now = static_cast<std::uint64_t>(coarse_realtime_ns());
  const bool due = accessed_ns <= modified_ns || accessed_ns <= changed_ns || accessed_ns + kDayNs <= now;
  return due && now > accessed_ns ? now : 0;
}

}  // namespace imss::posix
