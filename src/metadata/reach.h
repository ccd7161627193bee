// Which extents of a metadata server's segment the namespace engine owns: for the checker.
// Stateless; any thread.
#pragma once

#include <functional>

#include "base/result.h"
#include "segment/segment.h"

namespace imss::metadata {

// Calls `owns` for the record of every entry, directory, instance and server, for the chunks of
// directories and for the journaller's ring. Fits segment::ReachVisitor. Errors: kTimedOut.
Status visit_owned(segment::Segment& segment, const std::function<void(segment::Ref owned)>& owns);

}  // namespace imss::metadata
