#include <signal.h>

#include <chrono>

#include "segment_test_util.h"

using namespace imss;
using namespace imss::segment_test;
using Liveness = Segment::Liveness;

namespace {

std::uint32_t slot_of(const Participant& participant) {
  return static_cast<std::uint32_t>((participant.id.load() & 0xffff) - 1);
}

// A child that runs `body`, reports through a pipe that it has, and then waits to be killed.
class Sleeper {
 public:
  explicit Sleeper(const std::function<void()>& body) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      body();
      [[maybe_unused]] const auto written = ::write(ends[1], "x", 1);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    char byte = 0;
    REQUIRE(::read(ends[0], &byte, 1) == 1);
    ::close(ends[0]);
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  ~Sleeper() { kill(); }
  pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }
  void kill() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
};

}  // namespace

TEST_CASE("a thread is registered on first use and leaves when it ends") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  CHECK(segment.live_participants() == 1);
  std::uint32_t slot = 0;
  std::uint64_t id = 0;
  std::thread([&] {
    Participant& me = **segment.self();
    slot = slot_of(me);
    id = me.id.load();
    if (*segment.self() != &me) slot = 0;
  }).join();
  CHECK(slot != 0);
  CHECK(segment.live_participants() == 1);
  CHECK(segment.participant(slot).id.load() == 0);
  // The next one has another id in the same slot.
  std::thread([&] {
    Participant& me = **segment.self();
    if (slot_of(me) != slot || me.id.load() == id) slot = 0;
    segment.leave();
    if (me.id.load() != 0) slot = 0;
  }).join();
  CHECK(slot != 0);
}

TEST_CASE("a registered thread keeps the mapping, so that its end touches no unmapped memory") {
  const Directory directory;
  std::weak_ptr<Segment> watched;
  std::thread([&] {
    auto host = segment::Host::start(host_options(16 * kMiB));
    watched = (*host)->segment();
    static_cast<void>((*host)->segment()->self());
    host->reset();
    if (watched.expired()) std::abort();
  }).join();
  CHECK(watched.expired());
}

TEST_CASE("a forked child is a participant of its own") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  const auto segment = host->segment();
  Participant& mine = self_of(*segment);
  const std::uint64_t my_id = mine.id.load();
  const int status = run_child([&] {
    auto me = segment->self();
    if (!me.ok() || *me == &mine || (*me)->id.load() == my_id) return 1;
    if ((*me)->process.load() == mine.process.load()) return 2;
    Engine engine(*segment, **me, 1);
    if (!engine.steps(200, 50).ok()) return 3;
    segment->leave();
    return 0;
  });
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(mine.id.load() == my_id);
  CHECK(segment->live_participants() == 2);
  require_sound(*segment);
}

TEST_CASE("what a killed process held is returned by clean_up") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  self_of(segment);
  Sleeper child([&] {
    Participant& me = **segment.self();
    for (int i = 0; i < 10; ++i) {
      static_cast<void>(Extents(segment).take(me, segment::kClass64K, false));
    }
    me.pins[0].store(me.hand[0].load());
  });
  CHECK(segment.live_participants() == 3);
  child.kill();
  segment.clean_up();
  CHECK(segment.live_participants() == 2);
  CHECK(segment.super().recoveries.load() >= 1);
  require_sound(segment);
}

TEST_CASE("with all slots taken a thread is refused, and takes over the slot of a dead one") {
  const Directory directory;
  auto host = start_host(host_options(16 * kMiB));
  const auto segment = host->segment();
  host->stop(false);  // so that nobody else cleans up
  segment->leave();
  const std::uint32_t slots = segment->super().max_participants;
  std::atomic<std::uint32_t> ready{0};
  std::atomic<bool> end{false};
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  Sleeper child([&] {
    static_cast<void>(segment->self());
  });
  for (std::uint32_t i = 2; i < slots; ++i) {
    threads.emplace_back([&] {
      if (!segment->self().ok()) ++failures;
      ++ready;
      ready.notify_all();
      end.wait(false);
    });
  }
  for (std::uint32_t seen = ready; seen != slots - 2; seen = ready) ready.wait(seen);
  CHECK(failures == 0);
  const auto refused = segment->self();
  CHECK(refused.code() == Code::kTooManyOpen);
  child.kill();
  const auto inherited = segment->self();
  CHECK(inherited.ok());
  end = true;
  end.notify_all();
  for (auto& thread : threads) thread.join();
  require_sound(*segment);
}

TEST_CASE("all steps of an operation share one deadline") {
  const Deadline restored(60'000);
  using segment::deadline_ms;
  using segment::OneDeadline;
  {
    const OneDeadline operation;
    CHECK(deadline_ms() == 60'000);  // the first wait
    int left = 60'000;
    while (left == 60'000) left = deadline_ms();
    CHECK(left < 60'000);
    {
      const OneDeadline step;
      CHECK(deadline_ms() <= left);
    }
    CHECK(deadline_ms() <= left);
  }
  CHECK(deadline_ms() == 60'000);
  segment::set_deadline_ms(OneDeadline::kLastStepMs + 1);
  const OneDeadline operation;
  CHECK(deadline_ms() == OneDeadline::kLastStepMs + 1);
  while (deadline_ms() != OneDeadline::kLastStepMs) {
  }
  CHECK(deadline_ms() == OneDeadline::kLastStepMs);
}

TEST_CASE("a stopped lock holder costs others a timeout that names it, and they go on after it") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  Participant& me = self_of(segment);
  Table table(segment, 0);
  REQUIRE(table.put(me, {1, 1}, {}, false).ok());
  const Deadline deadline(200);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    arm_fault("transaction.applying:1:stop");
    auto self = segment.self();
    ::_exit(self.ok() && table.put(**self, {1, 1}, {5, 5, 5}, true).ok() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, WUNTRACED) == child);
  REQUIRE(WIFSTOPPED(status));
  const Status put = table.put(me, {1, 1}, {6, 6, 6}, true);
  CHECK(put.code() == Code::kTimedOut);
  INFO(put.message());
  CHECK(put.message().find("process " + std::to_string(child)) != std::string::npos);
  Snapshot snapshot;
  const Status find = table.find({1, 1}, &snapshot);
  CHECK(find.code() == Code::kTimedOut);
  CHECK(find.message().find("process " + std::to_string(child)) != std::string::npos);
  // Other shards go on.
  int others = 0;
  for (std::uint64_t i = 2; i < 200; ++i) {
    if (table.put(me, {i, 1}, {}, false).ok()) ++others;
    if (others == 20) break;
  }
  CHECK(others == 20);
  ::kill(child, SIGCONT);
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(table.put(me, {1, 1}, {6, 6, 6}, true).ok());
  require_sound(segment);
}

TEST_CASE("a late answer of the host is not taken for the answer to the slot's next user") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  for (std::uint64_t* request : {&first, &second}) {
    std::thread([&] {
      Participant& me = **segment.self();
      static_cast<void>(segment::ask_host(segment, me, segment::Request::kBuckets, 0, 0));
      *request = me.request.load();
    }).join();
  }
  CHECK(second >> 8 == (first >> 8) + 1);
}

TEST_CASE("the host provides for itself without waiting for itself") {
  const Directory directory;
  std::atomic<int> done{0};
  HostOptions options = host_options(64 * kMiB);
  options.periodic = [&](Segment& segment, Participant& me) {
    if (done != 0) return;
    auto held = Extents(segment).take(me, segment::kClass4K + 3, false);
    done = held.ok() ? 1 : 2;
    if (held.ok()) Extents(segment).put_back(me, *held);
    done.notify_all();
  };
  const auto host = start_host(std::move(options));
  done.wait(0);
  CHECK(done == 1);
  require_sound(*host->segment());
}
