// Processes killed at every fault point of the segment layer, at several passes through it.
#include <signal.h>

#include <fstream>
#include <set>

#include "segment/outcome.h"
#include "segment_test_util.h"

using namespace imss;
using namespace imss::segment_test;

namespace {

constexpr int kPasses[] = {1, 2, 5, 17, 60};
constexpr std::uint64_t kCapacity = 48 * kMiB;

// Points that a client passes while it works.
const std::vector<std::string> kClientPoints{
    "transaction.prepared", "transaction.committed", "transaction.applying", "transaction.applied",
    "extents.refilled",     "pages.claimed",         "pages.filled",         "table.split"};

// What the host passes besides.
const std::string kForgetPoint = "outcomes.record_forgotten";
const std::vector<std::string> kHostPoints{
    "host.obtained",        "host.taken",           "host.run_marked",      "host.reclaimed",
    "host.set_aside",       "host.memory_dropping", "transaction.prepared", "transaction.committed",
    "transaction.applying", "transaction.applied"};

const std::vector<std::string> kCleanerPoints{"clean_up.begun",       "clean_up.hand_returned",
                                              "transaction.prepared", "transaction.committed",
                                              "transaction.applying", "transaction.applied"};

// Many kinds of work. 0 when all went well.
int work_hard(Segment& segment, std::uint64_t seed) {
  auto me = segment.self();
  if (!me.ok()) return 1;
  Engine engine(segment, **me, seed);
  for (std::uint64_t i = 0; i < 300; ++i) {
    if (!engine.table().put(**me, {seed, i}, {}, true).ok()) return 2;
  }
  return engine.steps(1500, 300).ok() ? 0 : 3;
}

void require_usable(Segment& segment, std::uint64_t seed) {
  Engine engine(segment, self_of(segment), seed);
  const Status status = engine.steps(400, 300);
  INFO(status.message());
  CHECK(status.ok());
  require_sound(segment);
}

}  // namespace

TEST_CASE("a client killed at any fault point leaves a sound segment without leaks") {
  const Directory directory;
  const auto host = start_host(host_options(kCapacity));
  Segment& segment = *host->segment();
  self_of(segment);
  std::uint64_t seed = 100;
  for (const std::string& point : kClientPoints) {
    int kills = 0;
    for (const int pass : kPasses) {
      const std::string spec = point + ":" + std::to_string(pass) + ":kill";
      INFO(spec);
      const int status = run_child([&] {
        arm_fault(spec);
        return work_hard(segment, ++seed);
      });
      ++seed;
      if (was_killed(status)) ++kills;
      REQUIRE((was_killed(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0)));
      segment.clean_up();
      require_sound(segment);
      require_usable(segment, ++seed);
    }
    INFO(point);
    CHECK(kills >= 3);
  }
}

TEST_CASE("clients that are killed do not harm others that work meanwhile") {
  const Directory directory;
  const auto host = start_host(host_options(kCapacity));
  Segment& segment = *host->segment();
  // A process of its own, so that this one may fork.
  const pid_t bystander = ::fork();
  REQUIRE(bystander >= 0);
  if (bystander == 0) {
    Engine engine(segment, **segment.self(), 9);
    for (int round = 0; round < 40; ++round) {
      if (!engine.steps(500, 300).ok()) ::_exit(1);
    }
    segment.leave();
    ::_exit(0);
  }
  std::mt19937_64 random(4);
  for (int round = 0; round < 40; ++round) {
    const std::string& point = kClientPoints[random() % kClientPoints.size()];
    const std::string spec = point + ":" + std::to_string(random() % 500 + 1) + ":kill";
    const std::uint64_t seed = random();
    const int status = run_child([&] {
      arm_fault(spec);
      return work_hard(segment, seed);
    });
    INFO(spec);
    CHECK((was_killed(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0)));
  }
  int status = 0;
  REQUIRE(::waitpid(bystander, &status, 0) == bystander);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  segment.clean_up();
  require_sound(segment);
}

TEST_CASE("a cleaner killed while it cleans up is cleaned up after, with what it was cleaning") {
  const Directory directory;
  auto host = start_host(host_options(kCapacity));
  const auto segment = host->segment();
  require_usable(*segment, 1);
  host->stop(false);  // which would clean up first
  for (const std::string& point : kCleanerPoints) {
    int kills = 0;
    for (const int pass : {1, 2, 3, 4, 7, 11}) {
      const std::string spec = point + ":" + std::to_string(pass) + ":kill";
      INFO(spec);
      const int victim = run_child([&] {
        Participant& me = **segment->self();
        Extents extents(*segment);
        for (std::uint32_t i = 0; i < 4; ++i) {
          auto held = extents.take(me, i, false);
          if (held.ok()) me.hand[held->slot].store(Extents::retired(held->ref));
        }
        ::kill(::getpid(), SIGKILL);
        return 1;
      });
      REQUIRE(was_killed(victim));
      const int cleaner = run_child([&] {
        auto me = segment->self();
        if (!me.ok()) return 1;
        arm_fault(spec);
        segment->clean_up();
        return 0;
      });
      if (was_killed(cleaner)) ++kills;
      segment->clean_up();
      require_sound(*segment);
    }
    INFO(point);
    CHECK(kills >= 1);
  }
  require_sound(*segment);
}

TEST_CASE("a host killed at any fault point leaves a segment that the next one serves") {
  for (const std::string& point : kHostPoints) {
    int kills = 0;
    for (const int pass : {1, 3, 10, 40, 200}) {
      const Directory directory;
      const std::string spec = point + ":" + std::to_string(pass) + ":kill";
      INFO(spec);
      // The host's process does nothing but serve; the work is done by another one.
      int ready[2];
      REQUIRE(::pipe(ready) == 0);
      const pid_t server = ::fork();
      REQUIRE(server >= 0);
      if (server == 0) {
        HostOptions options = host_options(kCapacity);
        auto started = segment::Host::start(options);
        if (!started.ok() || !(*started)->publish().ok()) ::_exit(1);
        arm_fault(spec);
        [[maybe_unused]] const auto written = ::write(ready[1], "x", 1);
        for (;;) ::pause();
      }
      char byte = 0;
      REQUIRE(::read(ready[0], &byte, 1) == 1);
      ::close(ready[0]);
      ::close(ready[1]);
      const auto segment = open_segment();
      const int status = run_child([&] {
        segment::set_deadline_ms(20);
        Participant& me = **segment->self();
        Engine engine(*segment, me, 5);
        // A host that is slow is waited for, one that is dead is not.
        const auto put = [&](Engine& by, std::uint64_t key, std::uint32_t size_class) {
          Status stored = Code::kTimedOut;
          while (stored.code() == Code::kTimedOut &&
                 segment->probe(0) == Segment::Liveness::kAlive) {
            stored = by.put({kOwning, key}, size_class, false);
          }
          return stored.ok();
        };
        for (const std::uint32_t size_class : {segment::kClass4K + 10, segment::kClass64K, 5U}) {
          std::uint64_t stored = 0;
          while (stored < 30'000 && put(engine, ++stored, size_class)) {
          }
          for (std::uint64_t i = 1; i <= stored; ++i)
            static_cast<void>(engine.remove({kOwning, i}));
        }
        // Every fourth content stays, so that no arena is free as a whole when others need memory.
        for (std::uint64_t i = 1; i <= 2000; ++i) {
          if (!put(engine, i, segment::kClass64K)) break;
        }
        for (std::uint64_t i = 1; i <= 2000; ++i) {
          if (i % 4 != 0) static_cast<void>(engine.remove({kOwning, i}));
        }
        for (std::uint64_t i = 3000; i <= 10'000; ++i) {
          if (!put(engine, i, segment::kClass4K)) break;
        }
        segment->leave();
        return 0;
      });
      CHECK(WIFEXITED(status));
      if (segment->probe(0) == Segment::Liveness::kAlive) {
        ::kill(server, SIGKILL);
      } else {
        ++kills;
      }
      ::waitpid(server, nullptr, 0);
      HostOptions options = host_options(kCapacity);
      options.take_over = true;
      const auto host = start_host(options);
      host->segment()->clean_up();
      require_sound(*host->segment());
      require_usable(*host->segment(), 6);
    }
    INFO(point);
    CHECK(kills >= 1);
  }
}

TEST_CASE("clients that are gone are forgotten in the end, also when who forgets them is killed") {
  const Directory directory;
  const auto host = start_host(host_options(kCapacity));
  Segment& segment = *host->segment();
  const auto left = [&](bool live) {
    int kept = 0;
    REQUIRE(imss::segment::Outcomes(segment)
                .forget([&](std::uint64_t) { return live; }, [&](std::uint64_t) { ++kept; })
                .ok());
    return kept;
  };
  for (const std::uint64_t client : {11U, 12U, 13U})
    REQUIRE(imss::segment::Outcomes(segment).record_of(client).ok());
  REQUIRE(left(true) == 3);
  const int status = run_child([&] {
    arm_fault(kForgetPoint + ":2:kill");
    return imss::segment::Outcomes(segment)
                   .forget([](std::uint64_t) { return false; }, [](std::uint64_t) {})
                   .ok()
               ? 0
               : 1;
  });
  CHECK(was_killed(status));
  segment.clean_up();
  require_sound(segment);
  CHECK(left(true) == 1);
  CHECK(left(false) == 0);
  CHECK(left(true) == 0);
  require_sound(segment);
}

TEST_CASE("every fault point of the segment layer is killed at by these tests") {
  std::set<std::string> killed_at(kClientPoints.begin(), kClientPoints.end());
  killed_at.insert(kHostPoints.begin(), kHostPoints.end());
  killed_at.insert(kCleanerPoints.begin(), kCleanerPoints.end());
  killed_at.insert(kForgetPoint);
  const std::filesystem::path sources =
      std::filesystem::path(IMSS_TEST_DATA_DIR).parent_path().parent_path() / "src" / "segment";
  std::set<std::string> named;
  for (const auto& file : std::filesystem::directory_iterator(sources)) {
    std::ifstream in(file.path());
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const std::string call = "fault_point(\"";
    for (auto at = text.find(call); at != std::string::npos; at = text.find(call, at + 1)) {
      const auto begin = at + call.size();
      named.insert(text.substr(begin, text.find('"', begin) - begin));
    }
  }
  CHECK(named.size() >= 10);
  CHECK(named == killed_at);
}
