#include <sys/xattr.h>

#include <cerrno>
#include <string_view>

#include "views.h"

using views::FileSystem;
using views::View;

namespace {

std::vector<std::uint8_t> text(std::string_view value) { return {value.begin(), value.end()}; }

imss::Status set(FileSystem& files, std::uint64_t number, std::string_view name, std::string_view value, int flags = 0) {
  return files.set_extended_attribute(number, name, std::as_bytes(std::span(value)), flags);
}

void check_all(View& view, std::uint64_t number) {
  FileSystem& files = *view.files;
  INFO("inode " << number);
  CHECK(files.extended_attribute(number, "user.a").status().error_number() == ENODATA);
  CHECK(files.list_extended_attributes(number)->empty());
  CHECK(set(files, number, "user.a", "x", XATTR_REPLACE).error_number() == ENODATA);
  CHECK(files.remove_extended_attribute(number, "user.a").error_number() == ENODATA);
  const auto changed = files.attributes(number)->st_ctim;
  imss::Status made = set(files, number, "user.a", "one", XATTR_CREATE);
  INFO(made.message());
  REQUIRE(made.ok());
  CHECK(set(files, number, "user.a", "two", XATTR_CREATE).error_number() == EEXIST);
  CHECK(set(files, number, "user.a", "two", XATTR_CREATE | XATTR_REPLACE).error_number() == EEXIST);
  CHECK(set(files, number, "user.b", "two", XATTR_CREATE | XATTR_REPLACE).error_number() == ENODATA);
  CHECK(set(files, number, "user.a", "two", 8).error_number() == EINVAL);
  CHECK(*files.extended_attribute(number, "user.a") == text("one"));
  REQUIRE(set(files, number, "user.a", "three", XATTR_REPLACE).ok());
  for (const char* name : {"trusted.x", "security.capability", "user.b", "user.c"}) {
    REQUIRE(set(files, number, name, name).ok());
    CHECK(*files.extended_attribute(number, name) == text(name));
  }
  // Values that do not fit the head of a message.
  const std::string large(40'000, 'l');
  REQUIRE(set(files, number, "user.large", large).ok());
  CHECK(*files.extended_attribute(number, "user.large") == text(large));
  while (files.attributes(number)->st_ctim.tv_sec == changed.tv_sec &&
         files.attributes(number)->st_ctim.tv_nsec == changed.tv_nsec) {
    REQUIRE(set(files, number, "user.a", "three").ok());  // the clock is coarse
  }
  const auto names = *files.list_extended_attributes(number);
  CHECK(std::count(names.begin(), names.end(), 0) == 6);
  REQUIRE(files.remove_extended_attribute(number, "user.large").ok());
  CHECK(files.extended_attribute(number, "user.large").status().error_number() == ENODATA);
  CHECK(*files.extended_attribute(number, "user.a") == text("three"));
  CHECK(set(files, number, "system.other", "1").error_number() == EOPNOTSUPP);
  CHECK(set(files, number, "plain", "1").error_number() == EOPNOTSUPP);
  CHECK(set(files, number, "user.", "1").error_number() == EINVAL);
  CHECK(set(files, number, "", "1").error_number() == ERANGE);
  CHECK(set(files, number, "user." + std::string(251, 'x'), "1").error_number() == ERANGE);
  CHECK(set(files, number, "user.b", std::string(65'537, 'x')).error_number() == E2BIG);
}

}  // namespace

TEST_CASE("every kind of inode has extended attributes, mapped or asked by message") {
  const bool remote = GENERATE(false, true);
  INFO("remote " << remote);
  View view(remote);
  auto& files = *view.files;
  const auto root = files.root();
  view.create("file");
  check_all(view, view.status.st_ino);
  check_all(view, files.make_directory(root, "dir", 0755, {})->st_ino);
  check_all(view, files.make_symlink(root, "link", "file", {})->st_ino);
  check_all(view, files.make_node(root, "fifo", S_IFIFO | 0600, 0, {})->st_ino);
  check_all(view, root);
  const auto file = files.lookup(root, "file")->st_ino;
  REQUIRE(set(files, file, "user.whole", std::string(65'536, 'w')).ok());
  CHECK(files.extended_attribute(file, "user.whole")->size() == 65'536);
  REQUIRE(files.rename({root, "file"}, {root, "moved"}, 0).ok());
  CHECK(*files.extended_attribute(files.lookup(root, "moved")->st_ino, "user.a") == text("three"));
  for (const char* name : {"moved", "link", "fifo"}) REQUIRE(files.unlink(root, name).ok());
  REQUIRE(files.remove_directory(root, "dir").ok());
  view.require_sound();
}

TEST_CASE("a mode follows an access list and the list the mode, and a list that is the mode is not kept") {
  View view(GENERATE(false, true));
  auto& files = *view.files;
  const auto dir = files.make_directory(files.root(), "dir", 02755, {})->st_ino;
  view.create("file");
  constexpr const char* kAccess = "system.posix_acl_access";
  constexpr const char* kDefault = "system.posix_acl_default";
  struct Entry {
    std::uint16_t tag;
    std::uint16_t permissions;
    std::uint32_t id;
  };
  const auto list_of = [](const std::vector<Entry>& entries) {
    std::string bytes("\2\0\0\0", 4);
    bytes.append(reinterpret_cast<const char*>(entries.data()), entries.size() * sizeof(Entry));
    return bytes;
  };
  const std::string minimal = list_of({{1, 6, ~0U}, {4, 4, ~0U}, {32, 1, ~0U}});
  // User 5 may read, as far as the mask lets.
  const std::string larger = list_of({{1, 7, ~0U}, {2, 4, 5}, {4, 2, ~0U}, {16, 5, ~0U}, {32, 0, ~0U}});
  for (const std::uint64_t number : {view.status.st_ino, dir}) {
    const auto before = files.attributes(number)->st_mode;
    REQUIRE(set(files, number, kAccess, larger).ok());
    CHECK(files.attributes(number)->st_mode == ((before & ~0777U) | 0750));
    CHECK(*files.extended_attribute(number, kAccess) == text(larger));
    REQUIRE(files.set_attributes(number, {.mode = 0631}).ok());
    CHECK(*files.extended_attribute(number, kAccess) ==
          text(list_of({{1, 6, ~0U}, {2, 4, 5}, {4, 2, ~0U}, {16, 3, ~0U}, {32, 1, ~0U}})));
    REQUIRE(set(files, number, kAccess, minimal).ok());
    CHECK((files.attributes(number)->st_mode & 0777) == 0641);
    CHECK(files.extended_attribute(number, kAccess).status().error_number() == ENODATA);
    for (const std::string& wrong :
         {std::string(), minimal.substr(1), list_of({{1, 6, 0}, {4, 4, 0}}), list_of({{1, 6, 0}, {2, 4, 5}, {4, 4, 0}, {32, 1, 0}}),
          list_of({{4, 4, 0}, {1, 6, 0}, {32, 1, 0}}), list_of({{1, 6, 0}, {1, 6, 0}, {4, 4, 0}, {32, 1, 0}}),
          list_of({{1, 9, 0}, {4, 4, 0}, {32, 1, 0}}), list_of({{1, 6, 0}, {3, 6, 0}, {4, 4, 0}, {32, 1, 0}})}) {
      CHECK(set(files, number, kAccess, wrong).error_number() == EINVAL);
    }
    CHECK((files.attributes(number)->st_mode & 0777) == 0641);
  }
  REQUIRE(set(files, dir, kDefault, larger).ok());
  CHECK(*files.extended_attribute(dir, kDefault) == text(larger));
  CHECK((files.attributes(dir)->st_mode & 0777) == 0641);
  CHECK(set(files, view.status.st_ino, kDefault, larger).error_number() == EACCES);
  const auto link = files.make_symlink(files.root(), "link", "file", {})->st_ino;
  CHECK(set(files, link, kAccess, minimal).error_number() == EOPNOTSUPP);
}

TEST_CASE("an unlinked file that is open has its extended attributes until it is closed") {
  const bool remote = GENERATE(false, true);
  View view(remote);
  auto file = view.create("file");
  REQUIRE(set(*view.files, view.status.st_ino, "user.a", "kept").ok());
  REQUIRE(view.files->unlink(view.files->root(), "file").ok());
  CHECK(*view.files->extended_attribute(view.status.st_ino, "user.a") == text("kept"));
  REQUIRE(set(*view.files, view.status.st_ino, "user.b", "new").ok());
  file.reset();
  CHECK(!view.files->extended_attribute(view.status.st_ino, "user.a").ok());
  view.require_sound();
}
