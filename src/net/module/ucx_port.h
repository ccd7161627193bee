// A port over UCX: one UCP context and worker, active messages.
//
// Connections begin on a line: a stream socket on which two ports greet. It stays open, and its end
// tells each that the other has closed the connection or died, whatever transport UCX uses. Only
// then the side that connects is told where UCX listens, which it does no longer than needed,
// because UCX's listeners abort the process when they read what no UCX has sent.
//
// Small payloads travel with the head; large ones by UCX's rendezvous between the two users'
// buffers. Everything that UCX reports from inside ucp_worker_progress() is only noted there;
// handlers and completions run afterwards, so that they may call the port without entering UCX
// twice. Owned by its maker, used by its thread (wake() by any). Errors: see net/port.h.
#pragma once

#include <sys/types.h>
#include <ucp/api/ucp.h>

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "net/module/ucx_connection.h"
#include "net/module/ucx_payload.h"
#include "net/port.h"

namespace imss::net {

class UcxPort final : public Port {
 public:
  static Result<std::unique_ptr<Port>> make(PortHandler& handler);
  ~UcxPort() override;
  UcxPort(const UcxPort&) = delete;
  UcxPort& operator=(const UcxPort&) = delete;

  Result<std::uint16_t> listen(const std::string& address, std::uint16_t port_number) override;
  Result<Connection*> connect(const std::string& host, std::uint16_t port_number) override;
  void send(Connection& connection, std::span<const std::byte> head, ConstPieces payload,
            Completion done) override;
  void close(Connection& connection) override;
  bool progress() override;
  void wait(int timeout_ms) override;
  void wake() override;
  PortCounters counters() const override { return counters_; }

 private:
  friend class UcxPayload;
  explicit UcxPort(PortHandler& handler) : handler_(handler) {}
  Status start();
  Status start_worker();
  void stop();

  // Called by UCX inside ucp_worker_progress() or at once; they only note what happened.
  static ucs_status_t on_message(void* port, const void* head, std::size_t head_bytes, void* data,
                                 std::size_t data_bytes, const ucp_am_recv_param_t* param);
  static ucs_status_t on_hello(void* port, const void* head, std::size_t head_bytes, void* data,
                               std::size_t data_bytes, const ucp_am_recv_param_t* param);
  static void on_peer(ucp_conn_request_h request, void* port);
  static void on_error(void* endpoint, ucp_ep_h handle, ucs_status_t status);
  static void on_sent(void* request, ucs_status_t status, void* transfer);
  static void on_received(void* request, ucs_status_t status, std::size_t bytes, void* transfer);

  // Lines.
  bool look_at_lines();
  void accept_lines(int listener);
  UcxConnection& add_connection(int line, std::string peer, std::uint32_t epoll_events);
  void line_ready(UcxConnection& connection, std::uint32_t epoll_events);
  void greet(UcxConnection& connection, std::uint16_t port_number);
  void write_line(UcxConnection& connection);
  void read_line(UcxConnection& connection);
  void line_ended(UcxConnection& connection, const std::string& how);
  void drop_late_greetings();
  void watch(int fd, std::uint32_t epoll_events, bool known);

  // Endpoints.
  Status open_endpoint(UcxConnection& connection, ucp_ep_params_t& params);
  void say_hello(UcxConnection& connection);
  void connect_endpoint(UcxConnection& connection, std::uint16_t port_number);
  Status listen_by_ucx(int line, std::uint16_t& port_number);
  void stop_listening_by_ucx();
  void stop_listening_unless_awaited();
  bool awaits_peer() const;
  void note_lost_peer(const UcxConnection& connection);
  bool lost_peer_may_come() const;
  void await_lost_peers();

  // The connection will be closed for the reason given.
  void fail(UcxConnection& connection, Status why);
  void begin_close(UcxConnection& connection);

  // A transfer of the connection (null: of one that is gone), counted among those it waits for.
  Transfer& new_transfer(UcxConnection* connection, Completion done);
  // Hands a transfer that UCX answered at once, with an error or not yet, to whoever completes it.
  void started(Transfer& transfer, ucs_status_ptr_t answer);
  void finished(Transfer& transfer, Status status);
  void end_in_ucx(Transfer& transfer, ucs_status_t status);

  // The parts of progress() after UCX's own; each returns whether it did something.
  bool accept_endpoints();
  bool open_ready();
  bool deliver_arrivals();
  void deliver_in_order(UcxConnection& connection);
  bool run_completions();
  bool bury_connections();
  bool endpoint_gone(UcxConnection& connection);
  void abandon_transfers(const UcxConnection& connection);
  void forget(UcxConnection& connection);

  void give_to_ucx(Transfer& transfer);
  void receive(UcxPayload& payload, Pieces pieces, Completion done);
  void receive_from_sender(UcxPayload& payload, Pieces pieces, Transfer& transfer);
  void link(UcxPayload& payload);
  void unlink(UcxPayload& payload);

  PortHandler& handler_;
  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  int worker_fd_ = -1;
  int wake_fd_ = -1;
  int epoll_fd_ = -1;  // of the two above, the listening sockets and the lines
  // Given up for a moment to turn peers away when there are no descriptors left.
  int spare_fd_ = -1;
  pid_t owner_ = -1;  // the process that made it: a fork child must not touch what is its parent's
  bool in_progress_ = false;
  bool lines_due_ = false;  // a wait has seen something on a line or listening socket
  unsigned progress_count_ = 0;

  struct UcxListener {
    ucp_listener_h handle = nullptr;
    std::uint16_t port_number = 0;
  };
  UcxListener ucx_listeners_[2];  // for the two families of addresses
  bool listens_by_ucx_ = false;
  std::int64_t peer_lost_ns_ = 0;  // when one that had greeted was given up the last time

  std::vector<int> listeners_;
  std::uint64_t next_id_ = 0;
  std::unordered_map<UcxConnection*, std::unique_ptr<UcxConnection>> connections_;
  std::unordered_map<int, UcxConnection*> by_line_;
  // Not those that are closing, so that nothing arrives for them.
  std::unordered_map<std::uint64_t, UcxConnection*> by_id_;
  std::deque<UcxConnection*> greeting_;  // accepted ones, the oldest first
  std::vector<ucp_conn_request_h> peers_;
  std::vector<UcxConnection*> ready_;  // both sides have said hello on their endpoints
  // Endpoints of which it is not known yet whose they are.
  std::unordered_map<ucp_ep_h, UcxConnection*> nameless_;
  std::vector<UcxConnection*> ending_;

  std::deque<Arrival> arrivals_;
  std::deque<Transfer*> finished_;
  std::vector<std::unique_ptr<Transfer>> transfers_;
  std::vector<Transfer*> idle_transfers_;
  UcxPayload* payloads_ = nullptr;
  PortCounters counters_;
};

}  // namespace imss::net
