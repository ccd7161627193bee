// The one symbol that the network module exports: the object that makes its ports and control
// sockets.
#include "net/module.h"

#include "net/module/ucx_port.h"
#include "net/module/zmq_control.h"

namespace imss::net {
namespace {

class LoadedModule final : public Module {
 public:
  Result<std::unique_ptr<Port>> make_port(PortHandler& handler) override {
    return UcxPort::make(handler);
  }
  Result<std::unique_ptr<ControlServer>> start_control_server(
      ControlServerOptions options) override {
    return start_zmq_server(std::move(options));
  }
  Result<std::unique_ptr<ControlClient>> make_control_client(const ControlKeys& keys) override {
    return make_zmq_client(keys);
  }
  Result<ControlKeys> make_keys() override { return make_zmq_keys(); }
};

}  // namespace
}  // namespace imss::net

extern "C" __attribute__((visibility("default"))) imss::net::Module* imss_net_module_v1() {
  static imss::net::LoadedModule module;
  return &module;
}
