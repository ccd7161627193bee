#include "metadata/change_upkeep.h"

#include <string>

#include "metadata/authority.h"

namespace imss::metadata {
namespace {

Result<NameService*> at(const std::vector<NameService*>& servers, std::uint32_t server) {
  if (server < servers.size() && servers[server] != nullptr) return servers[server];
  return Status(Code::kIo, "metadata server " + std::to_string(server) +
                               ", which has a part in an unfinished change, cannot be reached");
}

Status finish(NameService& names, std::uint64_t change, bool committed) {
  IMSS_ASSIGN_OR_RETURN(const RenameResult finished, names.finish_change(change, committed));
  if (finished.replaced) names.leave_to_reaper(finished.victim);
  return {};
}

}  // namespace

Status ChangeUpkeep::run(const std::vector<NameService*>& servers) {
  IMSS_ASSIGN_OR_RETURN(const auto changes, names_.open_changes());
  Status outcome;
  std::set<std::uint64_t> open;
  for (const Namespace::OpenChange& change : changes) {
    open.insert(change.id);
    if (!seen_.contains(change.id)) continue;
    const Status status = settle(change, servers);
    if (outcome.ok()) outcome = status;
  }
  seen_ = std::move(open);
  return outcome;
}

Status ChangeUpkeep::settle(const Namespace::OpenChange& change, const std::vector<NameService*>& servers) {
  if (change.pending) IMSS_RETURN_IF_ERROR(names_.change_outcome(change.id, false).status());
  if (change.claims) {
    IMSS_ASSIGN_OR_RETURN(NameService* const coordinator, at(servers, giver_of(change.id)));
    IMSS_ASSIGN_OR_RETURN(const ChangeOutcome outcome, coordinator->change_outcome(change.id, false));
    if (outcome != ChangeOutcome::kPending) {
      IMSS_RETURN_IF_ERROR(finish(names_, change.id, outcome == ChangeOutcome::kCommitted));
    }
  }
  if (!change.committed) return {};
  for (const std::uint32_t server : change.participants) {
    IMSS_ASSIGN_OR_RETURN(NameService* const participant, at(servers, server));
    IMSS_RETURN_IF_ERROR(finish(*participant, change.id, true));
  }
  return names_.forget_change(change.id);
}

}  // namespace imss::metadata
