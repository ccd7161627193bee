// Blocks whose content comes from another node: their extents while a transfer may write them.
#include <sys/wait.h>

#include <csignal>

#include "base/clock.h"
#include "segment/extents.h"
#include "store_test_util.h"

using engines::DataEngine;
using engines::kMiB;
using imss::segment::Ref;
using imss::store::BlockId;
using imss::store::StagedBlock;

namespace {

constexpr BlockId kBlock{3, 1};
constexpr std::int64_t kPatienceNs = 30'000'000'000;

// Extents in the limbo that something may still write.
std::vector<Ref> quarantined(DataEngine& engine) {
  std::vector<Ref> refs;
  for (const auto& word : (*engine.hosted).super().limbo) {
    const Ref ref(word.load());
    if (ref.has(Ref::kArriving)) refs.push_back(ref.bare());
  }
  return refs;
}

}  // namespace

TEST_CASE("a staged block is seen when it is published, and gone when it is not") {
  DataEngine engine;
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{300'000}, std::size_t{1} << 20}) {
    const auto content = engines::pattern(bytes, 1);
    {
      auto staged = engine.store.stage(bytes);
      REQUIRE(staged.ok());
      std::copy(content.begin(), content.end(), staged->memory().begin());
      CHECK(*engine.store.version({3, bytes}) == 0);
      // Given up.
    }
    CHECK(*engine.store.version({3, bytes}) == 0);
    auto staged = engine.store.stage(bytes);
    REQUIRE(staged.ok());
    std::copy(content.begin(), content.end(), staged->memory().begin());
    REQUIRE(engine.store.publish({3, bytes}, std::move(*staged), {}).ok());
    std::vector<std::byte> out(bytes);
    REQUIRE(engine.store.get({3, bytes}, 0, out).ok());
    CHECK(out == content);
  }
  engine.hosted.require_sound();
}

TEST_CASE("a staged block that does not fit changes nothing") {
  DataEngine engine(16 * kMiB);
  std::vector<StagedBlock> all;
  imss::Code code = imss::Code::kOk;
  while (code == imss::Code::kOk) {
    auto staged = engine.store.stage(1 << 20);
    code = staged.code();
    if (staged.ok()) all.push_back(std::move(*staged));
  }
  CHECK(code == imss::Code::kNoSpace);
  all.pop_back();
  const auto content = engines::pattern(1 << 20, 2);
  CHECK(engine.store.put(kBlock, content).ok());
  all.clear();
  engine.hosted.require_sound();
}

TEST_CASE("an extent that a dead thread's transfer may write is out of use for a while, then free") {
  DataEngine engine;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto staged = engine.store.stage(1 << 20);
    const std::uint64_t offset =
        staged.ok() ? (*engine.hosted).offset_of(staged->memory().data()) : 0;
    if (::write(ready[1], &offset, sizeof(offset)) != sizeof(offset)) ::_exit(1);
    for (;;) ::pause();
  }
  std::uint64_t offset = 0;
  REQUIRE(::read(ready[0], &offset, sizeof(offset)) == sizeof(offset));
  REQUIRE(offset != 0);
  REQUIRE(::kill(child, SIGKILL) == 0);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  (*engine.hosted).clean_up();
  const auto held = quarantined(engine);
  REQUIRE(held.size() == 1);
  CHECK(held.front().offset() == offset);
  engine.hosted.require_sound();
  const std::int64_t end = imss::monotonic_ns() + kPatienceNs;
  while (!quarantined(engine).empty() && imss::monotonic_ns() < end) std::this_thread::yield();
  CHECK(quarantined(engine).empty());
  engine.hosted.require_sound();
}
