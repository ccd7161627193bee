// The checker finds what is broken, each time something else.
#include "segment_test_util.h"

using namespace imss;
using namespace imss::segment_test;
using segment::Word;

namespace {

// A segment with all kinds of structures in it, and nobody else alive.
struct Broken {
  Directory directory;
  std::shared_ptr<Segment> segment;
  Participant* me = nullptr;

  Broken() {
    auto host = start_host(host_options(64 * kMiB));
    segment = host->segment();
    me = &self_of(*segment);
    Engine engine(*segment, *me, 1);
    REQUIRE(engine.steps(3000, 500).ok());
    for (std::uint64_t i = 1; i < 2000; ++i) {
      REQUIRE(engine.table().put(*me, {i, 1}, {}, false).ok());
    }
    host->stop(false);
    const CheckReport report = check(*segment);
    REQUIRE(report.exclusive);
    REQUIRE(report.clean());
  }

  // Whether `word` with another value is an error that says `sentence`, and none with its own again.
  void breaks(Word& word, std::uint64_t value, const std::string& sentence) const {
    const std::uint64_t good = word.exchange(value);
    const CheckReport report = check(*segment);
    word.store(good);
    std::string all;
    for (const std::string& error : report.errors) all += error + "\n";
    INFO("expected: " << sentence << ", word " << value << "\n" << all);
    CHECK(all.find(sentence) != std::string::npos);
    CHECK(check(*segment).clean());
  }

  segment::Pool& pool(std::uint32_t size_class, bool sparse = false) const {
    return segment->super().pools[sparse ? 1 : 0][size_class];
  }
  // A container with free extents.
  segment::Container& container(std::uint32_t size_class) const {
    const std::uint64_t head = pool(size_class).head.load();
    REQUIRE(head != 0);
    return *segment->at<segment::Container>(head);
  }
  segment::Bucket& full_bucket() const {
    const Table table(*segment, 0);
    for (std::uint64_t i = 0; i < table.buckets(); ++i) {
      const std::uint64_t tags = table.bucket(i)->tags0.load();
      if ((tags & 0xff) != 0 && (tags & 0xff00) != 0) return *table.bucket(i);
    }
    FAIL("no bucket with two entries");
    return *table.bucket(0);
  }
};

}  // namespace

TEST_CASE("the checker finds damage of pools and containers") {
  const Broken broken;
  segment::Container& container = broken.container(segment::kClass4K);
  segment::Pool& pool = broken.pool(segment::kClass4K);
  broken.breaks(pool.lock, 0x50009, "held by nobody");
  broken.breaks(pool.free_bytes, pool.free_bytes.load() + 4096, "free bytes");
  broken.breaks(pool.extents, pool.extents.load() + 1, "count of extents");
  broken.breaks(pool.head, ~0ULL, "out of the segment");
  broken.breaks(pool.head, broken.segment->super().participants_offset, "no container");
  broken.breaks(pool.head, 0, "is in no list");
  broken.breaks(container.next, broken.segment->offset_of(&container), "twice");
  broken.breaks(container.free_count, container.free_count.load() - 1, "count of free extents");
  broken.breaks(container.class_and_count, container.class_and_count.load() ^ 1ULL << 9, "lost to its pool");
  broken.breaks(container.class_and_count, container.class_and_count.load() ^ 1, "");
}

TEST_CASE("the checker finds damage of tables") {
  const Broken broken;
  const Deadline deadline(20);  // for readers of a bucket whose change does not end
  segment::Bucket& bucket = broken.full_bucket();
  broken.breaks(bucket.lock, 0x70003, "held by nobody");
  broken.breaks(bucket.tags1, bucket.tags1.load() + (1ULL << 32), "does not end");
  broken.breaks(bucket.next, 96, "");  // what lies there may well look like a bucket
  broken.breaks(bucket.next, 97, "leads nowhere");
  broken.breaks(bucket.next, ~0ULL, "leads nowhere");
  broken.breaks(bucket.next, broken.segment->offset_of(&bucket), "");
  broken.breaks(bucket.entries[0].key0, 0x123456, "belongs elsewhere");
  const std::uint64_t tag = bucket.tags0.load();
  broken.breaks(bucket.tags0, (tag & ~0xffULL) | ((tag & 0xff) % 255 + 1), "tag is not that of its key");
  Table table(*broken.segment, 0);
  broken.breaks(table.root().buckets, table.buckets() + 1, "");
  broken.breaks(table.root().buckets, 0, "impossible");
  broken.breaks(*broken.segment->at<Word>(table.root().arenas_offset),
                broken.segment->super().arenas_offset + 4096, "no arena");
}

TEST_CASE("the checker finds what is owned twice, and claims and pages that nobody answers for") {
  const Broken broken;
  Ref owned;
  REQUIRE(reach_entries(*broken.segment, {[&](Ref ref) { owned = ref; }, nullptr}).ok());
  broken.breaks(broken.me->hand[60], owned.word(), "owned twice");
  broken.breaks(broken.segment->super().limbo[5], owned.word(), "owned twice");
  broken.breaks(broken.segment->participant(40).hand[0], owned.word(), "owns something");
  segment::ArenaDescriptor& arena = broken.segment->descriptor(broken.segment->arena_of(owned.offset()));
  broken.breaks(arena.claimed[3], 4, "claimed by nobody");
  segment::ArenaDescriptor& last =
      broken.segment->descriptor(broken.segment->super().next_arena.load() - 1);
  broken.breaks(last.populated[0], 0, "");
}

TEST_CASE("the checker finds leaks of every kind and returns them") {
  const Broken broken;
  Extents extents(*broken.segment);
  std::uint64_t bytes = 0;
  std::uint64_t count = 0;
  for (const std::uint32_t size_class : {0U, 5U, segment::kClass4K, segment::kClass4K + 2}) {
    auto held = extents.take(*broken.me, size_class, false);
    if (!held.ok()) continue;  // this class had none left
    broken.me->hand[held->slot].store(0);
    bytes += held->ref.bytes();
    ++count;
  }
  REQUIRE(count >= 2);
  const CheckReport found = check(*broken.segment);
  CHECK(found.errors.empty());
  CHECK(found.leaked_extents == count);
  CHECK(found.leaked_bytes == bytes);
  const CheckReport repaired = check(*broken.segment, true);
  CHECK(repaired.repaired_extents == count);
  CHECK(check(*broken.segment).leaked_extents == 0);
}

TEST_CASE("a repair is refused while others use the segment") {
  const Directory directory;
  const auto host = start_host(host_options(16 * kMiB));
  Segment& segment = *host->segment();
  std::atomic<int> stage{0};
  std::thread other([&] {
    static_cast<void>(segment.self());
    stage = 1;
    stage.notify_all();
    stage.wait(1);
  });
  stage.wait(0);
  self_of(segment);
  const auto refused = segment::check_segment(segment, {true, reach_entries});
  CHECK(refused.code() == Code::kBusy);
  stage = 2;
  stage.notify_all();
  other.join();
  CHECK(segment::check_segment(segment, {true, reach_entries}).ok());
}
