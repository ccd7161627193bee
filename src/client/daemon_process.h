// One daemon as a process: finding the program, starting it, and asking it to end.
//
// Functions without shared state; any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace imss::client {

// The path of the program `server`: `given` when not empty, otherwise beside this library or this
// program, otherwise in PATH. Errors: kNotFound.
Result<std::string> find_server_program(const std::string& given);

// Runs the program with the arguments, which make it a daemon that reports to descriptor 3, and
// waits for that report. Returns the daemon's process id. Errors: kTimedOut, kIo with the sentence
// it gave, kSystem.
Result<pid_t> start_daemon(const std::string& program, const std::vector<std::string>& arguments,
                           Deadline deadline);
inline constexpr int kReportFd = 3;

// Tells the process to stop serving and to remove its segment. Errors: kPermission, kSystem.
Status ask_to_retire(pid_t process);

}  // namespace imss::client
