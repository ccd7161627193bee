// Why a client gets no connection: what ZeroMQ reports of a socket that tries to connect.
//
// Lives only while somebody waits, because reports pile up. Used by the thread that uses the
// watched socket, which must outlive it. A watch that cannot be made finds nothing.
#pragma once

#include "net/module/zmq_socket.h"

namespace imss::net {

enum class Finding {
  kNothing,    // nobody takes the connection
  kSilence,    // somebody takes it and says nothing
  kClosed,     // somebody takes it and closes it before it is one of ZeroMQ's
  kOtherKeys,  // one side has keys and the other has not
};

class HandshakeWatch {
 public:
  HandshakeWatch(void* context, ZmqSocket& watched);
  HandshakeWatch(const HandshakeWatch&) = delete;
  HandshakeWatch& operator=(const HandshakeWatch&) = delete;
  ~HandshakeWatch();

  // The last that was found.
  Finding look();

 private:
  ZmqSocket& watched_;
  ZmqSocket socket_;
  Finding finding_ = Finding::kNothing;
};

}  // namespace imss::net
