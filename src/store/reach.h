// What the data engine says of a data server's segment to the checker: which extents it owns. Stateless; any thread.
#pragma once

#include "base/result.h"
#include "segment/check.h"

namespace imss::store {

// Owned are the extents of every block, inodes among them. Fits segment::ReachVisitor.
// Errors: kTimedOut.
Status visit(segment::Segment& segment, const segment::EngineFindings& findings);

}  // namespace imss::store
