// What a UCX port keeps of its connections and of the transfers on them.
//
// All owned by one UcxPort and used by its thread alone.
#pragma once

#include <ucp/api/ucp.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/port.h"

namespace imss::net {

class UcxPayload;
class UcxPort;

// Goes before the head of each message. UCX does not promise that messages of different sizes
// arrive in the order in which they were sent; the number restores it.
struct WireHead {
  std::uint64_t connection = 0;  // as the receiver has named it in its greeting
  std::uint32_t sequence = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(WireHead) == 16);
// The numbers of our kinds of active message. The first on an endpoint says whose it is.
inline constexpr unsigned kMessageId = 1;
inline constexpr unsigned kHelloId = 2;

// Messages of one connection that may wait for one that was sent before them.
inline constexpr std::size_t kMaxEarlyMessages = 1024;

struct UcxConnection;
struct Transfer;

// A message that has arrived and was not given to the handler yet.
struct Arrival {
  UcxConnection* connection = nullptr;
  std::uint32_t sequence = 0;
  std::vector<std::byte> head;
  std::unique_ptr<UcxPayload> payload;
};

// UCX's end of a connection, and what its error handler is given: on the side that accepts, it
// exists before it is known which connection it belongs to, and belongs to a silent one without a
// line until then.
struct Endpoint {
  UcxConnection* connection = nullptr;
  ucp_ep_h handle = nullptr;
};

struct UcxConnection final : Connection {
  enum class State : std::uint8_t {
    kGreeting,  // the two ports do not know each other yet; what is sent waits
    kOpen,
    kFailed,  // its end is decided, `why` says the reason
    kClosing  // UCX is ending it
  };

  UcxPort* port = nullptr;
  State state = State::kGreeting;
  bool accepting = false;  // the peer has connected to us
  bool silent = false;     // the handler does not know it, or has closed it: it hears nothing of it
  Status why;
  std::string peer;  // for messages

  // The socket on which the greetings went, and whose end is the end of the peer.
  int line = -1;
  std::vector<std::byte> unread;
  std::vector<std::byte> unwritten;
  bool greeted = false;  // the peer's greeting has come
  std::int64_t greeting_deadline_ns = 0;

  std::uint64_t id = 0;       // what the peer's messages name
  std::uint64_t peer_id = 0;  // what ours name
  std::unique_ptr<Endpoint> endpoint;
  std::deque<Transfer*> unsent;

  std::uint32_t next_sent = 0;
  std::uint32_t next_delivered = 0;
  std::map<std::uint32_t, Arrival> early;

  // Transfers whose `done` has not run yet.
  std::size_t transfers = 0;
  // Of the end of the endpoint; null when UCX needs no more time for it.
  ucs_status_ptr_t close_request = nullptr;
};

// One send or receive. Reused; its vectors keep their memory.
struct Transfer {
  UcxPort* port = nullptr;
  UcxConnection* connection = nullptr;
  std::vector<std::byte> head;  // WireHead and the user's
  std::vector<ucp_dt_iov_t> pieces;
  std::size_t payload_bytes = 0;
  Completion done;
  Status status;
  // UCX has a request that names this object.
  bool in_ucx = false;
  // `done` was called although UCX has not let go of the request: the object must stay, but is
  // nobody's any more.
  bool abandoned = false;
};

}  // namespace imss::net
