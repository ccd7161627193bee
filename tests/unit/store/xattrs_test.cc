#include "store/xattrs.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "base/clock.h"
#include "segment/fault.h"
#include "store_test_util.h"

using imss::store::Attributes;
using imss::store::changed_xattrs;
using imss::store::kMaxXattrValueBytes;
using imss::store::xattr_in;
using imss::store::XattrChange;
using imss::store::XattrMode;
using imss::store::XattrValue;
using stores::Bytes;
using stores::Code;
using stores::DataEngine;

namespace {

constexpr std::uint64_t kDataset = 40;
constexpr std::uint64_t kName = 41;

XattrValue text(std::string_view value) { return {value.begin(), value.end()}; }

struct OneInode : DataEngine {
  OneInode() {
    Attributes attributes;
    attributes.first_link = kName;
    REQUIRE(store.create_inode(kDataset, attributes).ok());
  }
  imss::Status set(const std::string& name, std::string_view value, XattrMode mode = XattrMode::kSet) {
    return store.change_xattr(kDataset, {mode, name, text(value)});
  }
  void drop() {
    REQUIRE(*store.remove_link(kDataset, kName));
    REQUIRE(store.erase_inode(kDataset).ok());
  }
};

}  // namespace

TEST_CASE("extended attributes are set, replaced, listed and removed as their mode says", "[store]") {
  OneInode inode;
  CHECK(inode.store.xattr(kDataset, "user.a").code() == Code::kNoData);
  CHECK(inode.store.xattr(kDataset, "")->empty());
  CHECK(inode.set("user.a", "1", XattrMode::kReplace).code() == Code::kNoData);
  CHECK(inode.set("user.a", "", XattrMode::kRemove).code() == Code::kNoData);
  REQUIRE(inode.set("user.a", "one", XattrMode::kCreate).ok());
  CHECK(inode.set("user.a", "2", XattrMode::kCreate).code() == Code::kExists);
  REQUIRE(inode.set("user.empty", "").ok());
  REQUIRE(inode.set("user.a", std::string(5000, 'x'), XattrMode::kReplace).ok());
  CHECK(*inode.store.xattr(kDataset, "user.a") == text(std::string(5000, 'x')));
  CHECK(inode.store.xattr(kDataset, "user.empty")->empty());
  const auto names = *inode.store.xattr(kDataset, "");
  CHECK(std::string(names.begin(), names.end()) == std::string("user.empty\0user.a\0", 18));
  REQUIRE(inode.set("user.a", "", XattrMode::kRemove).ok());
  CHECK(inode.store.xattr(kDataset, "user.a").code() == Code::kNoData);
  inode.hosted.require_sound();
}

TEST_CASE("a change of an extended attribute stamps the time of change and of nothing else", "[store]") {
  OneInode inode;
  const Attributes before = *inode.store.attributes(kDataset);
  while (imss::coarse_realtime_ns() <= static_cast<std::int64_t>(before.changed_ns)) {
  }
  REQUIRE(inode.set("user.a", "1").ok());
  const Attributes after = *inode.store.attributes(kDataset);
  CHECK(after.changed_ns > before.changed_ns);
  CHECK(after.modified_ns == before.modified_ns);
  CHECK(after.version == before.version + 1);
  CHECK(after.type == before.type);
}

TEST_CASE("extended attributes go with the inode, and none is set on one that is gone", "[store]") {
  OneInode inode;
  REQUIRE(inode.set("user.a", std::string(3000, 'x')).ok());
  inode.drop();
  CHECK(inode.set("user.a", "1").code() == Code::kNotFound);
  CHECK(inode.store.xattr(kDataset, "user.a").code() == Code::kNotFound);
  CHECK(*inode.store.version({kDataset, imss::store::kXattrBlock}) == 0);
  inode.hosted.require_sound();
}

TEST_CASE("what has neither name nor opener gets no extended attribute before it is dropped", "[store]") {
  OneInode inode;
  REQUIRE(*inode.store.remove_link(kDataset, kName));
  CHECK(inode.set("user.a", "1").code() == Code::kNotFound);
  REQUIRE(inode.store.erase_inode(kDataset).ok());
  inode.hosted.require_sound();
}

TEST_CASE("extended attributes have the limits of Linux, and a change beyond them changes nothing", "[store]") {
  OneInode inode;
  REQUIRE(inode.set("user.large", std::string(kMaxXattrValueBytes, 'y')).ok());
  CHECK(inode.set("user.more", std::string(kMaxXattrValueBytes + 1, 'y')).code() == Code::kInvalidArgument);
  CHECK(inode.set(std::string(256, 'n'), "").code() == Code::kInvalidArgument);
  REQUIRE(inode.set(std::string(255, 'n'), "").ok());
  CHECK(inode.set("", "1").code() == Code::kInvalidArgument);
  REQUIRE(inode.set("user.2", std::string(kMaxXattrValueBytes, '2')).ok());
  REQUIRE(inode.set("user.3", std::string(kMaxXattrValueBytes, '3')).ok());
  CHECK(inode.set("user.4", std::string(kMaxXattrValueBytes, '4')).code() == Code::kNoSpace);
  CHECK(inode.store.xattr(kDataset, "user.4").code() == Code::kNoData);
  CHECK(inode.store.xattr(kDataset, "user.3")->size() == kMaxXattrValueBytes);
  // The names of all fit into what listxattr(2) returns.
  int set = 0;
  while (inode.set("user." + std::to_string(set) + std::string(240, 'n'), "").ok()) ++set;
  CHECK(set > 200);
  CHECK(inode.store.xattr(kDataset, "")->size() <= imss::store::kMaxXattrListBytes);
}

TEST_CASE("threads that set different extended attributes lose none", "[store]") {
  OneInode inode;
  constexpr int kThreads = 4;
  constexpr int kEach = 25;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kEach; ++i) {
        const std::string name = "user." + std::to_string(thread) + "." + std::to_string(i);
        if (!inode.set(name, name, XattrMode::kCreate).ok()) std::abort();
      }
      inode.hosted.segment()->leave();
    });
  }
  for (auto& thread : threads) thread.join();
  for (int thread = 0; thread < kThreads; ++thread) {
    for (int i = 0; i < kEach; ++i) {
      const std::string name = "user." + std::to_string(thread) + "." + std::to_string(i);
      CHECK(*inode.store.xattr(kDataset, name) == text(name));
    }
  }
  inode.hosted.require_sound();
}

TEST_CASE("a process that is killed while it changes an extended attribute leaves the old or the new one", "[store][kill]") {
  for (const char* point : {"xattr.filled:1:kill", "xattr.changed:1:kill"}) {
    OneInode inode;
    REQUIRE(inode.set("user.a", "old").ok());
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("IMSS_FAULT", point, 1);
      imss::segment::fault_reload();
      (void)inode.set("user.a", "new");
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    const bool done = std::string_view(point).starts_with("xattr.changed");
    CHECK(*inode.store.xattr(kDataset, "user.a") == text(done ? "new" : "old"));
    inode.hosted.require_sound();
    inode.drop();
    inode.hosted.require_sound();
  }
}

TEST_CASE("damaged extended attributes are an error wherever they are damaged", "[store]") {
  const Bytes sound = *changed_xattrs({}, {XattrMode::kSet, "user.a", text("value")});
  CHECK(xattr_in(sound, "user.a").ok());
  for (std::size_t cut = 1; cut < sound.size(); ++cut) {
    CHECK(xattr_in(std::span(sound).first(cut), "user.b").code() == Code::kCorrupt);
  }
  for (std::size_t at = 0; at < 14; ++at) {
    Bytes damaged = sound;
    damaged[at] ^= std::byte{0x80};
    const auto read = xattr_in(damaged, "user.b");
    CHECK(!read.ok());
    CHECK(changed_xattrs(damaged, {XattrMode::kSet, "user.c", {}}).ok() == (read.code() == Code::kNoData));
  }
}
