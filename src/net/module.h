// The network module: libimss_net.so, which alone links UCX and ZeroMQ and is loaded on first use,
// because linking them would cost every program start several milliseconds.
//
// load_module() is thread-safe and gives every caller the same module, which stays loaded until the
// process ends. It is looked for beside the file that this code is in (a program or library), in
// ../lib and ../lib/imss from there, and where the dynamic linker looks. Errors: kNotSupported with
// what is missing.
#pragma once

#include <memory>

#include "base/result.h"
#include "net/control.h"
#include "net/port.h"

namespace imss::net {

class Module {
 public:
  // The handler is not owned and must outlive the port.
  virtual Result<std::unique_ptr<Port>> make_port(PortHandler& handler) = 0;
  virtual Result<std::unique_ptr<ControlServer>> start_control_server(
      ControlServerOptions options) = 0;
  virtual Result<std::unique_ptr<ControlClient>> make_control_client(const ControlKeys& keys) = 0;
  virtual Result<ControlKeys> make_keys() = 0;

 protected:
  ~Module() = default;
};

Result<Module*> load_module();

}  // namespace imss::net
