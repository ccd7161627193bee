#include "metadata/journaller.h"

#include <signal.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "segment/segment_files.h"
#include "server/metadata_server.h"
#include "support/scratch.h"

namespace imss::metadata {
namespace {

using segment::Segment;

server::MetadataServerOptions options_for(const test::Scratch& scratch) {
  server::MetadataServerOptions options;
  options.port = 5569;
  options.capacity_bytes = 64 << 20;
  options.metadata_file = scratch.file("metadata");
  return options;
}

EntryInfo dataset(std::uint64_t parent, const std::string& name) {
  EntryInfo info;
  info.parent = parent;
  info.name = name;
  info.type = NodeType::kDataset;
  info.layout.policy = 4;
  info.layout.replicas = 2;
  info.layout.block_bytes = 4096;
  info.layout.block_count = 77;
  return info;
}

struct Service {
  explicit Service(const server::MetadataServerOptions& options) {
    auto started = server::MetadataServer::start(options);
    INFO(started.status().message());
    REQUIRE(started.ok());
    server = std::move(*started);
    auto segment = Segment::open(server->segment_name());
    REQUIRE(segment.ok());
    names = std::make_unique<Namespace>(*segment);
  }
  ~Service() { names->segment().leave(); }

  void add(std::uint64_t parent, const std::string& name) {
    auto pending = names->prepare(dataset(parent, name));
    REQUIRE(pending.ok());
    REQUIRE(names->publish(*pending).ok());
  }

  std::unique_ptr<server::MetadataServer> server;
  std::unique_ptr<Namespace> names;
};

std::uint64_t make_tree(Service& service) {
  InstanceInfo info;
  info.name = "x";
  info.servers = {1, 2};
  REQUIRE(service.names->create_instance(info).ok());
  const std::uint64_t root = service.names->instance("x")->root;
  std::uint64_t directory = 0;
  REQUIRE(service.names->make_directory(root, "d", 0700, &directory).ok());
  service.add(root, "kept");
  service.add(directory, "inner");
  service.add(directory, "moved");
  service.add(directory, "removed");
  REQUIRE(service.names->rename(directory, "moved", root, "here").ok());
  auto removed = service.names->remove(directory, "removed");
  REQUIRE(removed.ok());
  service.names->forget(*removed);
  return directory;
}

void check_tree(Service& service) {
  auto instance = service.names->instance("x");
  REQUIRE(instance.ok());
  auto directory = service.names->lookup(instance->root, "d");
  REQUIRE(directory.ok());
  CHECK(directory->mode == 0700);
  auto kept = service.names->lookup(instance->root, "kept");
  REQUIRE(kept.ok());
  CHECK(kept->layout.policy == 4);
  CHECK(kept->layout.replicas == 2);
  CHECK(kept->layout.block_count == 77);
  CHECK(service.names->lookup(directory->id, "inner").ok());
  CHECK(service.names->lookup(instance->root, "here").ok());
  CHECK(service.names->lookup(directory->id, "moved").code() == Code::kNotFound);
  CHECK(service.names->lookup(directory->id, "removed").code() == Code::kNotFound);
}

TEST_CASE("a new deployment finds instances, names and policies of the metadata file again") {
  const test::Scratch scratch;
  std::uint64_t highest = 0;
  {
    Service service(options_for(scratch));
    make_tree(service);
    highest = service.names->new_id();
    service.server->stop(true);
  }
  REQUIRE(segment::list_files().empty());
  Service service(options_for(scratch));
  check_tree(service);
  SECTION("no id is given out twice") {
    auto instance = service.names->instance("x");
    std::vector<EntryInfo> entries;
    REQUIRE(service.names->list(instance->root, 0, 100, &entries).ok());
    const std::uint64_t fresh = service.names->new_id();
    for (const EntryInfo& entry : entries) CHECK(entry.id < fresh);
    CHECK(highest > 0);
  }
  SECTION("new servers take the places of the old ones") {
    InstanceInfo info;
    info.name = "x";
    info.servers = {5, 6};
    CHECK(service.names->create_instance(info).ok());
    CHECK(service.names->instance("x")->servers == std::vector<std::uint32_t>{5, 6});
    check_tree(service);
    CHECK(service.names->create_instance(info).code() == Code::kExists);
  }
  service.server->stop(true);
}

TEST_CASE("a killed metadata server's segment is the truth for the next one") {
  const test::Scratch scratch;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    Service service(options_for(scratch));
    make_tree(service);
    [[maybe_unused]] const auto told = ::write(ready[1], "x", 1);
    for (;;) ::pause();
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  {
    Service service(options_for(scratch));
    CHECK(service.server->took_over());
    check_tree(service);
    service.server->stop(true);
  }
  // What the second server wrote is good for a third one without a segment.
  Service service(options_for(scratch));
  CHECK_FALSE(service.server->took_over());
  check_tree(service);
  service.server->stop(true);
}

TEST_CASE("more changes than the ring of dirty keys holds end in a snapshot with all of them") {
  const test::Scratch scratch;
  constexpr int kNames = 20'000;  // a ring of 64 KiB has 2,730 places
  {
    Service service(options_for(scratch));
    InstanceInfo info;
    info.name = "x";
    info.servers = {1};
    REQUIRE(service.names->create_instance(info).ok());
    const std::uint64_t root = service.names->instance("x")->root;
    for (int i = 0; i < kNames; ++i) service.add(root, "f" + std::to_string(i));
    service.server->stop(true);
  }
  Service service(options_for(scratch));
  const std::uint64_t root = service.names->instance("x")->root;
  CHECK(service.names->directory(root)->entries == kNames);
  CHECK(service.names->lookup(root, "f0").ok());
  CHECK(service.names->lookup(root, "f" + std::to_string(kNames - 1)).ok());
  service.server->stop(true);
}

TEST_CASE("the metadata file of another segment is refused and left alone") {
  const test::Scratch scratch;
  auto options = options_for(scratch);
  {
    Service service(options);
    make_tree(service);
    service.server->stop(true);
  }
  auto other = options;
  other.metadata_file = scratch.file("other");
  {
    Service service(other);
    service.server->stop(false);  // keeps the segment
  }
  auto refused = server::MetadataServer::start(options);
  REQUIRE(refused.code() == Code::kInvalidArgument);
  CHECK(refused.status().message().find("is not the metadata file of") != std::string::npos);
}

}  // namespace
}  // namespace imss::metadata
