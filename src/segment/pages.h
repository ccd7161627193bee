// Pages of extents: which hold data, which are being filled for the first time, and recovery of both.
//
// An extent that is written piece by piece knows for each 4 KiB page whether it holds data of the present
// content (valid). A page that is not valid reads as zeros and is never dereferenced. The first writer of a
// page claims it, zeroes what it does not write, copies its data without any lock, and then marks the page
// valid; others that want the page meanwhile wait, readers see zeros. The claims of a dead writer are dropped:
// its data was never acknowledged.
//
// Page numbers count from the start of the arena area; a range never crosses an arena boundary.
#pragma once

#include "base/result.h"
#include "segment/segment.h"

namespace imss::segment {

struct PageRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive
};

// The pages that `bytes` bytes at `offset` of the segment touch. REQUIRES: bytes > 0, within one arena.
PageRange pages_of(const Segment& segment, std::uint64_t offset, std::uint64_t bytes);

bool all_valid(const Segment& segment, PageRange range);
bool page_valid(const Segment& segment, std::uint64_t page);

// Whether an extent of an arena of smaller extents has any pages. `index` counts from the start of the arena.
bool has_memory(const Segment& segment, std::uint64_t arena, std::uint32_t index, std::uint64_t extent_bytes);
// Has the host obtain the memory of `bytes` bytes at `offset`, if it has not yet. Within one arena.
Status ensure_populated(Segment& segment, Participant& me, std::uint64_t offset, std::uint64_t bytes);
// Marks every page of the extent as holding no data. REQUIRES: the caller owns the extent.
Status forget_content(Segment& segment, Participant& me, Ref ref);
// Marks pages as valid or not. REQUIRES: the caller owns the extent or holds a claim on the pages.
Status set_valid(Segment& segment, Participant& me, PageRange range, bool valid);

enum class ClaimResult { kNothingToDo, kClaimed };
// Claims the pages of `range` that are not valid, and has the host obtain their memory first. Pages
// claimed by others are waited for. Errors: kNoSpace, kTimedOut. `fresh` gets one bit per page of the
// range's arena (512) that was claimed.
Result<ClaimResult> claim_pages(Segment& segment, Participant& me, Ref ref, PageRange range,
                                std::uint64_t (&fresh)[8]);
// After the data is in: the claimed pages become valid and the claim ends.
Status finish_claim(Segment& segment, Participant& me);

// Lists a block whose copies may differ, and zeroes a word in the same transaction. False: no place or no lock.
bool note_torn(Segment& segment, Participant& me, std::uint64_t dataset, std::uint64_t block, Word* also_zero);

// Recovery.
void release_claim(Segment& segment, Participant& me, Participant& dead);
// Notes that the copies of a block may differ, for whoever repairs them. False when there is no place to note it.
bool note_torn_copies(Segment& segment, Participant& me, Participant& dead);
void abandon_move(Segment& segment, Participant& me, Participant& dead);

}  // namespace imss::segment
