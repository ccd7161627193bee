// The servers on other nodes that a process talks to.
//
// A Peer is one server: where its control port is, and the session it gave this process. Peers says
// "alive" to all of them in the name of the process, on a thread of its own, and so learns which of
// them no longer answer. Owned by whoever connects (a client's session or a server); concurrent. In
// a fork child everything begins afresh: the child is another client.
//
// Invariant: a session is used for requests only as long as the server it came from answers; a
// server that was started again gives a new one.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/thread_annotations.h"
#include "net/codec.h"
#include "net/head.h"
#include "net/messages.h"
#include "net/module.h"
#include "net/server_clock.h"

namespace imss::net {

// A question of the control plane: the operation's number, then its fields.
template <typename Question>
Bytes encode_question(Operation operation, const Question& question) {
  Bytes bytes;
  Encoder encoder(&bytes);
  encoder.put(operation);
  encoder.put(question);
  return bytes;
}

// Asks the control port of a server. Errors: kTimedOut, kIo, kInvalidArgument for an answer that is
// none.
template <typename Answer, typename Question>
Result<Answer> ask(ControlClient& control, const std::string& host, std::uint16_t port,
                   Operation operation, const Question& question, int timeout_ms) {
  const auto answer = control.ask(host, port, encode_question(operation, question), timeout_ms);
  if (!answer.ok()) return answer.status();
  return decode<Answer>(*answer);
}

// In a fork child what belongs to another process is left alone.
inline std::uint32_t this_process() { return static_cast<std::uint32_t>(::getpid()); }

class Peers;

class Peer : public std::enable_shared_from_this<Peer> {
 public:
  const std::string host;
  const std::uint16_t port;
  const std::uint64_t serial;  // never used again for another peer of the process

  // The session that the server gave this process, asked for when there is none. Errors: kIo when
  // the server cannot be reached by the deadline or within kPatienceMs, and at once when it was an
  // attached one and nobody listens there any more; kIncompatible, kPermission.
  Result<HelloAnswer> session(Deadline deadline);
  // That session is no good any more: the next call asks for another one.
  void forget_session(std::uint64_t token);
  // The number of a change that the server executes once, however often it is sent
  // (Head::sequence). Each is ended when the change is. Errors: kBusy when too many are under way.
  Result<std::uint64_t> begin_change();
  void end_change(std::uint64_t sequence);
  // For the head of a request: the deadline on the server's clock.
  std::uint32_t deadline_there(const Deadline& deadline) const { return clock_.at(deadline); }
  // It said that the cluster map has this epoch.
  void note_epoch(std::uint64_t epoch);
  // Whether the server still answered lately. True before the first session.
  bool answers() const { return missed_.load(std::memory_order_relaxed) < kMostMissed; }
  // Whether it does not answer and will not: an attached server ends with its process.
  bool ended() const { return !answers() && attached_.load(std::memory_order_relaxed); }

 private:
  friend class Peers;
  Peer(Peers& peers, std::string host_name, std::uint16_t port_number, std::uint64_t number)
      : host(std::move(host_name)), port(port_number), serial(number), peers_(peers) {}
  static constexpr std::uint32_t kMostMissed = 3;
  void say_alive(ControlClient& control);
  Result<HelloAnswer> greet(ControlClient& control, int timeout_ms);

  Peers& peers_;
  Mutex mutex_;
  HelloAnswer hello_ IMSS_GUARDED_BY(mutex_);            // token 0: none
  std::uint32_t owner_pid_ IMSS_GUARDED_BY(mutex_) = 0;  // of the session
  bool greeted_ IMSS_GUARDED_BY(mutex_) = false;         // once
  std::uint64_t record_ IMSS_GUARDED_BY(mutex_) = 0;     // of the latest session
  std::atomic<std::uint32_t> missed_{0};
  ServerClock clock_;
  // The server took this process for gone and has forgotten what it had open.
  std::atomic<bool> forgotten_{false};
  std::vector<std::uint64_t> last_sequence_ IMSS_GUARDED_BY(mutex_);  // by place
  std::vector<std::uint32_t> free_places_ IMSS_GUARDED_BY(mutex_);
  std::uint32_t places_pid_ IMSS_GUARDED_BY(mutex_) = 0;
  // It said that it does not come back once it has ended; only saves time.
  std::atomic<bool> attached_{false};
};

class Peers {
 public:
  // How long a server that does not answer is tried before it counts as gone.
  static constexpr int kPatienceMs = 2000;

  static Result<std::shared_ptr<Peers>> make(ControlKeys keys);
  ~Peers();

  // The peer of a server; the same for the same host and port. It is used only as long as this
  // lives.
  Peer& at(const std::string& host, std::uint16_t port);
  Module& module() { return module_; }
  // To be called, on the thread that says "alive", for a server that has forgotten this process; it
  // must not take long. Empty: nobody wants to know, and no such call is under way any more.
  void on_forgotten(std::function<void(const Peer&)> tell);
  // Of the cluster map, as far as any of the servers has told.
  std::uint64_t newest_epoch() const { return newest_epoch_.load(std::memory_order_relaxed); }
  void note_epoch(std::uint64_t epoch);
  // Around fork(2), so that the child finds nothing that another thread of the parent holds.
  void lock_for_fork() IMSS_NO_THREAD_ANALYSIS;
  void unlock_after_fork() IMSS_NO_THREAD_ANALYSIS;

 private:
  friend class Peer;
  // The use of control_ by one thread at a time, until the deadline.
  class Turn {
   public:
    Turn(Peers& peers, Deadline deadline);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    bool taken() const { return taken_; }

   private:
    Peers& peers_;
    bool taken_ = false;
  };
  Peers(Module& module, ControlKeys keys);
  // The control client of the callers, made afresh in a fork child. REQUIRES: it is
  // the caller's turn.
  Result<ControlClient*> control();
  void start_saying_alive();
  void leave_condition_to_parent() IMSS_REQUIRES(mutex_);
  void tell_of_forgetful(std::span<const std::shared_ptr<Peer>> peers);
  void run();
  bool wait_for_end(std::chrono::milliseconds period);
  std::uint64_t client_id();

  Module& module_;
  const ControlKeys keys_;
  std::atomic<std::uint64_t> newest_epoch_{0};  // a number that only grows, and publishes nothing else
  std::unique_ptr<ControlClient> control_;  // of the thread whose turn it is, as is its process
  std::uint32_t control_pid_ = 0;

  Mutex mutex_;
  std::unique_ptr<Condition> changed_ = std::make_unique<Condition>();  // the turn, or ending_
  std::uint32_t changed_pid_ IMSS_GUARDED_BY(mutex_);   // the process that waits for it
  std::uint32_t turn_pid_ IMSS_GUARDED_BY(mutex_) = 0;  // 0: it is nobody's turn
  std::vector<std::shared_ptr<Peer>> peers_ IMSS_GUARDED_BY(mutex_);
  std::thread thread_ IMSS_GUARDED_BY(mutex_);
  std::uint32_t thread_pid_ IMSS_GUARDED_BY(mutex_) = 0;
  std::uint64_t client_id_ IMSS_GUARDED_BY(mutex_) = 0;
  std::uint32_t client_pid_ IMSS_GUARDED_BY(mutex_) = 0;
  bool ending_ IMSS_GUARDED_BY(mutex_) = false;
  // Held while the function runs; renewed in a fork child before its thread starts.
  std::unique_ptr<Mutex> forgotten_mutex_ = std::make_unique<Mutex>();
  std::function<void(const Peer&)> on_forgotten_;
};

}  // namespace imss::net
