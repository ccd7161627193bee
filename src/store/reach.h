// Which extents of a data server's segment the data engine owns: for the checker. Stateless; any
// thread.
#pragma once

#include <functional>

#include "base/result.h"
#include "segment/segment.h"

namespace imss::store {

// Calls `owns` for the extent of every block and inode, and for what inodes refer to. Fits
// segment::ReachVisitor. Errors: kTimedOut.
Status visit_owned(segment::Segment& segment, const std::function<void(segment::Ref owned)>& owns);

}  // namespace imss::store
