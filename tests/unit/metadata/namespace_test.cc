#include <thread>

#include "metadata/namespace_internal.h"
#include "names_test_util.h"

using engines::NameEngine;
using imss::Code;
using imss::metadata::EntryInfo;
using imss::metadata::InstanceInfo;
using imss::metadata::kInstancesDirectory;
using imss::metadata::Namespace;
using imss::metadata::NodeType;
using imss::metadata::ServerInfo;

using names_test::Names;

namespace {

struct HashMask {
  explicit HashMask(std::uint64_t mask) { imss::metadata::set_name_hash_mask(mask); }
  ~HashMask() { imss::metadata::set_name_hash_mask(~0ULL); }
};

}  // namespace

TEST_CASE("a published name is found with all that was said about it, a pending one is not",
          "[namespace]") {
  Names all;
  EntryInfo info;
  info.parent = all.root;
  info.name = "file";
  info.type = NodeType::kDataset;
  info.mode = 0604;
  info.layout = {3, 2, 7, 5, 4096, 99};
  auto pending = all.names.prepare(info);
  REQUIRE(pending.ok());
  CHECK(all.names.lookup(all.root, "file").code() == Code::kNotFound);
  REQUIRE(all.names.publish(*pending).ok());
  auto found = all.names.lookup(all.root, "file");
  REQUIRE(found.ok());
  CHECK(found->id == pending->info.id);
  CHECK(found->parent == all.root);
  CHECK(found->type == NodeType::kDataset);
  CHECK(found->mode == 0604);
  CHECK(found->layout.policy == 3);
  CHECK(found->layout.replicas == 2);
  CHECK(found->layout.server_count == 7);
  CHECK(found->layout.home_server == 5);
  CHECK(found->layout.block_bytes == 4096);
  CHECK(found->layout.block_count == 99);
  CHECK(all.names.directory(all.root)->entries == 1);
  all.hosted.require_sound();
}

TEST_CASE("a name exists once; a removed one can be made again", "[namespace]") {
  Names all;
  REQUIRE(all.create(all.root, "a").ok());
  CHECK(all.create(all.root, "a").code() == Code::kExists);
  CHECK(all.names.make_directory(all.root, "a", {0755}).code() == Code::kExists);
  CHECK(all.remove(all.root, "b").code() == Code::kNotFound);
  REQUIRE(all.remove(all.root, "a").ok());
  CHECK(all.remove(all.root, "a").code() == Code::kNotFound);
  const std::uint64_t directory = all.make_directory(all.root, "a");
  CHECK(all.remove(all.root, "a").code() == Code::kIsDirectory);
  CHECK(all.create(directory + 1000, "x").code() == Code::kNotFound);
  CHECK(all.names.remove_directory(all.root, "a").ok());
  CHECK(all.create(directory, "x").code() == Code::kNotFound);
  CHECK(all.names.directory(directory).code() == Code::kNotFound);
  CHECK(all.list(all.root).empty());
  all.hosted.require_sound();
}

TEST_CASE("names have up to 255 bytes, any but slash and NUL", "[namespace]") {
  Names all;
  std::string every;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte != '/') every.push_back(static_cast<char>(byte));
  }
  every.push_back('+');
  REQUIRE(every.size() == 255);
  REQUIRE(all.create(all.root, every).ok());
  CHECK(all.list(all.root) == std::vector<std::string>{every});
  CHECK(all.rename(all.root, every, all.root, "x") == Code::kOk);
  CHECK(all.rename(all.root, "x", all.root, every) == Code::kOk);
  CHECK(all.create(all.root, std::string(256, 'a')).code() == Code::kNameTooLong);
  CHECK(all.create(all.root, "a/b").code() == Code::kInvalidArgument);
  CHECK(all.create(all.root, std::string("a\0b", 3)).code() == Code::kInvalidArgument);
  CHECK(all.create(all.root, "").code() == Code::kInvalidArgument);
  CHECK(all.names.lookup(all.root, std::string(256, 'a')).code() == Code::kNameTooLong);
  CHECK(all.names.make_directory(all.root, std::string(300, 'a'), {0755}).code() ==
        Code::kNameTooLong);
  CHECK(all.rename(all.root, every, all.root, std::string(256, 'b')) == Code::kNameTooLong);
  CHECK(all.remove(all.root, every).ok());
  all.hosted.require_sound();
}

TEST_CASE("only an empty directory is removed", "[namespace]") {
  Names all;
  const std::uint64_t directory = all.make_directory(all.root, "d");
  CHECK(all.names.directory(directory)->parent == all.root);
  CHECK(all.names.directory(all.root)->subdirectories == 1);
  REQUIRE(all.create(directory, "f").ok());
  CHECK(all.names.remove_directory(all.root, "d").code() == Code::kNotEmpty);
  CHECK(all.names.remove_directory(directory, "f").code() == Code::kNotDirectory);
  CHECK(all.names.remove_directory(all.root, "none").code() == Code::kNotFound);
  REQUIRE(all.remove(directory, "f").ok());
  CHECK(all.names.remove_directory(all.root, "d").ok());
  CHECK(all.names.remove_directory(all.root, "d").code() == Code::kNotFound);
  CHECK(all.names.directory(all.root)->subdirectories == 0);
  CHECK(all.names.directory(all.root)->entries == 0);
  all.hosted.require_sound();
}

TEST_CASE("rename answers as POSIX has it for every kind of source and target", "[namespace]") {
  Names all;
  const bool across = GENERATE(false, true);
  const std::uint64_t from = all.make_directory(all.root, "from");
  const std::uint64_t to = across ? all.make_directory(all.root, "to") : from;
  std::uint64_t file = 0;
  REQUIRE(all.create(from, "file", &file).ok());
  REQUIRE(all.create(to, "other").ok());
  const std::uint64_t directory = all.make_directory(from, "directory");
  REQUIRE(all.create(directory, "inside").ok());
  all.make_directory(to, "empty");
  const std::uint64_t full = all.make_directory(to, "full");
  REQUIRE(all.create(full, "thing").ok());

  CHECK(all.rename(from, "none", to, "x") == Code::kNotFound);
  CHECK(all.rename(from, "file", to, "empty") == Code::kIsDirectory);
  CHECK(all.rename(from, "directory", to, "other") == Code::kNotDirectory);
  CHECK(all.rename(from, "directory", to, "full") == Code::kNotEmpty);
  CHECK(all.rename(from, "file", to, "other", true) == Code::kExists);
  CHECK(all.rename(from, "directory", to, "empty", true) == Code::kExists);
  CHECK(all.rename(from, "file", 999'999, "x") == Code::kNotFound);
  CHECK(all.id_of(from, "file") == file);
  CHECK(all.id_of(from, "directory") == directory);

  CHECK(all.rename(from, "file", from, "file") == Code::kOk);
  CHECK(all.rename(from, "file", to, "fresh") == Code::kOk);
  CHECK(all.id_of(to, "fresh") == file);
  CHECK(all.id_of(from, "file") == 0);
  CHECK(all.rename(to, "fresh", to, "other") == Code::kOk);
  CHECK(all.id_of(to, "other") == file);
  CHECK(all.rename(from, "directory", to, "empty") == Code::kOk);
  CHECK(all.id_of(to, "empty") == directory);
  CHECK(all.names.directory(directory)->parent == to);
  CHECK(all.list(directory) == std::vector<std::string>{"inside"});
  CHECK(all.list(to) == std::vector<std::string>{"empty", "full", "other"});
  CHECK(all.names.directory(to)->entries == 3);
  CHECK(all.names.directory(to)->subdirectories == 2);
  if (across) {
    CHECK(all.list(from).empty());
    CHECK(all.names.directory(from)->entries == 0);
    CHECK(all.names.directory(from)->subdirectories == 0);
    CHECK(all.names.remove_directory(all.root, "from").ok());
  }
  all.hosted.require_sound();
}

TEST_CASE("the victim of a rename is handed to the caller", "[namespace]") {
  Names all;
  std::uint64_t victim = 0;
  REQUIRE(all.create(all.root, "a").ok());
  REQUIRE(all.create(all.root, "b", &victim).ok());
  auto renamed = all.names.rename(all.root, "a", all.root, "b");
  REQUIRE(renamed.ok());
  REQUIRE(renamed->replaced);
  CHECK(renamed->victim.info.id == victim);
  all.names.forget(renamed->victim);
  all.hosted.require_sound();
}

TEST_CASE("a directory never becomes its own ancestor", "[namespace]") {
  Names all;
  const std::uint64_t a = all.make_directory(all.root, "a");
  const std::uint64_t b = all.make_directory(a, "b");
  const std::uint64_t c = all.make_directory(b, "c");
  CHECK(all.rename(all.root, "a", a, "x") == Code::kWouldCycle);
  CHECK(all.rename(all.root, "a", b, "x") == Code::kWouldCycle);
  CHECK(all.rename(all.root, "a", c, "x") == Code::kWouldCycle);
  CHECK(all.rename(a, "b", c, "x") == Code::kWouldCycle);
  CHECK(all.rename(b, "c", all.root, "a") == Code::kNotEmpty);
  CHECK(all.rename(b, "c", all.root, "c") == Code::kOk);
  CHECK(all.rename(all.root, "a", c, "a") == Code::kOk);
  CHECK(all.id_of(c, "a") == a);
  all.hosted.require_sound();
}

TEST_CASE("opposite moves of two directories never make a cycle", "[namespace]") {
  Names all;
  const std::uint64_t a = all.make_directory(all.root, "a");
  const std::uint64_t b = all.make_directory(all.root, "b");
  for (int round = 0; round < 200; ++round) {
    Code codes[2] = {Code::kOk, Code::kOk};
    std::thread other([&] { codes[0] = all.rename(all.root, "a", b, "a"); });
    codes[1] = all.rename(all.root, "b", a, "b");
    other.join();
    CHECK((codes[0] == Code::kOk) != (codes[1] == Code::kOk));
    CHECK((codes[0] == Code::kWouldCycle || codes[1] == Code::kWouldCycle ||
           codes[0] == Code::kNotFound || codes[1] == Code::kNotFound));
    if (codes[0] == Code::kOk) REQUIRE(all.rename(b, "a", all.root, "a") == Code::kOk);
    if (codes[1] == Code::kOk) REQUIRE(all.rename(a, "b", all.root, "b") == Code::kOk);
  }
  all.hosted.require_sound();
}

TEST_CASE("two names of one directory with the same hash live side by side", "[namespace]") {
  const HashMask mask(0);  // every name has the same hash
  Names all;
  const std::string pair[] = {"one", "two"};
  std::uint64_t ids[2] = {};
  REQUIRE(all.create(all.root, pair[0], &ids[0]).ok());
  REQUIRE(all.create(all.root, pair[1], &ids[1]).ok());
  CHECK(all.create(all.root, pair[0]).code() == Code::kExists);
  CHECK(all.create(all.root, pair[1]).code() == Code::kExists);
  CHECK(all.id_of(all.root, pair[0]) == ids[0]);
  CHECK(all.id_of(all.root, pair[1]) == ids[1]);
  CHECK(all.list(all.root).size() == 2);
  CHECK(all.rename(all.root, pair[0], all.root, pair[1]) == Code::kOk);
  CHECK(all.id_of(all.root, pair[0]) == 0);
  CHECK(all.id_of(all.root, pair[1]) == ids[0]);
  REQUIRE(all.create(all.root, pair[0], &ids[1]).ok());
  REQUIRE(all.remove(all.root, pair[0]).ok());
  CHECK(all.id_of(all.root, pair[1]) == ids[0]);
  REQUIRE(all.create(all.root, pair[0]).ok());
  REQUIRE(all.remove(all.root, pair[1]).ok());
  REQUIRE(all.remove(all.root, pair[0]).ok());
  CHECK(all.list(all.root).empty());
  all.hosted.require_sound();
}

TEST_CASE("with only four hashes a third name of one is refused, and nothing breaks",
          "[namespace]") {
  const HashMask mask(3);
  Names all;
  int made = 0;
  for (int i = 0; i < 40; ++i) {
    const auto status = all.create(all.root, "n" + std::to_string(i));
    if (status.ok()) {
      ++made;
    } else {
      CHECK(status.code() == Code::kNotSupported);
    }
  }
  CHECK(made == 8);
  const auto names = all.list(all.root);
  CHECK(names.size() == 8);
  for (const auto& name : names) CHECK(all.id_of(all.root, name) != 0);
  for (const auto& name : names) CHECK(all.remove(all.root, name).ok());
  CHECK(all.names.directory(all.root)->entries == 0);
  all.hosted.require_sound();
}

TEST_CASE("listing sees every name that stays while others come and go", "[namespace]") {
  Names all;
  const std::uint64_t directory = all.make_directory(all.root, "d");
  for (int i = 0; i < 500; ++i) REQUIRE(all.create(directory, "stays" + std::to_string(i)).ok());
  std::atomic<bool> done{false};
  std::thread other([&] {
    for (int i = 0; !done; ++i) {
      const std::string name = "comes" + std::to_string(i % 97);
      if (!all.create(directory, name).ok() || !all.remove(directory, name).ok()) break;
    }
  });
  for (int round = 0; round < 20; ++round) {
    auto names = all.list(directory, static_cast<std::size_t>(1 + round));
    CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
    CHECK(std::count_if(names.begin(), names.end(),
                        [](const auto& name) { return name.starts_with("stays"); }) == 500);
  }
  done = true;
  other.join();
  CHECK(all.list(directory).size() == 500);
  all.hosted.require_sound();
}

TEST_CASE("an emptied directory of many chunks is removed with all of them", "[namespace]") {
  Names all;
  const std::uint64_t directory = all.make_directory(all.root, "d");
  for (int i = 0; i < 1000; ++i) REQUIRE(all.create(directory, "f" + std::to_string(i)).ok());
  for (int i = 0; i < 1000; ++i) REQUIRE(all.remove(directory, "f" + std::to_string(i)).ok());
  for (int i = 0; i < 10; ++i) REQUIRE(all.create(directory, "g" + std::to_string(i)).ok());
  CHECK(all.list(directory).size() == 10);
  for (int i = 0; i < 10; ++i) REQUIRE(all.remove(directory, "g" + std::to_string(i)).ok());
  REQUIRE(all.names.remove_directory(all.root, "d").ok());
  all.hosted.require_sound();
}

TEST_CASE("a large directory keeps every name and lists each once", "[namespace]") {
#if defined(NDEBUG) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
  constexpr int kNames = 1'000'000;
#else
  constexpr int kNames = 20'000;
#endif
  NameEngine engine(512 * engines::kMiB);
  std::uint64_t directory = 0;
  REQUIRE(engine.names.make_directory(kInstancesDirectory, "large", {0755}, &directory).ok());
  int failed = 0;
  for (int i = 0; i < kNames; ++i) {
    EntryInfo info;
    info.parent = directory;
    info.name = "file" + std::to_string(i);
    info.type = NodeType::kDataset;
    auto pending = engine.names.prepare(info);
    if (!pending.ok() || !engine.names.publish(*pending).ok()) ++failed;
  }
  REQUIRE(failed == 0);
  CHECK(engine.names.directory(directory)->entries == kNames);
  for (int i = 0; i < kNames; i += 7) {
    if (!engine.names.lookup(directory, "file" + std::to_string(i)).ok()) ++failed;
  }
  CHECK(failed == 0);
  CHECK(engine.names.lookup(directory, "file" + std::to_string(kNames)).code() == Code::kNotFound);
  std::vector<bool> seen(kNames);
  std::uint64_t cookie = 0;
  int listed = 0;
  for (bool more = true; more;) {
    std::vector<EntryInfo> entries;
    auto batch = engine.names.list(directory, cookie, 1000, &entries);
    REQUIRE(batch.ok());
    more = *batch;
    for (const auto& entry : entries) {
      const auto number = static_cast<std::size_t>(std::stoi(entry.name.substr(4)));
      if (seen[number]) ++failed;
      seen[number] = true;
      cookie = entry.cookie;
      ++listed;
    }
  }
  CHECK(listed == kNames);
  CHECK(failed == 0);
  engine.hosted.require_sound();
}

TEST_CASE("instances are made once, listed and removed when empty", "[namespace]") {
  Names all;
  InstanceInfo info;
  info.name = "second";
  info.block_bytes = 4096;
  info.port = 77;
  info.servers = {3, 1, 2};
  REQUIRE(all.names.create_instance(info).ok());
  CHECK(all.names.create_instance(info).code() == Code::kExists);
  const auto found = all.names.instance("second");
  REQUIRE(found.ok());
  CHECK(found->servers == std::vector<std::uint32_t>{3, 1, 2});
  CHECK(found->block_bytes == 4096);
  CHECK(found->port == 77);
  CHECK(all.names.instances()->size() == 2);
  REQUIRE(all.create(found->root, "f").ok());
  CHECK(all.names.remove_instance("second").code() == Code::kNotEmpty);
  CHECK(all.names.instance("second").ok());
  REQUIRE(all.remove(found->root, "f").ok());
  REQUIRE(all.names.remove_instance("second").ok());
  CHECK(all.names.instance("second").code() == Code::kNotFound);
  CHECK(all.names.remove_instance("second").code() == Code::kNotFound);
  info.servers.clear();
  CHECK(all.names.create_instance(info).code() == Code::kInvalidArgument);
  info.servers.assign(3000, 1);
  REQUIRE(all.names.create_instance(info).ok());
  CHECK(all.names.instance("second")->servers.size() == 3000);
  all.hosted.require_sound();
}

TEST_CASE("a server keeps its id while it has its segment, a new segment is a new server",
          "[namespace]") {
  Names all;
  ServerInfo info;
  info.host = "node1";
  info.segment_name = "imss-data-1-0";
  info.nonce = 5;
  info.capacity_bytes = 100;
  const auto first = all.names.join_server(info);
  REQUIRE(first.ok());
  info.capacity_bytes = 200;
  CHECK(*all.names.join_server(info) == *first);
  REQUIRE(all.names.servers()->size() == 1);
  CHECK(all.names.servers()->front().capacity_bytes == 200);
  info.nonce = 6;
  const auto second = all.names.join_server(info);
  REQUIRE(second.ok());
  CHECK(*second != *first);
  CHECK(all.names.servers()->size() == 1);
  info.host = "node2";
  CHECK(*all.names.join_server(info) != *second);
  CHECK(all.names.servers()->size() == 2);
  REQUIRE(all.names.leave_server(*second).ok());
  CHECK(all.names.servers()->size() == 1);
  CHECK(all.names.leave_server(*second).code() == Code::kNotFound);
  all.hosted.require_sound();
}

TEST_CASE("many threads that create, rename, list and remove leave a sound namespace",
          "[namespace]") {
  Names all;
  std::uint64_t directories[3] = {all.root, all.make_directory(all.root, "x"),
                                  all.make_directory(all.root, "y")};
  std::atomic<int> strange{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      std::uint64_t random = static_cast<std::uint64_t>(thread) + 1;
      for (int round = 0; round < 3000; ++round) {
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        const std::uint64_t from = directories[(random >> 20) % 3];
        const std::uint64_t to = directories[(random >> 24) % 3];
        const std::string name = "n" + std::to_string((random >> 30) % 20);
        const std::string other = "n" + std::to_string((random >> 40) % 20);
        Code code = Code::kOk;
        switch ((random >> 60) % 8) {
          case 0:
          case 1:
            code = all.create(from, name).code();
            break;
          case 2:
            code = all.remove(from, name).code();
            break;
          case 3:
            code = all.names.make_directory(from, name, {0755}).code();
            break;
          case 4:
            code = all.names.remove_directory(from, name).code();
            break;
          case 5: {
            std::vector<EntryInfo> entries;
            code = all.names.list(from, 0, 100, &entries).code();
            break;
          }
          default:
            code = all.rename(from, name, to, other);
            break;
        }
        const bool known = code == Code::kOk || code == Code::kExists || code == Code::kNotFound ||
                           code == Code::kIsDirectory || code == Code::kNotDirectory ||
                           code == Code::kNotEmpty || code == Code::kWouldCycle;
        if (!known) strange.fetch_add(1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(strange == 0);
  for (const std::uint64_t directory : directories) {
    const auto names = all.list(directory);
    CHECK(all.names.directory(directory)->entries == names.size());
    for (const auto& name : names) CHECK(all.id_of(directory, name) != 0);
  }
  all.hosted.require_sound();
}
