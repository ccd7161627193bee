// How a program becomes a daemon, says that it is ready, and is known by its pid file.
//
// A pid file is locked for as long as its process lives, so a process id in it that was reused by
// another program is never mistaken. The starter learns the outcome as one line on a pipe:
// "ready PID new", "ready PID continued" (an earlier server's segment) or "failed SENTENCE", which
// says how the daemon ended when it did so without a word.
// Called by the main thread before any other thread exists.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "common_file.h"

namespace imss::tools {

// Locks the file for this process and writes its id. The lock ends with the returned file.
// Errors: kBusy when a living process holds it, kSystem.
Result<int> lock_pid_file(const std::string& path);
// The process that holds the pid file, 0 when there is none.
int pid_of(const std::string& path);

// What a starting server reports to whoever started it.
struct ReadyReport {
  bool ready = false;
  bool continued = false;  // it serves a segment that was there before
  int pid = 0;
  std::string sentence;  // why not, when not ready
};
// The line of a report, and back. What is no report is a failure without a sentence.
std::string format_report(const ReadyReport& report);
ReadyReport parse_report(std::string_view line);

// What became of a process, from what waitpid() said: "was ended by signal 11 (SIGSEGV)".
std::string how_it_ended(int wait_status);

// Leaves the terminal: the caller returns as a background process without a controlling terminal,
// with / as its folder, null as its standard streams, and all other descriptors but `keep_fd`
// closed. The process that called ends with exit code 0, or, when `keep_fd` is -1, once the daemon
// has reported: 0 when it is ready, and otherwise 1 with the sentence printed for `program`. With a
// `label` it prints the report after the label instead, and ends with 0 in any case.
// Returns the descriptor to report to.
Result<int> daemonize(std::string_view program, int keep_fd, std::string_view label = "");

// Lets standard output and standard error go to the end of the file.
Status redirect_output(const std::string& path);

}  // namespace imss::tools
