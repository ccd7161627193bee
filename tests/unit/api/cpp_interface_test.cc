// The C++ interface, imss.hpp, over an attached store.
#include <imss/imss.hpp>
#include <numeric>
#include <type_traits>

#include "unit/api/attached_store.h"

using api_test::data_port;
using api_test::instance_uri;
using api_test::kBlockBytes;
using api_test::metadata_port;

namespace {

static_assert(!std::is_copy_constructible_v<imss::Session>);
static_assert(!std::is_copy_constructible_v<imss::Instance>);
static_assert(!std::is_copy_constructible_v<imss::Dataset>);
static_assert(!std::is_copy_constructible_v<imss::BlockView>);
static_assert(!std::is_copy_constructible_v<imss::Request>);
static_assert(std::is_nothrow_move_constructible_v<imss::Session>);
static_assert(std::is_nothrow_move_constructible_v<imss::Instance>);
static_assert(std::is_nothrow_move_assignable_v<imss::Dataset>);
static_assert(std::is_nothrow_move_assignable_v<imss::BlockView>);
static_assert(std::is_nothrow_move_assignable_v<imss::Request>);
static_assert(sizeof(imss_inner_metadata) == IMSS_INNER_METADATA_BYTES);

imss::SessionOptions session_options() {
  imss::SessionOptions options;
  options.metadata_port = metadata_port();
  options.server = imss::AttachedServer{};
  options.server->port = data_port();
  return options;
}

imss::InstanceOptions instance_options() {
  imss::InstanceOptions options;
  options.uri = instance_uri();
  options.port = data_port();
  options.metadata_port = metadata_port();
  return options;
}

imss::DatasetOptions layout(std::uint64_t block_count = 4) {
  imss::DatasetOptions options;
  options.block_count = block_count;
  options.block_bytes = kBlockBytes;
  return options;
}

struct Store {
  imss::Session session = imss::Session::start(session_options());
  imss::Instance instance = session.deploy(instance_options());
};

std::vector<std::byte> bytes_of(int value, std::size_t size = kBlockBytes) {
  return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

int thrown_code(const auto& call) {
  try {
    call();
    return 0;
  } catch (const imss::Error& error) {
    return *error.what() != '\0' ? error.code() : -error.code();
  }
}

}  // namespace

TEST_CASE("owners release what they own, so that a store can be made again") {
  for (int round = 0; round < 2; ++round) {
    Store store;
    const imss::Dataset dataset = store.instance.create("a/b", layout());
    dataset.set(1, bytes_of(round));
  }
  CHECK(api_test::failure(stat_release()) == ENOTCONN);
  CHECK(api_test::failure(hercules_release()) == ENOTCONN);
}

TEST_CASE("a moved-from owner releases nothing and a released one answers EBADF") {
  Store store;
  imss::Dataset dataset = store.instance.create("moved", layout());
  dataset.set(1, bytes_of(3));
  {
    const imss::Dataset moved = std::move(dataset);
    CHECK(moved.id() >= 0);
  }
  dataset = store.instance.open("moved");
  std::vector<std::byte> out(kBlockBytes);
  dataset.get(1, out);
  CHECK(out == bytes_of(3));
  dataset.release();
  CHECK(dataset.try_get(1, out).error().code() == EBADF);
  CHECK(dataset.try_release().error().code() == EBADF);
}

TEST_CASE("plain names throw imss::Error, try names return it") {
  Store store;
  CHECK(thrown_code([&] { store.instance.open("missing"); }) == ENOENT);
  const auto result = store.instance.try_open("missing");
  CHECK_FALSE(result.ok());
  CHECK(result.error().code() == ENOENT);
  const imss::Dataset dataset = store.instance.create("present", layout());
  CHECK(thrown_code([&] { dataset.view(99); }) == EINVAL);
  CHECK(thrown_code([&] { store.instance.create("present", layout()); }) == EEXIST);
  CHECK(thrown_code([&] { store.session.deploy(instance_options()); }) == EALREADY);
  CHECK(thrown_code([&] { imss::Session::start(session_options()); }) == EALREADY);
  CHECK(store.instance.try_open("present").ok());  // the refused second session changed nothing
}

TEST_CASE("a name with a NUL byte is refused, not cut short") {
  Store store;
  const std::string name("cut\0short", 9);
  CHECK(store.instance.try_create(name, layout()).error().code() == EINVAL);
  CHECK(store.instance.try_open("cut").error().code() == ENOENT);
  CHECK(store.instance.try_rename("cut", name).error().code() == EINVAL);
}

TEST_CASE("buffers that are too small are refused before a byte is copied") {
  Store store;
  const imss::Dataset dataset = store.instance.create("small", layout());
  CHECK(dataset.block_bytes() == kBlockBytes);
  CHECK(dataset.block_count() == 4);
  std::vector<std::byte> out = bytes_of(9, kBlockBytes - 1);
  CHECK(dataset.try_get(1, out).error().code() == EINVAL);
  CHECK(dataset.try_get(0, out).error().code() == EINVAL);
  CHECK(dataset.try_get_async(1, out).error().code() == EINVAL);
  CHECK(dataset.try_set_async(1, out).error().code() == EINVAL);
  CHECK(dataset.try_set(1, bytes_of(1, kBlockBytes + 1)).error().code() == EINVAL);
  CHECK(dataset.try_set(1, {}).error().code() == EINVAL);
  CHECK(out == bytes_of(9, kBlockBytes - 1));
}

TEST_CASE("whole blocks, short blocks and ranges go through spans") {
  Store store;
  const imss::Dataset dataset = store.instance.create("spans", layout());
  dataset.set(1, bytes_of(1));
  dataset.write(1, 100, bytes_of(2, 50));
  std::vector<std::byte> out(52);
  dataset.read(1, 99, out);
  CHECK(out.front() == std::byte{1});
  CHECK(out[1] == std::byte{2});
  CHECK(out.back() == std::byte{1});
  dataset.set(1, bytes_of(5, 10));
  std::vector<std::byte> block(kBlockBytes);
  dataset.get(1, block);
  CHECK(block[9] == std::byte{5});
  CHECK(block[10] == std::byte{0});
  CHECK(dataset.metadata().block_count == 4);
}

TEST_CASE("typed elements are set, got and viewed") {
  Store store;
  auto numbers =
      imss::TypedDataset<std::uint32_t>::from(store.instance.create("numbers", layout()));
  std::vector<std::uint32_t> values(numbers.elements_per_block());
  std::iota(values.begin(), values.end(), 0U);
  numbers.set(2, values);
  CHECK(numbers.get(2) == values);
  const imss::TypedView<std::uint32_t> view = numbers.view(2);
  CHECK(view.size() == values.size());
  CHECK(view[1000] == 1000U);
  CHECK(std::equal(view.begin(), view.end(), values.begin()));
  struct Odd {
    char bytes[7];
  };
  CHECK(imss::TypedDataset<Odd>::try_from(store.instance.open("numbers")).error().code() == EINVAL);
}

TEST_CASE("a view outlives the set that replaces its block and may be moved") {
  Store store;
  const imss::Dataset dataset = store.instance.create("view", layout());
  dataset.set(1, bytes_of(1));
  imss::BlockView view;
  CHECK(view.bytes().empty());
  view = dataset.view(1);
  dataset.set(1, bytes_of(2));
  CHECK(view.view_as<std::uint8_t>()[5] == 1);
  const imss::BlockView moved = std::move(view);
  CHECK(moved.bytes()[5] == std::byte{1});
  CHECK(view.bytes().empty());
  CHECK(view.try_release().ok());
}

TEST_CASE("requests complete by wait, by ready and by their destructor") {
  Store store;
  const imss::Dataset dataset = store.instance.create("requests", layout());
  const auto content = bytes_of(6);
  std::vector<std::byte> out(kBlockBytes);
  dataset.set_async(1, content).wait();
  imss::Request get = dataset.get_async(1, out);
  while (!get.ready()) {
  }
  CHECK(out == content);
  CHECK(get.try_wait().error().code() == EINVAL);
  { const imss::Request unwatched = dataset.set_async(2, content); }
  dataset.get(2, out);
  CHECK(out == content);
}

TEST_CASE("an instance lists, renames and removes by path") {
  Store store;
  { const imss::Dataset dataset = store.instance.create("dir/one", layout()); }
  store.instance.make_directory("dir/sub");
  const std::vector<std::string> listed = store.instance.list("dir");
  CHECK(listed.size() == 2);
  store.instance.rename("dir/one", "dir/sub/two");
  CHECK(store.instance.list("dir/sub") ==
        std::vector<std::string>{store.instance.uri_of("dir/sub/two")});
  store.instance.remove("dir/sub/two");
  store.instance.remove_directory("dir/sub");
  CHECK(store.instance.list("dir").empty());
  CHECK(thrown_code([&] { store.instance.remove("dir/sub/two"); }) == ENOENT);
}
