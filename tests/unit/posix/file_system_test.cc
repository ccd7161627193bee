#include "posix/file_system.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <set>

#include "engines.h"

using engines::kKiB;
using engines::pattern;
using engines::World;
using imss::posix::FileSystem;

namespace {

struct Files {
  Files() {
    auto made = FileSystem::open(world.session(), "w", {.block_bytes = 64 * kKiB});
    REQUIRE(made.ok());
    view = std::move(*made);
  }
  std::unique_ptr<imss::posix::OpenFile> create(std::string_view name, int flags = O_RDWR) {
    auto file = view->create(view->root(), name, flags, 0640, {7, 8}, &status);
    INFO(file.status().message());
    REQUIRE(file.ok());
    return std::move(*file);
  }
  World world;
  std::unique_ptr<FileSystem> view;
  struct stat status = {};
};

}  // namespace

TEST_CASE("a file has the size, owner and mode it was given, and reads back over block boundaries") {
  Files files;
  const auto file = files.create("data");
  const auto content = pattern(200 * kKiB + 1, 3);
  REQUIRE(file->write(100, content).ok());
  std::vector<std::byte> back(content.size() + 200);
  const auto got = file->read(0, back);
  REQUIRE(got.ok());
  CHECK(*got == content.size() + 100);
  CHECK(std::equal(content.begin(), content.end(), back.begin() + 100));
  CHECK(back[99] == std::byte{0});
  const auto status = files.view->lookup(files.view->root(), "data");
  REQUIRE(status.ok());
  CHECK(status->st_size == static_cast<off_t>(content.size() + 100));
  CHECK(status->st_uid == 7);
  CHECK(status->st_gid == 8);
  CHECK(status->st_mode == (S_IFREG | 0640));
}

TEST_CASE("an unlinked file stays readable until it is closed") {
  Files files;
  auto file = files.create("data");
  REQUIRE(file->write(0, pattern(1000, 1)).ok());
  REQUIRE(files.view->unlink(files.view->root(), "data").ok());
  CHECK(files.view->lookup(files.view->root(), "data").status().error_number() == ENOENT);
  std::vector<std::byte> back(1000);
  REQUIRE(file->read(0, back).ok());
  CHECK(back == pattern(1000, 1));
  file.reset();
  files.world.require_sound();
}

TEST_CASE("a time that was set after a write is not changed by the close") {
  Files files;
  auto file = files.create("data");
  REQUIRE(file->write(0, pattern(10, 1)).ok());
  REQUIRE(files.view->set_attributes(files.status.st_ino, {.modified_ns = 5'000'000'007}).ok());
  file.reset();
  const auto status = files.view->lookup(files.view->root(), "data");
  REQUIRE(status.ok());
  CHECK(status->st_mtim.tv_sec == 5);
  CHECK(status->st_mtim.tv_nsec == 7);
}

TEST_CASE("a directory belongs to who made it, and its mode, owner and times can be set") {
  Files files;
  auto& view = *files.view;
  const auto made = view.make_directory(view.root(), "dir", 0750, {7, 8});
  REQUIRE(made.ok());
  CHECK(made->st_uid == 7);
  CHECK(made->st_gid == 8);
  CHECK(made->st_mode == (S_IFDIR | 0750));
  const auto set = view.set_attributes(made->st_ino, {.mode = 01777, .gid = 9, .accessed_ns = 3'000'000'001, .modified_ns = 4'000'000'002});
  REQUIRE(set.ok());
  CHECK(set->st_mode == (S_IFDIR | 01777));
  const auto now = view.lookup(view.root(), "dir");
  REQUIRE(now.ok());
  CHECK(now->st_mode == (S_IFDIR | 01777));
  CHECK(now->st_uid == 7);
  CHECK(now->st_gid == 9);
  CHECK(now->st_atim.tv_sec == 3);
  CHECK(now->st_atim.tv_nsec == 1);
  CHECK(now->st_mtim.tv_sec == 4);
  CHECK(now->st_ctim.tv_sec > 1'000'000'000);
  CHECK(view.set_attributes(made->st_ino, {.size = 0}).status().error_number() == EISDIR);
  REQUIRE(view.set_attributes(view.root(), {.uid = 10}).ok());
  CHECK(view.attributes(view.root())->st_uid == 10);
}

TEST_CASE("fifos, sockets and devices are names with attributes, and have no data") {
  Files files;
  auto& view = *files.view;
  const auto root = view.root();
  struct Wanted {
    const char* name;
    std::uint32_t type;
    std::uint64_t device;
  };
  for (const Wanted& wanted : {Wanted{"fifo", S_IFIFO, 0}, Wanted{"socket", S_IFSOCK, 0}, Wanted{"character", S_IFCHR, 0x12345678},
                               Wanted{"block", S_IFBLK, 0xffffffff}}) {
    INFO(wanted.name);
    REQUIRE(view.make_node(root, wanted.name, wanted.type | 0604, wanted.device, {7, 8}).ok());
    CHECK(view.make_node(root, wanted.name, wanted.type | 0604, 0, {}).status().error_number() == EEXIST);
    const auto status = view.lookup(root, wanted.name);
    REQUIRE(status.ok());
    CHECK(status->st_mode == (wanted.type | 0604));
    CHECK(status->st_uid == 7);
    CHECK(status->st_gid == 8);
    CHECK(status->st_rdev == wanted.device);
    CHECK(status->st_size == 0);
    CHECK(status->st_blocks == 0);
    CHECK(status->st_nlink == 1);
    CHECK(view.open_file(status->st_ino, O_RDONLY).status().error_number() == ENXIO);
    CHECK(view.set_attributes(status->st_ino, {.size = 0}).status().error_number() == EINVAL);
    CHECK(view.set_attributes(status->st_ino, {.mode = 0600})->st_mode == (wanted.type | 0600));
    CHECK(files.world.session().open(World::uri(wanted.name)).status().error_number() == ENXIO);
    REQUIRE(view.link(status->st_ino, root, "second").ok());
    CHECK(view.lookup(root, "second")->st_nlink == 2);
    std::uint32_t listed = 0;
    REQUIRE(view.list(root, 0, [&](const FileSystem::Listed& entry) {
                  if (entry.name == "second") listed = entry.mode;
                  return true;
                }).ok());
    CHECK(listed == wanted.type);
    REQUIRE(view.rename({root, "second"}, {root, "moved"}, 0).ok());
    REQUIRE(view.unlink(root, "moved").ok());
    REQUIRE(view.unlink(root, wanted.name).ok());
  }
  CHECK(view.make_node(root, "large", S_IFCHR | 0600, std::uint64_t{1} << 32, {}).status().error_number() == EINVAL);
  CHECK(view.make_node(root, "dir", S_IFDIR | 0700, 0, {}).status().error_number() == EPERM);
  CHECK(view.make_node(root, "link", S_IFLNK | 0777, 0, {}).status().error_number() == EINVAL);
  for (const std::uint32_t type : {0U, static_cast<std::uint32_t>(S_IFREG)}) {
    REQUIRE(view.make_node(root, "file", type | 0640, 0, {}).ok());
    CHECK(view.open_file(view.lookup(root, "file")->st_ino, O_RDWR).ok());
    REQUIRE(view.unlink(root, "file").ok());
  }
  files.world.require_sound();
}

TEST_CASE("in a directory with the setgid bit everything new has its group") {
  Files files;
  auto& view = *files.view;
  REQUIRE(view.set_attributes(view.root(), {.mode = 02775, .gid = 99}).ok());
  files.create("file");
  CHECK(files.status.st_uid == 7);
  CHECK(files.status.st_gid == 99);
  CHECK(files.status.st_mode == (S_IFREG | 0640));
  const auto directory = view.make_directory(view.root(), "dir", 0750, {7, 8});
  REQUIRE(directory.ok());
  CHECK(directory->st_gid == 99);
  CHECK(directory->st_mode == (S_IFDIR | 02750));
  const auto link = view.make_symlink(view.root(), "link", "file", {7, 8});
  REQUIRE(link.ok());
  CHECK(link->st_gid == 99);
}

TEST_CASE("open flags and errors are those of tmpfs") {
  Files files;
  auto& view = *files.view;
  const auto root = view.root();
  auto file = files.create("data", O_WRONLY | O_APPEND);
  REQUIRE(file->write(0, pattern(10, 1)).ok());
  REQUIRE(file->write(0, pattern(10, 1)).ok());
  std::vector<std::byte> one(1);
  CHECK(file->read(0, one).status().error_number() == EBADF);
  CHECK(view.attributes(files.status.st_ino)->st_size == 20);
  struct stat status = {};
  CHECK(view.create(root, "data", O_RDWR | O_EXCL, 0600, {}, &status).status().error_number() == EEXIST);
  CHECK(view.create(root, "data", O_RDWR | O_DIRECTORY, 0600, {}, &status).status().error_number() == ENOTDIR);
  REQUIRE(view.create(root, "data", O_RDWR | O_TRUNC, 0600, {}, &status).ok());
  CHECK(status.st_size == 0);
  CHECK(view.lookup(root, std::string(256, 'x')).status().error_number() == ENAMETOOLONG);
  REQUIRE(view.make_directory(root, "dir", 0755, {}).ok());
  CHECK(view.unlink(root, "dir").error_number() == EISDIR);
  CHECK(view.remove_directory(root, "data").error_number() == ENOTDIR);
  CHECK(view.rename({root, "data"}, {root, "dir"}, 0).error_number() == EISDIR);
  CHECK(view.rename({root, "data"}, {root, "dir"}, RENAME_NOREPLACE).error_number() == EEXIST);
  CHECK(view.rename({root, "data"}, {root, "dir"}, RENAME_EXCHANGE | RENAME_NOREPLACE).error_number() == EINVAL);
  REQUIRE(view.make_symlink(root, "symbolic", "data", {}).ok());
  CHECK(view.open_file(view.lookup(root, "symbolic")->st_ino, O_RDONLY).status().error_number() == ELOOP);
}

TEST_CASE("a listing goes on at any place it gave, and has the dots first") {
  Files files;
  for (int i = 0; i < 600; ++i) files.create("f" + std::to_string(i));
  std::set<std::string> names;
  std::uint64_t offset = 0;
  for (bool more = true; more;) {
    more = false;
    REQUIRE(files.view
                ->list(files.view->root(), offset,
                       [&](const FileSystem::Listed& listed) {
                         if (more) return false;
                         CHECK(names.emplace(listed.name).second);
                         offset = listed.offset;
                         more = true;
                         return true;
                       })
                .ok());
  }
  CHECK(names.size() == 602);
  CHECK(names.contains(".."));
}
