// Changes of names whose parties lie on several metadata servers: atomic, whoever dies.
//
// The driver claims what a change needs at each server, the coordinator decides with one transaction, and the claims
// are finished. Whoever meets a claim asks the coordinator for the outcome and finishes it: no change waits for its
// driver. Stateless but for the servers' list; any thread. Owner: the router of a client, or a server's upkeep.
// How it works and why: docs/several_servers.md.
//
// Errors are those of NameService; kIo and kTimedOut mean that nothing was applied.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "metadata/name_service.h"

namespace imss::metadata {

class CrossNames {
 public:
  // `servers`: all metadata servers by index; they outlive this object. Null: one that cannot be reached now.
  explicit CrossNames(std::vector<NameService*> servers) : servers_(std::move(servers)) {}

  // As NameService has them, whichever servers the parties lie on; one server's transaction where one has them all.
  // `*id`: 0, or the id that the directory shall have.
  Status make_directory(std::uint64_t parent, std::string_view name, const Permissions& permissions, std::uint64_t* id);
  Status remove_directory(std::uint64_t parent, std::string_view name);
  // The victim's `server` says where forget() or leave_to_reaper() is to be called.
  Result<RenameResult> rename(std::uint64_t from_parent, std::string_view from_name, std::uint64_t to_parent,
                              std::string_view to_name, bool no_replace);

  // Settles what `server` answered kClaimed for: finishes the change's claims there once it is decided, and aborts it
  // when its driver is gone. Waits while it is under way. After ok the call that met the claim may be repeated.
  // Errors: kTimedOut (still under way), those of a coordinator that cannot be reached.
  Status resolve(std::uint64_t change, std::uint32_t server);

 private:
  struct Attempt;
  struct Rename;
  class Driver;
  Result<NameService*> at(std::uint32_t server) const;
  std::uint32_t authority(std::uint64_t directory) const;
  Status settle(std::uint64_t change, std::uint32_t server, const Deadline& deadline, std::uint64_t mine);
  template <typename Try>
  Status repeat(Try&& attempt_once);
  Status rename_over_servers(const Rename& wanted, Attempt& attempt, RenameResult* result);
  Status check_cycle(Driver& driver, std::uint64_t moved, std::uint64_t new_parent);

  std::vector<NameService*> servers_;
};

}  // namespace imss::metadata
