// What the checker verifies of a metadata server's segment beyond who owns which extent: that names, slots and counters of
// directories agree.
// Stateless; any thread that is a participant.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "segment/segment.h"

namespace imss::metadata {

// Calls `wrong` for each broken invariant, with a place that is the same each time and a sentence. While others change
// the segment, what is found may be a moment in between: look again before it is reported. Errors: kTimedOut.
Status check_names(segment::Segment& segment,
                   const std::function<void(const std::string& place, const std::string& sentence)>& wrong);

}  // namespace imss::metadata
