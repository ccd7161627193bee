// Which process has a dataset open, for the time when none of its threads is registered in the
// segment.
//
// A stamp is {start time, process id}, so that a process id that was given out again is another
// process. Stateless but for the stamp of this process; any thread.
#pragma once

#include <cstdint>

namespace imss::store {

// Stamp of the calling process; 0 when the system does not tell.
std::uint64_t own_process_stamp();
// Whether that process runs, as far as this process can see. False for 0.
bool process_lives(std::uint64_t stamp);

}  // namespace imss::store
