// How this process uses UCX: settings that the user did not choose, and where UCX's own messages
// go.
//
// The user's settings (UCX_... in the environment) always win. Any thread. Errors: kNotSupported
// when UCX cannot start at all.
#pragma once

#include <ucp/api/ucp.h>

#include <memory>

#include "base/result.h"

namespace imss::net {

struct UcxConfigRelease {
  void operator()(ucp_config_t* config) const { ucp_config_release(config); }
};
using UcxConfig = std::unique_ptr<ucp_config_t, UcxConfigRelease>;

// Once per process (see ucx_process.h), before anything else of UCX is used: its log becomes part
// of ours and is silent about what peers do.
void quieten_ucx();

// While it exists, UCX installs no hooks for memory calls. It would do so by overwriting the code
// of madvise, munmap and others in the C library, and a thread that is just executing one of them
// crashes. What is lost is a cache of registered memory on networks that need registration; whoever
// wants that sets UCX_MEM_EVENTS=yes. Other users of UCX in the process (an MPI library) are not
// affected. REQUIRES: ucx_process_mutex() is held.
class NoMemoryHooks {
 public:
  NoMemoryHooks();
  ~NoMemoryHooks();
  NoMemoryHooks(const NoMemoryHooks&) = delete;
  NoMemoryHooks& operator=(const NoMemoryHooks&) = delete;

 private:
  const int before_;
};

// What ucp_init takes.
Result<UcxConfig> read_ucx_config();

// The status of an operation on a peer; `what` begins the sentence.
Status status_from_ucx(ucs_status_t status, const std::string& what);

}  // namespace imss::net
