#include <sys/wait.h>

#include <barrier>
#include <thread>

#include "engines.h"
#include "store/process_stamp.h"

using engines::DataEngine;
using engines::stamped;
using imss::Code;
using imss::Status;
using imss::store::AttributeChange;
using imss::store::Attributes;

namespace {

constexpr std::uint64_t kDataset = 40;
constexpr std::uint64_t kName = 41;

// A store with one inode of the size.
struct OneInode : DataEngine {
  explicit OneInode(std::uint64_t size = 0) {
    Attributes attributes;
    attributes.size = size;
    attributes.mode = 0640;
    attributes.uid = 12;
    attributes.gid = 34;
    attributes.block_bytes = 4096;
    attributes.first_link = kName;
    REQUIRE(store.create_inode(kDataset, attributes).ok());
  }
  Status drop_outcome;
  Status swept;
  bool settled = false;
  Attributes now() { return *store.attributes(kDataset); }
  std::vector<std::uint64_t> sweep() {
    std::vector<std::uint64_t> orphans;
    imss::store::Store::SweepActions actions;
    actions.settle = [&] {
      settled = true;
      return Status();
    };
    actions.drop = [&](std::uint64_t dataset) {
      orphans.push_back(dataset);
      return drop_outcome;
    };
    swept = store.sweep(actions);
    return orphans;
  }
};

}  // namespace

TEST_CASE("an inode keeps what it was made with, and there is one per dataset", "[store]") {
  OneInode inode(100);
  const Attributes seen = inode.now();
  CHECK(seen.size == 100);
  CHECK(seen.mode == 0640);
  CHECK(seen.uid == 12);
  CHECK(seen.gid == 34);
  CHECK(seen.links == 1);
  CHECK(seen.opens == 0);
  CHECK(seen.block_bytes == 4096);
  CHECK(seen.created_ns != 0);
  CHECK(inode.store.create_inode(kDataset, {}).code() == Code::kExists);
  CHECK(inode.now().size == 100);
  REQUIRE(inode.store.erase_inode(kDataset).ok());
  CHECK(inode.store.attributes(kDataset).code() == Code::kNotFound);
  CHECK(inode.store.open(kDataset).code() == Code::kNotFound);
  CHECK(inode.store.extend_size(kDataset, 1).code() == Code::kNotFound);
  CHECK(inode.store.add_link(kDataset, 50).code() == Code::kNotFound);
  CHECK(inode.store.remove_link(kDataset, kName).code() == Code::kNotFound);
  inode.hosted.require_sound();
}

TEST_CASE("sizes only grow by writing, and times never go back", "[store]") {
  OneInode inode(100);
  REQUIRE(inode.store.extend_size(kDataset, 50).ok());
  CHECK(inode.now().size == 100);
  REQUIRE(inode.store.extend_size(kDataset, 5000).ok());
  CHECK(inode.now().size == 5000);
  REQUIRE(inode.store.change_attributes(kDataset, {.fields = AttributeChange::kModified, .modified_ns = ~0ULL >> 1}).ok());
  REQUIRE(inode.store.extend_size(kDataset, 6000).ok());
  CHECK(inode.now().modified_ns == ~0ULL >> 1);
}

TEST_CASE("a change of attributes touches what it names and the change time, nothing else", "[store]") {
  OneInode inode(100);
  const Attributes before = inode.now();
  const auto change = [&](const AttributeChange& wanted) {
    REQUIRE(inode.store.change_attributes(kDataset, wanted).ok());
    return inode.now();
  };
  Attributes after = change({.fields = AttributeChange::kMode, .mode = 0600, .uid = 99, .modified_ns = 99});
  CHECK(after.mode == 0600);
  CHECK(after.uid == 12);
  CHECK(after.gid == 34);
  CHECK(after.modified_ns == before.modified_ns);
  CHECK(after.accessed_ns == before.accessed_ns);
  after = change({.fields = AttributeChange::kUid, .uid = 0xfffffffe});
  CHECK(after.uid == 0xfffffffe);
  CHECK(after.gid == 34);
  after = change({.fields = AttributeChange::kGid | AttributeChange::kAccessed, .gid = 56, .accessed_ns = 7});
  CHECK(after.uid == 0xfffffffe);
  CHECK(after.gid == 56);
  CHECK(after.accessed_ns == 7);
  CHECK(after.mode == 0600);
  CHECK(after.modified_ns == before.modified_ns);
  CHECK(after.changed_ns >= before.changed_ns);
  CHECK(after.version > before.version);
  CHECK(inode.store.change_attributes(kDataset + 1, {}).code() == Code::kNotFound);
}

// Each thread changes one field; what it finds there later is what it stored.
TEST_CASE("changes of attributes at the same time lose nothing", "[store]") {
  OneInode inode(100);
  std::atomic<int> lost{0};
  std::barrier start(4);
  const auto repeat = [&](std::uint32_t field, auto AttributeChange::* wanted, auto Attributes::* found) {
    return std::thread([&inode, &lost, &start, field, wanted, found] {
      start.arrive_and_wait();
      using Value = std::decay_t<decltype(std::declval<AttributeChange>().*wanted)>;
      for (Value round = 1; round <= 50'000; ++round) {
        AttributeChange change;
        change.fields = field;
        change.*wanted = round;
        if (!inode.store.change_attributes(kDataset, change).ok() || inode.now().*found != round) ++lost;
      }
    });
  };
  std::vector<std::thread> threads;
  threads.push_back(repeat(AttributeChange::kMode, &AttributeChange::mode, &Attributes::mode));
  threads.push_back(repeat(AttributeChange::kUid, &AttributeChange::uid, &Attributes::uid));
  threads.push_back(repeat(AttributeChange::kGid, &AttributeChange::gid, &Attributes::gid));
  threads.push_back(repeat(AttributeChange::kModified, &AttributeChange::modified_ns, &Attributes::modified_ns));
  for (std::thread& thread : threads) thread.join();
  CHECK(lost == 0);
  inode.hosted.require_sound();
}

TEST_CASE("the highest announced block stays known and bounds what is stored", "[store]") {
  OneInode inode(100);
  CHECK(inode.now().last_block() == 1);
  REQUIRE(inode.store.announce_block(kDataset, 9).ok());
  REQUIRE(inode.store.announce_block(kDataset, 4).ok());
  CHECK(inode.now().last_block() == 9);
}

TEST_CASE("a truncation is pending until it is finished, and a second one waits for it",
          "[store]") {
  OneInode inode(10'000);
  auto grown = inode.store.begin_truncation(kDataset, 20'000);
  REQUIRE(grown.ok());
  CHECK(!grown->pending);
  CHECK(inode.now().size == 20'000);
  const std::uint64_t generation = inode.now().generation;
  auto shrunk = inode.store.begin_truncation(kDataset, 5000);
  REQUIRE(shrunk.ok());
  CHECK(shrunk->pending);
  CHECK(shrunk->old_size == 20'000);
  CHECK(inode.now().size == 5000);
  CHECK(inode.now().generation == generation + 1);
  CHECK(inode.store.begin_truncation(kDataset, 10).code() == Code::kBusy);
  auto pending = inode.store.pending_truncation(kDataset);
  REQUIRE(pending.ok());
  CHECK(pending->pending);
  CHECK(pending->size == 5000);
  REQUIRE(inode.store.finish_truncation(kDataset, *pending).ok());
  CHECK(!inode.store.pending_truncation(kDataset)->pending);
  CHECK(inode.store.begin_truncation(kDataset, 0)->pending);
  CHECK(inode.store.pending_truncation(kDataset)->size == 0);
  CHECK(inode.store.begin_truncation(kDataset, 1ULL << 48).code() == Code::kInvalidArgument);
}

TEST_CASE("an unlinked dataset is free when its last opener closes it, and not before", "[store]") {
  OneInode inode;
  REQUIRE(inode.store.open(kDataset).ok());
  REQUIRE(inode.store.open(kDataset).ok());
  CHECK(inode.now().opens == 1);
  REQUIRE(inode.store.add_link(kDataset, 50).ok());
  CHECK(*inode.store.remove_link(kDataset, kName) == false);
  CHECK(*inode.store.remove_link(kDataset, 50) == false);
  CHECK(inode.now().links == 0);
  CHECK(inode.store.add_link(kDataset, 51).code() == Code::kNotFound);
  CHECK(inode.store.open(kDataset).code() == Code::kNotFound);
  CHECK(*inode.store.close(kDataset) == false);
  CHECK(*inode.store.close(kDataset) == true);
  CHECK(inode.store.close(kDataset).code() == Code::kNotFound);
  CHECK(*inode.store.remove_link(kDataset, 50) == true);
}

TEST_CASE("a link is added and removed once, however often that is asked for", "[store]") {
  OneInode inode;
  for (int i = 0; i < 2; ++i) REQUIRE(inode.store.add_link(kDataset, 50).ok());
  REQUIRE(inode.store.add_link(kDataset, kName).ok());
  CHECK(inode.now().links == 2);
  for (int i = 0; i < 2; ++i) CHECK(*inode.store.remove_link(kDataset, kName) == false);
  CHECK(*inode.store.remove_link(kDataset, 99) == false);
  CHECK(inode.now().links == 1);
  // Links are no opens: a sweep leaves them alone.
  (*inode.hosted).super().recoveries.fetch_add(1);
  CHECK(inode.sweep().empty());
  CHECK(inode.now().links == 1);
  for (int i = 0; i < 2; ++i) CHECK(*inode.store.remove_link(kDataset, 50) == true);
  CHECK(inode.now().links == 0);
  inode.hosted.require_sound();
}

TEST_CASE("opens outlive the thread that made them", "[store]") {
  OneInode inode;
  std::thread([&] { REQUIRE(inode.store.open(kDataset).ok()); }).join();
  (*inode.hosted).leave();  // no thread of this process is registered any more, but for the host
  REQUIRE(inode.store.remove_link(kDataset, kName).ok());
  // Somebody dies, so the sweep looks.
  (*inode.hosted).super().recoveries.fetch_add(1);
  CHECK(inode.sweep().empty());
  CHECK(inode.now().opens == 1);
  CHECK(*inode.store.close(kDataset) == true);
}

TEST_CASE("the sweep forgets the opens of a process that ended, whichever way", "[store]") {
  OneInode inode;
  const bool orderly = GENERATE(false, true);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool opened = inode.store.open(kDataset).ok() && inode.store.open(kDataset).ok();
    if (orderly) (*inode.hosted).leave();
    ::_exit(opened ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  CHECK(inode.now().opens == 1);
  REQUIRE(inode.store.remove_link(kDataset, kName).ok());
  (*inode.hosted).clean_up();
  inode.drop_outcome = Code::kTimedOut;
  CHECK(inode.sweep() == std::vector<std::uint64_t>{kDataset});
  CHECK(inode.settled);
  CHECK(inode.swept.code() == Code::kTimedOut);
  CHECK(inode.now().opens == 0);
  // What could not be dropped is tried again until it is.
  inode.drop_outcome = {};
  CHECK(inode.sweep() == std::vector<std::uint64_t>{kDataset});
  CHECK(inode.swept.ok());
  CHECK(inode.sweep().empty());
  inode.hosted.require_sound();
}

TEST_CASE("a process stamp is that of a running process", "[store]") {
  const std::uint64_t mine = imss::store::own_process_stamp();
  CHECK(mine != 0);
  CHECK(imss::store::process_lives(mine));
  CHECK(!imss::store::process_lives(
      mine + (1ULL << 32)));  // another start time: the id was given out again
  CHECK(!imss::store::process_lives(0));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(imss::store::own_process_stamp() != mine ? 0 : 1);
  int status = 0;
  siginfo_t ended{};
  REQUIRE(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) == 0);
  CHECK(!imss::store::process_lives(static_cast<std::uint32_t>(child)));
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}
