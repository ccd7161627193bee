// Further names of datasets, and symbolic links.
#include "client/session.h"
#include "session_test_util.h"

using engines::is_stamped;
using engines::World;
using imss::Code;
using imss::client::Session;
using sessions::all_blocks;
using sessions::blocks_of;
using sessions::exists;
using sessions::make;
using sessions::Opened;
using sessions::read;

namespace {

imss::Uri uri(const char* path) { return World::uri(path); }

}  // namespace

TEST_CASE("a dataset with two names is one dataset, and stays until both are gone", "[session]") {
  World world(2);
  Session& session = world.session();
  make(world, "dir/a", blocks_of(1000), 4);
  REQUIRE(session.link(uri("dir/a"), uri("b")).ok());
  CHECK(session.attributes(uri("b"))->links == 2);
  CHECK(session.resolve(uri("b"))->entry.id == session.resolve(uri("dir/a"))->entry.id);
  CHECK(session.link(uri("dir/a"), uri("b")).code() == Code::kExists);
  CHECK(session.attributes(uri("dir/a"))->links == 2);
  // A rename of one name onto the other does nothing, as POSIX says.
  REQUIRE(session.rename(uri("b"), uri("dir/a")).ok());
  CHECK(exists(world, "b"));
  REQUIRE(session.rename(uri("b"), uri("c")).ok());
  REQUIRE(session.unlink(uri("dir/a")).ok());
  CHECK(session.attributes(uri("c"))->links == 1);
  for (std::uint64_t block = 1; block <= 4; ++block)
    CHECK(is_stamped(read(world, "c", block, 1000), 1 + block));
  REQUIRE(session.unlink(uri("c")).ok());
  CHECK(all_blocks(world) == 0);
  world.require_sound();
}

TEST_CASE("directories, other instances and what is not there get no second name", "[session]") {
  World world(1);
  Session& session = world.session();
  make(world, "a", blocks_of(1000));
  REQUIRE(session.make_directory(uri("dir"), 0755, false).ok());
  CHECK(session.link(uri("dir"), uri("b")).code() == Code::kIsDirectory);
  CHECK(session.link(uri("none"), uri("b")).code() == Code::kNotFound);
  CHECK(session.link(uri("a"), uri("none/b")).code() == Code::kNotFound);
  CHECK(session.link(uri("a"), {"other", "b"}).code() == Code::kInvalidArgument);
  CHECK(session.link(uri("a"), uri("")).code() == Code::kExists);
  CHECK(session.attributes(uri("a"))->links == 1);
}

TEST_CASE("symbolic links are followed on the way, and at the end by open alone", "[session]") {
  World world(2);
  Session& session = world.session();
  make(world, "dir/sub/a", blocks_of(1000), 1, 4);
  REQUIRE(session.make_symlink("sub/a", uri("dir/relative")).ok());
  REQUIRE(session.make_symlink("/dir/./sub", uri("absolute")).ok());
  REQUIRE(session.make_symlink("../../dir/relative", uri("dir/sub/up")).ok());
  CHECK(*session.read_symlink(uri("dir/relative")) == "sub/a");
  CHECK(session.attributes(uri("dir/relative"))->size == 5);
  CHECK(session.attributes(uri("dir/relative"))->type == imss::metadata::NodeType::kSymlink);
  CHECK(session.resolve(uri("dir/relative"))->entry.type == imss::metadata::NodeType::kSymlink);
  const std::uint64_t id = session.resolve(uri("dir/sub/a"))->entry.id;
  for (const char* path : {"dir/relative", "absolute/a", "dir/sub/up", "absolute/up"}) {
    INFO(path);
    CHECK(session.resolve(uri(path), true)->entry.id == id);
    CHECK(is_stamped(read(world, path, 1, 1000), 5));
  }
  // Above the root is the root, and a link may name a directory by "..".
  REQUIRE(session.make_symlink("../../..", uri("dir/top")).ok());
  CHECK(session.resolve(uri("dir/top"), true)->entry.type == imss::metadata::NodeType::kInstance);
  REQUIRE(session.make_symlink("sub/..", uri("dir/here")).ok());
  CHECK(session.resolve(uri("dir/here"), true)->directory ==
        session.resolve(uri("dir"))->directory);
  CHECK(is_stamped(read(world, "dir/here/here/sub/a", 1, 1000), 5));
  REQUIRE(session.unlink(uri("dir/relative")).ok());
  CHECK(session.open(uri("dir/sub/up")).code() == Code::kNotFound);
  CHECK(exists(world, "dir/sub/a"));
}

TEST_CASE("symbolic links that lead in circles, nowhere or over a dataset are errors",
          "[session]") {
  World world(1);
  Session& session = world.session();
  make(world, "a", blocks_of(1000));
  REQUIRE(session.make_symlink("two", uri("one")).ok());
  REQUIRE(session.make_symlink("one", uri("two")).ok());
  CHECK(session.open(uri("one")).code() == Code::kLoop);
  CHECK(session.resolve(uri("one/x")).code() == Code::kLoop);
  REQUIRE(session.make_symlink("none", uri("nowhere")).ok());
  CHECK(session.open(uri("nowhere")).code() == Code::kNotFound);
  REQUIRE(session.make_symlink("a/b", uri("over")).ok());
  CHECK(session.open(uri("over")).code() == Code::kNotDirectory);
  CHECK(session.make_symlink("x", uri("a")).code() == Code::kExists);
  CHECK(session.make_symlink("", uri("empty")).code() == Code::kInvalidArgument);
  CHECK(session.make_symlink(std::string(4097, 'x'), uri("long")).code() == Code::kNameTooLong);
  CHECK(session.read_symlink(uri("a")).code() == Code::kInvalidArgument);
  for (const char* path : {"one", "two", "nowhere", "over", "a"})
    REQUIRE(session.unlink(uri(path)).ok());
  CHECK(all_blocks(world) == 0);
  world.require_sound();
}
