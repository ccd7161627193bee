// The node of a job's metadata server, asked from the launcher where no host file names it.
//
// Under mpirun of MPICH (and other launchers of the Hydra family) the rank that serves tells it to
// the launcher's name service, and the others look it up; under Open MPI it is the node of rank 0,
// which PMIx knows. Both only between MPI_Init and MPI_Finalize, from a thread that may call MPI.
// Nothing is linked for it: what the application has loaded is used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace imss::client {

// Tells the launcher that the metadata server of the port is on `host`. Where no name service is
// known this does nothing.
void publish_metadata_host(std::uint16_t port, const std::string& host);

// The host of the metadata server of the port, empty when it is not known yet; nothing when there
// is no launcher that can be asked.
std::optional<std::string> find_published_metadata_host(std::uint16_t port);

}  // namespace imss::client
