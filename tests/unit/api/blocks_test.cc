// Storing and reading blocks through imss.h.
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "unit/api/attached_store.h"

using namespace api_test;  // NOLINT

TEST_CASE("a block reads as it was set, also through another id") {
  const AttachedStore store;
  const std::int32_t id = create("a/b/c");
  for (int block = 1; block <= 8; ++block) {
    REQUIRE(set_data(id, block, block_of(static_cast<unsigned char>(block)).data(), 0, 0) == 0);
  }
  const std::int32_t other = open_dataset(uri_of("a/b/c").c_str());
  REQUIRE(failure(other) == 0);
  CHECK(other != id);
  for (int block = 1; block <= 8; ++block) {
    CHECK(get_block(other, block) == block_of(static_cast<unsigned char>(block)));
  }
  CHECK(release_dataset(other) == 0);
  CHECK(get_block(id, 8) == block_of(8));
}

TEST_CASE("blocks that were never written read as zeros and use no memory") {
  const AttachedStore store;
  const std::int32_t id = create("holes", 1000000);  // 61 GiB of holes in a store of 64 MiB
  CHECK(get_block(id, 1) == block_of(0));
  CHECK(get_block(id, 1000000) == block_of(0));
  REQUIRE(set_data(id, 500000, block_of(5).data(), 0, 0) == 0);
  CHECK(get_block(id, 499999) == block_of(0));
  CHECK(get_block(id, 500000) == block_of(5));
  CHECK(get_block(id, 500001) == block_of(0));
}

TEST_CASE("a part of a block is set in place and the rest stays as it was") {
  const AttachedStore store;
  const std::int32_t id = create("parts");
  Bytes expected = block_of(1);
  REQUIRE(set_data(id, 2, expected.data(), 0, 0) == 0);
  REQUIRE(set_data(id, 2, "part", 4, 100) == 0);
  std::memcpy(expected.data() + 100, "part", 4);
  REQUIRE(set_data(id, 2, "z", 1, kBlockBytes - 1) == 0);
  expected.back() = 'z';
  CHECK(get_block(id, 2) == expected);
}

TEST_CASE("a part set into a hole leaves zeros around it") {
  const AttachedStore store;
  const std::int32_t id = create("part_of_hole");
  REQUIRE(set_data(id, 3, "part", 4, 5000) == 0);
  Bytes expected = block_of(0);
  std::memcpy(expected.data() + 5000, "part", 4);
  CHECK(get_block(id, 3) == expected);
}

TEST_CASE("get_ndata reads exactly the bytes asked for") {
  const AttachedStore store;
  const std::int32_t id = create("ranges");
  Bytes content = block_of(0);
  for (std::size_t index = 0; index < content.size(); ++index) {
    content[index] = static_cast<unsigned char>(index * 7 + index / 256);
  }
  REQUIRE(set_data(id, 1, content.data(), 0, 0) == 0);
  const std::size_t sizes[] = {1, 2, 63, 64, 65, 4095, 4096, 4097, kBlockBytes - 3};
  for (const std::size_t size : sizes) {
    Bytes out(size + 1, 0xEE);
    REQUIRE(get_ndata(id, 1, out.data(), size, 3) == 0);
    CHECK(std::equal(out.begin(), out.end() - 1, content.begin() + 3));
    CHECK(out.back() == 0xEE);
  }
}

TEST_CASE("set_ndata replaces the whole block by its bytes and zeros") {
  const AttachedStore store;
  const std::int32_t id = create("short");
  REQUIRE(set_data(id, 1, block_of(9).data(), 0, 0) == 0);
  REQUIRE(set_ndata(id, 1, "abc", 3) == 0);
  Bytes expected = block_of(0);
  std::memcpy(expected.data(), "abc", 3);
  CHECK(get_block(id, 1) == expected);
}

TEST_CASE("sizes and offsets that do not fit the block are refused and change nothing") {
  const AttachedStore store;
  const std::int32_t id = create("bounds");
  const Bytes content = block_of(4);
  REQUIRE(set_data(id, 1, content.data(), 0, 0) == 0);
  Bytes buffer(kBlockBytes + 1, 0xEE);
  const auto end = static_cast<off_t>(kBlockBytes);
  CHECK(failure(set_data(id, 1, buffer.data(), kBlockBytes + 1, 0)) == EINVAL);
  CHECK(failure(set_data(id, 1, buffer.data(), 1, end)) == EINVAL);
  CHECK(failure(set_data(id, 1, buffer.data(), 2, end - 1)) == EINVAL);
  CHECK(failure(set_data(id, 1, buffer.data(), 1, -1)) == EINVAL);
  CHECK(failure(set_data(id, 1, buffer.data(), SIZE_MAX, 1)) == EINVAL);
  CHECK(failure(set_data(id, 1, buffer.data(), 0, 1)) == EINVAL);
  CHECK(failure(set_ndata(id, 1, buffer.data(), kBlockBytes + 1)) == EINVAL);
  CHECK(failure(set_ndata(id, 1, buffer.data(), 0)) == EINVAL);
  CHECK(failure(get_ndata(id, 1, buffer.data(), 0, 0)) == EINVAL);
  CHECK(failure(get_ndata(id, 1, buffer.data(), kBlockBytes + 1, 0)) == EINVAL);
  CHECK(failure(get_ndata(id, 1, buffer.data(), 1, end)) == EINVAL);
  CHECK(failure(get_ndata(id, 1, buffer.data(), 1, -1)) == EINVAL);
  CHECK(failure(get_ndata(id, 1, buffer.data(), SIZE_MAX, 1)) == EINVAL);
  CHECK(buffer == Bytes(kBlockBytes + 1, 0xEE));
  CHECK(get_block(id, 1) == content);
}

TEST_CASE("blocks out of range and null buffers are refused") {
  const AttachedStore store;
  const std::int32_t id = create("range");
  Bytes buffer = block_of(0);
  for (const std::int32_t block : {-1, 9, INT32_MAX, INT32_MIN}) {
    CHECK(failure(get_data(id, block, buffer.data())) == EINVAL);
    CHECK(failure(set_data(id, block, buffer.data(), 0, 0)) == EINVAL);
    CHECK(failure(get_ndata(id, block, buffer.data(), 1, 0)) == EINVAL);
    CHECK(failure(set_ndata(id, block, buffer.data(), 1)) == EINVAL);
    CHECK(failure(get_data_location(id, block, IMSS_LOCATION_GET)) == EINVAL);
  }
  CHECK(failure(set_data(id, 0, buffer.data(), 0, 0)) == EINVAL);
  CHECK(failure(set_ndata(id, 0, buffer.data(), 1)) == EINVAL);
  CHECK(failure(get_ndata(id, 0, buffer.data(), 1, 0)) == EINVAL);
  CHECK(failure(get_data(id, 1, nullptr)) == EINVAL);
  CHECK(failure(set_data(id, 1, nullptr, 0, 0)) == EINVAL);
  CHECK(failure(get_ndata(id, 1, nullptr, 1, 0)) == EINVAL);
  CHECK(failure(set_ndata(id, 1, nullptr, 1)) == EINVAL);
}

TEST_CASE("ids that were never given out or are released are refused") {
  const AttachedStore store;
  const std::int32_t id = create("ids");
  REQUIRE(release_dataset(id) == 0);
  Bytes buffer = block_of(0);
  imss_block_io item{};
  imss_block_view view{};
  const std::int32_t fresh = create("ids_fresh");  // must not bring the released id back
  CHECK(fresh != id);
  for (const std::int32_t bad : {id, -1, INT32_MIN, INT32_MAX}) {
    CHECK(failure(release_dataset(bad)) == EBADF);
    CHECK(failure(get_data(bad, 1, buffer.data())) == EBADF);
    CHECK(failure(set_data(bad, 1, buffer.data(), 0, 0)) == EBADF);
    CHECK(failure(get_ndata(bad, 1, buffer.data(), 1, 0)) == EBADF);
    CHECK(failure(set_ndata(bad, 1, buffer.data(), 1)) == EBADF);
    CHECK(failure(get_datav(bad, &item, 1)) == EBADF);
    CHECK(failure(set_datav(bad, &item, 1)) == EBADF);
    CHECK(failure(get_data_location(bad, 1, IMSS_LOCATION_GET)) == EBADF);
    CHECK(failure(imss_view(bad, 1, &view)) == EBADF);
    CHECK(failure(iget_data(bad, 1, buffer.data())) == EBADF);
    CHECK(failure(iset_data(bad, 1, buffer.data(), 0, 0)) == EBADF);
  }
}

TEST_CASE("a set that does not fit returns ENOSPC, leaves the block alone and space comes back") {
  const AttachedStore store;
  const int blocks = static_cast<int>(kStorageBytes / kBlockBytes) + 1;
  const std::int32_t id = create("full", blocks);
  int stored = 0;
  int error_number = 0;
  while (stored < blocks && error_number == 0) {
    error_number = failure(set_data(id, stored + 1, block_of(3).data(), 0, 0));
    if (error_number == 0) ++stored;
  }
  CHECK(error_number == ENOSPC);
  CHECK(stored > blocks / 2);
  CHECK(get_block(id, stored) == block_of(3));
  CHECK(get_block(id, stored + 1) == block_of(0));
  REQUIRE(delete_dataset(uri_of("full").c_str()) == 0);
  REQUIRE(release_dataset(id) == 0);
  const std::int32_t next = create("next", blocks);
  for (int block = 1; block <= stored / 2; ++block) {
    REQUIRE(failure(set_data(next, block, block_of(4).data(), 0, 0)) == 0);
  }
}

TEST_CASE("a list of blocks is set and read in one call, each item with its result") {
  const AttachedStore store;
  const std::int32_t id = create("list");
  Bytes first = block_of(1);
  Bytes part = {'p', 'a', 'r', 't'};
  Bytes in_order(kBlockBytes, 2);
  imss_block_io sets[3] = {};
  sets[0].block = 1;
  sets[0].buffer = first.data();
  sets[1].block = 5;
  sets[1].buffer = part.data();
  sets[1].size = part.size();
  sets[1].offset = 10;
  sets[2].block = 8;
  sets[2].buffer = in_order.data();
  REQUIRE(set_datav(id, sets, 3) == 0);
  CHECK(get_block(id, 1) == first);
  CHECK(get_block(id, 8) == in_order);

  Bytes read_part(4);
  Bytes read_block = block_of(0xEE);
  imss_block_io gets[2] = {};
  gets[0].block = 5;
  gets[0].buffer = read_part.data();
  gets[0].size = 4;
  gets[0].offset = 10;
  gets[0].result_errno = -1;
  gets[1].block = 8;
  gets[1].buffer = read_block.data();
  gets[1].result_errno = -1;
  REQUIRE(get_datav(id, gets, 2) == 0);
  CHECK(read_part == part);
  CHECK(read_block == in_order);
  CHECK(gets[0].result_errno == 0);
  CHECK(gets[1].result_errno == 0);
}

TEST_CASE("an item that fails does not stop the others of its list") {
  const AttachedStore store;
  const std::int32_t id = create("list_errors");
  Bytes content = block_of(6);
  imss_block_io list[3] = {};
  for (imss_block_io& item : list) item.buffer = content.data();
  list[0].block = 1;
  list[1].block = 99;
  list[2].block = 3;
  CHECK(failure(set_datav(id, list, 3)) == EINVAL);
  CHECK(list[0].result_errno == 0);
  CHECK(list[1].result_errno == EINVAL);
  CHECK(list[2].result_errno == 0);
  CHECK(get_block(id, 1) == content);
  CHECK(get_block(id, 3) == content);
  CHECK(failure(get_datav(id, nullptr, 1)) == EINVAL);
  CHECK(failure(get_datav(id, list, -1)) == EINVAL);
  CHECK(failure(set_datav(id, list, IMSS_BLOCK_LIST_MAX + 1)) == EINVAL);
  CHECK(set_datav(id, list, 0) == 0);
}

TEST_CASE("readers of a block see one whole set or another, never a mixture") {
  const AttachedStore store;
  const std::int32_t id = create("atomic", 1);
  REQUIRE(set_data(id, 1, block_of(0).data(), 0, 0) == 0);
  std::atomic<bool> done{false};
  std::atomic<int> mixtures{0};
  std::atomic<int> failures{0};
  std::thread reader([&] {
    Bytes bytes = block_of(0);
    while (!done.load()) {
      if (get_data(id, 1, bytes.data()) != 0) ++failures;
      if (std::count(bytes.begin(), bytes.end(), bytes[0]) != static_cast<long>(bytes.size())) {
        ++mixtures;
      }
    }
  });
  for (int round = 0; round < 3000; ++round) {
    if (set_data(id, 1, block_of(static_cast<unsigned char>(round)).data(), 0, 0) != 0) ++failures;
  }
  done = true;
  reader.join();
  CHECK(mixtures == 0);
  CHECK(failures == 0);
}

TEST_CASE("threads write different ranges of one block at the same time") {
  const AttachedStore store;
  const std::int32_t id = create("ranges_together", 1);
  std::atomic<int> failures{0};
  const auto write_every_second = [&](unsigned char value, std::size_t first) {
    const Bytes piece(512, value);
    for (std::size_t offset = first; offset < kBlockBytes; offset += 1024) {
      if (set_data(id, 1, piece.data(), piece.size(), static_cast<off_t>(offset)) != 0) ++failures;
    }
  };
  std::thread even(write_every_second, static_cast<unsigned char>(2), std::size_t{0});
  std::thread odd(write_every_second, static_cast<unsigned char>(3), std::size_t{512});
  even.join();
  odd.join();
  CHECK(failures == 0);
  const Bytes bytes = get_block(id, 1);
  for (std::size_t index = 0; index < bytes.size(); ++index) {
    REQUIRE(bytes[index] == (index % 1024 < 512 ? 2 : 3));
  }
}

TEST_CASE("block sizes from 1 KiB to 64 MiB are kept exactly") {
  const AttachedStore store;
  for (const int kib : {1, 3, 4, 63, 64, 65, 1024, 5000, 16384}) {
    const std::string path = "size" + std::to_string(kib);
    const std::int32_t id = create_dataset(uri_of(path).c_str(), "RR", 2, kib, 1, 1);
    REQUIRE(failure(id) == 0);
    Bytes content(static_cast<std::size_t>(kib) * 1024, static_cast<unsigned char>(kib));
    content.back() = 1;
    REQUIRE(failure(set_data(id, 2, content.data(), 0, 0)) == 0);
    Bytes out(content.size() + 1, 0xEE);
    REQUIRE(get_data(id, 2, out.data()) == 0);
    CHECK(out.back() == 0xEE);
    out.pop_back();
    CHECK(out == content);
    REQUIRE(delete_dataset(uri_of(path).c_str()) == 0);
    REQUIRE(release_dataset(id) == 0);
  }
  CHECK(failure(create_dataset(uri_of("large").c_str(), "RR", 1, 65537, 1, 1)) == EINVAL);
  CHECK(create_dataset(uri_of("largest").c_str(), "RR", 1, 65536, 1, 1) >= 0);
}

TEST_CASE("a release beside other threads' calls lets each succeed or fail with EBADF") {
  const AttachedStore store;
  create("released");
  std::atomic<int> unexpected{0};
  for (int round = 0; round < 50; ++round) {
    const std::int32_t id = open_dataset(uri_of("released").c_str());
    REQUIRE(failure(id) == 0);
    std::atomic<bool> reading{false};
    std::thread reader([&] {
      Bytes bytes = block_of(0xEE);
      int error_number = 0;
      while (error_number == 0) {
        error_number = failure(get_data(id, 1, bytes.data()));
        if (error_number == 0 && bytes != block_of(0)) ++unexpected;
        reading = true;
      }
      if (error_number != EBADF) ++unexpected;
    });
    while (!reading.load()) std::this_thread::yield();
    if (release_dataset(id) != 0) ++unexpected;
    reader.join();
  }
  CHECK(unexpected == 0);
}

TEST_CASE("a fork child goes on as a client with the id it inherited") {
  const AttachedStore store;
  const std::int32_t id = create("forked");
  REQUIRE(set_data(id, 1, block_of(1).data(), 0, 0) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    Bytes bytes = block_of(0xEE);
    const bool read = get_data(id, 1, bytes.data()) == 0 && bytes == block_of(1);
    const bool written = set_data(id, 2, block_of(2).data(), 0, 0) == 0;
    _exit(read && written ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(get_block(id, 2) == block_of(2));
}
