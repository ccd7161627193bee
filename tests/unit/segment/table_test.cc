#include <unordered_map>
#include <unordered_set>

#include "segment_test_util.h"

using namespace imss;
using namespace imss::segment_test;

namespace {

Values values_for(std::uint64_t i) { return {i, i * 3, i ^ 0x5555}; }

bool holds(const Table& table, Key key, std::uint64_t i) {
  Snapshot snapshot;
  if (!table.find(key, &snapshot).ok() || snapshot.entry == nullptr) return false;
  const Values wanted = values_for(i);
  return snapshot.values.value0 == wanted.value0 && snapshot.values.value1 == wanted.value1 &&
         snapshot.values.value2 == wanted.value2;
}

}  // namespace

TEST_CASE("a table of half a million keys holds what an unordered_map holds") {
  const Directory directory;
  const auto host = start_host(host_options(256 * kMiB));
  Segment& segment = *host->segment();
  Participant& me = self_of(segment);
  Table table(segment, 1);
  std::unordered_map<std::uint64_t, std::uint64_t> model;
  std::mt19937_64 random(1);
  for (int i = 0; i < 700'000; ++i) {
    const std::uint64_t name = random() % 600'000;
    if (random() % 8 == 0) {
      const Status status = table.erase(me, {name, 1});
      REQUIRE(status.code() == (model.erase(name) != 0 ? Code::kOk : Code::kNotFound));
      continue;
    }
    const bool replace = random() % 2 == 0;
    const Status status = table.put(me, {name, 1}, values_for(static_cast<std::uint64_t>(i)), replace);
    const bool refused = !replace && model.contains(name);
    REQUIRE(status.code() == (refused ? Code::kExists : Code::kOk));
    if (!refused) model[name] = static_cast<std::uint64_t>(i);
  }
  CHECK(table.entries() == model.size());
  for (const auto& [name, i] : model) REQUIRE(holds(table, {name, 1}, i));
  for (std::uint64_t name = 600'000; name < 601'000; ++name) {
    Snapshot snapshot;
    REQUIRE(table.find({name, 1}, &snapshot).ok());
    REQUIRE(snapshot.entry == nullptr);
  }
  std::unordered_set<std::uint64_t> seen;
  REQUIRE(table.for_each([&](Key key, const Values&) {
    REQUIRE(model.contains(key.first));
    seen.insert(key.first);
    return true;
  }).ok());
  CHECK(seen.size() == model.size());
  require_sound(segment);
  // What an entry costs, overflow buckets and ready buckets included.
  const CheckReport report = check(segment);
  const std::uint64_t bytes = table.root().ready_buckets.load() * sizeof(segment::Bucket) +
                              report.overflow_buckets * segment::kOverflowBytes;
  CHECK(bytes / model.size() <= 68);
}

TEST_CASE("readers never miss a key that is always there while writers make the table grow") {
  const Directory directory;
  const auto host = start_host(host_options(256 * kMiB));
  Segment& segment = *host->segment();
  constexpr std::uint64_t kAlways = 1000;
  {
    Participant& me = self_of(segment);
    Table table(segment, 0);
    for (std::uint64_t i = 0; i < kAlways; ++i) REQUIRE(table.put(me, {i, 2}, values_for(i), false).ok());
  }
  std::atomic<int> writers{2};
  std::atomic<int> missed{0};
  std::atomic<int> failures{0};
  std::atomic<std::uint64_t> looks{0};
  std::vector<std::thread> threads;
  for (std::uint64_t writer = 0; writer < 2; ++writer) {
    threads.emplace_back([&, writer] {
      Participant& me = **segment.self();
      Table table(segment, 0);
      for (std::uint64_t i = 0; i < 60'000; ++i) {
        const Key key{i, 10 + writer};
        if (!table.put(me, key, values_for(i), false).ok()) ++failures;
        if (i % 3 == 0 && !table.erase(me, key).ok()) ++failures;
        if (i % 7 == 0 && !table.put(me, {i % kAlways, 2}, values_for(i % kAlways), true).ok()) ++failures;
      }
      --writers;
    });
  }
  threads.emplace_back([&] {
    Table table(segment, 0);
    std::uint64_t i = 0;
    while (writers > 0) {
      if (!holds(table, {i % kAlways, 2}, i % kAlways)) ++missed;
      ++i;
    }
    looks = i;
  });
  threads.emplace_back([&] {
    Table table(segment, 0);
    while (writers > 0) {
      std::unordered_set<std::uint64_t> seen;
      const Status status = table.for_each([&](Key key, const Values&) {
        if (key.second == 2) seen.insert(key.first);
        return true;
      });
      if (!status.ok() || seen.size() != kAlways) ++missed;
    }
  });
  for (auto& thread : threads) thread.join();
  CHECK(failures == 0);
  CHECK(missed == 0);
  CHECK(looks > 1000);
  Table table(segment, 0);
  CHECK(table.buckets() > 4000);
  CHECK(table.entries() == kAlways + 2 * 40'000);
  require_sound(segment);
}

TEST_CASE("a chain that became very long is split when the table grows") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  Participant& me = self_of(segment);
  Table table(segment, 0);
  // All of them in the first bucket, which all of them leave when it is split.
  constexpr std::uint64_t kLong = 60;
  std::uint64_t stored = 0;
  for (std::uint64_t i = 0; stored < kLong; ++i) {
    if (Table::bucket_index(imss::segment::hash_of({i, 1}), Table::kFirstBuckets + 1) !=
        Table::kFirstBuckets)
      continue;
    REQUIRE(table.put(me, {i, 1}, values_for(i), false).ok());
    ++stored;
  }
  REQUIRE(table.buckets() == Table::kFirstBuckets);
  constexpr std::uint64_t kMore = 2000;
  for (std::uint64_t i = 0; i < kMore; ++i) REQUIRE(table.put(me, {i, 2}, values_for(i), false).ok());
  CHECK(table.buckets() > 100);
  for (std::uint64_t i = 0; i < kMore; ++i) CHECK(holds(table, {i, 2}, i));
  CHECK(table.entries() == kLong + kMore);
  require_sound(segment);
}

TEST_CASE("an insert of a key that is there returns kExists and leaves the entry as it was") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Participant& me = self_of(*host->segment());
  Table table(*host->segment(), 2);
  REQUIRE(table.put(me, {1, 2}, values_for(5), false).ok());
  CHECK(table.put(me, {1, 2}, values_for(6), false).code() == Code::kExists);
  CHECK(holds(table, {1, 2}, 5));
  CHECK(table.put(me, {1, 2}, values_for(6), true).ok());
  CHECK(holds(table, {1, 2}, 6));
  CHECK(table.erase(me, {1, 2}).ok());
  CHECK(table.erase(me, {1, 2}).code() == Code::kNotFound);
  CHECK(table.entries() == 0);
}

TEST_CASE("a snapshot tells whether its chain has changed since") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Participant& me = self_of(*host->segment());
  Table table(*host->segment(), 0);
  REQUIRE(table.put(me, {1, 0}, values_for(1), false).ok());
  Snapshot snapshot;
  REQUIRE(table.find({1, 0}, &snapshot).ok());
  CHECK(table.unchanged(snapshot));
  REQUIRE(table.put(me, {1, 0}, values_for(2), true).ok());
  CHECK_FALSE(table.unchanged(snapshot));
}

TEST_CASE("an edit of three keys is applied as a whole or not at all") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  Participant& me = self_of(segment);
  Table table(segment, 0);
  const Key a{1, 0}, b{2, 0}, c{3, 0};
  REQUIRE(table.put(me, a, values_for(1), false).ok());
  REQUIRE(table.put(me, b, values_for(2), false).ok());
  {
    Transaction change(segment, me);
    TableEdit edit(table, change);
    REQUIRE(edit.lock({a, b, c}).ok());
    edit.erase(a, edit.find(a, nullptr));
    edit.update(b, edit.find(b, nullptr), values_for(20));
    REQUIRE(edit.insert(me, c, values_for(3)).ok());
    // Given up: nothing has happened.
  }
  CHECK(holds(table, a, 1));
  CHECK(holds(table, b, 2));
  CHECK_FALSE(holds(table, c, 3));
  {
    Transaction change(segment, me);
    TableEdit edit(table, change);
    REQUIRE(edit.lock({a, b, c}).ok());
    edit.erase(a, edit.find(a, nullptr));
    edit.update(b, edit.find(b, nullptr), values_for(20));
    REQUIRE(edit.insert(me, c, values_for(3)).ok());
    edit.finish();
    REQUIRE(change.commit().ok());
  }
  CHECK_FALSE(holds(table, a, 1));
  CHECK(holds(table, b, 20));
  CHECK(holds(table, c, 3));
  CHECK(table.entries() == 2);
  require_sound(segment);
}

TEST_CASE("a table works on with longer chains while it cannot grow") {
  const Directory directory;
  auto host = start_host(host_options(64 * kMiB));
  const auto segment = host->segment();
  const Deadline deadline(50);
  host->stop(false);
  Participant& me = self_of(*segment);
  Table table(*segment, 0);
  std::uint64_t stored = 0;
  while (stored < 10'000 && table.put(me, {stored, 9}, values_for(stored), false).ok()) ++stored;
  // No host: no more buckets, and no more overflow buckets than slabs there were.
  CHECK(stored >= segment::kBucketEntries * 8);
  for (std::uint64_t i = 0; i < stored; ++i) REQUIRE(holds(table, {i, 9}, i));
  require_sound(*segment);
}

TEST_CASE("a commit on a fenced segment is refused and changes nothing") {
  const Directory directory;
  const auto host = start_host(host_options(64 * kMiB));
  Segment& segment = *host->segment();
  Participant& me = self_of(segment);
  Table table(segment, 0);
  REQUIRE(table.put(me, {1, 0}, values_for(1), false).ok());
  segment.super().state.store(static_cast<std::uint64_t>(segment::State::kFenced));
  CHECK(table.put(me, {1, 0}, values_for(2), true).code() == Code::kFenced);
  CHECK(table.erase(me, {1, 0}).code() == Code::kFenced);
  CHECK(holds(table, {1, 0}, 1));
  segment.super().state.store(static_cast<std::uint64_t>(segment::State::kServing));
  CHECK(table.put(me, {1, 0}, values_for(2), true).ok());
}
