// What the namespace engine says of a metadata server's segment to the checker: which extents it owns, and what of its
// own structures is broken. Stateless; any thread that is a participant.
#pragma once

#include "base/result.h"
#include "segment/check.h"

namespace imss::metadata {

// Owned are the records of every entry, directory, instance and server, the chunks of directories and the journaller's
// ring. Fits segment::ReachVisitor. Errors: kTimedOut.
Status visit(segment::Segment& segment, const segment::EngineFindings& findings);

}  // namespace imss::metadata
