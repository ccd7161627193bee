// Registration of threads, the liveness probe, and recovery after a participant that died.
#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <mutex>
#include <vector>

#include "segment/extents.h"
#include "segment/fault.h"
#include "segment/pages.h"
#include "segment/robust_mutex.h"
#include "segment/segment.h"
#include "segment/table.h"
#include "segment/transaction.h"

namespace imss::segment {
namespace {

// The segments that one thread is registered in. Owned by its thread.
struct ThreadContext {
  struct Registration {
    std::uint64_t serial = 0;
    Participant* participant = nullptr;
    std::shared_ptr<Segment> segment;
  };
  std::vector<Registration> registrations;  // indexed by Segment::local_index()

  Registration* find(const Segment& segment) {
    const std::uint32_t index = segment.local_index();
    if (index >= registrations.size() || registrations[index].serial != segment.serial()) return nullptr;
    return &registrations[index];
  }
};

// Read by every operation, so it lies at a fixed distance from the thread pointer, also in the shared library.
__attribute__((tls_model("initial-exec"))) thread_local ThreadContext* thread_context = nullptr;

void unregister(ThreadContext::Registration& registration);

// Ends the registrations of a thread when it ends.
struct ThreadExit {
  ~ThreadExit() {
    ThreadContext* context = thread_context;
    thread_context = nullptr;
    if (context == nullptr) return;
    for (auto& registration : context->registrations) {
      if (registration.participant != nullptr) unregister(registration);
    }
    delete context;
  }
};
thread_local ThreadExit thread_exit;

// A random name of this process; a forked child gets another one.
std::atomic<std::uint64_t> process_token_value{0};

std::uint64_t process_token() {
  std::uint64_t token = process_token_value.load();
  if (token != 0) return token;
  std::uint64_t fresh = 0;
  while (fresh == 0) {
    [[maybe_unused]] const auto filled = ::getrandom(&fresh, sizeof(fresh), 0);
  }
  return process_token_value.compare_exchange_strong(token, fresh) ? fresh : token;
}

// The child's only thread is none of the parent's participants: it forgets the registrations (the memory
// stays, as it must not touch the parent's robust mutexes) and registers afresh when it touches a segment.
void forget_after_fork() {
  thread_context = nullptr;
  process_token_value.store(0);
}

ThreadContext& context_of_this_thread() {
  if (thread_context == nullptr) {
    static std::once_flag once;
    std::call_once(once, [] { pthread_atfork(nullptr, nullptr, forget_after_fork); });
    thread_context = new ThreadContext();
    [[maybe_unused]] ThreadExit* arm_destructor = &thread_exit;
  }
  return *thread_context;
}

RobustMutex liveness(const Segment& segment, std::uint32_t slot) {
  return RobustMutex(segment.at<std::byte>(segment.super().liveness_offset + slot * kLivenessBytes));
}

std::uint32_t slot_of(const Segment& segment, const Participant& participant) {
  return static_cast<std::uint32_t>(
      (segment.offset_of(&participant) - segment.super().participants_offset) / sizeof(Participant));
}

void set_active(const Segment& segment, std::uint32_t slot, bool active) {
  Word& word = segment.super().active[slot / 64];
  const std::uint64_t bit = 1ULL << slot % 64;
  if (active) {
    word.fetch_or(bit);
  } else {
    word.fetch_and(~bit);
  }
}

void clear_pins(Participant& participant) {
  for (Word& pin : participant.pins) pin.store(0);
  for (Word& pin : participant.view_pins) pin.store(0);
  participant.view_count.store(0);
}

// The sequence of requests goes on from one user of the slot to the next, so that an answer that the host
// gives late is never taken for the answer to another request.
void clear_slot(Participant& participant) {
  clear_pins(participant);
  participant.store_count.store(0);
  participant.lock_count.store(0);
  participant.committed.store(0);
  participant.cleaner.store(0);
}

// Whether the slot owns nothing any more, so that another thread may have it.
bool owns_nothing(const Participant& participant) {
  return participant.claim_ref.load() == 0 && participant.moving_key0.load() == 0 &&
         participant.copying_dataset.load() == 0 &&
         std::all_of(std::begin(participant.hand), std::end(participant.hand),
                     [](const Word& word) { return word.load() == 0; });
}

void unregister(ThreadContext::Registration& registration) {
  Segment& segment = *registration.segment;
  Participant& participant = *registration.participant;
  const std::uint32_t slot = slot_of(segment, participant);
  clear_pins(participant);
  Extents(segment).give_back_hand(participant);
  // What could not be returned now keeps the slot taken: without its mutex it counts as dead, and the next
  // clean-up tries again.
  if (owns_nothing(participant)) {
    clear_slot(participant);
    set_active(segment, slot, false);
    participant.id.store(0, std::memory_order_release);
  }
  liveness(segment, slot).unlock();
  registration = {};
}

// Completes what a dead participant had committed and releases its locks. Idempotent; needs no lock.
void complete_transaction(Segment& segment, Participant& dead) {
  replay(segment, dead);
}

}  // namespace

Result<Participant*> Segment::self() {
  if (thread_context != nullptr) [[likely]] {
    if (auto* registration = thread_context->find(*this)) return registration->participant;
  }
  return register_thread();
}

Result<Participant*> Segment::register_thread() {
  if (read_only_) return Status(Code::kNotSupported, "segment " + name_ + " is mapped for reading only");
  for (int round = 0; round < 2; ++round) {
    for (std::uint32_t slot = 1; slot < super().max_participants; ++slot) {
      if (participant(slot).id.load(std::memory_order_relaxed) != 0) continue;
      auto taken = take_slot(slot);
      if (taken.ok()) return taken;
    }
    for (std::uint32_t slot = 1; slot < super().max_participants; ++slot) {
      auto inherited = inherit_slot(slot);
      if (inherited.ok()) return inherited;
    }
  }
  return Status(Code::kTooManyOpen, "all " + std::to_string(super().max_participants) +
                                        " participant slots of segment " + name_ +
                                        " are taken; a larger storage size has more");
}

Result<Participant*> Segment::register_host() {
  for (int round = 0; round < 2; ++round) {
    if (participant(0).id.load() == 0) {
      auto taken = take_slot(0);
      if (taken.ok()) return taken;
    }
    if (probe(0) == Liveness::kDead) {
      clean_up_slot(0);  // as an ordinary participant,
      leave();           // which the host is not
    }
  }
  return Status(Code::kBusy, "segment " + name_ + " is served already by " +
                                 describe(participant(0).id.load()));
}

Result<Participant*> Segment::take_slot(std::uint32_t slot) {
  Participant& mine = participant(slot);
  RobustMutex mutex = liveness(*this, slot);
  const auto outcome = mutex.try_lock();
  if (outcome == RobustMutex::Outcome::kHeld) return Code::kBusy;
  if (outcome == RobustMutex::Outcome::kOwnerDied) mutex.mark_consistent();
  if (mine.id.load() != 0) {  // somebody died here and has not been cleaned up
    mutex.unlock();
    return Code::kBusy;
  }
  clear_slot(mine);
  occupy(slot);
  return &mine;
}

// Takes over the slot of a dead participant together with what it owned. A thread that finds every slot taken
// cannot clean up after the dead in the usual way, for which it would need a slot itself.
Result<Participant*> Segment::inherit_slot(std::uint32_t slot) {
  if (participant(slot).id.load() == 0) return Code::kBusy;
  Participant& mine = participant(slot);
  RobustMutex mutex = liveness(*this, slot);
  const auto outcome = mutex.try_lock();
  if (outcome == RobustMutex::Outcome::kHeld) return Code::kBusy;
  if (outcome == RobustMutex::Outcome::kOwnerDied) mutex.mark_consistent();
  if (mine.id.load() == 0 || !earlier_cleaner_is_done(mine)) {
    mutex.unlock();
    return Code::kBusy;
  }
  complete_transaction(*this, mine);
  clear_slot(mine);
  occupy(slot);
  super().recoveries.fetch_add(1);
  release_claim(*this, mine, mine);
  abandon_move(*this, mine, mine);
  Extents(*this).give_back_hand(mine);
  return &mine;
}

// The calling thread becomes the participant of a slot. REQUIRES: it holds the slot's liveness mutex.
void Segment::occupy(std::uint32_t slot) {
  Participant& mine = participant(slot);
  const std::uint64_t generation = mine.generation.fetch_add(1) + 1;
  mine.process.store(process_token());
  mine.pid_tid.store(static_cast<std::uint64_t>(::getpid()) << 32 | static_cast<std::uint32_t>(::gettid()));
  set_active(*this, slot, true);
  mine.id.store(generation << 16 | (slot + 1), std::memory_order_seq_cst);
  ThreadContext& context = context_of_this_thread();
  if (context.registrations.size() <= local_index_) context.registrations.resize(local_index_ + 1);
  context.registrations[local_index_] = {serial_, &mine, shared_from_this()};
}

void Segment::leave() {
  if (thread_context == nullptr) return;
  if (auto* registration = thread_context->find(*this)) unregister(*registration);
}

Segment::Liveness Segment::probe(std::uint32_t slot) {
  if (read_only_) return Liveness::kAlive;  // whether or not, others have to see to it
  Participant& other = participant(slot);
  if (thread_context != nullptr) {
    const auto* registration = thread_context->find(*this);
    if (registration != nullptr && registration->participant == &other) return Liveness::kAlive;
  }
  RobustMutex mutex = liveness(*this, slot);
  const auto outcome = mutex.try_lock();
  if (outcome == RobustMutex::Outcome::kHeld) return Liveness::kAlive;
  const bool dead = other.id.load() != 0;
  if (dead) {
    complete_transaction(*this, other);
    super().unclean.store(1);
  }
  if (outcome == RobustMutex::Outcome::kOwnerDied) mutex.mark_consistent();
  mutex.unlock();
  return dead ? Liveness::kDead : Liveness::kFree;
}

std::uint32_t Segment::clean_up() {
  std::uint32_t cleaned = 0;
  for (std::uint32_t slot = 0; slot < super().max_participants; ++slot) {
    if (slot % 64 == 0 && super().active[slot / 64].load() == 0) {
      slot += 63;
      continue;
    }
    if (participant(slot).id.load() == 0) continue;
    if (probe(slot) != Liveness::kDead) continue;
    clean_up_slot(slot);
    if (participant(slot).id.load() == 0) ++cleaned;
  }
  return cleaned;
}

// Whether nothing that an earlier cleaner committed on behalf of the dead participant is still to be applied.
// Until then its hand and claims may change under the next cleaner, or after the slot has a new user.
// REQUIRES: the caller holds the liveness mutex of `dead`.
bool Segment::earlier_cleaner_is_done(const Participant& dead) {
  const std::uint64_t cleaner = dead.cleaner.load();
  const std::uint64_t slot = (cleaner & 0xffff) - 1;
  if (cleaner == 0 || slot >= super().max_participants) return true;
  // Under another id the slot has been cleaned up, which completes its changes.
  if (participant(static_cast<std::uint32_t>(slot)).id.load() != cleaner) return true;
  // A cleaner that lives holds the mutex, so this one is dead; "alive" means that somebody else recovers it now.
  return probe(static_cast<std::uint32_t>(slot)) != Liveness::kAlive;
}

// Each step leaves the slot in a state from which the next cleaner goes on, should this one die too.
void Segment::clean_up_slot(std::uint32_t slot) {
  auto me = self();
  if (!me.ok()) return;
  RobustMutex mutex = liveness(*this, slot);
  const auto outcome = mutex.try_lock();
  if (outcome == RobustMutex::Outcome::kHeld) return;
  Participant& dead = participant(slot);
  if (dead.id.load() != 0 && earlier_cleaner_is_done(dead)) {
    dead.cleaner.store((*me)->id.load());
    complete_transaction(*this, dead);
    fault_point("clean_up.begun");
    release_claim(*this, **me, dead);
    abandon_move(*this, **me, dead);
    note_torn_copies(*this, **me, dead);  // without a place for the note the slot stays dead
    // Its pins go after its claim, which they protect, and before its hand, which they would hold back.
    clear_pins(dead);
    Extents(*this).give_back_hand_of(**me, dead);
    fault_point("clean_up.hand_returned");
    dead.cleaner.store(0);
    if (owns_nothing(dead)) {
      clear_slot(dead);
      super().recoveries.fetch_add(1);
      set_active(*this, slot, false);
      dead.id.store(0);
    }
  }
  if (outcome == RobustMutex::Outcome::kOwnerDied) mutex.mark_consistent();
  mutex.unlock();
}

std::string Segment::describe(std::uint64_t participant_id) const {
  const std::uint64_t slot = (participant_id & 0xffff) - 1;
  if (participant_id == 0 || slot >= super().max_participants) return "nobody";
  const std::uint64_t who = participant(static_cast<std::uint32_t>(slot)).pid_tid.load();
  return "process " + std::to_string(who >> 32) + " (thread " + std::to_string(who & 0xffffffff) + ")";
}

std::uint32_t Segment::live_participants() {
  std::uint32_t alive = 0;
  for (std::uint32_t slot = 0; slot < super().max_participants; ++slot) {
    // Not every slot: a process that has just mapped the segment would fault in a page for each.
    if ((super().active[slot / 64].load() >> slot % 64 & 1) == 0) continue;
    if (participant(slot).id.load() != 0 && probe(slot) == Liveness::kAlive) ++alive;
  }
  return alive;
}

}  // namespace imss::segment
