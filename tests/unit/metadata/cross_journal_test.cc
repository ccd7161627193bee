// Changes over several metadata servers in the metadata files, and servers that begin anew from those.
#include <filesystem>

#include "cross_test_util.h"
#include "metadata/journaller.h"

using namespace cross;
using imss::metadata::ChangeOutcome;
using imss::metadata::DirectoryRole;
using imss::metadata::Journaller;

namespace {

struct File {
  File() : path("/tmp/imss_cross_" + std::to_string(::getpid()) + ".metadata") { std::filesystem::remove(path); }
  ~File() { std::filesystem::remove(path); }
  std::string path;
};

// Two servers with a rename of everything under way whose driver has gone after its last claim: a directory from
// server 0 to server 1, over an empty one, and a file besides.
struct Started {
  Started() {
    from = all.make_directory(all.root(), "from", 0);
    to = all.make_directory(all.root(), "to", 1);
    moved = all.make_directory(from, "moved", 1);
    empty = all.make_directory(to, "empty", 1);
    REQUIRE(all.view().create(from, "file").ok());
    REQUIRE(all.view().create(to, "target").ok());
    const auto claim = [&](const char* name, const char* new_name) {
      const std::uint64_t change = *all.part(0).names.begin_change();
      sources.push_back(*all.view().lookup(from, name));
      changes.push_back(change);
      imss::metadata::NameClaim wanted{change, sources.back(), false};
      wanted.entry.parent = to;
      wanted.entry.name = new_name;
      REQUIRE(all.part(1).names.claim_name(wanted).ok());
      return change;
    };
    const std::uint64_t change = claim("moved", "empty");
    REQUIRE(all.part(1).names.claim_directory({change, DirectoryRole::kMoved, moved, from, to, {}}).ok());
    REQUIRE(all.part(1).names.claim_directory({change, DirectoryRole::kGone, empty, to, 0, {}}).ok());
    claim("file", "fresh");
    made = all.id_with_home(1);
    making = *all.part(0).names.begin_change();
    REQUIRE(all.part(1).names.claim_directory({making, DirectoryRole::kNew, made, from, 0, {0700, 11, 12}}).ok());
  }
  void decide() {
    for (std::size_t i = 0; i < changes.size(); ++i) {
      REQUIRE(all.part(0).names.decide_change({changes[i], false, sources[i], {1}}).ok());
    }
    EntryInfo entry;
    entry.parent = from;
    entry.name = "made";
    entry.id = made;
    entry.link = *all.part(0).names.new_id();
    entry.type = NodeType::kDirectory;
    REQUIRE(all.part(0).names.decide_change({making, true, entry, {1}}).ok());
  }
  void require_done() {
    const auto tree = all.tree();
    CHECK(tree.contains("to/empty/"));
    CHECK(tree.at("to/empty/").id == moved);
    CHECK(tree.contains("to/fresh"));
    CHECK(tree.contains("to/target"));
    CHECK(tree.contains("from/made/"));
    const auto directory = all.part(1).names.directory(made);
    REQUIRE(directory.ok());
    CHECK(directory->mode == 0700);
    CHECK(directory->uid == 11);
    CHECK(directory->gid == 12);
    CHECK(tree.size() == 6);
  }
  void require_undone() {
    const auto tree = all.tree();
    CHECK(tree.contains("from/moved/"));
    CHECK(tree.at("to/empty/").id == empty);
    CHECK(tree.contains("from/file"));
    CHECK(tree.contains("to/target"));
    CHECK(tree.size() == 6);
  }

  Cluster all{2};
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::uint64_t moved = 0;
  std::uint64_t empty = 0;
  std::uint64_t made = 0;
  std::uint64_t making = 0;
  std::vector<std::uint64_t> changes;
  std::vector<EntryInfo> sources;
};

}  // namespace

TEST_CASE("claims are in the metadata file, so that a server that lost its segment finishes or undoes them", "[cross]") {
  Started started;
  const bool committed = GENERATE(true, false);
  const bool by_snapshot = GENERATE(true, false);
  File file;
  if (committed && by_snapshot) started.decide();
  {
    // The first snapshot has what is there already.
    auto journaller = Journaller::start(started.all.part(1).hosted.segment(), file.path, true);
    INFO(journaller.status().message());
    REQUIRE(journaller.ok());
    if (committed && !by_snapshot) started.decide();
    (*journaller)->stop();
  }
  started.all.lose_segment(1, file.path);
  if (!committed) {
    for (const std::uint64_t change : {started.changes[0], started.changes[1], started.making}) {
      REQUIRE(*started.all.part(0).names.change_outcome(change, true) == ChangeOutcome::kAborted);
    }
  }
  REQUIRE(started.all.upkeep().ok());
  if (committed) {
    started.require_done();
  } else {
    started.require_undone();
  }
  started.all.require_sound();
}

TEST_CASE("a coordinator that lost its segment remembers from its file what it has committed", "[cross]") {
  Started started;
  const bool committed = GENERATE(true, false);
  File file;
  {
    auto journaller = Journaller::start(started.all.part(0).hosted.segment(), file.path, true);
    INFO(journaller.status().message());
    REQUIRE(journaller.ok());
    if (committed) started.decide();
    (*journaller)->stop();
  }
  started.all.lose_segment(0, file.path);
  REQUIRE(started.all.upkeep().ok());
  if (committed) {
    started.require_done();
  } else {
    started.require_undone();
  }
  started.all.require_sound();
}
