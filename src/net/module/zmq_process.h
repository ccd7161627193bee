// What the control plane keeps per process, and how it behaves over fork().
//
// ZeroMQ's threads do not exist in a fork child, so a child must neither use nor destroy what its
// parent made. A child sees another fork generation than the objects it inherited, gets a context
// of its own when it asks for one, and has closed the listening sockets it inherited, so that it
// does not keep its parent's port in use. Any thread.
#pragma once

namespace imss::net {

// The context that all control clients of this process share. Never destroyed: clients may live
// until exit. Null with errno set when there is no room for it.
void* shared_zmq_context();

// Changes in each fork child. Whoever finds another value than when it began belongs to a parent
// process.
int fork_generation();

// A fork child is to close this descriptor; no longer after keep_in_fork_child(). Beyond
// kMaxClosedInChild descriptors nothing is noted: the child then keeps the port in use until it
// ends.
inline constexpr int kMaxClosedInChild = 64;
void close_in_fork_child(int fd);
void keep_in_fork_child(int fd);

}  // namespace imss::net
