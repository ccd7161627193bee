#include "segment/host.h"

#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "segment/extents.h"
#include "segment/fault.h"
#include "segment/futex.h"
#include "segment/segment_files.h"
#include "segment/table.h"
#include "segment/transaction.h"

namespace imss::segment {
namespace {

// The host serves everybody, so it waits for nobody long: not for a lock whose holder is stopped.
constexpr int kHostDeadlineMs = 200;
constexpr long kTickMs = 400;                       // dead participants are cleaned up within 2 s
constexpr std::uint32_t kQuarantineTicks = 5;       // see Host::still_quarantined

// The host whose thread this is: what it does as a participant it provides for itself.
thread_local Host* host_of_this_thread = nullptr;

}  // namespace

// --- The client's side ---------------------------------------------------------------------------

void nudge_host(Segment& segment) {
  Superblock& block = segment.super();
  block.host_wake.fetch_add(1);
  if (block.host_sleeping.load() != 0) futex_wake_all(block.host_wake);
}

namespace {

// Whether nobody will ever answer here: the server has ended for good, or died with the application it was part of.
bool is_gone(Segment& segment) {
  const Superblock& block = segment.super();
  if (block.state.load() >= static_cast<std::uint64_t>(State::kFenced)) return true;
  return block.attached != 0 && segment.probe(0) != Segment::Liveness::kAlive;
}

}  // namespace

Status ask_host(Segment& segment, Participant& me, Request kind, std::uint64_t offset, std::uint64_t bytes) {
  Superblock& block = segment.super();
  const std::uint64_t sequence = (me.request.load() >> 8) + 1;
  me.request_offset.store(offset);
  me.request_bytes.store(bytes);
  if (host_of_this_thread != nullptr && host_of_this_thread->me_ == &me) {
    return host_of_this_thread->answer(me, kind);
  }
  me.request.store(sequence << 8 | static_cast<std::uint64_t>(kind), std::memory_order_seq_cst);
  nudge_host(segment);
  const auto answered = [&] { return me.reply.load(std::memory_order_acquire) >> 16 == sequence; };
  // The answer often comes within microseconds; sleeping and waking takes longer than that.
  for (int spin = 0; spin < 2000 && !answered(); ++spin) __builtin_ia32_pause();
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms());
  while (!answered()) {
    const auto wake = static_cast<std::uint32_t>(block.reply_wake.load());
    if (answered()) break;
    futex_wait(block.reply_wake, wake, 20);
    if (answered()) break;
    if (is_gone(segment)) return Status(Code::kFenced, "the server of segment " + segment.name() + " has ended");
    if (std::chrono::steady_clock::now() < end) continue;
    const bool alive = segment.probe(0) == Segment::Liveness::kAlive;
    return Status(Code::kTimedOut, "the server of segment " + segment.name() +
                                       (alive ? " does not answer" : " is not running"));
  }
  const auto code = static_cast<Code>(me.reply.load() & 0xffff);
  if (code == Code::kOk) return {};
  return code;
}

// --- Start and stop ----------------------------------------------------------------------------------

Result<std::unique_ptr<Host>> Host::start(HostOptions options) {
  std::unique_ptr<Host> host(new Host(std::move(options)));
  host->owner_pid_ = static_cast<std::uint32_t>(::getpid());
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Status> outcome;
  host->thread_ = std::thread([&, raw = host.get()] {
    raw->run([&](Status status) {
      const std::lock_guard lock(mutex);
      outcome = std::move(status);
      changed.notify_one();
    });
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return outcome.has_value(); });
  lock.unlock();
  if (!outcome->ok()) {
    host->thread_.join();
    return *outcome;
  }
  return host;
}

Host::~Host() { stop(false); }

Status Host::prepare() {
  auto existing = Segment::open(options_.name);
  if (existing.ok()) {
    const bool served = (*existing)->probe(0) == Segment::Liveness::kAlive;
    if (served || !options_.take_over) {
      return Status(served ? Code::kBusy : Code::kExists,
                    "segment " + path_of(options_.name) +
                        (served ? " is served already; stop that server first or choose another port"
                                : " is left from an earlier server"));
    }
    segment_ = *existing;
    took_over_ = true;
  } else if (existing.code() != Code::kNotFound) {
    return existing.status();
  } else {
    IMSS_ASSIGN_OR_RETURN(segment_, Segment::create(options_.create));
  }
  IMSS_ASSIGN_OR_RETURN(me_, segment_->register_host());
  segment_->super().owner_pid = static_cast<std::uint32_t>(::getpid());
  IMSS_RETURN_IF_ERROR(segment_->share(options_.sharing));
  refresh_used();
  if (took_over_) {
    segment_->clean_up();
    rebuild_after_take_over();
    segment_->super().state.store(static_cast<std::uint64_t>(State::kServing));
    return {};
  }
  for (std::uint32_t table = 0; table < kTables; ++table) IMSS_RETURN_IF_ERROR(provide_buckets(table));
  return {};
}

void Host::run(std::function<void(Status)> ready) {
  ::pthread_setname_np(::pthread_self(), "imss-host");
  host_of_this_thread = this;
  set_thread_deadline_ms(kHostDeadlineMs);
  const Status status = prepare();
  ready(status);
  if (!status.ok()) {
    if (segment_) segment_->leave();
    segment_.reset();
    return;
  }
  Superblock& block = segment_->super();
  auto next_tick = std::chrono::steady_clock::now();
  while (!stopping_.load()) {
    const auto wake = static_cast<std::uint32_t>(block.host_wake.load());
    bool worked = serve_requests();
    worked = top_up_pools() || worked;
    const auto now = std::chrono::steady_clock::now();
    if (now >= next_tick) {
      next_tick = now + std::chrono::milliseconds(kTickMs);
      segment_->clean_up();
      empty_limbo();
      if (options_.periodic && segment_->serving()) options_.periodic(*segment_, *me_);
    }
    if (!worked) worked = collapse_one();
    if (worked) continue;
    block.host_sleeping.store(1);
    futex_wait(block.host_wake, wake, kTickMs);
    block.host_sleeping.store(0);
  }
  segment_->leave();
}

Status Host::publish() {
  if (!took_over_) IMSS_RETURN_IF_ERROR(segment_->publish(options_.name));
  segment_->super().state.store(static_cast<std::uint64_t>(State::kServing), std::memory_order_release);
  return {};
}

void Host::stop(bool retire) {
  // A forked child has the object but not the thread.
  if (owner_pid_ != static_cast<std::uint32_t>(::getpid())) {
    if (thread_.joinable()) thread_.detach();
    return;
  }
  if (!thread_.joinable()) return;
  if (retire) {
    segment_->super().state.store(static_cast<std::uint64_t>(State::kRetired));
    segment_->unlink_name();
  }
  stopping_.store(true);
  segment_->super().host_wake.fetch_add(1);
  futex_wake_all(segment_->super().host_wake);
  thread_.join();
}

// --- Requests ------------------------------------------------------------------------------------------

bool Host::serve_requests() {
  Superblock& block = segment_->super();
  bool worked = false;
  for (std::uint32_t slot = 1; slot < block.max_participants; ++slot) {
    if ((block.active[slot / 64].load() >> slot % 64 & 1) == 0) continue;
    Participant& client = segment_->participant(slot);
    const std::uint64_t request = client.request.load(std::memory_order_acquire);
    if (request >> 8 == client.reply.load() >> 16) continue;
    const Status status = answer(client, static_cast<Request>(request & 0xff));
    client.reply.store(request >> 8 << 16 | static_cast<std::uint64_t>(status.code()),
                       std::memory_order_release);
    worked = true;
  }
  if (worked) {
    block.reply_wake.fetch_add(1);
    futex_wake_all(block.reply_wake);
  }
  return worked;
}

Status Host::answer(Participant& client, Request kind) {
  const std::uint64_t offset = client.request_offset.load();
  const std::uint64_t bytes = client.request_bytes.load();
  switch (kind) {
    case Request::kExtents:
      if (offset >= kClasses) return Code::kInvalidArgument;
      if (segment_->super().pools[bytes != 0 ? 1 : 0][offset].head.load() != 0) return {};
      return provide_extents(static_cast<std::uint32_t>(offset), bytes != 0);
    case Request::kPages:
      return provide_pages(offset, bytes);
    case Request::kBuckets:
      if (offset >= kTables) return Code::kInvalidArgument;
      return provide_buckets(static_cast<std::uint32_t>(offset));
    case Request::kNone:
      break;
  }
  return Code::kInvalidArgument;
}

bool Host::top_up_pools() {
  Superblock& block = segment_->super();
  bool worked = false;
  for (std::uint32_t size_class = kClass4K; size_class < kClasses; ++size_class) {
    Pool& pool = block.pools[0][size_class];
    if (pool.wanted.load() == 0) continue;
    // Ahead of need only while memory is plentiful; a client that really needs it asks.
    const bool plentiful = block.used_bytes.load() + 4 * kArenaBytes + class_bytes(size_class) <
                           block.capacity_bytes / 16 * 15;
    if (plentiful && provide_extents(size_class, false).ok()) worked = true;
    pool.wanted.store(0);
  }
  for (std::uint32_t table = 0; table < kTables; ++table) {
    Word& wanted = block.tables[table].wanted;
    if (wanted.load() == 0) continue;
    if (provide_buckets(table).ok()) worked = true;
    wanted.store(0);
  }
  return worked;
}

// The kernel tells of a thread's death while it still takes the process apart; what the process had registered with
// the network can be written until that is over.
bool Host::still_quarantined(std::uint32_t place, Ref word) {
  Quarantine& seen = quarantine_[place];
  if (!word.has(Ref::kArriving) || seen.word != word.word()) seen = {word.word(), 0};
  return word.has(Ref::kArriving) && seen.ticks++ < kQuarantineTicks;
}

// Extents that were pinned when their owner ended go back once nobody pins them any more.
void Host::empty_limbo() {
  Superblock& block = segment_->super();
  Extents extents(*segment_);
  for (std::uint32_t i = 0; i < kLimboSlots; ++i) {
    Word& place = block.limbo[i];
    const Ref word(place.load());
    if (still_quarantined(i, word)) continue;
    if (word.none() || word.has(Ref::kReap) || extents.pinned(word)) continue;
    auto slot = extents.empty_slot(*me_);
    if (!slot.ok()) return;
    Transaction change(*segment_, *me_);
    if (!change.lock(block.limbo_lock).ok()) return;
    if (place.load() != word.word()) continue;
    change.store(place, 0);
    change.store(me_->hand[*slot], word.bare().word());
    if (!change.commit().ok()) return;
  }
  extents.give_back_hand(*me_);
}

}  // namespace imss::segment
