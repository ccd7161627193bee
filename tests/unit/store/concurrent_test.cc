// Several threads on the same blocks. The threads start together; each does a fixed amount of work.
#include <barrier>
#include <thread>

#include "store_test_util.h"

using namespace stores;
using imss::store::Store;

namespace {

// Runs `work(thread)` in so many threads that start together.
template <typename Work>
void in_threads(int count, Work&& work) {
  std::barrier start(count);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      work(i);
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("readers beside two who put see one content or the other, never a mixture", "[store]") {
  DataEngine engine;
  const std::size_t size =
      GENERATE(std::size_t{64}, std::size_t{1000}, 64 * kKiB, 3 * 64 * kKiB, kMiB);
  const BlockId id{1, 1};
  REQUIRE(engine.store.put(id, stamped(size, 1)).ok());
  std::atomic<int> mixed{0};
  std::atomic<int> failed{0};
  in_threads(4, [&](int thread) {
    const int rounds = kEffort * (size > 64 * kKiB ? 100 : 500);
    Bytes out(size);
    std::uint64_t version = 0;
    for (int round = 0; round < rounds; ++round) {
      if (thread < 2) {
        const auto put = engine.store.put(
            id, stamped(size, static_cast<std::uint64_t>(thread * 100'000 + round)));
        if (!put.ok() || *put <= version) failed.fetch_add(1);
        if (put.ok()) version = *put;
        continue;
      }
      if (!engine.store.get(id, 0, out).ok()) failed.fetch_add(1);
      if (!is_stamped(out, stamp_at(out, 0))) mixed.fetch_add(1);
      auto view = engine.store.view(id, size);
      if (!view.ok()) {
        failed.fetch_add(1);
        continue;
      }
      if (!is_stamped(view->bytes, stamp_at(view->bytes, 0))) mixed.fetch_add(1);
      imss::store::release(*view);
    }
  });
  CHECK(mixed == 0);
  CHECK(failed == 0);
  CHECK(*engine.store.version(id) ==
        1 + 2 * static_cast<std::uint64_t>(kEffort * (size > 64 * kKiB ? 100 : 500)));
  engine.hosted.require_sound();
}

TEST_CASE("disjoint ranged writes at the same time all arrive, also while the block grows",
          "[store]") {
  DataEngine engine;
  for (const std::size_t block_bytes : {4 * kKiB, 64 * kKiB, 256 * kKiB, 3 * kMiB}) {
    for (int round = 0; round < 2 * kEffort; ++round) {
      const BlockId id{block_bytes, static_cast<std::uint64_t>(round) + 1};
      constexpr std::size_t kPieces = 64;
      const std::size_t piece = (block_bytes + kPieces - 1) / kPieces;
      std::atomic<int> failed{0};
      in_threads(4, [&](int thread) {
        for (std::size_t i = static_cast<std::size_t>(thread); i < kPieces; i += 4) {
          const std::size_t from = i * piece;
          if (from >= block_bytes) continue;
          const Bytes data = pattern(std::min(piece, block_bytes - from), static_cast<unsigned>(i));
          if (!engine.store.write(id, from, data, block_bytes).ok()) failed.fetch_add(1);
          // Its own bytes are there at once, whatever the others do.
          Bytes back(data.size());
          if (!engine.store.get(id, from, back).ok() || back != data) failed.fetch_add(1);
        }
      });
      CHECK(failed == 0);
      for (std::size_t i = 0; i * piece < block_bytes; ++i) {
        Bytes back(std::min(piece, block_bytes - i * piece));
        REQUIRE(engine.store.get(id, i * piece, back).ok());
        REQUIRE(back == pattern(back.size(), static_cast<unsigned>(i)));
      }
    }
  }
  engine.hosted.require_sound();
}

TEST_CASE("no ranged write is lost beside one who takes views", "[store]") {
  DataEngine engine;
  constexpr std::size_t kBlockBytes = 256 * kKiB;
  std::atomic<int> failed{0};
  for (std::uint64_t block = 1; block <= 30 * kEffort; ++block) {
    in_threads(3, [&](int thread) {
      if (thread == 2) {
        for (int i = 0; i < 4; ++i) {
          auto view = engine.store.view({1, block}, kBlockBytes);
          if (!view.ok()) failed.fetch_add(1);
          if (view.ok()) imss::store::release(*view);
        }
        return;
      }
      for (std::size_t at = static_cast<std::size_t>(thread); at < 16; at += 2) {
        if (!engine.store.write({1, block}, at * 16 * kKiB, stamped(16 * kKiB, at + 1), kBlockBytes)
                 .ok())
          failed.fetch_add(1);
      }
    });
    for (std::size_t at = 0; at < 16; ++at) {
      Bytes back(16 * kKiB);
      REQUIRE(engine.store.get({1, block}, at * 16 * kKiB, back).ok());
      REQUIRE(is_stamped(back, at + 1));
    }
    REQUIRE(engine.store.erase({1, block}).ok());
  }
  CHECK(failed == 0);
  engine.hosted.require_sound();
}

TEST_CASE("puts, ranged writes, growth and removals of the same blocks leave a sound segment",
          "[store]") {
  DataEngine engine(64 * kMiB);
  constexpr std::size_t kBlockBytes = 200 * kKiB;
  std::atomic<int> failed{0};
  std::atomic<int> strange{0};
  std::atomic<std::uint64_t> generation{1};
  in_threads(4, [&](int thread) {
    std::uint64_t random = static_cast<std::uint64_t>(thread) + 17;
    Bytes out(kBlockBytes);
    for (int round = 0; round < 400 * kEffort; ++round) {
      random = random * 6364136223846793005ULL + 1442695040888963407ULL;
      const BlockId id{1, 1 + (random >> 40) % 3};
      // Every word that anybody writes is 0x41...41, so whatever else a reader sees was never
      // written here.
      const std::size_t length = 8 * (1 + (random >> 20) % (kBlockBytes / 16));
      const std::uint64_t offset = 8 * ((random >> 10) % ((kBlockBytes - length) / 8 + 1));
      imss::Status status;
      switch ((random >> 60) % 6) {
        case 0:
          status = engine.store.put(id, stamped(length, 0x4141414141414141)).status();
          break;
        case 1:
          status = engine.store.erase(id);
          break;
        case 2:
          status = engine.store.cut(id, offset, generation.fetch_add(1));
          break;
        case 3:
          status = engine.store.write(id, 0, stamped(64, 0x4141414141414141), kBlockBytes);
          break;
        default:
          status = engine.store.write(id, offset, stamped(length, 0x4141414141414141), kBlockBytes);
          break;
      }
      if (!status.ok()) failed.fetch_add(1);
      if (!engine.store.get(id, 0, out).ok()) failed.fetch_add(1);
      for (const std::byte byte : out) {
        if (byte != std::byte{0} && byte != std::byte{0x41}) strange.fetch_add(1);
      }
    }
  });
  CHECK(failed == 0);
  CHECK(strange == 0);
  engine.hosted.require_sound();
}

TEST_CASE("appends from many threads never overlap", "[store]") {
  DataEngine engine;
  REQUIRE(engine.store.create_inode(5, {}).ok());
  constexpr int kThreads = 4;
  constexpr int kAppends = 300 * kEffort;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> taken[kThreads];
  in_threads(kThreads, [&](int thread) {
    for (int i = 0; i < kAppends; ++i) {
      const auto bytes = static_cast<std::uint64_t>(1 + (i * 7 + thread) % 90);
      auto at = engine.store.reserve_append(5, bytes);
      if (at.ok()) taken[thread].emplace_back(*at, bytes);
    }
  });
  std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
  for (const auto& part : taken) all.insert(all.end(), part.begin(), part.end());
  REQUIRE(all.size() == kThreads * kAppends);
  std::sort(all.begin(), all.end());
  std::uint64_t end = 0;
  for (const auto& [at, bytes] : all) {
    REQUIRE(at == end);
    end = at + bytes;
  }
  CHECK(engine.store.attributes(5)->size == end);
}
