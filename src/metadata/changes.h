// The parts of a change over several metadata servers, as NameService's functions take them. Plain values; any thread.
//
// A change is one make_directory, remove_directory or rename whose parties lie on different servers. Its id names the
// coordinator, the server that holds the name that appears or goes. docs/several_servers.md tells how it runs.
#pragma once

#include <cstdint>
#include <vector>

#include "base/fields.h"
#include "metadata/values.h"

namespace imss::metadata {

// What the coordinator knows of a change.
enum class ChangeOutcome : std::uint8_t {
  kAborted = 0,    // nothing, or it was applied everywhere long ago: then there is no claim left to ask for
  kPending = 1,
  kCommitted = 2,
};

// A name that a rename is about to make or to replace.
struct NameClaim {
  std::uint64_t change = 0;
  EntryInfo entry;          // as it shall be: parent and name are the new ones
  bool no_replace = false;
  IMSS_FIELDS(change, entry, no_replace)
};

struct ClaimedName {
  bool same = false;        // the name stands for the same dataset already: there is no claim, and nothing to do
  bool replaces = false;
  EntryInfo victim;         // the name that is there now
  IMSS_FIELDS(same, replaces, victim)
};

enum class DirectoryRole : std::uint8_t {
  kNew = 0,    // is there once the change is committed
  kGone = 1,   // is not there any more then
  kMoved = 2,  // has another parent then
};

// A directory that a change is about to make, to remove or to move.
struct DirectoryClaim {
  std::uint64_t change = 0;
  DirectoryRole role = DirectoryRole::kNew;
  std::uint64_t id = 0;
  std::uint64_t parent = 0;      // kMoved: the one that it has now
  std::uint64_t new_parent = 0;  // kMoved
  Permissions permissions = {};  // kNew
  IMSS_FIELDS(change, role, id, parent, new_parent, permissions)
};

// The coordinator's own part, with which the change is committed.
struct Decision {
  std::uint64_t change = 0;
  bool adds = false;                        // the name appears; otherwise it goes
  EntryInfo entry;                          // to be added, or as it was found
  std::vector<std::uint32_t> participants;  // servers that hold claims of the change, up to kMaxParticipants
  static constexpr std::size_t kMaxParticipants = 4;
  IMSS_FIELDS(change, adds, entry, participants)
};

}  // namespace imss::metadata
