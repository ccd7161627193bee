// The requests of the kernel, answered by the file view. Concurrent: libfuse calls them on any of its threads.
#pragma once

#include <fuse_lowlevel.h>

namespace imss::fuse {

// The user data of the FUSE session is a posix::FileSystem.
const fuse_lowlevel_ops& operations();

}  // namespace imss::fuse
