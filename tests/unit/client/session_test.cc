#include "client/session.h"

#include <sys/wait.h>

#include "segment/fault.h"
#include "session_test_util.h"

using engines::is_stamped;
using engines::kKiB;
using engines::kMiB;
using engines::stamped;
using engines::World;
using imss::Code;
using imss::client::Dataset;
using imss::client::DatasetOptions;
using imss::client::Session;
using sessions::all_blocks;
using sessions::get;
using sessions::stored_blocks;

namespace {

std::shared_ptr<Dataset> create(Session& session, const std::string& path,
                                const DatasetOptions& options, std::int32_t* handle = nullptr) {
  auto made = session.create(World::uri(path), options);
  INFO(made.status().message());
  REQUIRE(made.ok());
  if (handle != nullptr) *handle = *made;
  auto dataset = session.dataset(*made);
  REQUIRE(dataset.ok());
  return *dataset;
}

void fence(World& world, std::uint32_t position) {
  (*world.data(position).hosted)
      .super()
      .state.store(static_cast<std::uint64_t>(imss::segment::State::kFenced));
}

}  // namespace

TEST_CASE("blocks go to the servers that the policy says and come back from there", "[session]") {
  World world(3);
  for (const imss::Policy policy : imss::kAllPolicies) {
    DatasetOptions options;
    options.policy = policy;
    options.block_bytes = 10 * kKiB;
    options.block_count = 30;
    std::int32_t handle = 0;
    auto dataset = create(world.session(), "d", options, &handle);
    for (std::uint64_t block = 1; block <= 30; ++block) {
      REQUIRE(world.session().put(*dataset, block, stamped(10 * kKiB, block)).ok());
    }
    for (std::uint64_t block = 1; block <= 30; ++block) {
      REQUIRE(is_stamped(get(world.session(), *dataset, block, 10 * kKiB), block));
      const auto where = world.session().locate(*dataset, block);
      REQUIRE(where.ok());
      REQUIRE(where->size() == 1);
      CHECK(*world.data(where->front()).store.version({dataset->id, block}) == 1);
    }
    CHECK(world.session().put(*dataset, 0, stamped(8, 1)).code() == Code::kInvalidArgument);
    CHECK(world.session().put(*dataset, 31, stamped(8, 1)).code() == Code::kInvalidArgument);
    CHECK(world.session().put(*dataset, 1, stamped(10 * kKiB + 1, 1)).code() ==
          Code::kInvalidArgument);
    REQUIRE(world.session().unlink(World::uri("d")).ok());
    REQUIRE(world.session().release(handle).ok());
    CHECK(all_blocks(world) == 0);
  }
  world.require_sound();
}

TEST_CASE("every copy is written, and reads turn to another copy when a server is gone",
          "[session]") {
  const std::uint32_t copies = GENERATE(2U, 3U);
  World world(3);
  DatasetOptions options;
  options.block_bytes = 10 * kKiB;
  options.block_count = 12;
  options.replicas = copies;
  auto dataset = create(world.session(), "d", options);
  for (std::uint64_t block = 1; block <= 12; ++block) {
    REQUIRE(world.session().put(*dataset, block, stamped(10 * kKiB, 1)).ok());
    REQUIRE(world.session().put(*dataset, block, stamped(10 * kKiB, block)).ok());
    REQUIRE(world.session().write(*dataset, block, 8, stamped(16, 100)).ok());
    const auto where = world.session().locate(*dataset, block);
    REQUIRE(where->size() == copies);
    for (const std::uint32_t position : *where) {
      CHECK(*world.data(position).store.version({dataset->id, block}) == 3);
    }
  }
  for (std::uint32_t gone = 0; gone + 1 < copies; ++gone) {
    fence(world, gone);
    for (std::uint64_t block = 1; block <= 12; ++block) {
      const auto content = get(world.session(), *dataset, block, 10 * kKiB);
      CHECK(is_stamped(std::span(content).first(8), block));
      CHECK(is_stamped(std::span(content).subspan(8, 16), 100));
      CHECK(is_stamped(std::span(content).subspan(24), block));
      auto view = world.session().view(*dataset, block);
      REQUIRE(view.ok());
      CHECK(is_stamped(view->bytes.subspan(24), block));
      imss::store::release(*view);
    }
  }
  for (std::uint64_t block = 1; block <= 12; ++block) {
    REQUIRE(world.session().put(*dataset, block, stamped(10 * kKiB, 7)).ok());
    CHECK(is_stamped(get(world.session(), *dataset, block, 10 * kKiB), 7));
    REQUIRE(world.session().write(*dataset, block, 0, stamped(8, 9)).ok());
    CHECK(is_stamped(get(world.session(), *dataset, block, 8), 9));
  }
}

TEST_CASE("a block without a copy left is an I/O error at once", "[session]") {
  World world(3);
  DatasetOptions options;
  options.block_bytes = 1000;
  options.block_count = 9;
  auto dataset = create(world.session(), "d", options);
  for (std::uint64_t block = 1; block <= 9; ++block)
    REQUIRE(world.session().put(*dataset, block, stamped(1000, 1)).ok());
  fence(world, 1);
  int gone = 0;
  for (std::uint64_t block = 1; block <= 9; ++block) {
    std::vector<std::byte> out(1000);
    const auto status = world.session().get(*dataset, block, 0, out);
    if (status.ok()) continue;
    CHECK(status.code() == Code::kIo);
    CHECK(world.session().put(*dataset, block, out).code() == Code::kIo);
    CHECK(world.session().write(*dataset, block, 0, out).code() == Code::kIo);
    CHECK(world.session().view(*dataset, block).code() == Code::kIo);
    ++gone;
  }
  CHECK(gone == 3);
}

TEST_CASE("blocks of a LOCAL dataset stay where their first writer was", "[session]") {
  World world(3);
  DatasetOptions options;
  options.policy = imss::Policy::kLocal;
  options.block_bytes = 1000;
  auto dataset = create(world.session(), "d", options);
  auto other = Session::connect_segment((*world.metadata().hosted).name());
  REQUIRE(other.ok());
  (*other)->set_own_segment((*world.data(2).hosted).name());
  auto handle = (*other)->open(World::uri("d"));
  REQUIRE(handle.ok());
  auto far = (*other)->dataset(*handle);
  REQUIRE(world.session().put(*dataset, 1, stamped(1000, 1)).ok());
  REQUIRE((*other)->put(**far, 2, stamped(1000, 2)).ok());
  CHECK(world.session().locate(*dataset, 1)->front() == 0);
  CHECK(world.session().locate(*dataset, 2)->front() == 2);
  REQUIRE((*other)->write(**far, 1, 0, stamped(8, 3)).ok());
  REQUIRE(world.session().write(*dataset, 2, 0, stamped(8, 4)).ok());
  CHECK((*other)->locate(**far, 1)->front() == 0);
  CHECK(is_stamped(get(world.session(), *dataset, 1, 8), 3));
  CHECK(is_stamped(get(**other, **far, 2, 992, 8), 2));
  CHECK(is_stamped(get(world.session(), *dataset, 7, 1000), 0));  // nobody wrote it
  REQUIRE(world.session().unlink(World::uri("d")).ok());
  other->reset();
  REQUIRE(world.session().release(0).ok());
  CHECK(all_blocks(world) == 0);
  world.require_sound();
}

TEST_CASE("a LOCAL block is found by all although the first writer had no server of the dataset",
          "[session]") {
  World world(3);
  DatasetOptions options;
  options.policy = imss::Policy::kLocal;
  options.block_bytes = 1000;
  options.server_count = 2;
  auto other = Session::connect_segment((*world.metadata().hosted).name());
  REQUIRE(other.ok());
  (*other)->set_own_segment((*world.data(2).hosted).name());
  std::int32_t handle = 0;
  auto dataset = create(**other, "d", options, &handle);
  for (std::uint64_t block = 1; block <= 6; ++block)
    REQUIRE((*other)->put(*dataset, block, stamped(1000, block)).ok());
  auto opened = world.session().open(World::uri("d"));
  auto near = world.session().dataset(*opened);
  for (std::uint64_t block = 1; block <= 6; ++block) {
    REQUIRE(world.session().write(**near, block, 0, stamped(8, 50)).ok());
    CHECK(is_stamped(get(world.session(), **near, block, 992, 8), block));
    CHECK(is_stamped(get(**other, *dataset, block, 8), 50));
  }
}

TEST_CASE("an unlinked dataset works for those who have it open and goes with the last of them",
          "[session]") {
  World world(2);
  DatasetOptions options;
  options.block_bytes = 1000;
  std::int32_t handle = 0;
  auto dataset = create(world.session(), "dir/d", options, &handle);
  REQUIRE(world.session().put(*dataset, 1, stamped(1000, 1)).ok());
  REQUIRE(world.session().unlink(World::uri("dir/d")).ok());
  CHECK(world.session().open(World::uri("dir/d")).code() == Code::kNotFound);
  CHECK(world.session().attributes(World::uri("dir/d")).code() == Code::kNotFound);
  CHECK(is_stamped(get(world.session(), *dataset, 1, 1000), 1));
  REQUIRE(world.session().put(*dataset, 2, stamped(1000, 2)).ok());
  CHECK(world.session().attributes(*dataset)->links == 0);
  CHECK(world.session().attributes(*dataset)->size == 2000);
  REQUIRE(world.session().release(handle).ok());
  CHECK(world.session().release(handle).code() == Code::kBadHandle);
  CHECK(all_blocks(world) == 0);
  world.require_sound();
}

TEST_CASE("what a client that died had open and unlinked is dropped", "[session]") {
  World world(2);
  const pid_t child = ::fork();
  if (child == 0) {
    DatasetOptions options;
    options.block_bytes = 1000;
    auto handle = world.session().create(World::uri("d"), options);
    auto dataset = world.session().dataset(handle.ok() ? *handle : -1);
    const std::vector<std::byte> content(1000);
    const bool done = dataset.ok() && world.session().put(**dataset, 3, content).ok() &&
                      world.session().unlink(World::uri("d")).ok();
    ::_exit(done ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  CHECK(all_blocks(world) != 0);
  world.upkeep();
  CHECK(all_blocks(world) == 0);
  world.require_sound();
}

TEST_CASE("whoever reaps need not have looked at the instance before", "[session]") {
  World world(2);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("IMSS_FAULT", "create.inode_made:1:kill", 1);
    imss::segment::fault_reload();
    [[maybe_unused]] const auto made = world.session().create(World::uri("d"), {});
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(all_blocks(world) == 1);
  (*world.metadata().hosted).clean_up();
  auto fresh = Session::connect_segment((*world.metadata().hosted).name());
  REQUIRE(fresh.ok());
  REQUIRE((*fresh)->reap().ok());
  CHECK(all_blocks(world) == 0);
  fresh->reset();
  world.require_sound();
}

TEST_CASE("an instance is destroyed with everything in it", "[session]") {
  World world(2);
  DatasetOptions options;
  options.block_bytes = 1000;
  for (const char* path : {"a", "x/b", "x/y/c", "x/y/z/d"}) {
    std::int32_t handle = 0;
    auto dataset = create(world.session(), path, options, &handle);
    REQUIRE(world.session().put(*dataset, 1, stamped(1000, 1)).ok());
    REQUIRE(world.session().release(handle).ok());
  }
  REQUIRE(world.session().destroy_instance("w").ok());
  CHECK(world.session().instance("w").code() == Code::kNotFound);
  CHECK(all_blocks(world) == 0);
  world.require_sound();
}

TEST_CASE("paths and names are answered with the right codes", "[session]") {
  World world(1);
  auto& session = world.session();
  DatasetOptions options;
  options.block_count = 4;
  create(session, "a/b/file", options);
  CHECK(session.create(World::uri("a/b/file"), options).code() == Code::kExists);
  CHECK(session.create(World::uri("a/b/file/x"), options).code() == Code::kNotDirectory);
  CHECK(session.create(World::uri(""), options).code() == Code::kInvalidArgument);
  CHECK(session.create({"other", "x"}, options).code() == Code::kNotFound);
  CHECK(session.open(World::uri("a/b")).code() == Code::kIsDirectory);
  CHECK(session.open(World::uri("a/none")).code() == Code::kNotFound);
  CHECK(session.unlink(World::uri("a")).code() == Code::kIsDirectory);
  CHECK(session.remove_directory(World::uri("a")).code() == Code::kNotEmpty);
  CHECK(session.remove_directory(World::uri("a/b/file")).code() == Code::kNotDirectory);
  CHECK(session.make_directory(World::uri("a"), 0755, false).code() == Code::kExists);
  CHECK(session.make_directory(World::uri("p/q"), 0755, false).code() == Code::kNotFound);
  CHECK(session.make_directory(World::uri("p/q"), 0755, true).ok());
  CHECK(session.make_directory(World::uri("p/q"), 0755, true).ok());
  CHECK(session.rename(World::uri("a"), World::uri("a/b/x")).code() == Code::kWouldCycle);
  CHECK(session.rename(World::uri("a"), {"other", "a"}).code() == Code::kInvalidArgument);
  CHECK(session.rename(World::uri("a"), World::uri("p/q")).ok());
  CHECK(session.attributes(World::uri("p/q/b/file")).ok());
  CHECK(session.attributes(World::uri("p"))->links == 3);
  options.replicas = 2;
  CHECK(session.create(World::uri("copies"), options).code() == Code::kInvalidArgument);
  options.replicas = 1;
  options.block_bytes = 64 * kMiB + 1;
  CHECK(session.create(World::uri("big"), options).code() == Code::kInvalidArgument);
}
