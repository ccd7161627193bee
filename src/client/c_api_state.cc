#include "client/c_api_state.h"

#include <pthread.h>

#include <new>
#include <utility>

namespace imss::client::c_api {

// --- OpenThings ---------------------------------------------------------------------------------

bool OpenThings::has_instance(const std::string& name) {
  const MutexLock lock(mutex_);
  return instances_.contains(name);
}

void OpenThings::add_instance(const std::string& name, std::uint32_t deployment) {
  const MutexLock lock(mutex_);
  instances_[name] = deployment;
}

Result<std::uint32_t> OpenThings::deployment_of(const std::string& name) {
  const MutexLock lock(mutex_);
  const auto found = instances_.find(name);
  if (found == instances_.end()) return Code::kNotFound;
  return found->second;
}

void OpenThings::remove_instance(const std::string& name) {
  const MutexLock lock(mutex_);
  instances_.erase(name);
}

Result<std::string> OpenThings::any_instance() {
  const MutexLock lock(mutex_);
  if (instances_.empty()) return Code::kNotFound;
  return instances_.begin()->first;
}

void OpenThings::add_dataset(std::uint64_t dataset_id) {
  const MutexLock lock(mutex_);
  ++datasets_[dataset_id];
}

void OpenThings::remove_dataset(std::uint64_t dataset_id) {
  const MutexLock lock(mutex_);
  const auto found = datasets_.find(dataset_id);
  if (found != datasets_.end() && --found->second == 0) datasets_.erase(found);
}

bool OpenThings::has_dataset(std::uint64_t dataset_id) {
  const MutexLock lock(mutex_);
  return datasets_.contains(dataset_id);
}

void OpenThings::clear() {
  const MutexLock lock(mutex_);
  instances_.clear();
  datasets_.clear();
}

// --- Turn ---------------------------------------------------------------------------------------

bool Turn::take(std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  const MutexLock lock(mutex_);
  while (taken_) {
    if (std::chrono::steady_clock::now() >= end) return false;
    given_back_.wait_until(mutex_, end);
  }
  taken_ = true;
  return true;
}

void Turn::give_back() {
  {
    const MutexLock lock(mutex_);
    taken_ = false;
  }
  given_back_.notify_one();
}

// --- State --------------------------------------------------------------------------------------

State::State() : requests_(new Requests()) {
  ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

State& State::get() {
  static State* const state = new State();
  return *state;
}

Result<Session*> State::connected() {
  Session* const connected = session();
  if (connected == nullptr) {
    return Status(Code::kNotInitialized,
                  "this process is not connected to a metadata service; call stat_init first");
  }
  return connected;
}

Result<Session*> State::session_of(const Uri& uri) {
  IMSS_ASSIGN_OR_RETURN(Session* const session, connected());
  if (!open.has_instance(uri.instance)) {
    return Status(Code::kNotInitialized, "this process has not opened imss://" + uri.instance +
                                             "; call open_imss or init_imss first");
  }
  return session;
}

void State::connect(std::unique_ptr<Session> session, std::uint16_t metadata_port) {
  owned_session_ = std::move(session);
  metadata_port_.store(metadata_port);
  session_.store(owned_session_.get(), std::memory_order_release);
}

void State::disconnect() {
  if (session() == nullptr) return;  // adopts what a fork left, too
  requests().stop();
  session_.store(nullptr, std::memory_order_seq_cst);
  calls.wait_for([](CallMark) { return true; });
  // Requests that were started meanwhile find no session.
  requests().stop();
  open.clear();
  owned_session_.reset();
}

Status State::release_dataset(Session& session, std::int32_t id) {
  IMSS_ASSIGN_OR_RETURN(const std::shared_ptr<Dataset> dataset, session.take(id));
  calls.wait_for([mark = mark_of_dataset(id)](CallMark other) { return other == mark; });
  requests().wait_for_dataset(id);
  open.remove_dataset(dataset->id);
  return session.close(*dataset);
}

void State::release_datasets_of(Session& session, const std::string& instance) {
  for (const std::int32_t id : session.open_handles()) {
    const auto dataset = session.dataset(id);
    if (!dataset.ok() || (*dataset)->uri.instance != instance) continue;
    // Somebody else may release it at the same time, and its server may be gone.
    [[maybe_unused]] const Status status = release_dataset(session, id);
  }
}

// --- Fork ---------------------------------------------------------------------------------------

// Between this and unlock_after_fork() lies the fork, so what is held here stays held.
void State::before_fork() IMSS_NO_THREAD_ANALYSIS {
  State& state = get();
  // `lifecycle` is held for seconds by calls that wait for servers; the child gets a new one.
  state.adopt_mutex_.lock();
  state.open.lock_for_fork();
  state.views.lock_for_fork();
  state.requests().lock_for_fork();
  if (state.owned_session_) state.owned_session_->lock_for_fork();
}

void State::unlock_after_fork() IMSS_NO_THREAD_ANALYSIS {
  if (owned_session_) owned_session_->unlock_after_fork();
  requests().unlock_after_fork();
  views.unlock_after_fork();
  open.unlock_after_fork();
  adopt_mutex_.unlock();
}

void State::after_fork_in_parent() { get().unlock_after_fork(); }

void State::after_fork_in_child() {
  State& state = get();
  state.unlock_after_fork();
  new (&state.lifecycle) Turn();
  state.calls.forget_other_threads();
  state.views.forget_pins();
  // Their threads are not here, so they are neither used nor destroyed.
  state.requests_of_parent_ = state.requests_.exchange(new Requests());
  if (state.servers) state.servers_of_parent_ = std::move(state.servers);
  if (state.session_.exchange(nullptr) != nullptr) state.inherited_.store(true);
}

Session* State::adopt_after_fork() {
  if (!inherited_.load(std::memory_order_acquire)) return session_.load(std::memory_order_acquire);
  const MutexLock lock(adopt_mutex_);
  if (inherited_.load()) {
    owned_session_->adopt_handles();
    session_.store(owned_session_.get(), std::memory_order_release);
    inherited_.store(false);
  }
  return session_.load();
}

}  // namespace imss::client::c_api
