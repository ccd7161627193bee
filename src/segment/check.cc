#include "segment/check.h"

#include <time.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <set>

#include "segment/check_pass.h"
#include "segment/extents.h"

namespace imss::segment {
namespace {

// While others change the segment, what looks wrong must look wrong this many times.
constexpr int kPasses = 5;
constexpr long kBetweenPassesNs = 5'000'000;

struct Company {
  bool host = false;
  std::uint32_t others = 0;  // neither host nor caller
};

// Probing also completes what dead participants had committed, without which nothing adds up.
Company company_of(Segment& segment, const Participant& me) {
  Company company;
  for (std::uint32_t slot = 0; slot < segment.super().max_participants; ++slot) {
    const Participant& other = segment.participant(slot);
    if (other.id.load() == 0 || &other == &me) continue;
    if (segment.probe(slot) != Segment::Liveness::kAlive) continue;
    if (slot == 0) {
      company.host = true;
    } else {
      ++company.others;
    }
  }
  return company;
}

void fill(CheckReport& report, const CheckPass& pass) {
  report.arenas = pass.arenas();
  report.extents = pass.extents();
  report.free_extents = pass.free_extents();
  report.slabs = pass.slabs();
  report.overflow_buckets = pass.overflow_buckets();
  for (std::uint32_t table = 0; table < kTables; ++table) {
    report.entries[table] = pass.entries(table);
  }
  report.notes = pass.notes();
}

// By way of the caller's hand, so that a caller who dies here leaks nothing again.
std::uint64_t return_leaks(Segment& segment, Participant& me, const std::set<std::uint64_t>& leaks) {
  Extents extents(segment);
  std::uint64_t returned = 0;
  for (const std::uint64_t word : leaks) {
    const auto slot = extents.empty_slot(me);
    if (!slot.ok()) break;
    me.hand[*slot].store(word);
    extents.return_free(me);
    if (me.hand[*slot].load() == 0) {
      ++returned;
    } else {
      me.hand[*slot].store(0);
    }
  }
  return returned;
}

}  // namespace

Result<CheckReport> check_segment(Segment& segment, const CheckOptions& options) {
  IMSS_ASSIGN_OR_RETURN(Participant* me, segment.self());
  CheckReport report;
  if (options.repair) segment.clean_up();
  const Company company = company_of(segment, *me);
  report.participants = 1 + company.others + (company.host ? 1 : 0);
  report.exclusive = report.participants == 1;
  if (options.repair && company.others > 0) {
    return Status(Code::kBusy, "segment " + segment.name() + " is in use by " +
                                   std::to_string(company.others) +
                                   " other threads; end them before it is repaired");
  }
  std::map<std::string, std::string> errors;
  std::set<std::uint64_t> leaks;
  for (int round = 0; round < (report.exclusive ? 1 : kPasses); ++round) {
    CheckPass pass(segment);
    pass.look();
    bool all_known = false;
    if (options.reach) {
      const EngineFindings findings{
          [&](Ref owned) { pass.own(owned, Owner::kEngine); },
          [&](const std::string& place, const std::string& sentence) { pass.note_wrong(place, sentence); }};
      const Status status = options.reach(segment, findings);
      all_known = status.ok();
      if (!all_known) pass.note_unreachable(status);
    }
    pass.finish();
    // While something is out of reach, what it owns must not pass for a leak.
    std::set<std::uint64_t> unowned;
    if (all_known) {
      for (const Ref ref : pass.unowned()) unowned.insert(ref.word());
    }
    if (round == 0) {
      errors = pass.errors();
      leaks = unowned;
    } else {
      std::erase_if(errors, [&](const auto& item) { return !pass.errors().contains(item.first); });
      std::erase_if(leaks, [&](std::uint64_t word) { return !unowned.contains(word); });
    }
    fill(report, pass);
    if (errors.empty() && leaks.empty()) break;
    const timespec nap{0, kBetweenPassesNs};
    if (!report.exclusive) ::nanosleep(&nap, nullptr);
  }
  for (const auto& [place, sentence] : errors) report.errors.push_back(sentence);
  report.leaked_extents = leaks.size();
  for (const std::uint64_t word : leaks) report.leaked_bytes += Ref(word).bytes();
  if (!options.reach) report.notes.push_back("leaks were not looked for");
  // What is broken stays as it is: to return extents of damaged structures could spread the damage.
  if (!options.repair || !report.errors.empty()) return report;
  report.repaired_extents = return_leaks(segment, *me, leaks);
  if (report.exclusive) {
    for (std::uint32_t table = 0; table < kTables; ++table) {
      segment.super().tables[table].entries.store(report.entries[table]);
    }
  }
  return report;
}

}  // namespace imss::segment
