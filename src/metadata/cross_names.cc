#include "metadata/cross_names.h"

#include <time.h>

#include <algorithm>
#include <cassert>
#include <string>

#include "metadata/authority.h"
#include "segment/fault.h"
#include "segment/segment.h"

namespace imss::metadata {

using segment::fault_point;

namespace {

constexpr int kMaxDepth = 1 << 16;
constexpr long kFirstNapNs = 50'000;
constexpr long kLongestNapNs = 5'000'000;

bool is_directory(const EntryInfo& info) { return info.type == NodeType::kDirectory; }

// Waits a little longer each time, for a change that others drive.
class Naps {
 public:
  void take() {
    const timespec nap{0, next_ns_};
    ::nanosleep(&nap, nullptr);
    next_ns_ = std::min(2 * next_ns_, kLongestNapNs);
  }

 private:
  long next_ns_ = kFirstNapNs;
};

}  // namespace

// One attempt at an operation, and the older change that stood in its way.
struct CrossNames::Attempt {
  Deadline deadline;
  std::uint64_t blocker = 0;
  std::uint32_t server = 0;  // where it was met

  Status note(std::uint32_t met_at, Status status) {
    if (status.code() == Code::kClaimed) {
      blocker = status.claim();
      server = met_at;
    }
    return status;
  }
};

// One change: what it has claimed so far. Unless it was decided its claims are undone at the end.
class CrossNames::Driver {
 public:
  Driver(CrossNames& names, std::uint32_t coordinator, Attempt& attempt)
      : names_(names), coordinator_(coordinator), attempt_(attempt) {}
  ~Driver() {
    if (change_ != 0 && !decided_) abort();
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  Status begin() {
    IMSS_ASSIGN_OR_RETURN(NameService* const coordinator, names_.at(coordinator_));
    IMSS_ASSIGN_OR_RETURN(change_, coordinator->begin_change());
    fault_point("cross.begun");
    return {};
  }
  std::uint64_t change() const { return change_; }

  Result<ClaimedName> claim_name(std::uint32_t server, const NameClaim& claim) {
    ClaimedName claimed;
    IMSS_RETURN_IF_ERROR(step(server, [&](NameService& names) -> Status {
      join(server);
      IMSS_ASSIGN_OR_RETURN(claimed, names.claim_name(claim));
      return {};
    }));
    fault_point("cross.name_claimed");
    return claimed;
  }
  Status claim_directory(std::uint32_t server, const DirectoryClaim& claim) {
    IMSS_RETURN_IF_ERROR(step(server, [&](NameService& names) {
      join(server);
      return names.claim_directory(claim);
    }));
    fault_point("cross.directory_claimed");
    return {};
  }
  // A step that claims nothing.
  template <typename Step>
  Status step(std::uint32_t server, Step&& take);
  Status decide(bool adds, const EntryInfo& entry);
  RenameResult finish();

 private:
  // Before the claim: it may be there although the answer is an error.
  void join(std::uint32_t server) {
    if (std::ranges::find(participants_, server) == participants_.end()) participants_.push_back(server);
  }
  void abort();

  CrossNames& names_;
  const std::uint32_t coordinator_;
  Attempt& attempt_;
  std::uint64_t change_ = 0;
  std::vector<std::uint32_t> participants_;
  bool decided_ = false;
};

// Of two changes that meet the older one waits, keeping its claims, and the younger one gives way. So nobody waits in
// a circle, and one of them gets through.
template <typename Step>
Status CrossNames::Driver::step(std::uint32_t server, Step&& take) {
  IMSS_ASSIGN_OR_RETURN(NameService* const names, names_.at(server));
  for (;;) {
    const Status status = take(*names);
    // What became of the step does not matter: without a decision nothing of the change is applied.
    if (status.code() == Code::kUnknownOutcome) return Status(Code::kIo, status.message());
    if (status.code() != Code::kClaimed) return status;
    IMSS_RETURN_IF_ERROR(attempt_.note(server, names_.settle(status.claim(), server, attempt_.deadline, change_)));
  }
}

Status CrossNames::Driver::decide(bool adds, const EntryInfo& entry) {
  const Decision decision{change_, adds, entry, participants_};
  const Status status = step(coordinator_, [&](NameService& names) { return names.decide_change(decision); });
  if (status.ok()) {
    decided_ = true;
    fault_point("cross.decided");
    return status;
  }
  // The answer may have been lost, or the request may still be on its way: now it is one or the other.
  IMSS_ASSIGN_OR_RETURN(NameService* const coordinator, names_.at(coordinator_));
  const auto outcome = coordinator->change_outcome(change_, true);
  if (outcome.ok() && *outcome == ChangeOutcome::kCommitted) {
    decided_ = true;
    return {};
  }
  if (outcome.ok()) return status;
  // Nobody knows before the coordinator is back; until then the claims stay.
  decided_ = true;
  return Status(Code::kUnknownOutcome, "metadata server " + std::to_string(coordinator_) +
                                           " stopped answering while it decided on a change: " + status.message());
}

// What cannot be reached now is finished by whoever meets the claims, or by the servers.
RenameResult CrossNames::Driver::finish() {
  RenameResult result;
  bool everywhere = true;
  for (const std::uint32_t server : participants_) {
    const auto names = names_.at(server);
    auto finished = names.ok() ? (*names)->finish_change(change_, true) : Result<RenameResult>(names.status());
    everywhere = everywhere && finished.ok();
    fault_point("cross.finished");
    if (!finished.ok() || !finished->replaced) continue;
    result = std::move(*finished);
    result.victim.server = server;
  }
  const auto coordinator = names_.at(coordinator_);
  if (everywhere && coordinator.ok()) {
    [[maybe_unused]] const Status forgotten = (*coordinator)->forget_change(change_);  // or upkeep does
  }
  fault_point("cross.forgotten");
  return result;
}

void CrossNames::Driver::abort() {
  const auto coordinator = names_.at(coordinator_);
  if (!coordinator.ok()) return;
  const auto outcome = (*coordinator)->change_outcome(change_, true);
  fault_point("cross.aborted");
  // Without its word nothing is undone: it may have decided.
  if (!outcome.ok() || *outcome != ChangeOutcome::kAborted) return;
  for (const std::uint32_t server : participants_) {
    const auto names = names_.at(server);
    if (names.ok()) [[maybe_unused]] const auto undone = (*names)->finish_change(change_, false);
  }
}

// --- claims that are met -------------------------------------------------------------------------------------

Result<NameService*> CrossNames::at(std::uint32_t server) const {
  if (server < servers_.size() && servers_[server] != nullptr) return servers_[server];
  return Status(Code::kIo, "metadata server " + std::to_string(server) + " of this namespace cannot be reached");
}

std::uint32_t CrossNames::authority(std::uint64_t directory) const {
  return authority_of(directory, static_cast<std::uint32_t>(servers_.size()));
}

// kClaimed: it is under way, and older than `mine`.
Status CrossNames::settle(std::uint64_t change, std::uint32_t server, const Deadline& deadline, std::uint64_t mine) {
  IMSS_ASSIGN_OR_RETURN(NameService* const coordinator, at(giver_of(change)));
  IMSS_ASSIGN_OR_RETURN(NameService* const holder, at(server));
  Naps naps;
  for (;;) {
    IMSS_ASSIGN_OR_RETURN(const ChangeOutcome outcome, coordinator->change_outcome(change, false));
    if (outcome != ChangeOutcome::kPending) {
      IMSS_ASSIGN_OR_RETURN(const RenameResult finished,
                            holder->finish_change(change, outcome == ChangeOutcome::kCommitted));
      // Its author drops what it replaced, but we came first.
      if (finished.replaced) holder->leave_to_reaper(finished.victim);
      return {};
    }
    assert(change != mine);  // a change never asks for what it has claimed
    if (change < mine) return Status::claimed(change);
    if (deadline.expired()) {
      return Status(Code::kTimedOut, "a change over several metadata servers that holds the name does not end");
    }
    naps.take();
  }
}

Status CrossNames::resolve(std::uint64_t change, std::uint32_t server) {
  return settle(change, server, Deadline::from_now(segment::deadline_ms()), 0);
}

// Repeats an attempt that gave way to an older change, or found other things than it had expected.
template <typename Try>
Status CrossNames::repeat(Try&& attempt_once) {
  const Deadline deadline = Deadline::from_now(segment::deadline_ms());
  Naps naps;
  for (;;) {
    Attempt attempt{deadline};
    const Status status = attempt_once(attempt);
    if (status.code() == Code::kClaimed) {
      IMSS_RETURN_IF_ERROR(settle(attempt.blocker, attempt.server, deadline, 0));
    } else if (status.code() == Code::kBusy && !deadline.expired()) {
      naps.take();
    } else {
      return status;
    }
  }
}

// --- operations ------------------------------------------------------------------------------------------------

Status CrossNames::make_directory(std::uint64_t parent, std::string_view name, const Permissions& wanted,
                                  std::uint64_t* id) {
  const std::uint32_t home = authority(parent);
  return repeat([&](Attempt& attempt) -> Status {
    IMSS_ASSIGN_OR_RETURN(NameService* const names, at(home));
    EntryInfo entry;
    entry.parent = parent;
    entry.name = name;
    entry.type = NodeType::kDirectory;
    entry.created_ns = static_cast<std::uint64_t>(coarse_realtime_ns());
    entry.id = id != nullptr ? *id : 0;
    if (entry.id == 0) {
      IMSS_ASSIGN_OR_RETURN(entry.id, names->new_id());
    }
    const std::uint32_t holder = authority(entry.id);
    if (holder == home) {
      std::uint64_t made = entry.id;
      IMSS_RETURN_IF_ERROR(attempt.note(home, names->make_directory(parent, name, wanted, &made)));
    } else {
      const Status present = names->lookup(parent, name).status();
      if (present.ok()) return Code::kExists;
      if (present.code() != Code::kNotFound) return attempt.note(home, present);
      const auto above = names->directory(parent);
      if (!above.ok()) return attempt.note(home, above.status());
      const Permissions permissions = inherited(above->permissions(), wanted);
      entry.mode = permissions.mode;
      IMSS_ASSIGN_OR_RETURN(entry.link, names->new_id());
      Driver driver(*this, home, attempt);
      IMSS_RETURN_IF_ERROR(driver.begin());
      IMSS_RETURN_IF_ERROR(driver.claim_directory(
          holder, {driver.change(), DirectoryRole::kNew, entry.id, parent, 0, permissions}));
      IMSS_RETURN_IF_ERROR(driver.decide(true, entry));
      driver.finish();
    }
    if (id != nullptr) *id = entry.id;
    return {};
  });
}

Status CrossNames::remove_directory(std::uint64_t parent, std::string_view name) {
  const std::uint32_t home = authority(parent);
  return repeat([&](Attempt& attempt) -> Status {
    IMSS_ASSIGN_OR_RETURN(NameService* const names, at(home));
    const auto found = names->lookup(parent, name);
    if (!found.ok()) return attempt.note(home, found.status());
    const std::uint32_t holder = authority(found->id);
    if (!is_directory(*found) || holder == home) {
      const Status status = attempt.note(home, names->remove_directory(parent, name));
      // Another directory has the name meanwhile.
      return status.code() == Code::kNotSupported ? Status(Code::kBusy) : status;
    }
    Driver driver(*this, home, attempt);
    IMSS_RETURN_IF_ERROR(driver.begin());
    IMSS_RETURN_IF_ERROR(
        driver.claim_directory(holder, {driver.change(), DirectoryRole::kGone, found->id, parent, 0, {}}));
    IMSS_RETURN_IF_ERROR(driver.decide(false, *found));
    driver.finish();
    return {};
  });
}

struct CrossNames::Rename {
  std::uint64_t from_parent = 0;
  std::string_view from_name;
  std::uint64_t to_parent = 0;
  std::string_view to_name;
  bool no_replace = false;
};

Result<RenameResult> CrossNames::rename(std::uint64_t from_parent, std::string_view from_name,
                                        std::uint64_t to_parent, std::string_view to_name, bool no_replace) {
  const Rename wanted{from_parent, from_name, to_parent, to_name, no_replace};
  const std::uint32_t home = authority(from_parent);
  RenameResult result;
  IMSS_RETURN_IF_ERROR(repeat([&](Attempt& attempt) -> Status {
    if (authority(to_parent) == home) {
      IMSS_ASSIGN_OR_RETURN(NameService* const names, at(home));
      auto renamed = names->rename(from_parent, from_name, to_parent, to_name, no_replace);
      if (renamed.ok()) {
        result = std::move(*renamed);
        result.victim.server = home;
        return {};
      }
      if (renamed.code() != Code::kNotSupported) return attempt.note(home, renamed.status());
    }
    return rename_over_servers(wanted, attempt, &result);
  }));
  return result;
}

Status CrossNames::rename_over_servers(const Rename& wanted, Attempt& attempt, RenameResult* result) {
  const std::uint32_t home = authority(wanted.from_parent);
  IMSS_ASSIGN_OR_RETURN(NameService* const names, at(home));
  auto source = names->lookup(wanted.from_parent, wanted.from_name);
  if (!source.ok()) return attempt.note(home, source.status());
  Driver driver(*this, home, attempt);
  IMSS_RETURN_IF_ERROR(driver.begin());
  if (is_directory(*source) && wanted.from_parent != wanted.to_parent) {
    IMSS_RETURN_IF_ERROR(driver.claim_directory(
        authority(source->id),
        {driver.change(), DirectoryRole::kMoved, source->id, wanted.from_parent, wanted.to_parent, {}}));
    IMSS_RETURN_IF_ERROR(check_cycle(driver, source->id, wanted.to_parent));
  }
  NameClaim claim{driver.change(), *source, wanted.no_replace};
  claim.entry.parent = wanted.to_parent;
  claim.entry.name = wanted.to_name;
  IMSS_ASSIGN_OR_RETURN(const ClaimedName claimed, driver.claim_name(authority(wanted.to_parent), claim));
  if (claimed.same) return {};  // two names of one dataset: nothing to do, as POSIX has it
  if (claimed.replaces && is_directory(claimed.victim)) {
    IMSS_RETURN_IF_ERROR(driver.claim_directory(
        authority(claimed.victim.id),
        {driver.change(), DirectoryRole::kGone, claimed.victim.id, wanted.to_parent, 0, {}}));
  }
  IMSS_RETURN_IF_ERROR(driver.decide(false, *source));
  *result = driver.finish();
  return {};
}

// Walks from the new parent to the root. All directories that move have a claim before their movers walk: of several
// moves that would make a circle together, the one that claimed last meets the claim or the result of each other one.
Status CrossNames::check_cycle(Driver& driver, std::uint64_t moved, std::uint64_t new_parent) {
  std::uint64_t id = new_parent;
  for (int depth = 0; depth < kMaxDepth && id > kInstancesDirectory; ++depth) {
    if (id == moved) return Code::kWouldCycle;
    IMSS_RETURN_IF_ERROR(driver.step(authority(id), [&](NameService& names) -> Status {
      IMSS_ASSIGN_OR_RETURN(const DirectoryInfo above, names.directory(id));
      id = above.parent;
      return {};
    }));
  }
  return id > kInstancesDirectory ? Status(Code::kCorrupt, "the directories above do not end") : Status();
}

}  // namespace imss::metadata
