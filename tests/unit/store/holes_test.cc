#include <random>
#include <thread>

#include "store_test_util.h"

using imss::store::Attributes;
using stores::all_zero;
using stores::Bytes;
using stores::Code;
using stores::DataEngine;
using stores::get;
using stores::kKiB;
using stores::pattern;

namespace {

constexpr std::uint64_t kDataset = 40;
constexpr std::uint64_t kBlockBytes = 256 * kKiB;
constexpr std::uint64_t kPage = 4096;
constexpr imss::store::BlockId kBlock{kDataset, 1};

}  // namespace

TEST_CASE("what is written, cleared and given memory reads as a model says, whatever pieces it comes in", "[store]") {
  DataEngine engine;
  std::mt19937_64 random(7);
  for (int round = 0; round < 20; ++round) {
    const imss::store::BlockId id{kDataset, static_cast<std::uint64_t>(1 + round)};
    Bytes model(kBlockBytes);
    for (int step = 0; step < 30; ++step) {
      std::uint64_t offset = random() % kBlockBytes;
      std::uint64_t bytes = 1 + random() % (random() % 2 == 0 ? 9000 : kBlockBytes);
      if (random() % 4 == 0) offset -= offset % kPage;
      if (random() % 8 == 0) offset = 0;
      bytes = std::min(bytes, kBlockBytes - offset);
      if (random() % 4 == 0) bytes = kBlockBytes - offset;
      INFO("round " << round << " step " << step << " offset " << offset << " bytes " << bytes);
      switch (random() % 3) {
        case 0: {
          const Bytes data = pattern(bytes, static_cast<unsigned>(step));
          REQUIRE(engine.store.write(id, offset, data, kBlockBytes).ok());
          std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
          break;
        }
        case 1:
          REQUIRE(engine.store.clear(id, offset, bytes).ok());
          std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), bytes, std::byte{0});
          break;
        default:
          REQUIRE(engine.store.allocate(id, offset, bytes, kBlockBytes, 0).ok());
          CHECK(*engine.store.seek(id, offset, true, kBlockBytes) >= offset + bytes);
      }
      REQUIRE(get(engine.store, id, kBlockBytes) == model);
    }
    // What is said to be a hole is zeros, and nothing else is left out.
    for (std::uint64_t at = 0; at < kBlockBytes;) {
      const std::uint64_t data = *engine.store.seek(id, at, false, kBlockBytes);
      CHECK(all_zero(std::span(model).subspan(at, data - at)));
      if (data == kBlockBytes) break;
      at = *engine.store.seek(id, data, true, kBlockBytes);
      CHECK(at > data);
    }
  }
  engine.hosted.require_sound();
}

TEST_CASE("ranges of one block are written, cleared and given memory at the same time, and none harms another", "[store]") {
  DataEngine engine;
  constexpr int kThreads = 4;
  // Not a multiple of a page, so that neighbours share one.
  constexpr std::uint64_t kOwn = 60'001;
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937_64 random(thread);
      for (int round = 0; round < 10 * stores::kEffort; ++round) {
        const imss::store::BlockId id{kDataset, static_cast<std::uint64_t>(1 + round)};
        Bytes model(kOwn);
        const std::uint64_t first = thread * kOwn;
        for (int step = 0; step < 20; ++step) {
          const std::uint64_t offset = random() % kOwn;
          const std::uint64_t bytes = 1 + random() % (kOwn - offset);
          const auto begin = model.begin() + static_cast<std::ptrdiff_t>(offset);
          imss::Status status;
          if (step % 3 == 0) {
            const Bytes data = pattern(bytes, thread + static_cast<unsigned>(step));
            status = engine.store.write(id, first + offset, data, kBlockBytes);
            std::copy(data.begin(), data.end(), begin);
          } else if (step % 3 == 1) {
            status = engine.store.clear(id, first + offset, bytes);
            std::fill_n(begin, bytes, std::byte{0});
          } else {
            status = engine.store.allocate(id, first + offset, bytes, kBlockBytes, 0);
          }
          Bytes now(kOwn);
          if (!status.ok() || !engine.store.get(id, first, now).ok() || now != model) std::abort();
        }
      }
      engine.hosted.segment()->leave();
    });
  }
  for (auto& thread : threads) thread.join();
  engine.hosted.require_sound();
}

TEST_CASE("holes are found page by page, and what is stored is counted", "[store]") {
  DataEngine engine;
  auto& store = engine.store;
  CHECK(*store.seek(kBlock, 5, true, kBlockBytes) == 5);
  CHECK(*store.seek(kBlock, 5, false, kBlockBytes) == kBlockBytes);
  CHECK(store.stored(kDataset, 1, 9, false)->first == 0);
  REQUIRE(store.write(kBlock, 20 * kPage + 1, pattern(1, 1), kBlockBytes).ok());
  CHECK(*store.seek(kBlock, 0, false, kBlockBytes) == 20 * kPage);
  CHECK(*store.seek(kBlock, 20 * kPage + 5, false, kBlockBytes) == 20 * kPage + 5);
  CHECK(*store.seek(kBlock, 20 * kPage + 5, true, kBlockBytes) == 21 * kPage);
  CHECK(*store.seek(kBlock, 21 * kPage, false, kBlockBytes) == kBlockBytes);
  CHECK(store.stored(kDataset, 1, 9, false)->bytes == kPage);
  REQUIRE(store.put({kDataset, 3}, pattern(kBlockBytes, 2)).ok());
  REQUIRE(store.write({kDataset, 4}, 0, pattern(100, 3), kBlockBytes).ok());
  CHECK(store.stored(kDataset, 1, 9, false)->bytes == kPage + kBlockBytes + 128);
  CHECK(store.stored(kDataset, 2, 9, true)->first == 3);
  CHECK(store.stored(kDataset, 2, 9, true)->bytes == 0);
  CHECK(store.stored(kDataset, 2, 1ULL << 40, true)->first == 3);
  CHECK(store.stored(kDataset, 5, 1ULL << 40, true)->first == 0);
  CHECK(store.stored(kDataset, ~0ULL - 1, ~0ULL, false)->first == 0);
  CHECK(*store.seek({kDataset, 3}, 0, true, kBlockBytes) == kBlockBytes);
  REQUIRE(store.clear(kBlock, 19 * kPage + 1, 2 * kPage).ok());
  CHECK(*store.seek(kBlock, 0, false, kBlockBytes) == kBlockBytes);
  CHECK(store.stored(kDataset, 1, 1, false)->bytes == 0);
}

TEST_CASE("memory that was given is there when the server is full, and what is too much is refused", "[store]") {
  DataEngine engine(16 * stores::kMiB);
  auto& store = engine.store;
  // Pieces of 2 MiB each, of blocks that are not given whole.
  constexpr std::uint64_t kLarge = 4 * stores::kMiB;
  std::uint64_t given = 0;
  while (store.allocate({kDataset, 1 + given}, kPage, 2 * stores::kMiB, kLarge, 0).ok()) ++given;
  REQUIRE(given > 1);
  REQUIRE(given < 8);
  CHECK(store.allocate({kDataset, 1 + given}, kPage, 2 * stores::kMiB, kLarge, 0).code() == Code::kNoSpace);
  for (std::uint64_t block = 1; block <= given; ++block) {
    REQUIRE(store.write({kDataset, block}, kPage, stores::stamped(2 * stores::kMiB, block), kLarge).ok());
  }
  for (std::uint64_t block = 1; block <= given; ++block) {
    CHECK(stores::is_stamped(get(store, {kDataset, block}, 2 * stores::kMiB, kPage), block));
  }
  CHECK(store.allocate({kDataset, 1}, kLarge - 1, 2, kLarge, 0).code() == Code::kInvalidArgument);
}

TEST_CASE("what was counted stands until the time of change says otherwise", "[store]") {
  DataEngine engine;
  Attributes made;
  made.first_link = 41;
  REQUIRE(engine.store.create_inode(kDataset, made).ok());
  Attributes now = *engine.store.attributes(kDataset);
  CHECK(!now.noted_units());
  REQUIRE(engine.store.note_allocated(kDataset, Attributes::note_of(now.changed_ns, 77)).ok());
  now = *engine.store.attributes(kDataset);
  REQUIRE(now.noted_units());
  CHECK(*now.noted_units() == 77);
  while (engine.store.attributes(kDataset)->changed_ns == now.changed_ns) {
    REQUIRE(engine.store.extend_size(kDataset, 0).ok());  // the clock is coarse
  }
  CHECK(!engine.store.attributes(kDataset)->noted_units());
}

TEST_CASE("a time of access that use stamps goes forward only and stamps nothing else", "[store]") {
  using imss::store::AttributeChange;
  DataEngine engine;
  REQUIRE(engine.store.create_inode(kDataset, {}).ok());
  const Attributes before = *engine.store.attributes(kDataset);
  REQUIRE(engine.store.change_attributes(kDataset, {.fields = AttributeChange::kTouched, .accessed_ns = before.accessed_ns + 5}).ok());
  REQUIRE(engine.store.change_attributes(kDataset, {.fields = AttributeChange::kTouched, .accessed_ns = 3}).ok());
  const Attributes after = *engine.store.attributes(kDataset);
  CHECK(after.accessed_ns == before.accessed_ns + 5);
  CHECK(after.changed_ns == before.changed_ns);
  CHECK(after.version == before.version);
}

TEST_CASE("an inode without a name stays while it is open, and gets a name once", "[store]") {
  DataEngine engine;
  auto& store = engine.store;
  Attributes unnamed;
  unnamed.links = 0;
  REQUIRE(store.create_inode(kDataset, unnamed).ok());
  CHECK(store.add_link(kDataset, 7).code() == Code::kNotFound);  // nobody has it open
  REQUIRE(store.open(kDataset).ok());
  CHECK(store.attributes(kDataset)->links == 0);
  REQUIRE(store.add_link(kDataset, 7).ok());
  CHECK(store.attributes(kDataset)->links == 1);
  CHECK(*store.close(kDataset) == false);
  REQUIRE(store.open(kDataset).ok());
  CHECK(*store.remove_link(kDataset, 7) == false);
  CHECK(store.add_link(kDataset, 8).code() == Code::kNotFound);
  CHECK(store.open(kDataset).code() == Code::kNotFound);
  CHECK(*store.close(kDataset) == true);
}
