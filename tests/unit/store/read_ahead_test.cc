// Reading ahead: what is foreseen, and that it never changes what is read.
#include "store/read_ahead.h"

#include <memory>

#include "store_test_util.h"

using namespace stores;
using imss::store::ReadAhead;

namespace {

constexpr std::size_t kBytes = 4 * kKiB;

// Reads the block and says whether the read was foreseen.
bool foreseen(DataEngine& engine, BlockId id) {
  const bool expected = ReadAhead::of(engine.store.segment(), id.dataset).expects(id.block);
  std::vector<std::byte> out(kBytes);
  REQUIRE(engine.store.get(id, 0, out).ok());
  REQUIRE(is_stamped(out, static_cast<unsigned>(id.block)));
  return expected;
}

void put_blocks(DataEngine& engine, std::uint64_t dataset, std::uint64_t count) {
  for (std::uint64_t block = 1; block <= count; ++block) {
    REQUIRE(engine.store.put({dataset, block}, stamped(kBytes, static_cast<unsigned>(block))).ok());
  }
}

}  // namespace

TEST_CASE("reads in equal steps are foreseen from the fourth on, and others are not", "[store]") {
  DataEngine engine;
  put_blocks(engine, 1, 200);
  put_blocks(engine, 2, 200);
  const auto step = GENERATE(std::int64_t{1}, std::int64_t{3}, std::int64_t{-1}, std::int64_t{-7});
  std::uint64_t block = step > 0 ? 20 : 180;
  for (int read = 1; read <= 12; ++read, block += static_cast<std::uint64_t>(step)) {
    CHECK(foreseen(engine, {1, block}) == (read > 3));
    // Another dataset in turns does not disturb it.
    CHECK(foreseen(engine, {2, 1 + block % 100}) == (read > 3));
  }
  for (const std::uint64_t other : {90U, 5U, 77U, 60U, 199U})
    CHECK_FALSE(foreseen(engine, {1, other}));
}

TEST_CASE("reading in order reads what is stored while blocks come, change and go", "[store]") {
  DataEngine engine;
  constexpr std::uint64_t kBlocks = 600;
  put_blocks(engine, 1, kBlocks);
  std::vector<std::byte> out(kBytes);
  for (std::uint64_t block = 1; block <= kBlocks; ++block) {
    // What is loaded ahead is replaced, removed, or moved by the growth of the table before its
    // turn.
    REQUIRE(engine.store.put({1, block + 1}, stamped(kBytes, 7)).ok());
    REQUIRE(engine.store.erase({1, block + 2}).ok());
    REQUIRE(engine.store.put({2, block}, stamped(kBytes, 9)).ok());
    bool present = false;
    REQUIRE(engine.store.get({1, block}, 0, out, &present).ok());
    REQUIRE(present);
    REQUIRE(is_stamped(out, block == 1 ? 1 : 7));
  }
  bool present = true;
  REQUIRE(engine.store.get({1, kBlocks + 2}, 0, out, &present).ok());
  CHECK_FALSE(present);
}

TEST_CASE("a thread that read in order from a store which is gone reads on from a new one",
          "[store]") {
  for (int round = 0; round < 3; ++round) {
    DataEngine engine;
    put_blocks(engine, 1, 8);
    for (std::uint64_t block = 1; block <= 8; ++block) foreseen(engine, {1, block});
  }
}
