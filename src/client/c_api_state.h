// What a process keeps behind the C interface: its connection, open instances and datasets, views,
// requests and attached servers.
//
// State::get() is the library's only mutable global: a C interface has no object to put this into.
// It is made on first use and never destroyed, because threads may still be in calls when the
// process exits. Concurrent, with two kinds of calls: those that change the connection or the
// servers (init, release, open) run one at a time under `lifecycle`; all others announce themselves
// in `calls` and load `session`, and whoever ends the connection first clears `session` and then
// waits for them. In a fork child the servers and requests stay with the parent, and the handles
// are adopted by the child's first call.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "base/thread_annotations.h"
#include "base/uri.h"
#include "client/attached.h"
#include "client/c_api_calls.h"
#include "client/c_api_views.h"
#include "client/requests.h"
#include "client/session.h"

namespace imss::client::c_api {

// The instances that this process has open, and how often each dataset. Concurrent.
class OpenThings {
 public:
  bool has_instance(const std::string& name);
  void add_instance(const std::string& name, std::uint32_t deployment);
  // kNotFound when it is not open. Otherwise its deployment.
  Result<std::uint32_t> deployment_of(const std::string& name);
  void remove_instance(const std::string& name);
  // Any one, or kNotFound.
  Result<std::string> any_instance();

  void add_dataset(std::uint64_t dataset_id);
  void remove_dataset(std::uint64_t dataset_id);
  bool has_dataset(std::uint64_t dataset_id);
  void clear();

  void lock_for_fork() IMSS_ACQUIRE(mutex_) { mutex_.lock(); }
  void unlock_after_fork() IMSS_RELEASE(mutex_) { mutex_.unlock(); }

 private:
  Mutex mutex_;
  std::unordered_map<std::string, std::uint32_t> instances_ IMSS_GUARDED_BY(mutex_);
  std::unordered_map<std::uint64_t, std::uint32_t> datasets_ IMSS_GUARDED_BY(mutex_);
};

// A mutex with a deadline. (The one of the standard library is unknown to ThreadSanitizer.)
// Concurrent.
class Turn {
 public:
  // False when somebody else had it until then.
  bool take(std::chrono::milliseconds patience);
  void give_back();

 private:
  Mutex mutex_;
  Condition given_back_;
  bool taken_ IMSS_GUARDED_BY(mutex_) = false;
};

class State {
 public:
  static State& get();

  // The connection, null without one. REQUIRES: the caller has announced its call in `calls`.
  Session* session() {
    Session* const connected = session_.load(std::memory_order_acquire);
    return connected != nullptr ? connected : adopt_after_fork();
  }
  // The same for calls on names of an instance. Errors: kNotInitialized.
  Result<Session*> session_of(const Uri& uri);
  Result<Session*> connected();

  // --- by calls that hold `lifecycle` ---
  Session* owned_session() { return session() == nullptr ? nullptr : owned_session_.get(); }
  void connect(std::unique_ptr<Session> session, std::uint16_t metadata_port);
  // Ends the connection: waits for the calls under way, releases what is open.
  void disconnect();
  // Waits for calls on a dataset, then closes it. Errors: kBadHandle.
  Status release_dataset(Session& session, std::int32_t id);
  // Releases the datasets of an instance, which calls cannot find any more.
  void release_datasets_of(Session& session, const std::string& instance);

  Turn lifecycle;
  Calls calls;
  OpenThings open;
  Views views;
  std::unique_ptr<AttachedServers> servers;  // changes under lifecycle
  Requests& requests() { return *requests_.load(std::memory_order_acquire); }
  std::uint16_t metadata_port() const { return metadata_port_.load(); }

 private:
  State();
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();
  void unlock_after_fork();
  Session* adopt_after_fork();

  std::atomic<Session*> session_{nullptr};
  std::unique_ptr<Session> owned_session_;  // changes under lifecycle
  std::atomic<std::uint16_t> metadata_port_{0};
  std::atomic<Requests*> requests_;  // never freed, as the state itself

  // Fork.
  Mutex adopt_mutex_;                    // one thread at a time adopts
  std::atomic<bool> inherited_{false};  // the session is the parent's and not adopted yet
  std::unique_ptr<AttachedServers> servers_of_parent_;
  Requests* requests_of_parent_ = nullptr;
};

}  // namespace imss::client::c_api
