// Changes of names whose parties lie on several metadata servers.
#include <thread>

#include "cross_test_util.h"

using namespace cross;
using imss::metadata::ChangeOutcome;
using imss::metadata::Decision;
using imss::metadata::DirectoryRole;

TEST_CASE("directories are made and removed over servers", "[cross]") {
  Cluster all(3);
  View names = all.view();
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 30; ++i) {
    std::uint64_t id = 0;
    REQUIRE(names.make_directory(i == 0 ? all.root() : ids.back(), "d", &id).ok());
    ids.push_back(id);
  }
  std::set<std::uint32_t> used;
  for (const std::uint64_t id : ids) used.insert(names.home(id));
  CHECK(used.size() == 3);
  CHECK(names.make_directory(all.root(), "d").code() == Code::kExists);
  CHECK(names.remove_directory(all.root(), "d").code() == Code::kNotEmpty);
  CHECK(names.remove_directory(all.root(), "x").code() == Code::kNotFound);
  CHECK(names.make_directory(ids[3] + 1'000'000, "x").code() == Code::kNotFound);
  CHECK(all.tree().size() == 30);
  REQUIRE(names.create(ids[20], "file").ok());
  CHECK(names.remove_directory(ids[20], "file").code() == Code::kNotDirectory);
  CHECK(names.make_directory(ids[20], "file").code() == Code::kExists);
  REQUIRE(names.remove(ids[20], "file").ok());
  for (int i = 29; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    REQUIRE(names.remove_directory(i == 0 ? all.root() : ids[at - 1], "d").ok());
    CHECK(names.create(ids[at], "x").code() == Code::kNotFound);
    CHECK(names.directory(ids[at]).code() == Code::kNotFound);
  }
  CHECK(all.tree().empty());
  all.require_sound();
  // A program that does not know of claims must not touch the segments.
  CHECK((*all.part(1).hosted).super().incompatible == imss::segment::kPartOfNamespace);
}

TEST_CASE("rename answers over servers as it does on one, for every kind of source and target", "[cross]") {
  Cluster all(3);
  View names = all.view();
  const auto [from_at, to_at] = GENERATE(std::pair{0U, 1U}, std::pair{1U, 1U}, std::pair{2U, 0U});
  const std::uint64_t from = all.make_directory(all.root(), "from", from_at);
  const std::uint64_t to = all.make_directory(all.root(), "to", to_at);
  const std::uint32_t moved_at = GENERATE(0U, 1U, 2U);
  const std::uint32_t victim_at = GENERATE(0U, 1U, 2U);
  REQUIRE(names.create(from, "file").ok());
  REQUIRE(names.create(to, "other").ok());
  const std::uint64_t file = all.id_of(from, "file");
  const std::uint64_t directory = all.make_directory(from, "directory", moved_at);
  REQUIRE(names.create(directory, "inside").ok());
  const std::uint64_t empty = all.make_directory(to, "empty", victim_at);
  const std::uint64_t full = all.make_directory(to, "full", victim_at);
  REQUIRE(names.create(full, "thing").ok());

  CHECK(names.rename(from, "none", to, "x").code() == Code::kNotFound);
  CHECK(names.rename(from, "file", to, "empty").code() == Code::kIsDirectory);
  CHECK(names.rename(from, "directory", to, "other").code() == Code::kNotDirectory);
  CHECK(names.rename(from, "directory", to, "full").code() == Code::kNotEmpty);
  CHECK(names.rename(from, "file", to, "other", true).code() == Code::kExists);
  CHECK(names.rename(from, "directory", to, "empty", true).code() == Code::kExists);
  CHECK(names.rename(from, "file", 999'999, "x").code() == Code::kNotFound);
  CHECK(names.rename(from, "directory", directory, "x").code() == Code::kWouldCycle);
  CHECK(all.tree().size() == 9);
  CHECK(all.open_changes() == 0);

  CHECK(names.rename(from, "file", to, "fresh").ok());
  CHECK(all.id_of(to, "fresh") == file);
  CHECK_FALSE(all.exists(from, "file"));
  auto replacing = names.cross().rename(to, "fresh", from, "again", false);
  REQUIRE(replacing.ok());
  CHECK_FALSE(replacing->replaced);
  const std::uint64_t other = all.id_of(to, "other");
  replacing = names.cross().rename(from, "again", to, "other", false);
  REQUIRE(replacing.ok());
  CHECK(replacing->replaced);
  CHECK(replacing->victim.info.id == other);
  all.part(replacing->victim.server).names.forget(replacing->victim);
  CHECK(all.id_of(to, "other") == file);

  CHECK(names.rename(from, "directory", to, "empty").ok());
  CHECK(all.id_of(to, "empty") == directory);
  CHECK(names.directory(directory)->parent == to);
  CHECK(names.directory(empty).code() == Code::kNotFound);
  CHECK(names.rename(to, "empty", from, "directory").ok());
  CHECK(names.rename(from, "directory", from, "renamed").ok());
  CHECK(names.directory(directory)->parent == from);
  CHECK(all.exists(directory, "inside"));
  const auto tree = all.tree();
  CHECK(tree.contains("from/renamed/inside"));
  CHECK(tree.contains("to/other"));
  CHECK(tree.size() == 7);
  all.require_sound();
}

TEST_CASE("a rename over servers between two names of one dataset does nothing", "[cross]") {
  Cluster all(2);
  View names = all.view();
  const std::uint64_t here = all.make_directory(all.root(), "here", 0);
  const std::uint64_t there = all.make_directory(all.root(), "there", 1);
  REQUIRE(names.create(here, "a", 77'777).ok());
  REQUIRE(names.create(there, "b", 77'777).ok());
  CHECK(names.rename(here, "a", there, "b").ok());
  CHECK(all.id_of(here, "a") == 77'777);
  CHECK(all.id_of(there, "b") == 77'777);
  CHECK(names.rename(here, "a", there, "b", true).code() == Code::kExists);
  all.require_sound();
}

TEST_CASE("a directory is not moved below itself, however many servers its path takes", "[cross]") {
  Cluster all(3);
  View names = all.view();
  std::uint64_t top = all.make_directory(all.root(), "top", 1);
  std::uint64_t below = top;
  for (std::uint32_t i = 0; i < 9; ++i) below = all.make_directory(below, "d", i % 3);
  CHECK(names.rename(all.root(), "top", below, "top").code() == Code::kWouldCycle);
  CHECK(all.tree().size() == 10);
  all.require_sound();
}

// --- pending changes ---

namespace {

// A rename from server 0 to a name on server 1, whose driver we are ourselves.
struct Pending {
  Pending() : names(all.view()) {
    from = all.make_directory(all.root(), "from", 0);
    to = all.make_directory(all.root(), "to", 1);
    REQUIRE(names.create(from, "file").ok());
    source = *names.lookup(from, "file");
    change = *all.part(0).names.begin_change();
  }
  Result<imss::metadata::ClaimedName> claim(std::string_view name) {
    imss::metadata::NameClaim claim{change, source, false};
    claim.entry.parent = to;
    claim.entry.name = name;
    return all.part(1).names.claim_name(claim);
  }
  Status decide() { return all.part(0).names.decide_change({change, false, source, {1}}); }
  Cluster all{2};
  View names;
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  EntryInfo source;
  std::uint64_t change = 0;
};

}  // namespace

TEST_CASE("what a pending change holds is answered with the change by every operation", "[cross]") {
  Pending pending;
  Namespace& other = pending.all.part(1).names;
  const bool replaces = GENERATE(false, true);
  if (replaces) REQUIRE(pending.names.create(pending.to, "target").ok());
  REQUIRE(pending.names.create(pending.to, "before").ok());
  REQUIRE(pending.names.create(pending.to, "z").ok());
  REQUIRE(pending.claim("target").ok());
  REQUIRE(pending.claim("target")->replaces == replaces);  // said again, it is the same claim
  const auto is_claimed = [&](const Status& status) {
    CHECK(status.code() == Code::kClaimed);
    CHECK(status.claim() == pending.change);
  };
  is_claimed(other.lookup(pending.to, "target").status());
  is_claimed(other.remove(pending.to, "target").status());
  is_claimed(other.remove_directory(pending.to, "target"));
  is_claimed(other.make_directory(pending.to, "target", {0755}));
  is_claimed(other.rename(pending.to, "z", pending.to, "target").status());
  is_claimed(other.rename(pending.to, "target", pending.to, "y").status());
  std::vector<EntryInfo> entries;
  std::uint64_t cookie = 0;
  Status listed;
  while (listed.ok()) {
    auto more = other.list(pending.to, cookie, 10, &entries);
    listed = more.status();
    if (!entries.empty()) cookie = entries.back().cookie;
    if (more.ok()) REQUIRE(*more);
  }
  is_claimed(listed);
  // The directory must not go while a name is about to come; a reservation is not a name.
  const std::uint64_t names_before = other.directory(pending.to)->entries;
  CHECK(names_before == (replaces ? 3 : 2));
  REQUIRE(pending.all.part(0).names.change_outcome(pending.change, true).ok());
  REQUIRE(pending.names.remove(pending.to, "target").ok() == replaces);
  CHECK(pending.names.create(pending.to, "target").ok());
  CHECK(pending.all.exists(pending.from, "file"));
  pending.all.tree();
  pending.all.require_sound();
}

TEST_CASE("a directory in which a name is claimed is not removed before the claim is settled", "[cross]") {
  Pending pending;
  REQUIRE(pending.claim("target").ok());
  CHECK(pending.all.part(1).names.claim_directory({99, DirectoryRole::kGone, pending.to, pending.all.root(), 0, {}})
            .claim() == pending.change);
  SECTION("committed") {
    REQUIRE(pending.decide().ok());
    CHECK(pending.names.remove_directory(pending.all.root(), "to").code() == Code::kNotEmpty);
    CHECK(pending.all.id_of(pending.to, "target") == pending.source.id);
  }
  SECTION("aborted") {
    REQUIRE(*pending.all.part(0).names.change_outcome(pending.change, true) == ChangeOutcome::kAborted);
    CHECK(pending.names.remove_directory(pending.all.root(), "to").ok());
    CHECK(pending.all.exists(pending.from, "file"));
  }
  REQUIRE(pending.all.upkeep().ok());
  pending.all.tree();
  pending.all.require_sound();
}

TEST_CASE("a late driver whose change was aborted is turned away", "[cross]") {
  Pending pending;
  REQUIRE(pending.claim("target").ok());
  REQUIRE(*pending.all.part(0).names.change_outcome(pending.change, true) == ChangeOutcome::kAborted);
  CHECK(pending.decide().code() == Code::kTimedOut);
  CHECK(pending.all.exists(pending.from, "file"));
  // Its claims are undone by whoever meets them, those that arrive late as well.
  CHECK_FALSE(pending.all.exists(pending.to, "target"));
  REQUIRE(pending.claim("later").ok());
  CHECK_FALSE(pending.all.exists(pending.to, "later"));
  CHECK(pending.names.create(pending.to, "later").ok());
  pending.all.tree();
  pending.all.require_sound();
}

TEST_CASE("a change whose decision was told twice is decided once, and finished once", "[cross]") {
  Pending pending;
  REQUIRE(pending.claim("target").ok());
  REQUIRE(pending.decide().ok());
  REQUIRE(pending.decide().ok());
  CHECK(*pending.all.part(0).names.change_outcome(pending.change, true) == ChangeOutcome::kCommitted);
  REQUIRE(pending.all.part(1).names.finish_change(pending.change, true).ok());
  REQUIRE(pending.all.part(1).names.finish_change(pending.change, true).ok());
  REQUIRE(pending.all.part(1).names.finish_change(pending.change, false).ok());
  REQUIRE(pending.all.part(0).names.forget_change(pending.change).ok());
  REQUIRE(pending.all.part(0).names.forget_change(pending.change).ok());
  CHECK(pending.all.id_of(pending.to, "target") == pending.source.id);
  CHECK_FALSE(pending.all.exists(pending.from, "file"));
  pending.all.tree();
  pending.all.require_sound();
}

TEST_CASE("a source that changed after it was looked up is not decided on", "[cross]") {
  Pending pending;
  REQUIRE(pending.claim("target").ok());
  REQUIRE(pending.names.remove(pending.from, "file").ok());
  CHECK(pending.decide().code() == Code::kNotFound);
  REQUIRE(pending.names.create(pending.from, "file").ok());
  CHECK(pending.decide().code() == Code::kBusy);
  REQUIRE(pending.all.part(0).names.change_outcome(pending.change, true).ok());
  CHECK_FALSE(pending.all.exists(pending.to, "target"));
  pending.all.tree();
  pending.all.require_sound();
}

TEST_CASE("the data of a dataset replaced by a change that others finish is dropped by the server", "[cross]") {
  Pending pending;
  REQUIRE(pending.names.create(pending.to, "target").ok());
  const std::uint64_t victim = pending.all.id_of(pending.to, "target");
  REQUIRE(pending.claim("target").ok());
  REQUIRE(pending.decide().ok());
  CHECK(pending.all.id_of(pending.to, "target") == pending.source.id);
  REQUIRE(pending.all.upkeep().ok());
  CHECK(pending.all.reaped() == std::set<std::uint64_t>{victim});
  pending.all.tree();
  pending.all.require_sound();
}

TEST_CASE("a directory that an earlier attempt left claimed is made all the same", "[cross]") {
  Cluster all(2);
  std::uint64_t id = all.id_with_home(1);
  const std::uint64_t change = *all.part(0).names.begin_change();
  REQUIRE(all.part(1).names.claim_directory({change, DirectoryRole::kNew, id, all.root(), 0, {}}).ok());
  REQUIRE(*all.part(0).names.change_outcome(change, true) == ChangeOutcome::kAborted);
  REQUIRE(all.view().make_directory(all.root(), "made", &id).ok());
  CHECK(all.id_of(all.root(), "made") == id);
  all.tree();
  all.require_sound();
}

// --- servers that cannot be reached ---

TEST_CASE("a change with a participant that cannot be reached is not applied", "[cross]") {
  Cluster all(3);
  View names = all.view();
  const std::uint64_t from = all.make_directory(all.root(), "from", 0);
  const std::uint64_t to = all.make_directory(all.root(), "to", 1);
  REQUIRE(names.create(from, "file").ok());
  all.make_directory(from, "moved", 2);
  all.make_directory(to, "empty", 2);
  auto services = all.services();
  const std::uint32_t missing = GENERATE(1U, 2U);
  services[missing] = nullptr;
  View partial(services);
  const auto before = all.tree();
  if (missing == 1) CHECK(partial.rename(from, "file", to, "file").code() == Code::kIo);
  CHECK(partial.rename(from, "moved", to, "empty").code() == Code::kIo);
  if (missing == 2) CHECK(partial.remove_directory(from, "moved").code() == Code::kIo);
  REQUIRE(all.upkeep().ok());
  const auto after = all.tree();
  CHECK(after.size() == before.size());
  for (const auto& [path, entry] : before) CHECK(after.contains(path));
  all.require_sound();
}

TEST_CASE("what a participant missed after the decision is finished when it is back", "[cross]") {
  Pending pending;
  REQUIRE(pending.claim("target").ok());
  REQUIRE(pending.decide().ok());
  std::vector<NameService*> services = pending.all.services();
  services[1] = nullptr;
  ChangeUpkeep upkeep(pending.all.part(0).hosted.segment());
  CHECK(upkeep.run(services).ok());  // the first time it only looks
  CHECK(upkeep.run(services).code() == Code::kIo);
  CHECK(pending.all.open_changes() == 2);
  CHECK(upkeep.run(pending.all.services()).ok());
  CHECK(pending.all.open_changes() == 0);
  CHECK(pending.all.id_of(pending.to, "target") == pending.source.id);
  pending.all.tree();
  pending.all.require_sound();
}
