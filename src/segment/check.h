// Verification of a segment: every structural invariant, who owns each extent, and what leaked.
//
// check_segment looks at a segment that may be in use: what looks wrong while others change it is
// looked at again, and reported only if it stays. With nobody else alive its answer is exact. It
// repairs nothing but leaks. The caller registers as a participant; any thread; no locks held.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "segment/segment.h"

namespace imss::segment {

// What an engine says about its own structures. The segment layer itself knows hands, the limbo, slabs and the overflow
// buckets of tables.
struct EngineFindings {
  std::function<void(Ref owned)> owns;  // called once for each extent that they reference
  // A broken invariant: a place, the same each time the same thing is found, and a sentence.
  std::function<void(const std::string& place, const std::string& sentence)> wrong;
};
using ReachVisitor = std::function<Status(Segment&, const EngineFindings&)>;

struct CheckOptions {
  // Returns leaked extents to their pools and counts the tables' entries anew. Only when no
  // participant but the host and the caller is alive.
  bool repair = false;
  // Without it leaks cannot be told from use, and none are reported.
  ReachVisitor reach;
};

struct CheckReport {
  std::vector<std::string> errors;  // broken invariants, a sentence each
  std::vector<std::string> notes;   // what is worth knowing and harmless
  bool exclusive = false;           // nobody else was alive, the host included
  std::uint64_t leaked_extents = 0;
  std::uint64_t leaked_bytes = 0;
  std::uint64_t repaired_extents = 0;
  std::uint64_t arenas = 0;
  std::uint64_t extents = 0;  // of all containers, slabs included
  std::uint64_t free_extents = 0;
  std::uint64_t slabs = 0;
  std::uint64_t overflow_buckets = 0;
  std::uint64_t entries[kTables] = {};
  std::uint32_t participants = 0;  // alive, the caller included

  bool clean() const { return errors.empty() && leaked_extents == repaired_extents; }
};

// Errors: kTooManyOpen when no participant slot is free, kBusy when `repair` was asked for and
// others are alive. Broken invariants, and what `reach` cannot follow, are in the report.
Result<CheckReport> check_segment(Segment& segment, const CheckOptions& options);

}  // namespace imss::segment
