// From a line on which both have greeted to UCX's endpoints, on the side that connects and on the
// one that accepts.
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/clock.h"
#include "base/log_limit.h"
#include "net/module/sockets.h"
#include "net/module/ucx_port.h"
#include "net/module/ucx_settings.h"

namespace imss::net {
namespace {

// An endpoint that has come says within this time whose it is.
constexpr std::int64_t kHelloTimeNs = 10'000'000'000;
// From the kernel's word that a connection is there to what the peer says first on it.
constexpr std::int64_t kLatePeerNs = 300'000'000;

}  // namespace

Status UcxPort::open_endpoint(UcxConnection& connection, ucp_ep_params_t& params) {
  auto endpoint = std::make_unique<Endpoint>();
  endpoint->connection = &connection;
  params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler = {on_error, endpoint.get()};
  const ucs_status_t status = ucp_ep_create(worker_, &params, &endpoint->handle);
  if (status != UCS_OK) return status_from_ucx(status, "no transport of UCX reaches it");
  connection.endpoint = std::move(endpoint);
  return {};
}

void UcxPort::connect_endpoint(UcxConnection& connection, std::uint16_t port_number) {
  const Result<HostAddress> address = peer_of(connection.line, port_number);
  if (!address.ok()) {
    line_ended(connection, address.status().message());
    return;
  }
  ucp_ep_params_t params = {};
  params.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
  params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
  params.sockaddr = {address->get(), address->bytes};
  const Status opened = open_endpoint(connection, params);
  if (!opened.ok()) {
    line_ended(connection, opened.message());
    return;
  }
  say_hello(connection);
}

void UcxPort::say_hello(UcxConnection& connection) {
  // The endpoint that UCX offers with it for answers is how the peer finds out on which one it
  // came.
  ucp_request_param_t hello = {};
  hello.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  hello.flags = UCP_AM_SEND_FLAG_REPLY;
  const ucs_status_ptr_t answer =
      ucp_am_send_nbx(connection.endpoint->handle, kHelloId, &connection.peer_id,
                      sizeof connection.peer_id, nullptr, 0, &hello);
  if (UCS_PTR_IS_PTR(answer)) ucp_request_free(answer);
  if (UCS_PTR_IS_ERR(answer)) line_ended(connection, ucs_status_string(UCS_PTR_STATUS(answer)));
}

Status UcxPort::listen_by_ucx(int line, std::uint16_t& port_number) {
  IMSS_ASSIGN_OR_RETURN(const HostAddress address, any_like(line));
  UcxListener& listener = ucx_listeners_[address.storage.ss_family == AF_INET6 ? 1 : 0];
  listens_by_ucx_ = true;
  if (listener.handle == nullptr) {
    ucp_listener_params_t params = {};
    params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
    params.sockaddr = {address.get(), address.bytes};
    params.conn_handler = {on_peer, this};
    const ucs_status_t status = ucp_listener_create(worker_, &params, &listener.handle);
    if (status != UCS_OK) {
      listener.handle = nullptr;
      return status_from_ucx(status, "UCX cannot listen for it");
    }
    ucp_listener_attr_t attributes = {};
    attributes.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
    ucp_listener_query(listener.handle, &attributes);
    listener.port_number = port_number_of(attributes.sockaddr);
  }
  port_number = listener.port_number;
  return {};
}

void UcxPort::stop_listening_by_ucx() {
  for (UcxListener& listener : ucx_listeners_) {
    if (listener.handle != nullptr) ucp_listener_destroy(listener.handle);
    listener = {};
  }
  listens_by_ucx_ = false;
}

// Whoever else reached UCX's listener could end the process with a few bytes that UCX does not
// expect. So it is there only while a peer is about to come that has greeted.
void UcxPort::stop_listening_unless_awaited() {
  if (!listens_by_ucx_ || !peers_.empty() || !nameless_.empty()) return;
  if (!awaits_peer() && !lost_peer_may_come()) stop_listening_by_ucx();
}

bool UcxPort::awaits_peer() const {
  return std::any_of(greeting_.begin(), greeting_.end(), [](const auto* connection) {
    return connection->greeted && connection->state == UcxConnection::State::kGreeting;
  });
}

// A peer that is given up may be on its way to UCX's listener all the same. UCX 1.13 and before touch a listener that is
// destroyed when a connection that it has accepted says who it is just then (openucx/ucx pull request 8243), so it stays for
// longer than that takes.
void UcxPort::note_lost_peer(const UcxConnection& connection) {
  if (connection.greeted && connection.state == UcxConnection::State::kGreeting) peer_lost_ns_ = monotonic_ns();
}

bool UcxPort::lost_peer_may_come() const {
  return peer_lost_ns_ != 0 && monotonic_ns() - peer_lost_ns_ < kLatePeerNs;
}

void UcxPort::await_lost_peers() {
  if (!listens_by_ucx_) return;
  if (awaits_peer()) peer_lost_ns_ = monotonic_ns();
  while (lost_peer_may_come()) {
    if (ucp_worker_progress(worker_) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void UcxPort::on_peer(ucp_conn_request_h request, void* port) {
  static_cast<UcxPort*>(port)->peers_.push_back(request);
}

bool UcxPort::accept_endpoints() {
  if (peers_.empty()) return false;
  std::vector<ucp_conn_request_h> peers;
  peers.swap(peers_);
  for (const ucp_conn_request_h request : peers) {
    auto owner = std::make_unique<UcxConnection>();
    UcxConnection& nameless = *owner;
    nameless.port = this;
    nameless.peer = "a peer without a name";
    nameless.silent = true;
    nameless.accepting = true;
    nameless.greeting_deadline_ns = monotonic_ns() + kHelloTimeNs;
    ucp_ep_params_t params = {};
    params.field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST;
    params.conn_request = request;
    const Status opened = open_endpoint(nameless, params);
    if (!opened.ok()) {
      // It has gone meanwhile, or has transports that this side has not; its own line tells the
      // rest.
      IMSS_LOG_WARN_BOUNDED("a peer was not accepted: %s", opened.message().c_str());
      continue;
    }
    nameless_[nameless.endpoint->handle] = &nameless;
    greeting_.push_back(&nameless);
    connections_[&nameless] = std::move(owner);
  }
  return true;
}

ucs_status_t UcxPort::on_hello(void* port, const void* head, std::size_t head_bytes, void*,
                               std::size_t, const ucp_am_recv_param_t* param) {
  auto& self = *static_cast<UcxPort*>(port);
  std::uint64_t id = 0;
  if (head_bytes != sizeof id || (param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP) == 0) {
    return UCS_OK;
  }
  std::memcpy(&id, head, sizeof id);
  const auto to = self.by_id_.find(id);
  if (to == self.by_id_.end()) return UCS_OK;
  UcxConnection& connection = *to->second;
  if (!connection.greeted || connection.state != UcxConnection::State::kGreeting) return UCS_OK;
  const auto from = self.nameless_.find(param->reply_ep);
  if (connection.accepting) {
    if (connection.endpoint != nullptr || from == self.nameless_.end()) return UCS_OK;
    UcxConnection& nameless = *from->second;
    if (nameless.state != UcxConnection::State::kGreeting) return UCS_OK;
    connection.endpoint = std::move(nameless.endpoint);
    connection.endpoint->connection = &connection;
    std::erase(self.greeting_, &nameless);
    self.nameless_.erase(from);
    self.connections_.erase(&nameless);
  } else if (connection.endpoint == nullptr) {
    return UCS_OK;
  }
  self.ready_.push_back(&connection);
  return UCS_OK;
}

bool UcxPort::open_ready() {
  if (ready_.empty()) return false;
  std::vector<UcxConnection*> ready;
  ready.swap(ready_);
  for (UcxConnection* connection : ready) {
    std::erase(greeting_, connection);
    if (connection->state != UcxConnection::State::kGreeting) continue;
    connection->state = UcxConnection::State::kOpen;
    if (connection->accepting) {
      connection->silent = false;
      say_hello(*connection);
      handler_.accepted(*connection);
    }
    for (Transfer* transfer : connection->unsent) give_to_ucx(*transfer);
    connection->unsent.clear();
    deliver_in_order(*connection);
  }
  return true;
}

}  // namespace imss::net
