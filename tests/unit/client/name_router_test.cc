// Several metadata servers behind one NameService.
#include "client/name_router.h"

#include <thread>

#include "engines.h"
#include "metadata/authority.h"
#include "metadata/journaller.h"
#include "support/scratch.h"

namespace imss::client {
namespace {

using metadata::authority_of;
using metadata::EntryInfo;
using metadata::MapServer;
using metadata::Namespace;
using metadata::NodeType;

struct Server {
  Server(std::uint32_t index, std::uint32_t count)
      : hosted(segment::Role::kMetadata, 32 * engines::kMiB),
        names(std::make_shared<Namespace>(hosted.segment())) {
    REQUIRE(names->format(index, count).ok());
    hosted.publish();
    self = {index, 5569 + index, (*hosted).super().nonce, 0, false, "localhost", (*hosted).name()};
  }
  engines::HostedSegment hosted;
  std::shared_ptr<Namespace> names;
  MapServer self;
};

// Servers in this process, and a router over them. Which of them can be reached is up to the test.
struct Deployment {
  explicit Deployment(std::uint32_t count) {
    for (std::uint32_t index = 0; index < count; ++index) {
      servers.push_back(std::make_unique<Server>(index, count));
      REQUIRE(first().join_map(servers.back()->self, count).ok());
    }
    NameRouter::Options options;
    options.first = {servers[0]->names, servers[0]->names};
    options.map = *first().map();
    options.reach = [this](const MapServer& wanted) -> ReachedNames {
      for (const auto& server : servers) {
        if (server->self.nonce == wanted.nonce && reachable.load()) return {server->names, server->names};
      }
      return {};
    };
    options.newest_epoch = [] { return 0; };
    router = std::make_unique<NameRouter>(std::move(options));
    metadata::InstanceInfo info;
    info.name = "r";
    info.servers = {1};
    REQUIRE(router->create_instance(info).ok());
    root = router->instance("r")->root;
  }
  Namespace& first() { return *servers[0]->names; }

  Status create(std::uint64_t parent, const std::string& name) {
    EntryInfo info;
    info.parent = parent;
    info.name = name;
    info.type = NodeType::kDataset;
    auto pending = router->prepare(info);
    if (!pending.ok()) return pending.status();
    const Status status = router->publish(*pending);
    if (!status.ok()) router->abandon(*pending);
    return status;
  }
  // A directory below the root that lies on that server.
  std::uint64_t directory_on(std::uint32_t server) {
    for (;;) {
      std::uint64_t id = 0;
      const std::string name = "d" + std::to_string(server) + "-" + std::to_string(made++);
      REQUIRE(router->make_directory(root, name, {0755}, &id).ok());
      if (authority_of(id, static_cast<std::uint32_t>(servers.size())) == server) return id;
    }
  }

  std::vector<std::unique_ptr<Server>> servers;
  std::atomic<bool> reachable{true};
  std::unique_ptr<NameRouter> router;
  std::uint64_t root = 0;
  int made = 0;  // directories
};

struct ShortDeadline {
  ShortDeadline() { segment::set_thread_deadline_ms(200); }
  ~ShortDeadline() { segment::set_thread_deadline_ms(0); }
};

}  // namespace

TEST_CASE("names lie on the authority of their directory, and are found through any") {
  Deployment all(3);
  for (std::uint32_t server = 0; server < 3; ++server) {
    const std::uint64_t directory = all.directory_on(server);
    REQUIRE(all.create(directory, "x").ok());
    CHECK(all.create(directory, "x").code() == Code::kExists);
    CHECK(all.router->lookup(directory, "x").ok());
    CHECK(all.router->directory(directory)->entries == 1);
    for (std::uint32_t other = 0; other < 3; ++other)
      CHECK(all.servers[other]->names->lookup(directory, "x").ok() == (other == server));
    std::vector<EntryInfo> entries;
    REQUIRE(all.router->list(directory, 0, 10, &entries).ok());
    CHECK(entries.size() == 1);
    auto removed = all.router->remove(directory, "x");
    REQUIRE(removed.ok());
    CHECK(removed->server == server);
    all.router->forget(*removed);
    CHECK(all.router->lookup(directory, "x").code() == Code::kNotFound);
  }
}

TEST_CASE("what an inode says is kept by the server that gave its id out, wherever the name is") {
  Deployment all(3);
  // A server without a ring of dirty names writes no file, and keeps nothing.
  std::vector<std::unique_ptr<metadata::Journaller>> files;
  const test::Scratch folder;
  for (std::uint32_t server = 0; server < 3; ++server) {
    auto file = metadata::Journaller::start(all.servers[server]->hosted.segment(),
                                            folder.file(std::to_string(server)), true);
    REQUIRE(file.ok());
    files.push_back(std::move(*file));
  }
  std::vector<metadata::InodeState> states(3);
  for (std::uint32_t server = 0; server < 3; ++server) {
    states[server].dataset = metadata::first_id_of(server) + 500;
    states[server].attributes.size = 10 + server;
    states[server].attributes.links = 1;
  }
  REQUIRE(all.router->store_attributes(states).ok());
  for (std::uint32_t server = 0; server < 3; ++server) {
    const std::uint64_t dataset = states[server].dataset;
    CHECK(all.router->last_inode(dataset)->attributes.size == 10 + server);
    for (std::uint32_t other = 0; other < 3; ++other)
      CHECK(all.servers[other]->names->last_inode(dataset).ok() == (other == server));
  }
  CHECK(all.router->last_inode(metadata::first_id_of(3) + 1).code() == Code::kNotFound);
  for (metadata::InodeState& state : states) state.gone = true;
  REQUIRE(all.router->store_attributes(states).ok());
  for (const metadata::InodeState& state : states)
    CHECK(all.router->last_inode(state.dataset).code() == Code::kNotFound);
}

TEST_CASE("directories move and go wherever they lie") {
  Deployment all(2);
  const std::uint64_t here = all.directory_on(0);
  const std::uint64_t there = all.directory_on(1);
  for (int i = 0; i < 8; ++i) {
    const std::string name = "m" + std::to_string(i);
    std::uint64_t id = 0;
    REQUIRE(all.router->make_directory(here, name, {0700}, &id).ok());
    REQUIRE(all.create(id, "inside").ok());
    CHECK(all.router->remove_directory(here, name).code() == Code::kNotEmpty);
    REQUIRE(all.router->rename(here, name, there, name).ok());
    CHECK(all.router->lookup(here, name).code() == Code::kNotFound);
    CHECK(all.router->lookup(there, name)->id == id);
    CHECK(all.router->directory(id)->parent == there);
    const store::AttributeChange group{.fields = store::AttributeChange::kGid, .gid = 44};
    REQUIRE(all.router->change_directory(id, group).ok());
    CHECK(all.router->directory(id)->gid == 44);
    CHECK(all.router->directory(id)->mode == 0700);
    CHECK(all.router->rename(there, name, id, "own").code() == Code::kWouldCycle);
    auto removed = all.router->remove(id, "inside");
    REQUIRE(removed.ok());
    all.router->forget(*removed);
    REQUIRE(all.router->remove_directory(there, name).ok());
  }
  CHECK(all.router->directory(here)->entries == 0);
  CHECK(all.router->directory(there)->entries == 0);
}

TEST_CASE("extended attributes and exchanges are made at the server of their directory") {
  Deployment all(2);
  const store::XattrValue value(3000, 5);
  std::uint64_t first[2] = {};
  for (const std::uint32_t server : {0U, 1U}) {
    const std::uint64_t one = first[server] = all.directory_on(server);
    const std::uint64_t two = all.directory_on(server);
    REQUIRE(all.router->change_directory_xattr(one, {store::XattrMode::kCreate, "user.a", value}).ok());
    CHECK(*all.router->directory_xattr(one, "user.a") == value);
    CHECK(all.router->directory_xattr(two, "user.a").code() == Code::kNoData);
    CHECK(all.servers[1 - server]->names->directory_xattr(one, "user.a").code() == Code::kNotFound);
    REQUIRE(all.create(one, "file").ok());
    REQUIRE(all.create(two, "other").ok());
    const std::uint64_t file = all.router->lookup(one, "file")->id;
    const std::uint64_t other = all.router->lookup(two, "other")->id;
    REQUIRE(all.router->exchange(one, "file", two, "other").ok());
    CHECK(all.router->lookup(one, "file")->id == other);
    CHECK(all.router->lookup(two, "other")->id == file);
    std::uint64_t directory = 0;
    REQUIRE(all.router->make_directory(one, "directory", {0700}, &directory).ok());
    REQUIRE(all.router->exchange(one, "file", one, "directory").ok());
    CHECK(all.router->lookup(one, "file")->id == directory);
    CHECK(all.router->exchange(one, "file", two, "other").code() == Code::kNotSupported);
    CHECK(all.router->lookup(one, "file")->id == directory);
  }
  CHECK(all.router->exchange(first[0], "directory", first[1], "directory").code() == Code::kNotSupported);
  for (const auto& server : all.servers) server->hosted.require_sound();
}

TEST_CASE("what a rename replaces is given back to the server that had it") {
  Deployment all(2);
  const std::uint64_t here = all.directory_on(0);
  const std::uint64_t there = all.directory_on(1);
  for (const auto& [from, to] : {std::pair(here, there), std::pair(there, here)}) {
    REQUIRE(all.create(from, "new").ok());
    REQUIRE(all.create(to, "old").ok());
    auto renamed = all.router->rename(from, "new", to, "old");
    REQUIRE(renamed.ok());
    REQUIRE(renamed->replaced);
    CHECK(renamed->victim.server == authority_of(to, 2));
    all.router->forget(renamed->victim);
  }
  for (const auto& server : all.servers) server->hosted.require_sound();
}

TEST_CASE("a server that was replaced is asked under its new place, and gets nothing of the old one") {
  Deployment all(2);
  const std::uint64_t there = all.directory_on(1);
  EntryInfo info;
  info.parent = there;
  info.name = "late";
  info.type = NodeType::kDataset;
  auto pending = all.router->prepare(info);
  REQUIRE(pending.ok());
  auto removed = all.create(there, "x").ok() ? all.router->remove(there, "x") : Code::kIo;
  REQUIRE(removed.ok());

  // Another segment takes the place of server 1, as from its metadata file; the map tells.
  MapServer ended = all.servers[1]->self;
  ended.gone = true;
  REQUIRE(all.first().join_map(ended, 2).ok());
  all.servers.push_back(std::make_unique<Server>(1, 2));
  Server& fresh = *all.servers.back();
  REQUIRE(all.first().join_map(fresh.self, 2).ok());
  CHECK(all.router->known_map().servers[1].nonce == fresh.self.nonce);
  CHECK(all.router->lookup(there, "x").code() == Code::kNotFound);

  const ShortDeadline soon;
  CHECK(all.router->publish(*pending).code() == Code::kBadHandle);
  all.router->abandon(*pending);
  all.router->forget(*removed);
  fresh.hosted.require_sound();
}

TEST_CASE("a server that cannot be reached is waited for within the deadline") {
  Deployment all(2);
  const std::uint64_t there = all.directory_on(1);
  const std::uint64_t here = all.directory_on(0);
  MapServer ended = all.servers[1]->self;
  ended.gone = true;
  REQUIRE(all.first().join_map(ended, 2).ok());
  all.reachable.store(false);
  all.servers.push_back(std::make_unique<Server>(1, 2));
  REQUIRE(all.first().join_map(all.servers.back()->self, 2).ok());
  {
    const ShortDeadline soon;
    CHECK(all.router->lookup(there, "x").code() == Code::kIo);
    CHECK(all.router->lookup(here, "x").code() == Code::kNotFound);  // the others go on
  }
  std::thread later([&] { all.reachable.store(true); });
  CHECK(all.router->lookup(there, "x").code() == Code::kNotFound);
  later.join();
}

}  // namespace imss::client
