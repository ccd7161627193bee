// Zero-copy views and asynchronous operations through imss.h.
#include <algorithm>
#include <cstring>

#include "unit/api/attached_store.h"

using namespace api_test;  // NOLINT

namespace {

Bytes shown(const imss_block_view& view) {
  const auto* bytes = static_cast<const unsigned char*>(view.data);
  return Bytes(bytes, bytes + view.size);
}

}  // namespace

TEST_CASE("a view shows a block and a hole") {
  const AttachedStore store;
  const std::int32_t id = create("viewed");
  REQUIRE(set_data(id, 1, block_of(1).data(), 0, 0) == 0);
  imss_block_view view{};
  REQUIRE(failure(imss_view(id, 1, &view)) == 0);
  CHECK(shown(view) == block_of(1));
  CHECK(view.version != 0);
  CHECK(imss_view_release(&view) == 0);
  CHECK(view.data == nullptr);
  REQUIRE(failure(imss_view(id, 2, &view)) == 0);
  CHECK(shown(view) == block_of(0));
  CHECK(imss_view_release(&view) == 0);
}

TEST_CASE("a view goes on showing the old block when the block is set, deleted and released") {
  const AttachedStore store;
  const std::int32_t id = create("held");
  REQUIRE(set_data(id, 1, block_of(1).data(), 0, 0) == 0);
  imss_block_view old_view{};
  REQUIRE(imss_view(id, 1, &old_view) == 0);
  for (int round = 0; round < 500; ++round) {
    REQUIRE(set_data(id, 1, block_of(2).data(), 0, 0) == 0);
  }
  CHECK(shown(old_view) == block_of(1));
  imss_block_view new_view{};
  REQUIRE(imss_view(id, 1, &new_view) == 0);
  CHECK(shown(new_view) == block_of(2));
  CHECK(new_view.version != old_view.version);
  REQUIRE(delete_dataset(uri_of("held").c_str()) == 0);
  REQUIRE(release_dataset(id) == 0);
  const std::int32_t other = create("other", 64);
  for (int block = 1; block <= 64; ++block) {
    REQUIRE(set_data(other, block, block_of(3).data(), 0, 0) == 0);
  }
  CHECK(shown(old_view) == block_of(1));
  CHECK(shown(new_view) == block_of(2));
  CHECK(imss_view_release(&old_view) == 0);
  CHECK(imss_view_release(&new_view) == 0);
}

TEST_CASE("a part that is set in place shows through a view") {
  const AttachedStore store;
  const std::int32_t id = create("through");
  REQUIRE(set_data(id, 1, block_of(1).data(), 0, 0) == 0);
  imss_block_view view{};
  REQUIRE(imss_view(id, 1, &view) == 0);
  REQUIRE(set_data(id, 1, "part", 4, 8) == 0);
  CHECK(std::memcmp(static_cast<const char*>(view.data) + 8, "part", 4) == 0);
  CHECK(imss_view_release(&view) == 0);
}

TEST_CASE("views of what is not a block and second releases are refused") {
  const AttachedStore store;
  const std::int32_t id = create("refused");
  imss_block_view view{};
  CHECK(failure(imss_view(id, 0, &view)) == EINVAL);
  CHECK(failure(imss_view(id, 9, &view)) == EINVAL);
  CHECK(failure(imss_view(id, 1, nullptr)) == EINVAL);
  CHECK(failure(imss_view_release(nullptr)) == EINVAL);
  CHECK(failure(imss_view_release(&view)) == EINVAL);
  REQUIRE(set_data(id, 1, block_of(1).data(), 0, 0) == 0);
  REQUIRE(imss_view(id, 1, &view) == 0);
  imss_block_view copy = view;
  REQUIRE(imss_view_release(&view) == 0);
  CHECK(failure(imss_view_release(&view)) == EINVAL);
  CHECK(failure(imss_view_release(&copy)) == EINVAL);
}

TEST_CASE("asynchronous sets and gets complete with what a plain call would give") {
  const AttachedStore store;
  const std::int32_t id = create("async");
  const Bytes first = block_of(1);
  const Bytes second = block_of(2);
  imss_request* sets[2] = {iset_data(id, 1, first.data(), 0, 0),
                           iset_data(id, 2, second.data(), 0, 0)};
  REQUIRE(sets[0] != nullptr);
  REQUIRE(sets[1] != nullptr);
  CHECK(imss_waitall(sets, 2, nullptr) == 0);
  CHECK(sets[0] == nullptr);
  CHECK(get_block(id, 1) == first);

  Bytes out = block_of(0xEE);
  imss_request* get = iget_data(id, 2, out.data());
  REQUIRE(get != nullptr);
  CHECK(imss_wait(&get) == 0);
  CHECK(get == nullptr);
  CHECK(out == second);
}

TEST_CASE("imss_test completes a request in the end and exactly once") {
  const AttachedStore store;
  const std::int32_t id = create("tested");
  const Bytes content = block_of(4);
  imss_request* request = iset_data(id, 1, content.data(), 0, 0);
  REQUIRE(request != nullptr);
  std::int32_t done = 0;
  while (done == 0) REQUIRE(imss_test(&request, &done) == 0);
  CHECK(request == nullptr);
  CHECK(get_block(id, 1) == content);
  done = 77;
  CHECK(failure(imss_test(&request, &done)) == EINVAL);
  CHECK(done == 77);
}

TEST_CASE("many requests under way complete, each with its own block") {
  const AttachedStore store;
  constexpr int kRequests = 64;
  const std::int32_t id = create("many", kRequests);
  std::vector<Bytes> contents;
  for (int index = 0; index < kRequests; ++index) {
    contents.push_back(block_of(static_cast<unsigned char>(index + 1)));
  }
  std::vector<imss_request*> requests;
  for (int index = 0; index < kRequests; ++index) {
    const auto position = static_cast<std::size_t>(index);
    requests.push_back(iset_data(id, index + 1, contents[position].data(), 0, 0));
    REQUIRE(requests.back() != nullptr);
  }
  std::vector<std::int32_t> errors(kRequests, -1);
  CHECK(imss_waitall(requests.data(), kRequests, errors.data()) == 0);
  CHECK(std::count(errors.begin(), errors.end(), 0) == kRequests);
  for (int index = 0; index < kRequests; ++index) {
    CHECK(get_block(id, index + 1) == contents[static_cast<std::size_t>(index)]);
  }
}

TEST_CASE("asynchronous misuse is refused at once and requests complete only once") {
  const AttachedStore store;
  const std::int32_t id = create("misuse");
  Bytes buffer = block_of(0);
  CHECK(failure(iget_data(id, 9, buffer.data())) == EINVAL);
  CHECK(failure(iget_data(id, 1, nullptr)) == EINVAL);
  CHECK(failure(iset_data(id, 0, buffer.data(), 0, 0)) == EINVAL);
  CHECK(failure(iset_data(id, 1, nullptr, 0, 0)) == EINVAL);
  CHECK(failure(iset_data(id, 1, buffer.data(), kBlockBytes, 1)) == EINVAL);

  imss_request* none = nullptr;
  std::int32_t done = 0;
  CHECK(failure(imss_wait(nullptr)) == EINVAL);
  CHECK(failure(imss_wait(&none)) == EINVAL);
  CHECK(failure(imss_test(nullptr, &done)) == EINVAL);
  CHECK(failure(imss_waitall(nullptr, 1, nullptr)) == EINVAL);
  CHECK(failure(imss_waitall(&none, -1, nullptr)) == EINVAL);
  CHECK(imss_waitall(&none, 1, nullptr) == 0);

  imss_request* request = iget_data(id, 1, buffer.data());
  imss_request* copy = request;
  CHECK(failure(imss_test(&request, nullptr)) == EINVAL);
  CHECK(imss_wait(&request) == 0);
  CHECK(failure(imss_wait(&copy)) == EINVAL);
}
