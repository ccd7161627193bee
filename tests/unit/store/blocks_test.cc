#include <thread>

#include "segment/entry_state.h"
#include "store_test_util.h"

using namespace stores;
using imss::store::PutOptions;

namespace {

const std::size_t kSizes[] = {
    1,       7,    63,       64,       65,       100,           2047,          2048,
    2049,    4095, 4096,     4097,     10'000,   65'535,        65'536,        65'537,
    100'000, kMiB, kMiB + 1, 2 * kMiB, 3 * kMiB, 5 * kMiB + 13, 33 * kMiB + 7, 64 * kMiB};

}  // namespace

TEST_CASE("a block of any size up to 64 MiB comes back as it was put", "[store]") {
  DataEngine engine(512 * kMiB);
  unsigned seed = 1;
  for (const std::size_t size : kSizes) {
    if (size > kMostBytes) continue;
    INFO(size);
    const Bytes content = pattern(size, ++seed);
    const BlockId id{7, seed};
    const auto version = engine.store.put(id, content);
    REQUIRE(version.ok());
    CHECK(*version == 1);
    Bytes back = get(engine.store, id, size + 100);
    CHECK(std::equal(content.begin(), content.end(), back.begin()));
    CHECK(all_zero(std::span(back).subspan(size)));
    CHECK(*engine.store.put(id, pattern(size, seed + 1000)) == 2);
    CHECK(get(engine.store, id, size) == pattern(size, seed + 1000));
    REQUIRE(engine.store.erase(id).ok());
    CHECK(*engine.store.version(id) == 0);
    CHECK(all_zero(get(engine.store, id, std::min<std::size_t>(size, 1000))));
  }
  engine.hosted.require_sound();
}

TEST_CASE("an empty content and one of more than 64 MiB are refused", "[store]") {
  DataEngine engine;
  CHECK(engine.store.put({1, 1}, {}).code() == Code::kInvalidArgument);
  CHECK(engine.store.put({1, 1}, Bytes(64 * kMiB + 1)).code() == Code::kInvalidArgument);
}

TEST_CASE("what no one wrote reads as zeros, also in extents that held other contents", "[store]") {
  DataEngine engine(64 * kMiB);
  for (const std::size_t size :
       {std::size_t{100}, 4 * kKiB, 60 * kKiB, 64 * kKiB, 65 * kKiB, kMiB, 3 * kMiB}) {
    INFO(size);
    for (std::uint64_t block = 1; block <= 4; ++block) {
      REQUIRE(engine.store.put({1, block}, stamped(size, 0x5ec7e75ec7e75ec7)).ok());
    }
    for (std::uint64_t block = 1; block <= 4; ++block) REQUIRE(engine.store.erase({1, block}).ok());
    for (std::uint64_t block = 1; block <= 4; ++block) {
      const std::size_t at = size / 2 - 3;
      REQUIRE(engine.store.write({2, block}, at, pattern(1, 9), size).ok());
      Bytes back = get(engine.store, {2, block}, size);
      CHECK(back[at] == engines::byte_at(0, 9));
      back[at] = std::byte{0};
      CHECK(all_zero(back));
    }
    for (std::uint64_t block = 1; block <= 4; ++block) {
      REQUIRE(engine.store.put({3, block}, stamped(size / 2 + 1, 3)).ok());
      const Bytes rest = get(engine.store, {3, block}, size - size / 2 - 1, size / 2 + 1);
      CHECK(all_zero(rest));
    }
    for (std::uint64_t dataset = 2; dataset <= 3; ++dataset)
      REQUIRE(engine.store.erase_range(dataset, 1, 4).ok());
  }
  engine.hosted.require_sound();
}

TEST_CASE("ranged writes in any order make the block that they would make in memory", "[store]") {
  DataEngine engine(128 * kMiB);
  for (const std::size_t block_bytes :
       {std::size_t{3000}, 64 * kKiB, 100 * kKiB, kMiB, 3 * kMiB, 8 * kMiB}) {
    INFO(block_bytes);
    const BlockId id{block_bytes, 1};
    Bytes model(block_bytes);
    std::uint64_t random = block_bytes;
    for (unsigned round = 0; round < static_cast<unsigned>(15 * kEffort); ++round) {
      random = random * 6364136223846793005ULL + 1442695040888963407ULL;
      const std::size_t offset = (random >> 33) % block_bytes;
      const std::size_t most =
          std::min<std::size_t>(block_bytes - offset, round % 3 == 0 ? 200 : block_bytes);
      const std::size_t length = 1 + (random >> 11) % most;
      if (round % 16 == 15) {
        REQUIRE(engine.store.cut(id, offset, round).ok());
        std::fill(model.begin() + static_cast<std::ptrdiff_t>(offset), model.end(), std::byte{0});
      } else if (round % 16 == 9) {
        const Bytes whole = pattern(length, round);
        REQUIRE(engine.store.put(id, whole).ok());
        std::fill(model.begin(), model.end(), std::byte{0});
        std::copy(whole.begin(), whole.end(), model.begin());
      } else {
        const Bytes data = pattern(length, round);
        REQUIRE(engine.store.write(id, offset, data, block_bytes).ok());
        std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
      }
      REQUIRE(get(engine.store, id, block_bytes) == model);
      const std::size_t from = offset / 2;
      REQUIRE(get(engine.store, id, offset - from + 1, from) ==
              Bytes(model.begin() + static_cast<std::ptrdiff_t>(from),
                    model.begin() + static_cast<std::ptrdiff_t>(offset) + 1));
    }
  }
  CHECK(engine.store.write({1, 1}, 10, Bytes(91), 100).code() == Code::kInvalidArgument);
  CHECK(engine.store.write({1, 1}, 101, Bytes(1), 100).code() == Code::kInvalidArgument);
  CHECK(engine.store.write({1, 1}, ~0ULL, Bytes(2), 100).code() == Code::kInvalidArgument);
  CHECK(*engine.store.version({1, 1}) == 0);
  engine.hosted.require_sound();
}

TEST_CASE("a put applies only to the version it expects, and a copy only if it is newer",
          "[store]") {
  DataEngine engine;
  const BlockId id{1, 1};
  PutOptions absent;
  absent.expected_version = 0;
  CHECK(*engine.store.put(id, stamped(100, 1), absent) == 1);
  CHECK(engine.store.put(id, stamped(100, 2), absent).code() == Code::kBusy);
  PutOptions first;
  first.expected_version = 1;
  CHECK(*engine.store.put(id, stamped(100, 3), first) == 2);
  CHECK(engine.store.put(id, stamped(100, 4), first).code() == Code::kBusy);
  CHECK(is_stamped(get(engine.store, id, 100), 3));
  PutOptions copy;
  copy.version = 9;
  CHECK(*engine.store.put(id, stamped(100, 5), copy) == 9);
  copy.version = 8;
  CHECK(*engine.store.put(id, stamped(100, 6), copy) == 9);
  copy.version = 9;
  CHECK(*engine.store.put(id, stamped(100, 7), copy) == 9);
  CHECK(is_stamped(get(engine.store, id, 100), 5));
  CHECK(*engine.store.put({1, 2}, stamped(100, 8), copy) == 9);
  engine.hosted.require_sound();
}

TEST_CASE("a view stays as it was while others put over the block", "[store]") {
  DataEngine engine;
  for (const std::size_t size : {std::size_t{1000}, 64 * kKiB, kMiB, 3 * kMiB}) {
    const BlockId id{size, 1};
    REQUIRE(engine.store.put(id, stamped(size, 1)).ok());
    auto view = engine.store.view(id, size);
    REQUIRE(view.ok());
    REQUIRE(view->bytes.size() == size);
    for (std::uint64_t stamp = 2; stamp < 40; ++stamp)
      REQUIRE(engine.store.put(id, stamped(size, stamp)).ok());
    CHECK(is_stamped(view->bytes, 1));
    REQUIRE(engine.store.erase(id).ok());
    for (std::uint64_t block = 2; block < 10; ++block)
      REQUIRE(engine.store.put({size, block}, stamped(size, 99)).ok());
    CHECK(is_stamped(view->bytes, 1));
    imss::store::release(*view);
    imss::store::release(*view);
    for (std::uint64_t block = 2; block < 10; ++block)
      REQUIRE(engine.store.erase({size, block}).ok());
  }
  engine.hosted.require_sound();
}

TEST_CASE("a view of an absent or partly written block shows zeros where nothing is", "[store]") {
  DataEngine engine;
  const std::size_t size = GENERATE(std::size_t{1000}, 64 * kKiB, kMiB, 3 * kMiB, 8 * kMiB);
  INFO(size);
  auto absent = engine.store.view({1, 1}, size);
  REQUIRE(absent.ok());
  CHECK(absent->bytes.size() == size);
  CHECK(all_zero(absent->bytes));
  for (const std::size_t at : {std::size_t{10}, size - 20}) {
    INFO(at);
    const BlockId id{2, at};
    REQUIRE(engine.store.write(id, at, pattern(7, 1), size).ok());
    auto partly = engine.store.view(id, size);
    REQUIRE(partly.ok());
    Bytes expected(size);
    const Bytes data = pattern(7, 1);
    std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(at));
    CHECK(std::equal(expected.begin(), expected.end(), partly->bytes.begin(), partly->bytes.end()));
    REQUIRE(engine.store.write(id, 0, pattern(5, 2), size).ok());
    CHECK(partly->bytes[3] == engines::byte_at(3, 2));  // ranged writes go in place
    imss::store::release(*partly);
  }
  imss::store::release(*absent);
  engine.hosted.require_sound();
}

TEST_CASE("a thread that holds all its views gets an error and no view", "[store]") {
  DataEngine engine;
  REQUIRE(engine.store.put({1, 1}, stamped(100, 1)).ok());
  std::vector<imss::store::View> views;
  for (std::uint32_t i = 0; i < imss::segment::kViewPins; ++i) {
    auto view = engine.store.view({1, 1}, 100);
    REQUIRE(view.ok());
    views.push_back(*view);
  }
  CHECK(engine.store.view({1, 1}, 100).code() == Code::kTooManyOpen);
  imss::store::release(views.back());
  auto again = engine.store.view({1, 1}, 100);
  CHECK(again.ok());
  imss::store::release(*again);
  views.pop_back();
  for (auto& view : views) imss::store::release(view);
}

TEST_CASE("when memory is full a put says ENOSPC, the block stays, reads and removals go on",
          "[store]") {
  DataEngine engine(16 * kMiB);
  const std::size_t size = GENERATE(100 * kKiB, kMiB, 4 * kKiB);
  std::uint64_t stored = 0;
  for (;; ++stored) {
    const auto put = engine.store.put({1, stored + 1}, stamped(size, stored + 1));
    if (put.ok()) continue;
    CHECK(put.code() == Code::kNoSpace);
    break;
  }
  CHECK(stored * size > 8 * kMiB);
  CHECK(*engine.store.version({1, stored + 1}) == 0);
  CHECK(engine.store.put({1, 1}, stamped(8 * kMiB, 77)).code() == Code::kNoSpace);
  CHECK(engine.store.write({2, 1}, 0, Bytes(4 * kMiB), 8 * kMiB).code() == Code::kNoSpace);
  for (std::uint64_t block = 1; block <= stored; ++block) {
    REQUIRE(is_stamped(get(engine.store, {1, block}, size), block));
  }
  for (std::uint64_t block = 1; block <= stored; block += 2)
    REQUIRE(engine.store.erase({1, block}).ok());
  CHECK(engine.store.put({1, 1}, stamped(size, 78)).ok());
  CHECK(is_stamped(get(engine.store, {1, 1}, size), 78));
  REQUIRE(engine.store.erase_range(1, 1, stored).ok());
  REQUIRE(engine.store.erase_range(2, 1, 1).ok());
  CHECK(engine.store.put({3, 1}, stamped(4 * kMiB, 79)).ok());
  engine.hosted.require_sound();
}

TEST_CASE("a range of blocks is removed and no other", "[store]") {
  DataEngine engine;
  for (std::uint64_t block = 1; block <= 20; ++block) {
    REQUIRE(engine.store.put({1, block}, stamped(100, block)).ok());
    REQUIRE(engine.store.put({2, block}, stamped(100, block)).ok());
  }
  const std::uint64_t last = GENERATE(std::uint64_t{12}, ~0ULL);
  REQUIRE(engine.store.erase_range(1, 5, last).ok());
  for (std::uint64_t block = 1; block <= 20; ++block) {
    CHECK((*engine.store.version({1, block}) != 0) == (block < 5 || block > last));
    CHECK(*engine.store.version({2, block}) == 1);
  }
}

TEST_CASE("a server that was fenced acknowledges nothing", "[store]") {
  DataEngine engine;
  REQUIRE(engine.store.put({1, 1}, stamped(100, 1)).ok());
  (*engine.hosted).super().state.store(static_cast<std::uint64_t>(imss::segment::State::kFenced));
  CHECK(engine.store.put({1, 1}, stamped(100, 2)).code() == Code::kFenced);
  CHECK(engine.store.write({1, 1}, 0, stamped(8, 2), 100).code() == Code::kFenced);
  CHECK(engine.store.erase({1, 1}).code() == Code::kFenced);
  (*engine.hosted).super().state.store(static_cast<std::uint64_t>(imss::segment::State::kServing));
  CHECK(engine.store.get({1, 1}, 0, std::span<std::byte>()).ok());
}
