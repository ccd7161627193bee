// Extended attributes through FUSE. Concurrent: libfuse calls them on any of its threads.
#pragma once

#include <fuse_lowlevel.h>

namespace imss::fuse {

void add_xattr_operations(fuse_lowlevel_ops& table);

}  // namespace imss::fuse
