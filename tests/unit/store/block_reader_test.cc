// Blocks read by who may not write into the segment: nobody waits for such a reader, so whatever it
// copies may have become another block's meanwhile. It must never hand that out.
#include "store/block_reader.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "engines.h"
#include "segment/fault.h"

using engines::DataEngine;
using engines::is_stamped;
using engines::kKiB;
using engines::pattern;
using engines::stamped;
using imss::Code;
using imss::segment::Segment;
using imss::store::BlockReader;

namespace {

constexpr std::size_t kBytes = 64 * kKiB;

BlockReader reader_of(const DataEngine& engine) {
  auto segment = Segment::open_read_only(engine.hosted.segment()->name());
  INFO(segment.status().message());
  REQUIRE(segment.ok());
  return BlockReader(*segment);
}

}  // namespace

TEST_CASE("a reader without the right to write reads what the store reads", "[store]") {
  DataEngine engine;
  const BlockReader reader = reader_of(engine);
  const auto content = pattern(kBytes, 1);
  REQUIRE(engine.store.put({1, 1}, content).ok());
  REQUIRE(engine.store.write({1, 2}, 300'001, std::span(content).first(5000), 1 << 20).ok());
  REQUIRE(engine.store.put({1, 3}, std::span(content).first(100)).ok());
  for (std::uint64_t block = 1; block <= 4; ++block) {
    constexpr std::uint64_t kOffsets[] = {0, 50, 4095, 65'530, 299'000, 304'990, 1'000'000};
    for (const std::uint64_t offset : kOffsets) {
      std::vector<std::byte> mine(9000, std::byte{1});
      std::vector<std::byte> others(9000, std::byte{2});
      bool present = false;
      bool stored = false;
      REQUIRE(reader.get({1, block}, offset, mine, &present).ok());
      REQUIRE(engine.store.get({1, block}, offset, others, &stored).ok());
      CHECK((mine == others));
      CHECK(present == stored);
    }
    CHECK(*reader.version({1, block}) == *engine.store.version({1, block}));
  }
  // It cannot do anything else.
  CHECK(reader.segment().self().code() == Code::kNotSupported);
}

TEST_CASE("what a reader hands out is one content of that block, however often extents are reused",
          "[store]") {
  DataEngine engine;
  const BlockReader reader = reader_of(engine);
  constexpr std::uint64_t kBlocks = 4;
  for (std::uint64_t block = 1; block <= kBlocks; ++block) {
    REQUIRE(engine.store.put({1, block}, stamped(kBytes, block)).ok());
  }
  // Each block has its own stamp and goes and comes back, so that extents wander between them and
  // versions begin again.
  std::atomic<bool> ended{false};
  std::vector<std::thread> writers;
  for (std::uint64_t half = 0; half < 2; ++half) {
    writers.emplace_back([&, half] {
      for (std::uint64_t i = 0; i < 4000; ++i) {
        const std::uint64_t block = 1 + half + 2 * (i / 2 % (kBlocks / 2));
        if (i % 2 == 0) {
          if (!engine.store.erase({1, block}).ok()) break;
        } else if (!engine.store.put({1, block}, stamped(kBytes, block)).ok()) {
          break;
        }
      }
      ended.store(true);
      engine.hosted.segment()->leave();
    });
  }
  std::uint64_t whole = 0;
  std::uint64_t wrong = 0;
  std::vector<std::byte> out(kBytes);
  for (std::uint64_t i = 0; !ended.load() || i < 100; ++i) {
    const std::uint64_t block = 1 + i % kBlocks;
    bool present = false;
    const imss::Status status = reader.get({1, block}, 0, out, &present);
    if (status.code() == Code::kAgain || (status.ok() && !present)) continue;
    const bool right = status.ok() && is_stamped(out, block);
    right ? ++whole : ++wrong;
  }
  for (auto& writer : writers) writer.join();
  CHECK(wrong == 0);
  CHECK(whole > 0);
}

#if !defined(__SANITIZE_THREAD__)  // which does not follow a fork of a process with threads

TEST_CASE("a reader stopped after it has copied reads again when it wakes up", "[store]") {
  DataEngine engine;
  REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 1)).ok());
  for (const char* point : {"reader.found", "reader.copied"}) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("IMSS_FAULT", (std::string(point) + ":1:stop").c_str(), 1);
      imss::segment::fault_reload();
      const BlockReader reader = reader_of(engine);
      std::vector<std::byte> out(kBytes);
      ::_exit(reader.get({1, 1}, 0, out, nullptr).ok() && is_stamped(out, 3) ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, WUNTRACED) == child);
    REQUIRE(WIFSTOPPED(status));
    // The extent goes to other blocks; the block comes back with its first version.
    REQUIRE(engine.store.erase({1, 1}).ok());
    for (std::uint64_t block = 2; block < 12; ++block)
      REQUIRE(engine.store.put({1, block}, stamped(kBytes, 90)).ok());
    REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 3)).ok());
    ::kill(child, SIGCONT);
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
    REQUIRE(engine.store.put({1, 1}, stamped(kBytes, 1)).ok());
  }
}

#endif

TEST_CASE("a segment's descriptor that the program closed is never used for another file",
          "[store]") {
  DataEngine engine;
  const BlockReader reader = reader_of(engine);
  const auto content = stamped(kBytes, 5);
  REQUIRE(engine.store.put({1, 1}, content).ok());
  const int number = reader.segment().fd();
  REQUIRE(number >= 0);
  // A program that closes what it does not know, and opens a file of its own, which gets the
  // number.
  const int other = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  REQUIRE(other >= 0);
  REQUIRE(::dup2(other, number) == number);
  std::vector<std::byte> out(kBytes);
  REQUIRE(reader.get({1, 1}, 0, out, nullptr).ok());
  CHECK(is_stamped(out, 5));
  CHECK(reader.segment().fd() != number);
  CHECK(::close(number) == 0);  // it was not closed on the program's behalf
  ::close(other);
}

TEST_CASE("sharing is said by the file's mode and by feature words", "[store]") {
  DataEngine engine;
  auto& segment = *engine.hosted.segment();
  const auto mode = [&] {
    struct stat status {};
    REQUIRE(::fstat(segment.fd(), &status) == 0);
    return status.st_mode & 0777;
  };
  CHECK(mode() == 0600);
  CHECK(segment.sharing() == imss::segment::Sharing::kReadWrite);
  const mode_t before = ::umask(022);
  REQUIRE(segment.share(imss::segment::Sharing::kReadOnly).ok());
  CHECK(mode() == 0644);
  ::umask(027);
  REQUIRE(segment.share(imss::segment::Sharing::kReadOnly).ok());
  CHECK(mode() == 0640);
  ::umask(before);
  CHECK(segment.sharing() == imss::segment::Sharing::kReadOnly);
  CHECK(segment.super().read_only_compatible != 0);
  REQUIRE(segment.share(imss::segment::Sharing::kNothing).ok());
  CHECK(mode() == 0600);
  CHECK(segment.super().incompatible != 0);
  CHECK(Segment::open(segment.name()).ok());
  REQUIRE(segment.share(imss::segment::Sharing::kReadWrite).ok());
  CHECK(segment.super().incompatible == 0);
}
