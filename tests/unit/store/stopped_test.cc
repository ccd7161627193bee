// Processes that are stopped in the middle of an operation: they hold back what they have pinned
// and nothing else, and what they find when they wake up is right.
#include "engines.h"
#include "stopped.h"

#if !defined(__SANITIZE_THREAD__)  // which does not follow a fork of a process with threads

using engines::DataEngine;
using engines::is_stamped;
using engines::kKiB;
using engines::stamped;
using engines::Stopped;

namespace {

constexpr std::size_t kBytes = 64 * kKiB;

// Other contents, which reuse whatever can be reused.
void put_others(DataEngine& engine) {
  for (std::uint64_t block = 2; block < 12; ++block)
    REQUIRE(engine.store.put({1, block}, stamped(kBytes, 90)).ok());
}

}  // namespace

TEST_CASE("a reader stopped before it pins reads what stands when it wakes up", "[store]") {
  DataEngine engine;
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 1)).ok());
  Stopped reader("block.found", [&] {
    std::vector<std::byte> out(kBytes);
    return engine.store.get({1, 1}, 0, out).ok() && is_stamped(out, 3);
  });
  Stopped viewer("block.view_found", [&] {
    auto view = engine.store.view({1, 1}, kBytes);
    return view.ok() && is_stamped(view->bytes, 3);
  });
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 3)).ok());
  put_others(engine);
  CHECK(reader.is_content_when_it_wakes_up());
  CHECK(viewer.is_content_when_it_wakes_up());
  engine.hosted.require_sound();
}

TEST_CASE("a reader stopped with its pin reads the content that it pinned", "[store]") {
  DataEngine engine;
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 1)).ok());
  Stopped reader("block.pinned", [&] {
    std::vector<std::byte> out(kBytes);
    return engine.store.get({1, 1}, 0, out).ok() && is_stamped(out, 1);
  });
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 3)).ok());
  put_others(engine);
  CHECK(reader.is_content_when_it_wakes_up());
  engine.hosted.require_sound();
}

TEST_CASE("a writer that was stopped does not write into what others have now", "[store]") {
  DataEngine engine;
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 1)).ok());
  const std::string point = GENERATE("block.found", "block.pinned");
  Stopped writer(point, [&] {
    return engine.store.write({1, 1}, 0, stamped(kBytes, 66), kBytes).ok();
  });
  REQUIRE(engine.store.erase({1, 1}).ok());
  put_others(engine);
  CHECK(writer.is_content_when_it_wakes_up());
  for (std::uint64_t block = 2; block < 12; ++block) {
    std::vector<std::byte> out(kBytes);
    REQUIRE(engine.store.get({1, block}, 0, out).ok());
    INFO(point << ", block " << block);
    CHECK(is_stamped(out, 90));
  }
  engine.hosted.require_sound();
}

TEST_CASE("a first writer stopped with its claim costs others a timeout on those pages only",
          "[store]") {
  DataEngine engine;
  constexpr std::size_t kBlockBytes = 1024 * kKiB;
  REQUIRE(engine.store.write({1, 1}, 0, stamped(kBytes + 8, 1), kBlockBytes).ok());
  Stopped writer("pages.claimed", [&] {
    return engine.store.write({1, 1}, 512 * kKiB, stamped(kBytes, 2), kBlockBytes).ok();
  });
  imss::segment::set_thread_deadline_ms(50);
  CHECK(engine.store.write({1, 1}, 512 * kKiB, stamped(8, 3), kBlockBytes).code() ==
        imss::Code::kTimedOut);
  imss::segment::set_thread_deadline_ms(0);
  CHECK(engine.store.write({1, 1}, 900 * kKiB, stamped(kBytes, 4), kBlockBytes).ok());
  std::vector<std::byte> out(kBytes);
  CHECK(engine.store.get({1, 1}, 512 * kKiB, out).ok());
  CHECK(is_stamped(out, 0));
  CHECK(engine.store.put({1, 1}, stamped(kBlockBytes, 5)).ok());
  CHECK(writer.is_content_when_it_wakes_up());
  CHECK(engine.store.get({1, 1}, 512 * kKiB, out).ok());
  CHECK(is_stamped(out, 5));
  engine.hosted.require_sound();
}

#endif
