// The control server on ZeroMQ: a ROUTER on one port, and a thread "imss-control" that alone uses
// it.
//
// Listeners are connections that asked for announcements. A listener that is gone is found when
// something is sent to it; one whose queue is full misses announcements and is told so as soon as
// there is room. The thread sleeps when there is nothing to do. In a fork child the object does
// nothing, not even when it is destroyed.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

#include "net/control.h"
#include "net/module/zmq_guard.h"
#include "net/module/zmq_socket.h"

#include "base/thread_annotations.h"

namespace imss::net {

class ZmqServer : public ControlServer {
 public:
  static Result<std::unique_ptr<ZmqServer>> start(ControlServerOptions options);
  ZmqServer(const ZmqServer&) = delete;
  ZmqServer& operator=(const ZmqServer&) = delete;
  ~ZmqServer() override;

  void announce(std::span<const std::byte> announcement) override;
  std::uint16_t port() const override { return port_; }
  ControlCounters counters() const override;

 private:
  struct Listener {
    bool missed = false;  // an announcement did not fit into its queue
  };
  enum class Sent { kYes, kQueueFull, kGone };

  ZmqServer();
  Status set_up();
  Status listen();
  Status listen_on_local_socket();
  void run();
  void wait();
  void take_messages();
  void take_message(ZmqFrames& received);
  void answer(ZmqMessage& sender, std::uint64_t id, ZmqMessage& question);
  void add_listener(std::string_view id);
  void take_announcements();
  void tell_all(std::span<const std::byte> announcement);
  void tell_who_missed();
  Sent send(std::string_view to, const FrameHeader& header, ZmqMessage& body);
  void reject(const char* why);
  void wake();

  ControlServerOptions options_;
  const int generation_;
  std::uint16_t port_ = 0;
  int wake_fd_ = -1;
  void* context_ = nullptr;

  // The thread's alone while it runs.
  ZmqSocket router_;
  KeyCheck key_check_;
  ConnectionLimit connection_limit_;
  std::unordered_map<std::string, Listener> listeners_;
  std::size_t missing_ = 0;  // listeners that missed something

  std::atomic<bool> stopping_{false};
  Mutex mutex_;
  std::deque<Bytes> announcements_ IMSS_GUARDED_BY(mutex_);  // at most kMaxWaitingAnnouncements
  bool announcements_lost_ IMSS_GUARDED_BY(mutex_) = false;

  // Counted by the thread, read by any.
  std::atomic<std::uint64_t> questions_{0};
  std::atomic<std::uint64_t> rejected_{0};
  std::atomic<std::uint64_t> listener_count_{0};
  std::atomic<std::uint64_t> connections_{0};
  std::atomic<std::uint64_t> refused_{0};

  // Owned; left behind in a fork child, where it has no thread to join.
  std::unique_ptr<std::thread> thread_;
  std::vector<int> listening_fds_;  // ZeroMQ's; noted for fork children
};

}  // namespace imss::net
