// Starting and stopping the daemons of a detached instance on this node.
//
// The daemons are the program `server`, on their own as soon as they serve: they survive the
// process that started them and its terminal. Functions without shared state; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "client/session.h"
#include "server/deployment.h"

namespace imss::client {

struct DaemonOptions {
  std::string instance;
  std::vector<server::Seat> seats;   // one for each server, in order of rank
  std::uint64_t capacity_bytes = 0;  // of each
  std::uint16_t metadata_port = 0;
  std::string program;  // path of `server`; empty: the installed one, then PATH
};

// Starts the data servers and waits until all serve and the instance stands. When one fails, those
// that did start are stopped again. Errors: kExists (the instance is served), kNotFound (program),
// kNotSupported (a host that is not this node), kBusy (port taken), kNoSpace, kTimedOut, kSystem.
Status start_daemons(Session& session, const DaemonOptions& options, Deadline deadline);

// Stops the data servers of an instance and removes its data and names. Errors: kPermission,
// kTimedOut (a server did not stop).
Status stop_daemons(Session& session, const std::string& instance, Deadline deadline);

}  // namespace imss::client
