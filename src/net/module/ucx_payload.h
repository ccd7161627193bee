// The payload of a message that has arrived at a UCX port: either in a buffer of UCX, or still with
// the sender.
//
// Owned by whoever got it from the handler; may outlive its connection and its port, and is empty
// then. Used by the port's thread alone.
#pragma once

#include <cstddef>

#include "net/module/ucx_connection.h"
#include "net/port.h"

namespace imss::net {

class UcxPayload final : public Payload {
 public:
  // `data` is what the callback of UCX was given and stays ours until it is received or released;
  // null without a payload. `at_sender`: it is the announcement of a rendezvous.
  UcxPayload(UcxPort& port, UcxConnection& connection, void* data, std::size_t bytes,
             bool at_sender);
  ~UcxPayload() override;
  UcxPayload(const UcxPayload&) = delete;
  UcxPayload& operator=(const UcxPayload&) = delete;

  std::size_t bytes() const override { return bytes_; }
  std::span<const std::byte> at_hand() const override;
  void receive(Pieces pieces, Completion done) override;

 private:
  friend class UcxPort;
  UcxPort* port_;              // null once the port is gone
  UcxConnection* connection_;  // null once the connection is gone
  void* data_;
  std::size_t bytes_;
  bool at_sender_;
  bool received_ = false;
  // The port's list of payloads that point to it.
  UcxPayload* previous_ = nullptr;
  UcxPayload* next_ = nullptr;
};

}  // namespace imss::net
