#include "net/peers.h"

#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <chrono>

#include "base/text.h"
#include "net/listening.h"

namespace imss::net {
namespace {

constexpr int kBeatMs = 500;
// A beat waits for its answer at most so long, so that a silent server is found out within two
// seconds.
constexpr int kBeatPatienceMs = 300;
constexpr std::uint64_t kMostPlaces = std::uint64_t{1} << (64 - kPlaceShift);

}  // namespace

// --- one server
// --------------------------------------------------------------------------------------------

Result<HelloAnswer> Peer::session(Deadline deadline) {
  const Peers::Turn turn(peers_, deadline);
  if (!turn.taken())
    return Status(Code::kTimedOut, concat("no time was left to greet the server on ", host));
  {
    const MutexLock lock(mutex_);
    if (hello_.token != 0 && owner_pid_ == this_process()) return hello_;
  }
  IMSS_ASSIGN_OR_RETURN(ControlClient* const control, peers_.control());
  peers_.start_saying_alive();  // or trying to, until the server is there
  const int patience_ms = std::min(deadline.remaining_ms(), Peers::kPatienceMs);
  if (attached_.load(std::memory_order_relaxed) && !is_listening(host, port, patience_ms)) {
    missed_.store(kMostMissed);
    return Status(Code::kIo,
                  concat("the server on ", host, " port ", std::to_string(port), " has ended"));
  }
  return greet(*control, patience_ms);
}

Result<HelloAnswer> Peer::greet(ControlClient& control, int timeout_ms) {
  HelloQuestion question;
  question.version = kProtocolVersion;
  question.client = peers_.client_id();
  auto answer = ask<HelloAnswer>(control, host, port, Operation::kHello, question, timeout_ms);
  const std::string name = concat("the server on ", host, " port ", std::to_string(port));
  if (answer.code() == Code::kTimedOut || answer.code() == Code::kIo) {
    missed_.store(kMostMissed);
    return Status(Code::kIo, concat(name, " cannot be reached"));
  }
  if (!answer.ok()) return answer.status();
  if (answer->version != kProtocolVersion) {
    return Status(
        Code::kIncompatible,
        concat(name, " speaks version ", std::to_string(answer->version),
               " of the protocol, this program version ", std::to_string(kProtocolVersion)));
  }
  if (static_cast<Code>(answer->status) == Code::kPermission) {
    return Status(Code::kPermission, concat(name, " belongs to another user and does not share with this one; see --share"));
  }
  if (answer->status != 0)
    return Status(static_cast<Code>(answer->status), concat(name, " refuses this client"));
  note_epoch(answer->epoch);
  clock_.begin(answer->clock_ms, clock_ms());
  const MutexLock lock(mutex_);
  if (owner_pid_ == this_process() && record_ != 0 && record_ != answer->record)
    forgotten_.store(true);
  hello_ = *answer;
  record_ = answer->record;
  owner_pid_ = this_process();
  greeted_ = true;
  missed_.store(0);
  attached_.store(answer->attached, std::memory_order_relaxed);
  return hello_;
}

void Peer::note_epoch(std::uint64_t epoch) { peers_.note_epoch(epoch); }

void Peers::note_epoch(std::uint64_t epoch) {
  std::uint64_t known = newest_epoch_.load(std::memory_order_relaxed);
  while (known < epoch && !newest_epoch_.compare_exchange_weak(known, epoch)) {
  }
}

void Peer::forget_session(std::uint64_t token) {
  const MutexLock lock(mutex_);
  if (hello_.token == token) hello_ = {};
}

Result<std::uint64_t> Peer::begin_change() {
  const MutexLock lock(mutex_);
  if (places_pid_ != this_process()) {  // a fork child is another client
    places_pid_ = this_process();
    last_sequence_.clear();
    free_places_.clear();
  }
  if (free_places_.empty()) {
    const std::uint64_t place = last_sequence_.size();
    if (place >= kMostPlaces)
      return Status(Code::kBusy, concat("too many changes are under way at ", host));
    last_sequence_.push_back(place << kPlaceShift);
    free_places_.push_back(static_cast<std::uint32_t>(place));
  }
  const std::uint32_t place = free_places_.back();
  free_places_.pop_back();
  return ++last_sequence_[place];
}

void Peer::end_change(std::uint64_t sequence) {
  const MutexLock lock(mutex_);
  if (places_pid_ == this_process())
    free_places_.push_back(static_cast<std::uint32_t>(sequence >> kPlaceShift));
}

// A server that was lost is greeted again, so that it is known when it is back.
void Peer::say_alive(ControlClient& control) {
  AliveQuestion question;
  {
    const MutexLock lock(mutex_);
    const bool mine = greeted_ && owner_pid_ == this_process();
    // Not needed in this process so far.
    if (!mine && answers()) return;
    if (mine) question.token = hello_.token;
  }
  if (question.token == 0) {
    // What this process has open there is kept only as long as it has a session.
    [[maybe_unused]] const auto greeted = greet(control, kBeatPatienceMs);
    return;
  }
  const auto answer =
      ask<AliveAnswer>(control, host, port, Operation::kAlive, question, kBeatPatienceMs);
  if (!answer.ok()) {
    missed_.fetch_add(1);
  } else if (answer->known) {
    note_epoch(answer->epoch);
    clock_.hear(answer->clock_ms, clock_ms());
    missed_.store(0);
  } else {
    forget_session(question.token);
  }
}

// --- all of them
// -------------------------------------------------------------------------------------------

Result<std::shared_ptr<Peers>> Peers::make(ControlKeys keys) {
  IMSS_ASSIGN_OR_RETURN(Module* const module, load_module());
  return std::shared_ptr<Peers>(new Peers(*module, std::move(keys)));
}

Peers::Peers(Module& module, ControlKeys keys)
    : module_(module), keys_(std::move(keys)), changed_pid_(this_process()) {}

Peers::~Peers() {
  if (thread_pid_ == this_process()) {
    {
      const MutexLock lock(mutex_);
      ending_ = true;
    }
    changed_->notify_all();
    thread_.join();
  } else if (thread_.joinable()) {
    thread_.detach();  // the parent's
  }
  {
    const MutexLock lock(mutex_);
    leave_condition_to_parent();
  }
  // What belongs to the parent is not touched.
  if (control_ && control_pid_ != this_process()) [[maybe_unused]]
    ControlClient* const inherited = control_.release();
}

Peer& Peers::at(const std::string& host, std::uint16_t port) {
  const MutexLock lock(mutex_);
  for (const auto& peer : peers_) {
    if (peer->host == host && peer->port == port) return *peer;
  }
  static std::atomic<std::uint64_t> next_serial{1};
  peers_.push_back(std::shared_ptr<Peer>(new Peer(*this, host, port, next_serial.fetch_add(1))));
  return *peers_.back();
}

void Peers::lock_for_fork() {
  mutex_.lock();
  for (const auto& peer : peers_) peer->mutex_.lock();
}

void Peers::unlock_after_fork() {
  for (const auto& peer : peers_) peer->mutex_.unlock();
  mutex_.unlock();
}

Result<ControlClient*> Peers::control() {
  if (!control_ || control_pid_ != this_process()) {
    [[maybe_unused]] ControlClient* const inherited = control_.release();
    IMSS_ASSIGN_OR_RETURN(control_, module_.make_control_client(keys_));
    control_pid_ = this_process();
  }
  return control_.get();
}

std::uint64_t Peers::client_id() {
  const MutexLock lock(mutex_);
  while (client_id_ == 0 || client_pid_ != this_process()) {
    if (::getrandom(&client_id_, sizeof(client_id_), 0) != sizeof(client_id_)) continue;
    client_pid_ = this_process();
  }
  return client_id_;
}

void Peers::start_saying_alive() {
  const MutexLock lock(mutex_);
  if (thread_pid_ == this_process()) return;
  if (thread_.joinable()) thread_.detach();  // the parent's
  if (thread_pid_ != 0) {                    // which may have held this when it forked
    [[maybe_unused]] Mutex* const inherited = forgotten_mutex_.release();
    forgotten_mutex_ = std::make_unique<Mutex>();
  }
  thread_pid_ = this_process();
  thread_ = std::thread([this] { run(); });
}

// In a fork child nobody waits who waited in the parent, and the end of the condition would wait
// for them to stop.
void Peers::leave_condition_to_parent() {
  if (changed_pid_ == this_process()) return;
  changed_pid_ = this_process();
  [[maybe_unused]] Condition* const inherited = changed_.release();
  changed_ = std::make_unique<Condition>();
}

// Waiting for a server that is not there takes long; the others wait no longer than they want to.
Peers::Turn::Turn(Peers& peers, Deadline deadline) : peers_(peers) {
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline.remaining_ms());
  const MutexLock lock(peers_.mutex_);
  peers_.leave_condition_to_parent();
  while (peers_.turn_pid_ == this_process()) {
    if (std::chrono::steady_clock::now() >= end) return;
    peers_.changed_->wait_until(peers_.mutex_, end);
  }
  peers_.turn_pid_ = this_process();
  taken_ = true;
}

Peers::Turn::~Turn() {
  if (!taken_) return;
  {
    const MutexLock lock(peers_.mutex_);
    peers_.turn_pid_ = 0;
  }
  peers_.changed_->notify_all();
}

void Peers::run() {
  ::pthread_setname_np(::pthread_self(), "imss-alive");
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are the application's threads' business
  auto control = module_.make_control_client(keys_);
  if (!control.ok())
    return;  // servers then take this client for gone, and say so when it asks next
  std::size_t round = 0;
  do {
    std::vector<std::shared_ptr<Peer>> known;
    {
      const MutexLock lock(mutex_);
      known = peers_;
    }
    // One of the lost ones each time: waiting for all of them would keep the others waiting.
    std::vector<Peer*> lost;
    for (const auto& peer : known) {
      if (peer->answers()) {
        peer->say_alive(**control);
      } else {
        lost.push_back(peer.get());
      }
    }
    if (!lost.empty()) lost[round++ % lost.size()]->say_alive(**control);
    tell_of_forgetful(known);
  } while (!wait_for_end(std::chrono::milliseconds(kBeatMs)));
}

void Peers::tell_of_forgetful(std::span<const std::shared_ptr<Peer>> peers) {
  for (const auto& peer : peers) {
    if (!peer->forgotten_.exchange(false)) continue;
    const MutexLock lock(*forgotten_mutex_);
    if (on_forgotten_) on_forgotten_(*peer);
  }
}

void Peers::on_forgotten(std::function<void(const Peer&)> tell) {
  bool alone = false;
  {
    const MutexLock lock(mutex_);
    alone = thread_pid_ != this_process();
  }
  if (alone) {  // the thread does not run, or is the parent's
    on_forgotten_ = std::move(tell);
    return;
  }
  const MutexLock lock(*forgotten_mutex_);
  on_forgotten_ = std::move(tell);
}

// True when this ends, at once or within the period.
bool Peers::wait_for_end(std::chrono::milliseconds period) {
  const auto end = std::chrono::steady_clock::now() + period;
  const MutexLock lock(mutex_);
  while (!ending_ && std::chrono::steady_clock::now() < end) changed_->wait_until(mutex_, end);
  return ending_;
}

}  // namespace imss::net
