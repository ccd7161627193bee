// Processes that are stopped in the middle of a change of names: what they found out before is not what stands when
// they wake up, even where it looks the same.
#include "metadata/namespace_internal.h"
#include "names_test_util.h"
#include "stopped.h"

#if !defined(__SANITIZE_THREAD__)  // which does not follow a fork of a process with threads

using engines::Stopped;
using imss::Code;
using names_test::Names;

namespace {

// Where the record of a name lies.
std::uint64_t record_of(Names& all, std::uint64_t parent, std::string_view name) {
  imss::segment::Table entries(*all.hosted, imss::segment::kEntryTable);
  imss::segment::Snapshot snapshot;
  REQUIRE(entries.find(imss::metadata::name_key(parent, name, 0), &snapshot).ok());
  REQUIRE(snapshot.entry != nullptr);
  return imss::segment::Ref(snapshot.values.value0).bare().word();
}

// Takes `name` away and gives it back with another slot of the directory, and a record that lies where the old one
// lay: for somebody who compares places, nothing has changed.
template <typename Take, typename Give>
void move_to_another_slot(Names& all, std::uint64_t parent, const std::string& name, Take&& take, Give&& give) {
  const std::uint64_t before = record_of(all, parent, name);
  const std::uint64_t slot = all.names.lookup(parent, name)->cookie;
  // The pools give out the first extent that is free.
  const auto return_free = [&] { imss::segment::Extents(*all.hosted).return_free(**(*all.hosted).self()); };
  REQUIRE(take());
  REQUIRE(all.create(parent, "comes").ok());
  REQUIRE(all.rename(parent, "comes", parent, "stays") == Code::kOk);  // with a record of its own
  return_free();
  std::string other;
  for (int i = 0; i < 1000 && (i == 0 || record_of(all, all.root, other) != before); ++i) {
    other = "x" + std::to_string(i);
    REQUIRE(all.create(all.root, other).ok());
  }
  REQUIRE(all.remove(all.root, other).ok());
  return_free();
  REQUIRE(give());
  REQUIRE(record_of(all, parent, name) == before);
  REQUIRE(all.names.lookup(parent, name)->cookie != slot);
}

}  // namespace

TEST_CASE("whoever looks up a name and is stopped finds what the name stands for when it wakes up") {
  Names all;
  REQUIRE(all.create(all.root, "name").ok());
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  Stopped reader("names.found", [&] {
    std::uint64_t wanted = 0;
    auto found = all.names.lookup(all.root, "name");
    return ::read(ends[0], &wanted, sizeof(wanted)) == sizeof(wanted) && found.ok() && found->id == wanted;
  });
  REQUIRE(all.remove(all.root, "name").ok());
  for (int i = 0; i < 20; ++i) REQUIRE(all.create(all.root, "nam" + std::to_string(i)).ok());
  std::uint64_t now = 0;
  REQUIRE(all.create(all.root, "name", &now).ok());
  REQUIRE(::write(ends[1], &now, sizeof(now)) == sizeof(now));
  CHECK(reader.is_content_when_it_wakes_up());
  ::close(ends[0]);
  ::close(ends[1]);
  all.hosted.require_sound();
}

TEST_CASE("a stopped rename moves the name that it finds when it wakes up, not the one that lay in the same place") {
  Names all;
  const std::uint64_t directory = all.make_directory(all.root, "d");
  REQUIRE(all.create(directory, "name").ok());
  Stopped mover("names.rename_prepared", [&] { return all.rename(directory, "name", all.root, "moved") == Code::kOk; });
  std::uint64_t now = 0;
  move_to_another_slot(
      all, directory, "name", [&] { return all.remove(directory, "name").ok(); },
      [&] { return all.create(directory, "name", &now).ok(); });
  CHECK(mover.is_content_when_it_wakes_up());
  CHECK(all.id_of(all.root, "moved") == now);
  CHECK(all.list(directory) == std::vector<std::string>{"stays"});
  all.hosted.require_sound();
}

TEST_CASE("a stopped removal of a directory takes the slot that the directory has when it wakes up") {
  Names all;
  const std::uint64_t parent = all.make_directory(all.root, "d");
  all.make_directory(parent, "name");
  Stopped remover("names.directory_found", [&] { return all.names.remove_directory(parent, "name").ok(); });
  move_to_another_slot(
      all, parent, "name", [&] { return all.rename(parent, "name", all.root, "away") == Code::kOk; },
      [&] { return all.rename(all.root, "away", parent, "name") == Code::kOk; });
  CHECK(remover.is_content_when_it_wakes_up());
  CHECK(all.list(parent) == std::vector<std::string>{"stays"});
  all.hosted.require_sound();
}

TEST_CASE("a stopped removal of a directory removes the one that has taken its name meanwhile") {
  Names all;
  all.make_directory(all.root, "name");
  all.make_directory(all.root, "other");
  Stopped remover("names.directory_found", [&] { return all.names.remove_directory(all.root, "name").ok(); });
  REQUIRE(all.rename(all.root, "name", all.root, "kept") == Code::kOk);
  REQUIRE(all.rename(all.root, "other", all.root, "name") == Code::kOk);
  CHECK(remover.is_content_when_it_wakes_up());
  CHECK(all.list(all.root) == std::vector<std::string>{"kept"});
  all.hosted.require_sound();
}

#endif
