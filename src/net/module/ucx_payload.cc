#include "net/module/ucx_payload.h"

#include <cstring>

#include "net/module/ucx_port.h"

namespace imss::net {

UcxPayload::UcxPayload(UcxPort& port, UcxConnection& connection, void* data, std::size_t bytes,
                       bool at_sender)
    : port_(&port), connection_(&connection), data_(data), bytes_(bytes), at_sender_(at_sender) {
  port.link(*this);
}

UcxPayload::~UcxPayload() {
  if (port_ == nullptr) return;
  if (data_ != nullptr) ucp_am_data_release(port_->worker_, data_);
  port_->unlink(*this);
}

std::span<const std::byte> UcxPayload::at_hand() const {
  if (at_sender_ || data_ == nullptr) return {};
  return {static_cast<const std::byte*>(data_), bytes_};
}

void UcxPayload::receive(Pieces pieces, Completion done) {
  if (port_ == nullptr) {
    if (done) done(Status(Code::kIo, "the port that got this payload is gone"));
    return;
  }
  port_->receive(*this, pieces, std::move(done));
}

void UcxPort::link(UcxPayload& payload) {
  payload.next_ = payloads_;
  if (payloads_ != nullptr) payloads_->previous_ = &payload;
  payloads_ = &payload;
}

void UcxPort::unlink(UcxPayload& payload) {
  if (payload.previous_ != nullptr) {
    payload.previous_->next_ = payload.next_;
  } else {
    payloads_ = payload.next_;
  }
  if (payload.next_ != nullptr) payload.next_->previous_ = payload.previous_;
}

void UcxPort::receive(UcxPayload& payload, Pieces pieces, Completion done) {
  Transfer& transfer = new_transfer(payload.connection_, std::move(done));
  std::size_t room = 0;
  for (const auto& piece : pieces) room += piece.size();
  if (room != payload.bytes_ || pieces.size() > kMaxPieces || payload.received_) {
    finished(transfer,
             Status(Code::kInvalidArgument,
                    "a payload is received once, into pieces that are as large together"));
    return;
  }
  payload.received_ = true;
  counters_.payload_bytes_received += payload.bytes_;
  if (payload.at_sender_) {
    receive_from_sender(payload, pieces, transfer);
    return;
  }
  const auto* from = static_cast<const std::byte*>(payload.data_);
  for (const auto& piece : pieces) {
    if (piece.empty()) continue;
    std::memcpy(piece.data(), from, piece.size());
    from += piece.size();
  }
  if (payload.bytes_ > 0) ++counters_.payloads_copied;
  finished(transfer, {});
}

void UcxPort::receive_from_sender(UcxPayload& payload, Pieces pieces, Transfer& transfer) {
  const UcxConnection* connection = payload.connection_;
  if (connection == nullptr || connection->state != UcxConnection::State::kOpen) {
    finished(transfer, Status(Code::kIo, "the connection ended before its payload was fetched"));
    return;
  }
  for (const auto& piece : pieces) {
    if (!piece.empty()) transfer.pieces.push_back({piece.data(), piece.size()});
  }
  ucp_request_param_t param = {};
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_DATATYPE;
  param.cb.recv_am = on_received;
  param.user_data = &transfer;
  void* buffer = transfer.pieces.data();
  std::size_t count = transfer.pieces.size();
  param.datatype = ucp_dt_make_iov();
  if (count == 1) {
    buffer = transfer.pieces[0].buffer;
    count = transfer.pieces[0].length;
    param.datatype = ucp_dt_make_contig(1);
  }
  // UCX owns the announcement from here on, whatever becomes of the transfer.
  void* data = payload.data_;
  payload.data_ = nullptr;
  transfer.in_ucx = true;
  started(transfer, ucp_am_recv_data_nbx(worker_, data, buffer, count, &param));
}

}  // namespace imss::net
