#include <unistd.h>

#include <cerrno>

#include "views.h"

using engines::pattern;
using views::View;

namespace {

constexpr std::uint64_t kPage = 4096;
// Large enough for blocks that are stored in pieces.
constexpr std::uint64_t kBlockBytes = 256 * engines::kKiB;

std::uint64_t stored_bytes(View& view) { return static_cast<std::uint64_t>(view.now().st_blocks) * 512; }

}  // namespace

TEST_CASE("a sparse file takes what is stored of it, and its holes are found") {
  const bool remote = GENERATE(false, true);
  INFO("remote " << remote);
  View view(remote, {.block_bytes = kBlockBytes});
  auto file = view.create("sparse");
  CHECK(stored_bytes(view) == 0);
  CHECK(file->seek(0, SEEK_DATA).status().error_number() == ENXIO);
  CHECK(file->seek(0, SEEK_HOLE).status().error_number() == ENXIO);
  CHECK(file->seek(0, SEEK_SET).status().error_number() == EINVAL);
  // One page in block 4, one in block 9, the last block full but for its end.
  REQUIRE(file->write(3 * kBlockBytes + 17 * kPage, pattern(10, 1)).ok());
  REQUIRE(file->write(8 * kBlockBytes + 18 * kPage - 1, pattern(2, 1)).ok());
  REQUIRE(file->write(11 * kBlockBytes, pattern(kBlockBytes, 1)).ok());
  const std::uint64_t size = 12 * kBlockBytes + 5;
  REQUIRE(file->truncate(size).ok());
  CHECK(view.now().st_size == static_cast<off_t>(size));
  CHECK(stored_bytes(view) == 3 * kPage + kBlockBytes);
  CHECK(*file->seek(11 * kBlockBytes + 3, SEEK_DATA) == 11 * kBlockBytes + 3);
  CHECK(*file->seek(11 * kBlockBytes, SEEK_HOLE) == 12 * kBlockBytes);
  CHECK(*file->seek(9 * kBlockBytes, SEEK_DATA) == 11 * kBlockBytes);
  CHECK(file->seek(12 * kBlockBytes, SEEK_DATA).status().error_number() == ENXIO);
  CHECK(*file->seek(12 * kBlockBytes + 1, SEEK_HOLE) == 12 * kBlockBytes + 1);
  CHECK(*file->seek(0, SEEK_HOLE) == 0);
  CHECK(*file->seek(0, SEEK_DATA) == 3 * kBlockBytes + 17 * kPage);
  CHECK(*file->seek(3 * kBlockBytes + 17 * kPage, SEEK_HOLE) == 3 * kBlockBytes + 18 * kPage);
  CHECK(*file->seek(4 * kBlockBytes, SEEK_DATA) == 8 * kBlockBytes + 17 * kPage);
  REQUIRE(file->truncate(11 * kBlockBytes + 7).ok());
  CHECK(*file->seek(11 * kBlockBytes, SEEK_HOLE) == 11 * kBlockBytes + 7);
  file.reset();
  view.require_sound();
}

TEST_CASE("a large sparse file is searched without a look at every block") {
  const bool remote = GENERATE(false, true);
  View view(remote, {.block_bytes = kBlockBytes});
  const auto file = view.create("large");
  const std::uint64_t far = std::uint64_t{1} << 46;
  REQUIRE(file->write(far + 1, pattern(1, 1)).ok());
  CHECK(*file->seek(0, SEEK_DATA) == far);
  CHECK(stored_bytes(view) <= kBlockBytes);
  REQUIRE(file->allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, far + 2 * kBlockBytes).ok());
  CHECK(file->seek(0, SEEK_DATA).status().error_number() == ENXIO);
  CHECK(view.now().st_size == static_cast<off_t>(far + 2));
}

TEST_CASE("fallocate gives memory, extends unless told not to, and punches and zeroes ranges") {
  const bool remote = GENERATE(false, true);
  INFO("remote " << remote);
  View view(remote, {.block_bytes = kBlockBytes});
  auto file = view.create("data");
  const std::uint64_t bytes = 3 * kBlockBytes + 100;
  REQUIRE(file->allocate(FALLOC_FL_KEEP_SIZE, 0, bytes).ok());
  CHECK(view.now().st_size == 0);
  CHECK(stored_bytes(view) >= bytes);
  REQUIRE(file->allocate(0, 10, bytes).ok());
  CHECK(view.now().st_size == static_cast<off_t>(bytes + 10));
  CHECK(view.read(*file, 0, bytes + 20) == std::vector<std::byte>(bytes + 10));
  // What is there stays.
  const auto content = pattern(bytes, 3);
  REQUIRE(file->write(0, content).ok());
  REQUIRE(file->allocate(0, 0, bytes).ok());
  auto wanted = content;
  wanted.resize(bytes + 10);
  CHECK(view.read(*file, 0, bytes + 10) == wanted);
  const auto before = stored_bytes(view);
  // From within the first block into the third.
  REQUIRE(file->allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 2 * kBlockBytes).ok());
  std::fill_n(wanted.begin() + 1000, 2 * kBlockBytes, std::byte{0});
  CHECK(view.read(*file, 0, bytes + 10) == wanted);
  CHECK(stored_bytes(view) + kBlockBytes <= before);
  CHECK(*file->seek(kBlockBytes, SEEK_HOLE) == kBlockBytes);
  CHECK(view.now().st_size == static_cast<off_t>(bytes + 10));
  REQUIRE(file->allocate(FALLOC_FL_ZERO_RANGE, bytes - 5, 100).ok());
  wanted.resize(bytes + 95);
  std::fill(wanted.begin() + static_cast<std::ptrdiff_t>(bytes) - 5, wanted.end(), std::byte{0});
  CHECK(view.read(*file, 0, bytes + 200) == wanted);
  REQUIRE(file->allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 10 * kBlockBytes).ok());
  CHECK(view.read(*file, 0, bytes + 200) == std::vector<std::byte>(bytes + 95));
  CHECK(file->allocate(FALLOC_FL_PUNCH_HOLE, 0, 1).error_number() == EOPNOTSUPP);
  CHECK(file->allocate(FALLOC_FL_COLLAPSE_RANGE, 0, kBlockBytes).error_number() == EOPNOTSUPP);
  CHECK(file->allocate(FALLOC_FL_INSERT_RANGE, 0, kBlockBytes).error_number() == EOPNOTSUPP);
  CHECK(file->allocate(0, 0, 0).error_number() == EINVAL);
  CHECK(file->allocate(0, std::uint64_t{1} << 48, 1).error_number() == EFBIG);
  CHECK(view.create("other", O_RDONLY)->allocate(0, 0, 1).error_number() == EBADF);
  // More than there is: refused, and the size stays.
  CHECK(file->allocate(0, 0, std::uint64_t{1} << 40).error_number() == ENOSPC);
  CHECK(view.now().st_size == 0);
  file.reset();
  view.require_sound();
}

TEST_CASE("files with copies are punched and zeroed in all copies, and get no memory ahead of need") {
  View view(false, {.block_bytes = kBlockBytes, .replicas = 2});
  const auto file = view.create("copies");
  auto wanted = pattern(3 * kBlockBytes, 1);
  REQUIRE(file->write(0, wanted).ok());
  REQUIRE(file->allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 2 * kBlockBytes).ok());
  std::fill_n(wanted.begin() + 100, 2 * kBlockBytes, std::byte{0});
  CHECK(view.read(*file, 0, wanted.size()) == wanted);
  for (auto& server : view.data) {
    std::vector<std::byte> block(kBlockBytes);
    REQUIRE(server.store.get({view.status.st_ino, 3}, 0, block).ok());
    CHECK(std::equal(block.begin(), block.end(), wanted.begin() + 2 * kBlockBytes));
  }
  REQUIRE(file->allocate(FALLOC_FL_ZERO_RANGE, 0, 4 * kBlockBytes).ok());
  CHECK(view.read(*file, 0, 5 * kBlockBytes) == std::vector<std::byte>(4 * kBlockBytes));
  CHECK(file->allocate(0, 0, 1).error_number() == EOPNOTSUPP);
}

TEST_CASE("a range is copied from one file to another") {
  View view(GENERATE(false, true), {.block_bytes = kBlockBytes});
  const auto from = view.create("from");
  const auto to = view.create("to");
  const auto content = pattern(5 * kBlockBytes + 7, 4);
  REQUIRE(from->write(0, content).ok());
  CHECK(*from->copy_to(*to, 3, 11, content.size()) == content.size() - 3);
  const auto got = view.read(*to, 0, content.size() + 100);
  REQUIRE(got.size() == content.size() + 8);
  CHECK(std::equal(content.begin() + 3, content.end(), got.begin() + 11));
  CHECK(*from->copy_to(*to, content.size(), 0, 10) == 0);
}

TEST_CASE("statfs counts all servers, also those that are asked by message") {
  const bool remote = GENERATE(false, true);
  View view(remote, {.block_bytes = kBlockBytes});
  const auto before = *view.files->space();
  CHECK(before.f_blocks * before.f_frsize == 2 * 256 * engines::kMiB);
  const auto file = view.create("data");
  REQUIRE(file->write(0, pattern(64 * engines::kMiB, 1)).ok());
  const auto after = *view.files->space();
  CHECK((before.f_bfree - after.f_bfree) * after.f_frsize >= 60 * engines::kMiB);
}
