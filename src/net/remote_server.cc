#include "net/remote_server.h"

namespace imss::net {

void RemoteServer::send(Call& call, Deadline deadline) {
  auto caller = Caller::of_this_thread(peers_->module());
  if (caller.ok()) return (*caller)->begin(peer_, call, deadline);
  call.ended = true;
  call.status = caller.status();
}

Status RemoteServer::wait(Call& call, Deadline deadline) {
  auto caller = Caller::of_this_thread(peers_->module());
  if (!caller.ok()) return caller.status();
  // Also for a call that has its answer: its payload may still be on its way out of the buffer.
  (*caller)->finish(call, deadline);
  if (call.status.code() == Code::kFenced) replaced_.store(true, std::memory_order_relaxed);
  return call.status;
}

}  // namespace imss::net
