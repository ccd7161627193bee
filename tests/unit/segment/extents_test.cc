#include <algorithm>
#include <map>
#include <set>

#include "segment_test_util.h"

using namespace imss;
using namespace imss::segment_test;

namespace {

// Byte ranges that never overlap.
class Ranges {
 public:
  bool add(Ref ref) {
    const auto next = ranges_.upper_bound(ref.offset());
    if (next != ranges_.end() && next->first < ref.offset() + ref.bytes()) return false;
    if (next != ranges_.begin() && std::prev(next)->second > ref.offset()) return false;
    ranges_[ref.offset()] = ref.offset() + ref.bytes();
    return true;
  }

 private:
  std::map<std::uint64_t, std::uint64_t> ranges_;
};

// Hands hold few extents; what a test keeps goes into the table, as an engine would have it.
std::uint64_t fill_with(Engine& engine, std::uint32_t size_class, std::uint64_t first_key) {
  std::uint64_t count = 0;
  for (;; ++count) {
    const Status status = engine.put({kOwning, first_key + count}, size_class, false);
    if (status.code() == Code::kNoSpace) return count;
    INFO(status.message());
    REQUIRE(status.ok());
  }
}

void remove_all(Engine& engine, std::uint64_t first_key, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) REQUIRE(engine.remove({kOwning, first_key + i}).ok());
}

}  // namespace

TEST_CASE("extents of all classes are distinct and return to their pools") {
  const Directory directory;
  const auto host = start_host(host_options(1024 * kMiB));
  Segment& segment = *host->segment();
  Participant& me = self_of(segment);
  Extents extents(segment);
  Ranges ranges;
  for (std::uint32_t size_class = 0; size_class < segment::kClasses; ++size_class) {
    const int count = segment::class_bytes(size_class) > 4 * kMiB ? 2 : 30;
    std::vector<Held> held;
    for (int i = 0; i < count; ++i) {
      auto one = extents.take(me, size_class, false);
      INFO("class " << size_class << ": " << one.status().message());
      REQUIRE(one.ok());
      REQUIRE(one->ref.size_class() == size_class);
      REQUIRE(one->ref.offset() % 32 == 0);
      REQUIRE(segment.valid_ref(one->ref));
      REQUIRE(ranges.add(one->ref));
      held.push_back(*one);
    }
    require_sound(segment);
    // The next class must not get the same addresses while these are free in their own pool.
    for (const Held& one : held) extents.put_back(me, one);
  }
  extents.give_back_hand(me);
  const CheckReport report = check(segment);
  CHECK(report.errors.empty());
  CHECK(report.free_extents == report.extents - report.slabs);
}

TEST_CASE("sparse extents cost no memory until their pages are claimed") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  Participant& me = self_of(segment);
  Engine engine(segment, me, 1);
  const std::uint64_t before = bytes_on_disk(segment);
  // 4 GiB of addresses in 64 MiB of memory.
  for (std::uint64_t i = 1; i <= 64; ++i) {
    REQUIRE(engine.put({kOwning, i}, segment::kClasses - 1, true).ok());
  }
  CHECK(bytes_on_disk(segment) - before < kMiB);
  for (std::uint64_t i = 1; i <= 64; ++i) REQUIRE(engine.write_pages({kOwning, i}).ok());
  CHECK(bytes_on_disk(segment) - before < 10 * kMiB);
  require_sound(segment);
}

TEST_CASE("many threads take, publish, retire and put back, and no extent has two owners") {
  const Directory directory;
  const auto host = start_host(host_options(256 * kMiB));
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&, seed] {
      auto me = host->segment()->self();
      Engine engine(*host->segment(), **me, seed);
      const Status status = engine.steps(15000, 400);
      if (!status.ok()) ++failures;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(failures == 0);
  require_sound(*host->segment());
  CHECK(host->segment()->live_participants() == 2);  // the host, and this thread, which checked
}

TEST_CASE("memory that is full in one class serves another class once it is free") {
  const Directory directory;
  const auto host = start_host(host_options(16 * kMiB));
  Segment& segment = *host->segment();
  Engine engine(segment, self_of(segment), 3);
  std::map<std::uint32_t, std::uint64_t> earlier;
  for (int round = 0; round < 3; ++round) {
    for (const std::uint32_t size_class : {segment::kClass4K, 4U, segment::kClass64K, 10U,
                                           segment::kClass4K + 8U, segment::kClassArena}) {
      const std::uint64_t count = fill_with(engine, size_class, 1000);
      INFO("round " << round << ", class " << size_class << ": " << count);
      CHECK(bytes_on_disk(segment) <= 16 * kMiB);
      CHECK(count * segment::class_bytes(size_class) >= 10 * kMiB);
      // What the table has taken for its buckets in the first round it keeps.
      if (round <= 1) earlier[size_class] = count;
      CHECK(count * 10 >= earlier[size_class] * 9);
      require_sound(segment);
      remove_all(engine, 1000, count);
    }
  }
}

TEST_CASE("threads that run out of memory together leave everything consistent") {
  const Directory directory;
  const auto host = start_host(host_options(16 * kMiB));
  std::atomic<int> failures{0};
  std::atomic<bool> over_capacity{false};
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&, seed] {
      auto me = host->segment()->self();
      Engine engine(*host->segment(), **me, seed);
      for (int round = 0; round < 20; ++round) {
        if (!engine.steps(300, 20000).ok()) ++failures;
        struct stat status {};
        if (::fstat(host->segment()->fd(), &status) != 0 ||
            static_cast<std::uint64_t>(status.st_blocks) * 512 > 16 * kMiB) {
          over_capacity = true;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK_FALSE(over_capacity);
  require_sound(*host->segment());
}

TEST_CASE("a hand keeps little, and a thread that ends keeps nothing") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  std::uint64_t bytes = 0;
  std::uint32_t slot = 0;
  std::thread([&] {
    Participant& me = **segment.self();
    slot = static_cast<std::uint32_t>((me.id.load() & 0xffff) - 1);
    Engine engine(segment, me, 5);
    for (std::uint64_t i = 1; i <= 200; ++i) {
      static_cast<void>(engine.put({kOwning, i}, segment::kClass64K, false));
    }
    for (std::uint64_t i = 1; i <= 200; ++i) static_cast<void>(engine.remove({kOwning, i}));
    for (const auto& word : me.hand) {
      if (word.load() != 0) bytes += Ref(word.load()).bytes();
    }
  }).join();
  CHECK(bytes <= 512 * 1024);
  CHECK(segment.participant(slot).id.load() == 0);
  CHECK(std::all_of(std::begin(segment.participant(slot).hand),
                    std::end(segment.participant(slot).hand),
                    [](const auto& word) { return word.load() == 0; }));
  require_sound(segment);
}

TEST_CASE("a retired extent is not reused while another participant pins it") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  Participant& me = self_of(segment);
  Engine engine(segment, me, 6);
  const Key key{kOwning, 1};
  REQUIRE(engine.put(key, segment::kClass64K, false).ok());
  Snapshot before;
  REQUIRE(engine.table().find(key, &before).ok());
  const Ref pinned(before.values.value0);
  std::atomic<int> stage{0};
  std::thread reader([&] {
    Participant& other = **segment.self();
    other.pins[3].store(pinned.word());
    stage = 1;
    stage.notify_all();
    stage.wait(1);
    other.pins[3].store(0);
    other.view_count.store(1);
    other.view_pins[50].store(pinned.word());
    stage = 3;
    stage.notify_all();
    stage.wait(3);
    other.view_pins[50].store(0);
    other.view_count.store(0);
  });
  stage.wait(0);
  REQUIRE(engine.put(key, segment::kClass64K, false).ok());
  // Whether it is among the next that one can have.
  const auto taken_again = [&] {
    std::vector<Held> held;
    bool found = false;
    for (int i = 0; i < 40; ++i) {
      auto one = Extents(segment).take(me, segment::kClass64K, false);
      REQUIRE(one.ok());
      found = found || one->ref == pinned;
      held.push_back(*one);
    }
    for (const Held& one : held) Extents(segment).put_back(me, one);
    return found;
  };
  CHECK_FALSE(taken_again());
  stage = 2;
  stage.notify_all();
  stage.wait(2);
  CHECK_FALSE(taken_again());
  stage = 4;
  stage.notify_all();
  reader.join();
  CHECK(taken_again());
  require_sound(segment);
}

TEST_CASE("pinned extents of a thread that ended go back once nobody pins them") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  Participant& me = self_of(segment);
  Ref ref;
  std::thread([&] {
    Participant& other = **segment.self();
    auto held = Extents(segment).take(other, segment::kClass64K, false);
    ref = held->ref;
    me.pins[0].store(ref.word());
    other.hand[held->slot].store(Extents::retired(ref));
  }).join();
  const auto in_limbo = [&] {
    return std::any_of(std::begin(segment.super().limbo), std::end(segment.super().limbo),
                       [&](const auto& word) { return Ref(word.load()).bare() == ref.bare(); });
  };
  CHECK(in_limbo());
  require_sound(segment);
  me.pins[0].store(0);
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (in_limbo() && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  CHECK_FALSE(in_limbo());
  require_sound(segment);
}
