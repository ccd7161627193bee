// A thread that serves clients on other nodes: it owns a port, receives requests, has them executed
// one after the other and sends the replies. Nothing on this path is shared with other workers but
// the engines.
//
// Requests wait in a queue of their connection and the connections take turns, so that one with a
// thousand large requests delays another's by one request of each. While many requests wait, those
// of all connections together, they are executed before anything more is received, so that what
// clients send meanwhile stays with them. What a request needs of memory (its payload until it is
// executed, its reply until it is sent) is counted; beyond kBudgetBytes nothing more is received or
// executed until some of it has gone. Payloads that shall be stored as they come are received where
// they are to be stored; while one is executed, the next of the connection is on its way. Owned by
// NetworkService.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "net/head.h"
#include "net/module.h"
#include "server/exchange.h"
#include "server/remote_clients.h"

namespace imss::server {

struct WorkerOptions {
  std::string address;  // to listen on; empty: all
  int spin_us = 50;     // looking for work before sleeping
  std::function<std::uint64_t()> map_epoch;  // of the cluster map, for replies; empty: 0
};

// Where payloads went, of replies where they came from.
struct PayloadCounters {
  std::uint64_t stored = 0;    // received where they are stored, or sent from there
  std::uint64_t buffered = 0;  // through memory of the worker
  PayloadCounters& operator+=(const PayloadCounters& other) {
    stored += other.stored;
    buffered += other.buffered;
    return *this;
  }
};

class RequestWorker : private net::PortHandler {
 public:
  static Result<std::unique_ptr<RequestWorker>> start(net::Module& module, RemoteClients& clients,
                                                      std::unique_ptr<Requests> requests,
                                                      const WorkerOptions& options);
  // Executes what has arrived, sends the replies and ends, within a bounded time.
  ~RequestWorker();

  std::uint16_t port() const { return port_number_; }
  std::uint32_t connections() const { return connections_.load(std::memory_order_relaxed); }
  std::uint64_t served() const { return served_.load(std::memory_order_relaxed); }
  // Requests that have arrived and were not executed yet.
  std::uint32_t waiting() const { return waiting_.load(std::memory_order_relaxed); }
  PayloadCounters received() const { return received_.load(); }
  PayloadCounters replied() const { return replied_.load(); }

  // Requests of one connection that may wait, and of all of them: from kMany on they are executed
  // before others are received, from kMost on others are refused, because those that wait can only
  // go on when somebody else does.
  static constexpr std::size_t kMostOfConnection = 4096;
  static constexpr std::size_t kMany = 8192;
  static constexpr std::size_t kMost = 2 * kMany;
  // The same for what they take in memory.
  static constexpr std::size_t kManyBytes = std::size_t{128} << 20;
  static constexpr std::size_t kMostBytes = 2 * kManyBytes;

 private:
  // Payloads on their way, of all connections and of one: a client that does not take its replies
  // keeps nobody else from working until there are many such.
  static constexpr std::size_t kBudgetBytes = std::size_t{512} << 20;
  static constexpr std::size_t kPeerBudgetBytes = std::size_t{64} << 20;
  // Payloads of one connection on their way to here, so that there is always one while another is
  // executed.
  static constexpr std::size_t kMostArriving = 2;
  // Places for payloads at a time, of the slots of the thread's hand; more go through buffers.
  static constexpr std::size_t kMostStaged = 24;

  // A request that has arrived.
  struct Job {
    net::Head head;
    std::uint64_t connection = 0;
    Exchange exchange;
    std::int64_t until_ns = 0;               // the asker waits no longer
    std::unique_ptr<net::Payload> arriving;  // until it is received
    bool on_its_way = false;                 // its payload, into exchange.staged or `received`
    bool lost = false;                       // with its connection
    bool staged = false;                     // counted in staged_
    std::vector<std::byte> received;
    std::size_t held_bytes = 0;
    std::vector<std::byte> fields_as_payload;
    std::uint32_t reply_flags = 0;
    std::size_t waiting_bytes = 0;  // that came along with it
  };
  struct Peer {
    std::uint64_t number = 0;
    net::Connection* connection = nullptr;
    std::uint64_t token = 0;  // 0 until the first request
    std::uint64_t client = 0;
    bool reads_only = false;
    std::deque<std::shared_ptr<Job>> waiting;
    std::size_t held_bytes = 0;
  };

  RequestWorker(RemoteClients& clients, std::unique_ptr<Requests> requests, WorkerOptions options)
      : clients_(clients), requests_(std::move(requests)), options_(std::move(options)) {}
  void accepted(net::Connection& connection) override;
  void arrived(net::Connection& connection, std::span<const std::byte> head,
               std::unique_ptr<net::Payload> payload) override;
  void closed(net::Connection& connection, const Status& why) override;

  void run();
  bool execute_some();
  bool advance(Peer& peer);
  bool receive_some(Peer& peer);
  void receive(Peer& peer, const std::shared_ptr<Job>& job);
  void received(std::uint64_t number, Job& job, const Status& status);
  void leave_place(Job& job);
  bool execute(Peer& peer, std::shared_ptr<Job> job);
  void reply(Peer& peer, std::shared_ptr<Job> job);
  void refuse(Peer& peer, const net::Head& head, const Status& status, std::uint32_t flags = 0);
  void enqueue(Peer& peer, std::shared_ptr<Job> job, bool first);
  std::shared_ptr<Job> dequeue(Peer& peer);
  bool has_many() const { return waiting() >= kMany || waiting_bytes_ >= kManyBytes; }
  bool has_most() const { return waiting() >= kMost || waiting_bytes_ >= kMostBytes; }
  void turn_away(Peer& peer, const char* why);
  void hold(Peer& peer, std::size_t bytes);
  void let_go(std::uint64_t number, std::size_t bytes);
  bool admit(Peer& peer, const net::Head& head);
  void drop(Peer& peer);

  RemoteClients& clients_;
  const std::unique_ptr<Requests> requests_;
  const WorkerOptions options_;
  std::unique_ptr<net::Port> port_;
  std::uint16_t port_number_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Peer>> peers_;  // by number
  std::uint64_t next_peer_ = 1;
  std::uint64_t last_turn_ = 0;  // whose turn it was
  std::size_t held_bytes_ = 0;
  std::size_t staged_ = 0;  // places for payloads that are not executed yet
  std::size_t waiting_bytes_ = 0;
  // Counted by the thread, read by any.
  std::atomic<std::uint32_t> connections_{0};
  std::atomic<std::uint32_t> waiting_{0};
  std::atomic<std::uint64_t> served_{0};
  // Written by the thread, read by anybody: numbers that belong to no other data.
  struct Counters {
    std::atomic<std::uint64_t> stored{0};
    std::atomic<std::uint64_t> buffered{0};
    void count(bool at_its_place) {
      (at_its_place ? stored : buffered).fetch_add(1, std::memory_order_relaxed);
    }
    PayloadCounters load() const {
      return {stored.load(std::memory_order_relaxed), buffered.load(std::memory_order_relaxed)};
    }
  };
  Counters received_;
  Counters replied_;
  std::atomic<bool> stopping_{false};
  // Set when the destructor has woken the thread up, and with it the port may end.
  std::atomic<bool> may_end_{false};
  std::thread thread_;
};

}  // namespace imss::server
