// What UCX reports, and how it becomes calls of the handler: connections, messages and ends.
#include <cstring>

#include "base/log.h"
#include "net/module/sockets.h"
#include "net/module/ucx_port.h"
#include "net/module/ucx_settings.h"

namespace imss::net {
namespace {

// Lines need a system call to look at, and have something to say only when connections begin and
// end.
constexpr unsigned kLineRounds = 64;

}  // namespace

bool UcxPort::progress() {
  if (in_progress_) return false;
  in_progress_ = true;
  bool any = ucp_worker_progress(worker_) != 0;
  if (lines_due_ || ++progress_count_ % kLineRounds == 0) any |= look_at_lines();
  any |= accept_endpoints();
  any |= open_ready();
  any |= deliver_arrivals();
  any |= run_completions();
  any |= bury_connections();
  stop_listening_unless_awaited();
  in_progress_ = false;
  return any;
}

ucs_status_t UcxPort::on_message(void* port, const void* head, std::size_t head_bytes, void* data,
                                 std::size_t data_bytes, const ucp_am_recv_param_t* param) {
  auto& self = *static_cast<UcxPort*>(port);
  WireHead wire;
  // Nobody can be held responsible for what names no connection.
  if (head_bytes < sizeof wire) return UCS_OK;
  std::memcpy(&wire, head, sizeof wire);
  const auto found = self.by_id_.find(wire.connection);
  if (found == self.by_id_.end()) return UCS_OK;
  UcxConnection& connection = *found->second;
  if (connection.state == UcxConnection::State::kFailed) return UCS_OK;
  if (head_bytes > sizeof wire + kMaxHeadBytes || data_bytes > kMaxPayloadBytes) {
    self.fail(connection, Status(Code::kIo, connection.peer + " sent a message with a head of " +
                                                std::to_string(head_bytes) + " and a payload of " +
                                                std::to_string(data_bytes) + " bytes"));
    return UCS_OK;
  }
  ++self.counters_.messages_received;
  const bool at_sender = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
  // Without payload there is nothing to keep, and UCX takes its descriptor back.
  const bool keep = data_bytes > 0;
  const auto* begin = static_cast<const std::byte*>(head) + sizeof wire;
  Arrival arrival;
  arrival.connection = &connection;
  arrival.sequence = wire.sequence;
  arrival.head.assign(begin, begin + (head_bytes - sizeof wire));
  arrival.payload = std::make_unique<UcxPayload>(self, connection, keep ? data : nullptr,
                                                 data_bytes, at_sender && keep);
  self.arrivals_.push_back(std::move(arrival));
  return keep ? UCS_INPROGRESS : UCS_OK;
}

bool UcxPort::deliver_arrivals() {
  const bool any = !arrivals_.empty();
  while (!arrivals_.empty()) {
    Arrival arrival = std::move(arrivals_.front());
    arrivals_.pop_front();
    UcxConnection& connection = *arrival.connection;
    // Closed by the user meanwhile.
    if (connection.silent && connection.state != UcxConnection::State::kGreeting) continue;
    if (connection.early.size() >= kMaxEarlyMessages) {
      fail(connection, Status(Code::kIo, connection.peer + " has left out a message"));
      continue;
    }
    const bool next = arrival.sequence == connection.next_delivered;
    connection.early.emplace(arrival.sequence, std::move(arrival));
    if (next) deliver_in_order(connection);
  }
  return any;
}

void UcxPort::deliver_in_order(UcxConnection& connection) {
  // Until the handler knows the connection, its messages wait.
  while (!connection.silent) {
    const auto next = connection.early.find(connection.next_delivered);
    if (next == connection.early.end()) return;
    Arrival arrival = std::move(next->second);
    connection.early.erase(next);
    ++connection.next_delivered;
    handler_.arrived(connection, arrival.head, std::move(arrival.payload));
  }
}

void UcxPort::on_error(void* endpoint, ucp_ep_h, ucs_status_t status) {
  UcxConnection& failed = *static_cast<Endpoint*>(endpoint)->connection;
  failed.port->fail(failed, status_from_ucx(status, "the connection to " + failed.peer + " ended"));
}

void UcxPort::fail(UcxConnection& connection, Status why) {
  if (connection.state == UcxConnection::State::kFailed ||
      connection.state == UcxConnection::State::kClosing) {
    return;
  }
  note_lost_peer(connection);
  connection.state = UcxConnection::State::kFailed;
  connection.why = std::move(why);
  ending_.push_back(&connection);
}

void UcxPort::close(Connection& one) {
  auto& connection = static_cast<UcxConnection&>(one);
  connection.silent = true;
  if (connection.state == UcxConnection::State::kFailed ||
      connection.state == UcxConnection::State::kClosing) {
    return;  // it is ending anyway
  }
  connection.why = Status(Code::kIo, "the connection was closed");
  ending_.push_back(&connection);
  begin_close(connection);
}

void UcxPort::begin_close(UcxConnection& connection) {
  note_lost_peer(connection);
  connection.state = UcxConnection::State::kClosing;
  by_id_.erase(connection.id);
  by_line_.erase(connection.line);
  if (connection.line >= 0) close_socket(connection.line);
  connection.line = -1;
  std::erase(greeting_, &connection);
  for (Transfer* transfer : connection.unsent) finished(*transfer, connection.why);
  connection.unsent.clear();
  if (connection.endpoint == nullptr) return;
  nameless_.erase(connection.endpoint->handle);
  ucp_request_param_t param = {};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  const ucs_status_ptr_t answer = ucp_ep_close_nbx(connection.endpoint->handle, &param);
  connection.close_request = UCS_PTR_IS_PTR(answer) ? answer : nullptr;
}

bool UcxPort::endpoint_gone(UcxConnection& connection) {
  if (connection.close_request == nullptr) return true;
  if (ucp_request_check_status(connection.close_request) == UCS_INPROGRESS) return false;
  ucp_request_free(connection.close_request);
  connection.close_request = nullptr;
  return true;
}

bool UcxPort::bury_connections() {
  bool any = false;
  for (std::size_t i = 0; i < ending_.size();) {
    UcxConnection& connection = *ending_[i];
    if (connection.state == UcxConnection::State::kFailed) {
      begin_close(connection);
      any = true;
    }
    if (!endpoint_gone(connection)) {
      ++i;
      continue;
    }
    any = true;
    // UCX completes transfers before it ends; should it have forgotten one, nothing touches its
    // buffer any more.
    if (connection.transfers > 0) {
      abandon_transfers(connection);
      ++i;
      continue;
    }
    ending_.erase(ending_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!connection.silent) handler_.closed(connection, connection.why);
    forget(connection);
  }
  return any;
}

void UcxPort::forget(UcxConnection& connection) {
  for (UcxPayload* payload = payloads_; payload != nullptr; payload = payload->next_) {
    if (payload->connection_ == &connection) payload->connection_ = nullptr;
  }
  connections_.erase(&connection);
}

}  // namespace imss::net
