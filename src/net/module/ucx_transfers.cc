// Sends, receives and their completions.
#include <cassert>
#include <cstring>

#include "net/module/ucx_port.h"
#include "net/module/ucx_settings.h"

namespace imss::net {

Transfer& UcxPort::new_transfer(UcxConnection* connection, Completion done) {
  if (idle_transfers_.empty()) {
    transfers_.push_back(std::make_unique<Transfer>());
    idle_transfers_.push_back(transfers_.back().get());
  }
  Transfer& transfer = *idle_transfers_.back();
  idle_transfers_.pop_back();
  transfer.port = this;
  transfer.connection = connection;
  transfer.done = std::move(done);
  transfer.pieces.clear();
  if (connection != nullptr) ++connection->transfers;
  return transfer;
}

void UcxPort::send(Connection& to, std::span<const std::byte> head, ConstPieces payload,
                   Completion done) {
  auto& connection = static_cast<UcxConnection&>(to);
  Transfer& transfer = new_transfer(&connection, std::move(done));
  std::size_t bytes = 0;
  for (const auto& piece : payload) {
    bytes += piece.size();
    // UCX takes the address of what it reads without const.
    if (!piece.empty()) {
      transfer.pieces.push_back({const_cast<std::byte*>(piece.data()), piece.size()});
    }
  }
  if (head.size() > kMaxHeadBytes || bytes > kMaxPayloadBytes || payload.size() > kMaxPieces) {
    finished(transfer, Status(Code::kInvalidArgument, "the message exceeds the limits of a port"));
    return;
  }
  const bool ends = connection.state == UcxConnection::State::kFailed ||
                    connection.state == UcxConnection::State::kClosing;
  if (ends) {
    finished(transfer, connection.why);
    return;
  }
  transfer.payload_bytes = bytes;
  transfer.head.resize(sizeof(WireHead) + head.size());
  if (!head.empty()) {
    std::memcpy(transfer.head.data() + sizeof(WireHead), head.data(), head.size());
  }
  if (connection.state == UcxConnection::State::kGreeting) {
    connection.unsent.push_back(&transfer);
  } else {
    give_to_ucx(transfer);
  }
}

void UcxPort::give_to_ucx(Transfer& transfer) {
  UcxConnection& connection = *transfer.connection;
  WireHead wire;
  wire.connection = connection.peer_id;
  wire.sequence = connection.next_sent++;
  std::memcpy(transfer.head.data(), &wire, sizeof wire);
  ucp_request_param_t param = {};
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_DATATYPE;
  param.cb.send = on_sent;
  param.user_data = &transfer;
  const void* buffer = transfer.pieces.data();
  std::size_t count = transfer.pieces.size();
  param.datatype = ucp_dt_make_iov();
  if (count <= 1) {
    buffer = count == 0 ? nullptr : transfer.pieces[0].buffer;
    count = transfer.payload_bytes;
    param.datatype = ucp_dt_make_contig(1);
  }
  ++counters_.messages_sent;
  counters_.payload_bytes_sent += transfer.payload_bytes;
  transfer.in_ucx = true;
  started(transfer, ucp_am_send_nbx(connection.endpoint->handle, kMessageId, transfer.head.data(),
                                    transfer.head.size(), buffer, count, &param));
}

void UcxPort::started(Transfer& transfer, ucs_status_ptr_t answer) {
  if (UCS_PTR_IS_PTR(answer)) return;  // the callback runs later
  end_in_ucx(transfer, UCS_PTR_STATUS(answer));
}

void UcxPort::on_sent(void* request, ucs_status_t status, void* transfer) {
  ucp_request_free(request);
  auto* mine = static_cast<Transfer*>(transfer);
  mine->port->end_in_ucx(*mine, status);
}

void UcxPort::on_received(void* request, ucs_status_t status, std::size_t, void* transfer) {
  on_sent(request, status, transfer);
}

void UcxPort::end_in_ucx(Transfer& transfer, ucs_status_t status) {
  assert(transfer.in_ucx);
  transfer.in_ucx = false;
  if (transfer.abandoned) {
    // Its completion has been queued, or has run already: then nobody else knows it any more.
    transfer.abandoned = false;
    if (transfer.connection == nullptr) idle_transfers_.push_back(&transfer);
    return;
  }
  Status ours;
  if (status != UCS_OK) {
    const UcxConnection& connection = *transfer.connection;
    ours = connection.why.ok() ? status_from_ucx(status, "a transfer with " + connection.peer)
                               : connection.why;
  }
  finished(transfer, std::move(ours));
}

void UcxPort::finished(Transfer& transfer, Status status) {
  transfer.status = std::move(status);
  finished_.push_back(&transfer);
}

bool UcxPort::run_completions() {
  // Only what has finished by now: a completion may start more, and the caller has other things to
  // do.
  std::size_t count = finished_.size();
  const bool any = count > 0;
  for (; count > 0; --count) {
    Transfer& transfer = *finished_.front();
    finished_.pop_front();
    if (transfer.connection != nullptr) --transfer.connection->transfers;
    const Completion done = std::move(transfer.done);
    const Status status = std::move(transfer.status);
    transfer.done = nullptr;
    transfer.status = {};
    transfer.connection = nullptr;
    if (!transfer.in_ucx) idle_transfers_.push_back(&transfer);
    if (done) done(status);
  }
  return any;
}

void UcxPort::abandon_transfers(const UcxConnection& connection) {
  for (const auto& transfer : transfers_) {
    if (transfer->connection != &connection || !transfer->in_ucx || transfer->abandoned) continue;
    transfer->abandoned = true;
    finished(*transfer, connection.why);
  }
}

}  // namespace imss::net
