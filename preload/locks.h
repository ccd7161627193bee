// Locks on files of the store: flock(2), and fcntl(2)'s of processes and of open file descriptions.
//
// They are the kernel's, on the file of the segment of the data server that has the file's inode, so they hold between all
// intercepted programs of that node, and whoever dies gives his back. Each file has a range of positions of that file for
// itself; nothing is ever stored there. On other nodes locks are refused. Concurrent.
#pragma once

#include <fcntl.h>

#include "descriptors.h"

namespace imss::preload {

// As fcntl(2) with F_SETLK, F_SETLKW, F_GETLK and their relatives of descriptions.
int lock_ours(int fd, Description& description, int command, struct flock* lock);
int flock_ours(Description& description, int operation);
// A number of the description was closed: the process's locks on the file end.
void end_process_locks(Description& description);
// Of the description, which nobody has any more.
void end_description_locks(Description& description);
// In a fork child: what the parent has locked is the parent's.
void forget_process_locks();

}  // namespace imss::preload
