// The clients on other nodes that a server knows, each by the token of its session.
//
// A client that says nothing for kLeaseMs, or whose connections are all closed for kLostMs, is
// gone: what it had open is closed. Concurrent.
//
// Invariant: a token is given out once; a client that is gone does not come back under it.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "base/thread_annotations.h"

namespace imss::server {

class RemoteClients {
 public:
  static constexpr std::int64_t kLeaseMs = 20'000;
  static constexpr std::int64_t kLostMs = 1'200;
  // After a start, for clients of the server before to come back.
  static constexpr std::int64_t kGraceMs = 10'000;
  static constexpr std::size_t kMostClients = 65'536;

  RemoteClients();
  // With times and a clock of its own, in nanoseconds.
  struct Times {
    std::int64_t lease_ms = kLeaseMs;
    std::int64_t lost_ms = kLostMs;
    std::int64_t grace_ms = kGraceMs;
    std::size_t most_clients = kMostClients;
  };
  RemoteClients(const Times& times, std::function<std::int64_t()> now_ns);
  // A session for the process that calls itself `client`; 0 when there are too many.
  std::uint64_t add(std::uint64_t client, bool reads_only = false);
  // Takes a session back that nobody has heard of.
  void drop(std::uint64_t token);
  // The process of a token, 0 when it is not known (any more).
  std::uint64_t client_of(std::uint64_t token);
  // Whether the session is of a client that may change nothing.
  bool reads_only(std::uint64_t token);
  // It said something. False when it is not known.
  bool touch(std::uint64_t token);
  void connected(std::uint64_t token);
  void disconnected(std::uint64_t token);
  // Forgets those that are gone.
  void expire();
  // Whether the process that calls itself `client` is still there.
  bool lives(std::uint64_t client);
  // Grows whenever lives() may have a new answer for somebody.
  std::uint64_t changes();
  std::size_t count();

 private:
  struct Session {
    std::uint64_t client = 0;
    std::int64_t heard_ns = 0;
    std::uint32_t connections = 0;
    bool reads_only = false;
  };
  Mutex mutex_;
  std::unordered_map<std::uint64_t, Session> sessions_ IMSS_GUARDED_BY(mutex_);  // by token
  std::unordered_map<std::uint64_t, std::uint32_t> tokens_of_
      IMSS_GUARDED_BY(mutex_);  // how many, by client
  std::uint64_t changes_ IMSS_GUARDED_BY(mutex_) = 1;
  bool in_grace_ IMSS_GUARDED_BY(mutex_) = true;
  const Times times_;
  const std::function<std::int64_t()> now_ns_;
  const std::int64_t started_ns_;
};

}  // namespace imss::server
