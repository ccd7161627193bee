#include "net/module/ucx_port.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "net/module/sockets.h"
#include "net/module/ucx_process.h"
#include "net/module/ucx_settings.h"

namespace imss::net {
namespace {

// How often a sleeping port looks whether somebody has connected and says nothing.
constexpr int kGreetingCheckMs = 1000;

// How long the end of a port waits for UCX to tell the peers.
constexpr auto kStopTime = std::chrono::milliseconds(500);

}  // namespace

Result<std::unique_ptr<Port>> UcxPort::make(PortHandler& handler) {
  std::unique_ptr<UcxPort> port(new UcxPort(handler));
  IMSS_RETURN_IF_ERROR(port->start());
  return std::unique_ptr<Port>(std::move(port));
}

Status UcxPort::start() {
  owner_ = getpid();
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  spare_fd_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (wake_fd_ < 0 || epoll_fd_ < 0 || spare_fd_ < 0) {
    return Status::from_errno(errno, "descriptors for a port");
  }
  watch(wake_fd_, EPOLLIN, false);
  // Differs from port to port, so that a message that was meant for another is recognised.
  std::uint32_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random)
    return Status::from_errno(errno, "getrandom");
  next_id_ = std::uint64_t{random} << 32;
  const MutexLock lock(ucx_process_mutex());
  const NoMemoryHooks no_hooks;
  IMSS_RETURN_IF_ERROR(prepare_ucx_process());
  IMSS_ASSIGN_OR_RETURN(const UcxConfig config, read_ucx_config());
  ucp_params_t params = {};
  params.field_mask = UCP_PARAM_FIELD_FEATURES;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  const ucs_status_t status = ucp_init(&params, config.get(), &context_);
  if (status != UCS_OK) {
    context_ = nullptr;
    return Status(Code::kNotSupported,
                  std::string("UCX does not start: ") + ucs_status_string(status));
  }
  IMSS_RETURN_IF_ERROR(start_worker());
  watch(worker_fd_, EPOLLIN, false);
  return {};
}

Status UcxPort::start_worker() {
  ucp_worker_params_t params = {};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SINGLE;
  ucs_status_t status = ucp_worker_create(context_, &params, &worker_);
  if (status != UCS_OK) {
    worker_ = nullptr;
    return Status(Code::kNotSupported,
                  std::string("UCX makes no worker: ") + ucs_status_string(status));
  }
  ucp_am_handler_param_t message = {};
  message.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                       UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG;
  message.id = kMessageId;
  message.flags = UCP_AM_FLAG_WHOLE_MSG | UCP_AM_FLAG_PERSISTENT_DATA;
  message.cb = on_message;
  message.arg = this;
  status = ucp_worker_set_am_recv_handler(worker_, &message);
  message.id = kHelloId;
  message.flags = UCP_AM_FLAG_WHOLE_MSG;
  message.cb = on_hello;
  if (status == UCS_OK) status = ucp_worker_set_am_recv_handler(worker_, &message);
  if (status == UCS_OK) status = ucp_worker_get_efd(worker_, &worker_fd_);
  ucp_worker_attr_t attributes = {};
  attributes.field_mask = UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER;
  if (status == UCS_OK) status = ucp_worker_query(worker_, &attributes);
  if (status != UCS_OK) {
    return Status(Code::kNotSupported,
                  std::string("the transports that UCX has chosen have no active messages to wait "
                              "for (see UCX_TLS): ") +
                      ucs_status_string(status));
  }
  if (attributes.max_am_header < sizeof(WireHead) + kMaxHeadBytes) {
    return Status(Code::kNotSupported, "the transports that UCX has chosen carry heads of " +
                                           std::to_string(attributes.max_am_header) +
                                           " bytes, and " +
                                           std::to_string(sizeof(WireHead) + kMaxHeadBytes) +
                                           " are needed: choose others by UCX_TLS");
  }
  return {};
}

UcxPort::~UcxPort() {
  if (owner_ != getpid()) {
    // Files and sockets are shared with the parent, which goes on: nothing of UCX may be touched.
    for (UcxPayload* payload = payloads_; payload != nullptr; payload = payload->next_) {
      payload->port_ = nullptr;
    }
    return;
  }
  if (worker_ != nullptr) stop();
  const MutexLock lock(ucx_process_mutex());
  if (context_ != nullptr) ucp_cleanup(context_);
  for (const int fd : {wake_fd_, epoll_fd_, spare_fd_}) {
    if (fd >= 0) ::close(fd);
  }
}

void UcxPort::stop() {
  for (const int listener : listeners_) close_socket(listener);
  await_lost_peers();
  accept_endpoints();  // only an endpoint can be ended
  stop_listening_by_ucx();
  for (const auto& [connection, owner] : connections_) {
    connection->silent = true;
    if (connection->why.ok()) connection->why = Status(Code::kIo, "the port has ended");
    if (connection->state != UcxConnection::State::kClosing) begin_close(*connection);
  }
  const auto last = std::chrono::steady_clock::now() + kStopTime;
  bool gone = false;
  while (!gone && std::chrono::steady_clock::now() < last) {
    gone = true;
    for (const auto& [connection, owner] : connections_) gone &= endpoint_gone(*connection);
    if (!gone && ucp_worker_progress(worker_) == 0) std::this_thread::yield();
  }
  // Payloads that users still hold, and those of messages that nobody will get.
  arrivals_.clear();
  for (const auto& [connection, owner] : connections_) connection->early.clear();
  while (payloads_ != nullptr) {
    UcxPayload& payload = *payloads_;
    unlink(payload);
    if (payload.data_ != nullptr && !payload.at_sender_)
      ucp_am_data_release(worker_, payload.data_);
    payload.port_ = nullptr;
    payload.data_ = nullptr;
  }
  ucp_worker_destroy(worker_);
  worker_ = nullptr;
  // Nothing touches a buffer any more.
  for (const auto& [connection, owner] : connections_) abandon_transfers(*connection);
  while (run_completions()) {
  }
}

void UcxPort::wait(int timeout_ms) {
  const bool busy =
      !finished_.empty() || !arrivals_.empty() || !peers_.empty() || !ready_.empty() || lines_due_;
  if (busy) return;
  // Failed ones are waiting for progress(); what UCX still has to do for the others wakes its own
  // descriptor.
  for (const UcxConnection* connection : ending_) {
    if (connection->state == UcxConnection::State::kFailed ||
        connection->close_request == nullptr) {
      return;
    }
  }
  if (!greeting_.empty() && (timeout_ms < 0 || timeout_ms > kGreetingCheckMs)) {
    timeout_ms = kGreetingCheckMs;
    lines_due_ = true;
  }
  if (ucp_worker_arm(worker_) != UCS_OK) return;  // there is something to do already
  std::array<epoll_event, 8> events = {};
  const int count =
      epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()), timeout_ms);
  for (int i = 0; i < count; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    if (fd == wake_fd_) {
      std::uint64_t wakes = 0;
      [[maybe_unused]] const ssize_t bytes = read(wake_fd_, &wakes, sizeof wakes);
    } else if (fd != worker_fd_) {
      lines_due_ = true;
    }
  }
}

void UcxPort::wake() {
  const std::uint64_t one = 1;
  // It fails only when the counter is full of wake-ups that nobody has looked at.
  [[maybe_unused]] const ssize_t bytes = write(wake_fd_, &one, sizeof one);
}

}  // namespace imss::net
