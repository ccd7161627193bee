// Which metadata server is responsible for a directory. Pure functions; any thread.
//
// The metadata servers of an instance are numbered from 0. Ids of datasets, directories and changes are unique over
// all of them: the top bits of an id name the server that gave it out.
#pragma once

#include <cstdint>

#include "metadata/values.h"

namespace imss::metadata {

inline constexpr std::uint32_t kMaxMetadataServers = 1 << 12;
inline constexpr std::uint32_t kIdServerShift = 52;

// The server that gave an id out; of a change over several servers that is its coordinator.
constexpr std::uint32_t giver_of(std::uint64_t id) { return static_cast<std::uint32_t>(id >> kIdServerShift); }
constexpr std::uint64_t first_id_of(std::uint32_t server) {
  return static_cast<std::uint64_t>(server) << kIdServerShift;
}

// The server that holds a directory: its record and its entries. REQUIRES: servers > 0.
constexpr std::uint32_t authority_of(std::uint64_t directory, std::uint32_t servers) {
  // What is not of one directory only is at the first server, and with it the list of instances.
  if (servers == 1 || directory == kInstancesDirectory) return 0;
  // The finaliser of splitmix64, as neighbouring ids shall not be neighbours.
  std::uint64_t x = directory + 0x9e3779b97f4a7c15ULL;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
  return static_cast<std::uint32_t>((x ^ x >> 31) % servers);
}

}  // namespace imss::metadata
