#include <random>
#include <set>
#include <thread>

#include "cross_test_util.h"
#include "engines.h"

using engines::NameEngine;
using imss::Code;
using imss::metadata::EntryInfo;
using imss::metadata::NodeType;

namespace {

constexpr std::uint64_t kRoot = 1000;

struct Tree : NameEngine {
  Tree() {
    imss::metadata::InstanceInfo info;
    info.name = "w";
    info.root = kRoot;
    info.servers = {1};
    REQUIRE(names.create_instance(info).ok());
  }
  std::uint64_t file(std::uint64_t parent, const std::string& name) {
    EntryInfo info;
    info.parent = parent;
    info.name = name;
    info.type = NodeType::kDataset;
    auto pending = names.prepare(info);
    REQUIRE(pending.ok());
    REQUIRE(names.publish(*pending).ok());
    return pending->info.id;
  }
  std::uint64_t directory(std::uint64_t parent, const std::string& name) {
    std::uint64_t id = 0;
    REQUIRE(names.make_directory(parent, name, {0755}, &id).ok());
    return id;
  }
  std::uint64_t id_of(std::uint64_t parent, const std::string& name) { return names.lookup(parent, name)->id; }
  std::multiset<std::uint64_t> listed(std::uint64_t parent) {
    std::vector<EntryInfo> entries;
    REQUIRE(names.list(parent, 0, 10'000, &entries).ok());
    std::multiset<std::uint64_t> ids;
    for (const EntryInfo& entry : entries) {
      ids.insert(entry.id);
      CHECK(id_of(parent, entry.name) == entry.id);
      CHECK(names.lookup(parent, entry.name)->cookie == entry.cookie);
    }
    return ids;
  }
};

}  // namespace

TEST_CASE("an exchange gives each of two names what the other one had") {
  Tree tree;
  auto& names = tree.names;
  const auto dir = tree.directory(kRoot, "dir");
  const auto a = tree.file(kRoot, "a");
  const auto b = tree.file(kRoot, "b");
  const auto inner = tree.file(dir, "inner");
  const auto before = names.lookup(kRoot, "a");
  REQUIRE(names.exchange(kRoot, "a", kRoot, "b").ok());
  CHECK(tree.id_of(kRoot, "a") == b);
  CHECK(tree.id_of(kRoot, "b") == a);
  CHECK(names.lookup(kRoot, "b")->link == before->link);  // names go with what they name
  REQUIRE(names.exchange(kRoot, "a", dir, "inner").ok());
  CHECK(tree.id_of(dir, "inner") == b);
  CHECK(tree.id_of(kRoot, "a") == inner);
  CHECK(tree.listed(kRoot) == std::multiset<std::uint64_t>{dir, a, inner});
  CHECK(tree.listed(dir) == std::multiset<std::uint64_t>{b});
  REQUIRE(names.exchange(kRoot, "a", kRoot, "a").ok());
  CHECK(names.exchange(kRoot, "a", kRoot, "none").code() == Code::kNotFound);
  CHECK(names.exchange(kRoot, "none", kRoot, "a").code() == Code::kNotFound);
  CHECK(names.exchange(kRoot, "a", 4711, "a").code() == Code::kNotFound);
  CHECK(names.exchange(imss::metadata::kInstancesDirectory, "w", kRoot, "a").code() == Code::kInvalidArgument);
  CHECK(names.directory(kRoot)->entries == 3);
  CHECK(names.directory(kRoot)->subdirectories == 1);
  tree.hosted.require_sound();
}

TEST_CASE("a directory is exchanged with a file and with a directory, and knows its new parent") {
  Tree tree;
  auto& names = tree.names;
  const auto one = tree.directory(kRoot, "one");
  const auto two = tree.directory(kRoot, "two");
  const auto below = tree.directory(one, "below");
  const auto deep = tree.directory(below, "deep");
  const auto file = tree.file(two, "file");
  REQUIRE(names.exchange(one, "below", two, "file").ok());
  CHECK(tree.id_of(one, "below") == file);
  CHECK(tree.id_of(two, "file") == below);
  CHECK(names.directory(below)->parent == two);
  CHECK(names.directory(one)->subdirectories == 0);
  CHECK(names.directory(two)->subdirectories == 1);
  // Not empty, either of them: nothing is replaced.
  REQUIRE(names.exchange(two, "file", kRoot, "one").ok());
  CHECK(names.directory(below)->parent == kRoot);
  CHECK(names.directory(one)->parent == two);
  CHECK(names.directory(kRoot)->subdirectories == 2);
  CHECK(tree.id_of(below, "deep") == deep);
  CHECK(names.remove_directory(kRoot, "one").code() == Code::kNotEmpty);
  tree.hosted.require_sound();
}

TEST_CASE("no directory comes below itself by an exchange") {
  Tree tree;
  auto& names = tree.names;
  const auto one = tree.directory(kRoot, "one");
  const auto two = tree.directory(one, "two");
  tree.directory(two, "three");
  const auto file = tree.file(two, "file");
  for (const char* name : {"three", "file"}) {
    CHECK(names.exchange(kRoot, "one", two, name).code() == Code::kWouldCycle);
    CHECK(names.exchange(two, name, kRoot, "one").code() == Code::kWouldCycle);
  }
  CHECK(names.exchange(kRoot, "one", one, "two").code() == Code::kWouldCycle);
  CHECK(tree.id_of(kRoot, "one") == one);
  CHECK(tree.id_of(two, "file") == file);
  CHECK(names.directory(two)->parent == one);
  tree.hosted.require_sound();
}

TEST_CASE("exchanges, renames and removals at the same time lose and double nothing") {
  Tree tree;
  constexpr int kThreads = 4;
  constexpr int kSteps = 400;
  std::vector<std::uint64_t> directories = {kRoot};
  for (int i = 0; i < 3; ++i) directories.push_back(tree.directory(directories[static_cast<std::size_t>(i)], "d" + std::to_string(i)));
  std::multiset<std::uint64_t> wanted;
  for (int i = 0; i < 6; ++i) {
    wanted.insert(tree.file(directories[static_cast<std::size_t>(i % 4)], "n" + std::to_string(i % 3)));
  }
  wanted.insert(directories.begin() + 1, directories.end());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937_64 random(static_cast<std::uint64_t>(thread));
      for (int step = 0; step < kSteps; ++step) {
        const auto from = directories[random() % directories.size()];
        const auto to = directories[random() % directories.size()];
        const auto name = [&] { return (random() % 4 == 0 ? "d" : "n") + std::to_string(random() % 3); };
        const std::string first = name();
        const std::string second = name();
        if (step % 4 != 0) {
          const auto status = tree.names.exchange(from, first, to, second);
          if (!status.ok() && status.code() != Code::kNotFound && status.code() != Code::kWouldCycle) std::abort();
        } else if (const auto moved = tree.names.rename(from, first, to, second, true);
                   !moved.ok() && moved.code() != Code::kNotFound && moved.code() != Code::kExists &&
                   moved.code() != Code::kWouldCycle) {
          std::abort();
        }
      }
      tree.hosted.segment()->leave();
    });
  }
  for (auto& thread : threads) thread.join();
  std::multiset<std::uint64_t> found;
  for (const std::uint64_t directory : directories) {
    const auto here = tree.listed(directory);
    found.insert(here.begin(), here.end());
    CHECK(tree.names.directory(directory)->entries == here.size());
    // It is reached from the root.
    std::uint64_t above = directory;
    for (int depth = 0; depth < 5 && above != kRoot; ++depth) above = tree.names.directory(above)->parent;
    CHECK(above == kRoot);
  }
  CHECK(found == wanted);
  tree.hosted.require_sound();
}
