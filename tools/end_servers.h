// Ending the servers of a mount, on this node and on others.
//
// Main thread of a program only.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "mount_state.h"

namespace imss::tools {

// Ends servers of this node by their pid files, data servers first, kills those that do not react,
// and removes their segments unless `keep_data`. Errors: a segment could not be removed.
Status end_here(const std::string& program, const std::vector<DaemonRecord>& daemons,
                bool keep_data);

// Ends the given servers of a mount wherever they run, data servers first, and removes their pid
// files on other nodes. Returns a sentence for each server that may still be there.
std::vector<std::string> end_servers(const std::string& program, const std::string& run_dir,
                                     const MountState& state,
                                     const std::vector<DaemonRecord>& daemons, bool keep_data);

// How a server is named on the command line of umount.imss on its node, "data:5555:0", and back.
std::string format_server(const DaemonRecord& record);
// Errors: kInvalidArgument.
Result<DaemonRecord> parse_server(const std::string& text, const std::string& run_dir);

// One word for a server, for the reports of run_on_hosts().
std::string report_label(const DaemonRecord& record);

}  // namespace imss::tools
