// Whether the servers of an attached process have to be reached from other nodes, and how.
//
// Who knows, the first that says something: the configured address to listen on (ADDRESS); a
// metadata host that is another node; the launcher of the job, which tells whether it has ranks on
// several nodes; and without a launcher the host file, when it names its first host otherwise than
// `localhost`. An instance whose ranks are all on one node needs no network, and does not load it.
// Plain values and functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/config.h"
#include "base/result.h"
#include "client/job_place.h"
#include "server/data_server.h"

namespace imss::client {

struct NetworkQuestion {
  std::optional<JobPlace> place;
  std::string metadata_host;   // as other nodes know it; empty: not known
  bool metadata_here = false;  // that is this node
  bool named_by_file = false;  // a host file names it
  std::uint16_t metadata_port = 0;
};

struct NetworkAnswer {
  bool needed = false;
  server::NetworkOptions options;  // without ports
  std::string host_name;           // of this node, as other nodes know it
};

NetworkAnswer attached_network(const Config& config, const NetworkQuestion& question);

// The control port of the data server with this number on its node: they count on from the
// well-known port, and leave out that of the metadata server. Errors: kInvalidArgument beyond
// 65535.
Result<std::uint16_t> attached_port(std::uint16_t server_port, std::uint16_t metadata_port,
                                    std::uint32_t number_on_node);

}  // namespace imss::client
