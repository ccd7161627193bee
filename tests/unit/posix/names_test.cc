#include <cerrno>
#include <cstdio>

#include "views.h"

using engines::pattern;
using views::View;

TEST_CASE("renameat2 exchanges names, mapped or asked by message") {
  View view(GENERATE(false, true));
  auto& files = *view.files;
  const auto root = files.root();
  const auto dir = files.make_directory(root, "dir", 0755, {})->st_ino;
  view.create("file");
  const auto file = view.status.st_ino;
  struct stat inner = {};
  REQUIRE(files.create(dir, "inner", O_RDWR, 0600, {}, &inner).ok());
  REQUIRE(files.rename({root, "file"}, {dir, "inner"}, RENAME_EXCHANGE).ok());
  CHECK(files.lookup(root, "file")->st_ino == inner.st_ino);
  CHECK(files.lookup(dir, "inner")->st_ino == file);
  REQUIRE(files.rename({root, "file"}, {root, "dir"}, RENAME_EXCHANGE).ok());
  CHECK(files.lookup(root, "file")->st_ino == dir);
  CHECK(files.lookup(root, "dir")->st_ino == inner.st_ino);
  CHECK(files.rename({root, "file"}, {dir, "inner"}, RENAME_EXCHANGE).error_number() == EINVAL);
  CHECK(files.rename({root, "file"}, {dir, "none"}, RENAME_EXCHANGE).error_number() == ENOENT);
  CHECK(files.rename({root, "file"}, {dir, std::string(256, 'x')}, RENAME_EXCHANGE).error_number() == ENAMETOOLONG);
  REQUIRE(files.link(inner.st_ino, root, "second").ok());
  REQUIRE(files.rename({root, "dir"}, {root, "second"}, RENAME_EXCHANGE).ok());
  REQUIRE(files.unlink(root, "second").ok());
  CHECK(files.lookup(root, "dir")->st_nlink == 1);
  view.require_sound();
}

TEST_CASE("a file without a name goes when it is closed, or gets a name before") {
  View view(GENERATE(false, true));
  auto& files = *view.files;
  const auto root = files.root();
  const auto dir = files.make_directory(root, "dir", 02755, {5, 66})->st_ino;
  struct stat status = {};
  {
    const auto file = files.create_unnamed(dir, O_RDWR, 0640, {7, 8}, &status);
    INFO(file.status().message());
    REQUIRE(file.ok());
    CHECK(status.st_nlink == 0);
    CHECK(status.st_uid == 7);
    CHECK(status.st_gid == 66);
    CHECK(status.st_mode == (S_IFREG | 0640));
    REQUIRE((*file)->write(0, pattern(100'000, 1)).ok());
    CHECK(view.read(**file, 0, 100'000) == pattern(100'000, 1));
  }
  CHECK(!files.attributes(status.st_ino).ok());
  {
    auto file = files.create_unnamed(root, O_RDWR, 0640, {7, 8}, &status);
    REQUIRE(file.ok());
    REQUIRE((*file)->write(0, pattern(1000, 2)).ok());
    const auto linked = files.link(status.st_ino, dir, "named");
    INFO(linked.status().message());
    REQUIRE(linked.ok());
    CHECK(linked->st_nlink == 1);
    CHECK(linked->st_ino == status.st_ino);
  }
  const auto file = files.open_file(files.lookup(dir, "named")->st_ino, O_RDONLY);
  REQUIRE(file.ok());
  CHECK(view.read(**file, 0, 1000) == pattern(1000, 2));
  // One that lost its name, and one that shall never have one.
  REQUIRE(files.unlink(dir, "named").ok());
  CHECK(files.link(status.st_ino, dir, "again").status().error_number() == ENOENT);
  const auto never = files.create_unnamed(root, O_RDWR | O_EXCL, 0600, {}, &status);
  REQUIRE(never.ok());
  CHECK(files.link(status.st_ino, dir, "again").status().error_number() == ENOENT);
  CHECK(files.create_unnamed(root, O_RDONLY, 0600, {}, &status).status().error_number() == EINVAL);
  CHECK(files.create_unnamed(4711, O_RDWR, 0600, {}, &status).status().error_number() == ENOENT);
  CHECK(files.lookup(dir, "again").status().error_number() == ENOENT);
  view.require_sound();
}

TEST_CASE("reading stamps the time of access as relatime does") {
  View view(GENERATE(false, true));
  auto& files = *view.files;
  auto file = view.create("file");
  REQUIRE(file->write(0, pattern(100, 1)).ok());
  const auto read_at = [&](int flags) {
    const auto reader = files.open_file(view.status.st_ino, flags);
    view.read(**reader, 0, 10);
    return view.now().st_atim.tv_sec;
  };
  constexpr std::uint64_t kSecond = 1'000'000'000;
  // Older than the content: stamped, but not for one who does not want that.
  const auto set = [&](std::uint64_t accessed, std::uint64_t modified) {
    REQUIRE(files.set_attributes(view.status.st_ino, {.accessed_ns = accessed * kSecond, .modified_ns = modified * kSecond}).ok());
  };
  set(1000, 2000);
  CHECK(read_at(O_RDONLY | O_NOATIME) == 1000);
  CHECK(read_at(O_RDONLY) > 1'000'000'000);
  // Younger than all: stays as it is.
  const auto now = static_cast<std::uint64_t>(view.now().st_ctim.tv_sec);
  set(now + 500, 2000);
  CHECK(read_at(O_RDONLY) == static_cast<time_t>(now + 500));
  const auto changed = view.now().st_ctim;
  set(1000, 2000);
  read_at(O_RDONLY);
  CHECK(view.now().st_mtim.tv_sec == 2000);
  CHECK(view.now().st_ctim.tv_sec >= changed.tv_sec);
  // A directory by listing it.
  const auto dir = files.make_directory(files.root(), "dir", 0755, {})->st_ino;
  REQUIRE(files.set_attributes(dir, {.accessed_ns = 1000 * kSecond}).ok());
  REQUIRE(files.list(dir, 0, [](const auto&) { return true; }).ok());
  CHECK(files.attributes(dir)->st_atim.tv_sec > 1'000'000'000);
}
