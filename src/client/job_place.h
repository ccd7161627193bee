// Where the launcher of a parallel job put this process, as its environment tells: mpirun of Open
// MPI, MPICH, Intel MPI and MVAPICH, and Slurm's srun. Pure functions; any thread, as long as
// nobody changes the environment meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace imss::client {

struct JobPlace {
  std::uint32_t rank_on_node = 0;  // among the ranks of this job on this node, from 0 on
  bool several_nodes = false;      // the job has ranks on other nodes
  std::string first_host;          // of rank 0, where the launcher tells it; else empty
};

// Nothing where no launcher is known to have started this process. `environment`: as environ(7).
std::optional<JobPlace> job_place(const char* const* environment);

// The first host of a list in Slurm's notation, such as "node[03-05,9],login1". Empty when it is
// none.
std::string first_host_of(std::string_view host_list);

}  // namespace imss::client
