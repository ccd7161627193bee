// What the checker says of directories whose names, slots and counters do not agree, each broken by hand.
#include "metadata/check_names.h"

#include <random>
#include <thread>

#include "metadata/namespace_internal.h"
#include "names_test_util.h"

using imss::metadata::DirectoryRecord;
using names_test::Names;

namespace {

namespace metadata = imss::metadata;
namespace segment = imss::segment;

// A directory with a name, a directory and a free slot in it.
struct Stage : Names {
  Stage() {
    directory = make_directory(root, "d");
    REQUIRE(create(directory, "freed").ok());
    REQUIRE(create(directory, "file").ok());
    below = make_directory(directory, "below");
    REQUIRE(remove(directory, "freed").ok());
    REQUIRE(found().empty());
  }
  segment::Ref record_under(std::uint32_t table, segment::Key key) {
    segment::Snapshot snapshot;
    REQUIRE(segment::Table(*hosted, table).find(key, &snapshot).ok());
    REQUIRE(snapshot.entry != nullptr);
    return segment::Ref(snapshot.values.value0).bare();
  }
  DirectoryRecord& record(std::uint64_t id) {
    return *(*hosted).at<DirectoryRecord>(record_under(segment::kDirectoryTable, metadata::directory_key(id)).offset());
  }
  segment::Word& slot(std::string_view name) {
    const std::uint64_t index = names.lookup(directory, name)->cookie - 1;
    const auto chunk = record_under(segment::kDirectoryTable, metadata::chunk_key(directory, index));
    return (*hosted).at<segment::Word>(chunk.offset())[index % metadata::kSlotsPerChunk];
  }
  std::string found() {
    std::string all;
    REQUIRE(metadata::check_names(*hosted, [&](const std::string& place, const std::string& sentence) {
              all += place + ": " + sentence + "\n";
            }).ok());
    return all;
  }
  std::string says(const std::string& what) { return "directory " + std::to_string(directory) + ": " + what + "\n"; }

  std::uint64_t directory = 0;
  std::uint64_t below = 0;
};

}  // namespace

TEST_CASE("counters that are off are found, each with what is there") {
  Stage stage;
  DirectoryRecord& record = stage.record(stage.directory);
  record.entries.store(3);
  CHECK(stage.found() == stage.says("it says 3 entries and has 2"));
  record.entries.store(2);
  record.subdirectories.store(0);
  CHECK(stage.found() == stage.says("it says 0 subdirectories and has 1"));
  record.subdirectories.store(1);
  record.name_claims.store(1);
  CHECK(stage.found() == stage.says("it says 1 claims of names and has 0"));
  record.name_claims.store(0);
  record.next_slot.store(4);
  CHECK(stage.found() == stage.says("it says 4 slots and has 3"));
  record.next_slot.store(3);
  CHECK(stage.found().empty());
}

TEST_CASE("a name that is not in its slot is found, and one whose slot is listed as free") {
  Stage stage;
  segment::Word& slot = stage.slot("file");
  const std::uint64_t before = slot.load();
  const std::string name = "name \"file\" of directory " + std::to_string(stage.directory);
  slot.store(stage.slot("below").load());
  CHECK(stage.found() == name + ": it is not in the slot that it has\n");
  slot.store(before | metadata::kClaimedSlot);
  CHECK(stage.found() == name + ": it is not in the slot that it has\n");
  DirectoryRecord& record = stage.record(stage.directory);
  slot.store(metadata::kFreeSlot | record.free_head.load());
  const std::uint64_t free_head = record.free_head.load();
  record.free_head.store(stage.names.lookup(stage.directory, "file")->cookie);
  CHECK(stage.found() == name + ": it is not in the slot that it has\n" + stage.says("it says 3 slots and has 4"));
  record.free_head.store(free_head);
  slot.store(before);
  CHECK(stage.found().empty());
}

TEST_CASE("a list of free slots that leads astray, or in a circle, is found") {
  Stage stage;
  DirectoryRecord& record = stage.record(stage.directory);
  const std::uint64_t free_head = record.free_head.load();
  for (const std::uint64_t astray : {free_head + 1, std::uint64_t{100}, ~std::uint64_t{0}}) {
    record.free_head.store(astray);
    CHECK(stage.found() == stage.says("its list of free slots is damaged"));
  }
  record.free_head.store(free_head);
  const auto chunk = stage.record_under(segment::kDirectoryTable, metadata::chunk_key(stage.directory, 0));
  segment::Word& link = (*stage.hosted).at<segment::Word>(chunk.offset())[free_head - 1];
  const std::uint64_t before = link.load();
  link.store(metadata::kFreeSlot | free_head);
  CHECK(stage.found() == stage.says("its list of free slots is damaged"));
  link.store(before);
  CHECK(stage.found().empty());
}

TEST_CASE("a directory that says it lies elsewhere, or is gone while it has a name, is found") {
  Stage stage;
  const std::string name = "name \"below\" of directory " + std::to_string(stage.directory);
  DirectoryRecord& below = stage.record(stage.below);
  below.parent.store(stage.root);
  CHECK(stage.found() == name + ": it stands for a directory that lies in another one\n");
  below.parent.store(stage.directory);
  segment::Participant& me = **(*stage.hosted).self();
  const auto key = metadata::directory_key(stage.below);
  const auto ref = stage.record_under(segment::kDirectoryTable, key);
  segment::Table directories(*stage.hosted, segment::kDirectoryTable);
  REQUIRE(directories.erase(me, key).ok());
  CHECK(stage.found() == name + ": it stands for a directory that is not there\n");
  REQUIRE(directories.put(me, key, {ref.word(), 1, stage.directory}, false).ok());
  CHECK(stage.found().empty());
  stage.hosted.require_sound();
}

TEST_CASE("the check of a segment reports what is wrong with its names") {
  Stage stage;
  stage.record(stage.directory).entries.store(7);
  segment::CheckOptions options;
  options.reach = metadata::visit;
  const auto report = segment::check_segment(*stage.hosted, options);
  REQUIRE(report.ok());
  CHECK(report->errors == std::vector<std::string>{"directory " + std::to_string(stage.directory) +
                                                   ": it says 7 entries and has 2"});
  stage.record(stage.directory).entries.store(2);
}

TEST_CASE("names can be checked while they come and go") {
  Names all;
  const std::uint64_t directories[] = {all.make_directory(all.root, "x"), all.make_directory(all.root, "y")};
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937 random(thread);
      while (!done) {
        const std::string name = "n" + std::to_string(random() % 30);
        const std::string other = "n" + std::to_string(random() % 30);
        switch (random() % 4) {
          case 0:
            static_cast<void>(all.create(directories[random() % 2], name));
            break;
          case 1:
            static_cast<void>(all.names.make_directory(directories[random() % 2], name, {0755}));
            break;
          case 2:
            static_cast<void>(all.rename(directories[random() % 2], name, directories[random() % 2], other));
            break;
          default:
            static_cast<void>(all.remove(directories[random() % 2], name));
            static_cast<void>(all.names.remove_directory(directories[random() % 2], other));
        }
      }
    });
  }
  segment::CheckOptions options;
  options.reach = metadata::visit;
  // What it reports then has looked wrong five times in a row, which a busy directory may do by chance.
  for (int i = 0; i < 30; ++i) REQUIRE(segment::check_segment(*all.hosted, options).ok());
  done = true;
  for (std::thread& thread : threads) thread.join();
  all.hosted.require_sound();
}
