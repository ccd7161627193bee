// Mode, owner and times of directories, and what is inherited from them; on one metadata server and on several.
#include "cross_test_util.h"

using imss::metadata::DirectoryInfo;
using imss::metadata::Permissions;
using imss::store::AttributeChange;
using namespace cross;

namespace {

std::vector<std::uint32_t> numbers(const Permissions& of) { return {of.mode, of.uid, of.gid}; }

}  // namespace

TEST_CASE("a change of a directory touches what it names and the change time, nothing else", "[namespace]") {
  Cluster all(GENERATE(1U, 3U));
  const std::uint64_t id = all.make_directory(all.root(), "d", all.count() - 1);
  auto& names = all.part(all.count() - 1).names;
  const DirectoryInfo before = *names.directory(id);
  CHECK(before.accessed_ns == before.created_ns);
  CHECK(before.changed_ns == before.created_ns);
  const auto change = [&](const AttributeChange& wanted) {
    REQUIRE(names.change_directory(id, wanted).ok());
    return *names.directory(id);
  };
  DirectoryInfo after = change({.fields = AttributeChange::kMode, .mode = 01711, .uid = 9, .modified_ns = 9});
  CHECK(numbers(after.permissions()) == std::vector<std::uint32_t>{01711, before.uid, before.gid});
  CHECK(after.modified_ns == before.modified_ns);
  after = change({.fields = AttributeChange::kUid | AttributeChange::kModified, .uid = 0xfffffffe, .modified_ns = 12});
  after = change({.fields = AttributeChange::kGid | AttributeChange::kAccessed, .gid = 7, .accessed_ns = 13});
  CHECK(numbers(after.permissions()) == std::vector<std::uint32_t>{01711, 0xfffffffe, 7});
  CHECK(after.modified_ns == 12);
  CHECK(after.accessed_ns == 13);
  CHECK(after.changed_ns >= before.changed_ns);
  CHECK(after.created_ns == before.created_ns);
  CHECK(after.parent == before.parent);
  REQUIRE(all.view().create(id, "file").ok());
  after = *names.directory(id);
  CHECK(after.modified_ns >= before.modified_ns);
  CHECK(after.accessed_ns == 13);
  CHECK(names.change_directory(id + 1'000'000, {}).code() == Code::kNotFound);
  REQUIRE(all.view().remove(id, "file").ok());
  REQUIRE(all.view().remove_directory(all.root(), "d").ok());
  CHECK(names.change_directory(id, {}).code() == Code::kNotFound);
  all.require_sound();
}

TEST_CASE("what is made in a directory with the setgid bit gets its group, and a directory the bit", "[namespace]") {
  Cluster all(GENERATE(1U, 3U));
  const std::uint64_t above = all.make_directory(all.root(), "above", 0);
  imss::metadata::CrossNames names(all.services());
  const auto make = [&](const std::string& name, std::uint32_t server) {
    std::uint64_t id = all.id_with_home(server);
    REQUIRE(names.make_directory(above, name, {0750, 5, 6}, &id).ok());
    return numbers(all.part(server).names.directory(id)->permissions());
  };
  const auto group_of_file = [&] {
    imss::metadata::EntryInfo info;
    info.parent = above;
    info.name = "file";
    info.type = NodeType::kDataset;
    auto pending = all.part(0).names.prepare(info);
    REQUIRE(pending.ok());
    const auto group = pending->group;
    all.part(0).names.abandon(*pending);
    return group;
  };
  for (std::uint32_t server = 0; server < all.count(); ++server) {
    CHECK(make("plain" + std::to_string(server), server) == std::vector<std::uint32_t>{0750, 5, 6});
  }
  CHECK(!group_of_file());
  const AttributeChange set{.fields = AttributeChange::kMode | AttributeChange::kGid, .mode = 02775, .gid = 77};
  REQUIRE(all.part(0).names.change_directory(above, set).ok());
  for (std::uint32_t server = 0; server < all.count(); ++server) {
    CHECK(make("group" + std::to_string(server), server) == std::vector<std::uint32_t>{02750, 5, 77});
  }
  CHECK(group_of_file() == 77);
  all.require_sound();
}

TEST_CASE("the attributes of a directory that a change over servers holds wait for it", "[cross]") {
  Cluster all(2);
  const std::uint64_t id = all.make_directory(all.root(), "d", 1);
  auto& names = all.part(1).names;
  const std::uint64_t change = *all.part(0).names.begin_change();
  REQUIRE(names.claim_directory({change, imss::metadata::DirectoryRole::kGone, id, all.root(), 0, {}}).ok());
  const imss::Status claimed = names.change_directory(id, {.fields = AttributeChange::kMode, .mode = 0700});
  REQUIRE(claimed.code() == Code::kClaimed);
  CHECK(claimed.claim() == change);
  REQUIRE(*all.part(0).names.change_outcome(change, true) == imss::metadata::ChangeOutcome::kAborted);
  REQUIRE(names.finish_change(change, false).ok());
  REQUIRE(names.change_directory(id, {.fields = AttributeChange::kMode, .mode = 0700}).ok());
  CHECK(names.directory(id)->mode == 0700);
}
