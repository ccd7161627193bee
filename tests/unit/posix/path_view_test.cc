#include "posix/path_view.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "engines.h"

using engines::kKiB;
using engines::World;
using imss::Result;
using imss::Status;
using imss::posix::Caller;
using imss::posix::FileSystem;
using imss::posix::PathView;
using imss::posix::Spot;

namespace {

const Caller kRoot{0, 0, {}};
const Caller kOwner{7, 8, {}};
const Caller kMember{9, 10, {8}};
const Caller kOther{11, 12, {}};

struct Paths {
  Paths() {
    auto made = FileSystem::open(world.session(), "w", {.block_bytes = 64 * kKiB});
    REQUIRE(made.ok());
    files = std::move(*made);
    view = std::make_unique<PathView>(world.session(), *files);
  }
  Result<Spot> walk(std::string_view path, const Caller& who = kRoot, bool follow = true) {
    int links = PathView::kMostLinks;
    return view->walk(who, view->root(), path, follow, &links);
  }
  Spot find(std::string_view path, const Caller& who = kRoot, bool follow = true) {
    auto spot = walk(path, who, follow);
    INFO(path << ": " << spot.status().message());
    REQUIRE(spot.ok());
    return std::move(*spot);
  }
  int error_of(std::string_view path, const Caller& who = kRoot) { return walk(path, who).status().error_number(); }
  void directory(std::string_view path, std::uint32_t mode, const Caller& who) {
    REQUIRE(view->make_directory(kRoot, find(path), mode).ok());
    REQUIRE(view->change(kRoot, find(path), {.uid = who.uid, .gid = who.gid}).ok());
  }
  void file(std::string_view path, std::uint32_t mode, const Caller& who) {
    REQUIRE(view->open(kRoot, find(path), O_CREAT | O_WRONLY, mode).ok());
    REQUIRE(view->change(kRoot, find(path), {.uid = who.uid, .gid = who.gid}).ok());
  }
  void link(std::string_view path, const std::string& target) {
    REQUIRE(view->make_symlink(kRoot, find(path, kRoot, false), target).ok());
  }
  World world;
  std::unique_ptr<FileSystem> files;
  std::unique_ptr<PathView> view;
};

int number_of(const Status& status) { return status.error_number(); }

}  // namespace

TEST_CASE("a walk goes over dots, slashes and links to where the name is") {
  Paths paths;
  paths.directory("a", 0755, kRoot);
  paths.directory("a/b", 0755, kRoot);
  paths.file("a/b/f", 0644, kRoot);
  paths.link("to_b", "a/b");
  paths.link("a/up", "../to_b/f");
  const auto number = paths.find("a/b/f").number();
  for (const char* const path : {"/a/b/f", "a//b/./f", "a/b/../b/f", "to_b/f", "a/up", "to_b/../b/f", "./a/../a/up"}) {
    CHECK(paths.find(path).number() == number);
  }
  CHECK(paths.find("").number() == paths.view->root());
  CHECK(paths.find("a/b/..").number() == paths.find("a").number());
  CHECK(paths.find("to_b/").is_directory());
  CHECK(paths.find("to_b", kRoot, false).entry->type == imss::metadata::NodeType::kSymlink);
  CHECK_FALSE(paths.find("a/nothing").is_there());
  CHECK(paths.error_of("a/nothing/f") == ENOENT);
  CHECK(paths.error_of("a/b/f/g") == ENOTDIR);
  CHECK(paths.error_of("a/b/f/") == ENOTDIR);
  CHECK(paths.error_of("a/" + std::string(256, 'x')) == ENAMETOOLONG);
}

TEST_CASE("a walk that leaves the instance says where it goes on") {
  Paths paths;
  paths.directory("a", 0755, kRoot);
  paths.link("a/out", "/etc/passwd");
  paths.link("above", "../x");
  CHECK(paths.find("a/out/more").outside == "/etc/passwd/more");
  CHECK(paths.find("a/../../y").outside == "../y");
  CHECK(paths.find("above/z").outside == "../x/z");
  CHECK(paths.find("a/..").number() == paths.view->root());
}

TEST_CASE("links in a circle end with ELOOP") {
  Paths paths;
  paths.link("one", "two");
  paths.link("two", "one");
  CHECK(paths.error_of("one") == ELOOP);
  CHECK(paths.error_of("one/x") == ELOOP);
}

TEST_CASE("the path of a directory is found again after it was moved") {
  Paths paths;
  paths.directory("a", 0755, kRoot);
  paths.directory("a/b", 0755, kRoot);
  const auto number = paths.find("a/b").number();
  CHECK(*paths.view->path_of(number) == "/a/b");
  paths.directory("c", 0755, kRoot);
  REQUIRE(paths.view->rename(kRoot, paths.find("a/b"), paths.find("c/d"), 0).ok());
  CHECK(*paths.view->path_of(number) == "/c/d");
  REQUIRE(paths.view->remove_directory(kRoot, paths.find("c/d")).ok());
  CHECK(paths.view->path_of(number).status().error_number() == ENOENT);
}

TEST_CASE("owner, group and others get what the mode gives them") {
  Paths paths;
  paths.file("f", 0640, kOwner);
  const auto opens = [&](const Caller& who, int flags) {
    return number_of(paths.view->open(who, paths.find("f", who), flags, 0).status());
  };
  CHECK(opens(kOwner, O_RDWR) == 0);
  CHECK(opens(kMember, O_RDONLY) == 0);
  CHECK(opens(kMember, O_WRONLY) == EACCES);
  CHECK(opens(kMember, O_RDONLY | O_TRUNC) == EACCES);
  CHECK(opens(kOther, O_RDONLY) == EACCES);
  CHECK(opens(kOther, O_PATH) == 0);
  CHECK(opens(kRoot, O_RDWR) == 0);
  CHECK(number_of(paths.view->check(kRoot, paths.find("f"), X_OK)) == EACCES);
}

TEST_CASE("directories that may not be searched or written keep others out") {
  Paths paths;
  paths.directory("d", 0750, kOwner);
  paths.file("d/f", 0666, kOwner);
  CHECK(paths.error_of("d/f", kOther) == EACCES);
  CHECK(paths.error_of("d/..", kOther) == EACCES);
  CHECK(paths.find("d/f", kMember).is_there());
  CHECK(number_of(paths.view->unlink(kMember, paths.find("d/f", kMember))) == EACCES);
  CHECK(number_of(paths.view->open(kMember, paths.find("d/g", kMember), O_CREAT | O_WRONLY, 0600).status()) == EACCES);
  CHECK(number_of(paths.view->make_directory(kMember, paths.find("d/g", kMember), 0700)) == EACCES);
  CHECK(number_of(paths.view->rename(kMember, paths.find("d/f", kMember), paths.find("d/g", kMember), 0)) == EACCES);
  CHECK(number_of(paths.view->unlink(kOwner, paths.find("d/f", kOwner))) == 0);
}

TEST_CASE("in a directory with the sticky bit names go only with their owners") {
  Paths paths;
  paths.directory("tmp", 01777, kRoot);
  paths.file("tmp/f", 0666, kOwner);
  CHECK(number_of(paths.view->unlink(kOther, paths.find("tmp/f", kOther))) == EPERM);
  CHECK(number_of(paths.view->rename(kOther, paths.find("tmp/f", kOther), paths.find("tmp/g", kOther), 0)) == EPERM);
  CHECK(number_of(paths.view->unlink(kOwner, paths.find("tmp/f", kOwner))) == 0);
}

TEST_CASE("attributes are changed by whom they belong to") {
  Paths paths;
  paths.file("f", 0666, kOwner);
  const Spot spot = paths.find("f");
  CHECK(number_of(paths.view->change(kOther, spot, {.mode = 0600})) == EPERM);
  CHECK(number_of(paths.view->change(kOther, spot, {.uid = 11})) == EPERM);
  CHECK(number_of(paths.view->change(kOwner, spot, {.uid = 11})) == EPERM);
  CHECK(number_of(paths.view->change(kOwner, spot, {.gid = 99})) == EPERM);
  CHECK(number_of(paths.view->change(kOwner, spot, {.gid = 8})) == 0);
  CHECK(number_of(paths.view->change(kOther, spot, {.modified_ns = 1})) == EPERM);
  CHECK(number_of(paths.view->change(kOther, spot, {.modified_ns = 1}, true)) == 0);
  CHECK(number_of(paths.view->change(kOther, spot, {.size = 10})) == 0);
  CHECK(number_of(paths.view->change(kOwner, spot, {.mode = 0400})) == 0);
  CHECK(number_of(paths.view->change(kOther, spot, {.size = 0})) == EACCES);
  CHECK(paths.view->status(spot)->st_size == 10);
}

TEST_CASE("a file that has lost its name can be gone on with") {
  Paths paths;
  auto opened = paths.view->open(kRoot, paths.find("f"), O_CREAT | O_RDWR, 0600);
  REQUIRE(opened.ok());
  REQUIRE(opened->file->write(0, engines::pattern(100, 1)).ok());
  REQUIRE(paths.view->unlink(kRoot, paths.find("f")).ok());
  auto adopted = paths.view->adopt("w", opened->entry, O_RDONLY);
  REQUIRE(adopted.ok());
  std::vector<std::byte> back(100);
  CHECK(*adopted->file->read(0, back) == 100);
  CHECK(back == engines::pattern(100, 1));
}
