// The control plane on ZeroMQ: how the network module makes control servers, clients and keys (see
// net/control.h).
//
// A server owns a ZeroMQ context, a ROUTER socket and one thread; clients of a process share a
// context and own a DEALER socket per server. The two speak in the frames of zmq_frame.h.
#pragma once

#include <memory>

#include "base/result.h"
#include "net/control.h"

namespace imss::net {

// Errors: kBusy for a port in use, kInvalidArgument for an address that is not this node's or keys
// that do not fit together, kNotSupported when ZeroMQ was built without encryption, kTooManyOpen.
Result<std::unique_ptr<ControlServer>> start_zmq_server(ControlServerOptions options);

// Errors: kInvalidArgument for keys that do not fit together, kNotSupported.
Result<std::unique_ptr<ControlClient>> make_zmq_client(const ControlKeys& keys);

// A new random pair. Errors: kNotSupported when ZeroMQ was built without encryption.
Result<ControlKeys> make_zmq_keys();

}  // namespace imss::net
