// What a process does before it writes into a range of a segment for the first time.
#include <fcntl.h>
#include <unistd.h>

#include "engines.h"
#include "segment/touched_ranges.h"

using engines::DataEngine;
using engines::kKiB;
using engines::kMiB;
using engines::pattern;
using imss::segment::kPageBytes;
using imss::segment::Ref;
using imss::segment::Segment;
using imss::segment::TouchedRanges;

namespace {

// How many pages of a range this process's page tables know.
std::uint64_t known_pages(const std::byte* from, std::uint64_t bytes) {
  const int fd = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  std::vector<std::uint64_t> entries(bytes / kPageBytes);
  const auto first = reinterpret_cast<std::uintptr_t>(from) / kPageBytes * sizeof(std::uint64_t);
  const auto wanted = static_cast<ssize_t>(entries.size() * sizeof(std::uint64_t));
  REQUIRE(::pread(fd, entries.data(), static_cast<std::size_t>(wanted),
                  static_cast<off_t>(first)) == wanted);
  ::close(fd);
  return static_cast<std::uint64_t>(
      std::ranges::count_if(entries, [](std::uint64_t entry) { return (entry >> 63 & 1) != 0; }));
}

}  // namespace

TEST_CASE("ranges are noted by 64 KiB, and known when all of them were noted", "[segment]") {
  TouchedRanges touched;
  CHECK(touched.note(0, 1));  // nothing is reserved: everything counts as known
  touched.reserve(64 * kMiB);
  CHECK_FALSE(touched.note(100, 1));
  CHECK(touched.note(0, 64 * kKiB));
  CHECK_FALSE(touched.note(0, 64 * kKiB + 1));
  CHECK(touched.note(0, 128 * kKiB));
  CHECK_FALSE(touched.note(64 * kMiB - 1, 1));
  CHECK(touched.note(64 * kMiB - 1, 1));
}

TEST_CASE("a range of small pages is known to the process before it is written", "[segment]") {
  DataEngine engine(64 * kMiB);  // too small for huge pages
  const auto content = pattern(512 * kKiB, 1);
  REQUIRE(engine.store.write({1, 1}, 4096, content, kMiB).ok());
  std::uint64_t offset = 0;
  REQUIRE(engine.store
              .for_each_block([&](imss::store::BlockId, const imss::segment::Values& values) {
                offset = Ref(values.value0).bare().offset();
                return true;
              })
              .ok());
  auto fresh = Segment::open(engine.hosted.segment()->name());
  REQUIRE(fresh.ok());
  const std::byte* range = (*fresh)->base() + offset + 4096;
  CHECK(known_pages(range, content.size()) == 0);
  (*fresh)->expect_write(offset + 4096, content.size());
  CHECK(known_pages(range, content.size()) == content.size() / kPageBytes);
  // And what the engine writes by this mapping arrives.
  imss::store::Store store(*fresh);
  REQUIRE(store.write({1, 1}, 4096, std::span(content).subspan(1000, 100'000), kMiB).ok());
  std::vector<std::byte> out(100'000);
  REQUIRE(engine.store.get({1, 1}, 4096, out).ok());
  CHECK(std::equal(out.begin(), out.end(), content.begin() + 1000));
  (*fresh)->leave();
}
