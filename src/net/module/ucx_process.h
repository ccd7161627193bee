// The state of UCX that all ports of a process share, and what becomes of it in a fork child.
//
// Any thread. Errors: kNotSupported.
#pragma once

#include "base/result.h"
#include "base/thread_annotations.h"

namespace imss::net {

// UCX finds its transports when the first context is made, which is not meant for several threads
// at once. Whoever makes or ends a context holds this; so does fork(), so that a child never finds
// it held.
Mutex& ucx_process_mutex();

// To be called before each context is made, with the mutex held.
//
// UCX has one thread per process that accepts and makes connections, and believes after a fork that
// it still has it. The child inherits the thread's epoll descriptor too, and what it added there
// would wake the parent for descriptors that the parent does not have. So in a child a descriptor
// of the child's own takes its place, and a thread of ours goes on where UCX's is missing.
Status prepare_ucx_process();

}  // namespace imss::net
