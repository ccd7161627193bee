#include "metadata/journaller.h"

#include <signal.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "base/hash.h"
#include "metadata/journal_format.h"
#include "metadata/state_records.h"
#include "segment/segment_files.h"
#include "server/metadata_server.h"
#include "store/xattrs.h"
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
  REQUIRE(service.names->make_directory(root, "d", {0700}, &directory).ok());
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
    highest = *service.names->new_id();
    service.server->stop(true);
  }
  REQUIRE(segment::list_files().empty());
  Service service(options_for(scratch));
  check_tree(service);
  SECTION("no id is given out twice") {
    auto instance = service.names->instance("x");
    std::vector<EntryInfo> entries;
    REQUIRE(service.names->list(instance->root, 0, 100, &entries).ok());
    const std::uint64_t fresh = *service.names->new_id();
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

JournalFileHeader header_of(const std::string& path) {
  JournalFileHeader header{};
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(&header), sizeof(header));
  REQUIRE(in.good());
  return header;
}

TEST_CASE("a file of a version without records of inodes and directories is read, and gets them") {
  const test::Scratch scratch;
  const std::string path = scratch.file("metadata");
  {
    Service service(options_for(scratch));
    make_tree(service);
    service.server->stop(true);
  }
  CHECK(header_of(path).incompatible == kJournalKnownIncompatible);
  std::vector<std::pair<std::uint16_t, std::vector<std::byte>>> records;
  {
    auto journal = Journal::open(path, [&](std::uint16_t kind, std::span<const std::byte> payload) {
      if (kind <= kInstanceGone) records.emplace_back(kind, std::vector<std::byte>(payload.begin(), payload.end()));
      return Status();
    });
    REQUIRE(journal.ok());
  }
  std::filesystem::remove(path);
  {
    auto journal = Journal::open(path, [](std::uint16_t, std::span<const std::byte>) { return Status(); });
    REQUIRE(journal.ok());
    for (const auto& [kind, payload] : records) REQUIRE(journal->append(kind, payload).ok());
    REQUIRE(journal->commit(true).ok());
  }
  JournalFileHeader old = header_of(path);
  old.incompatible = 0;
  old.checksum = crc32c(&old, offsetof(JournalFileHeader, checksum));
  {
    std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
    out.write(reinterpret_cast<const char*>(&old), sizeof(old));
    REQUIRE(out.good());
  }
  Service service(options_for(scratch));
  check_tree(service);
  service.server->stop(true);
  CHECK(header_of(path).incompatible == kJournalKnownIncompatible);
}

TEST_CASE("what a directory and an inode said is there again, for names alone") {
  const test::Scratch scratch;
  std::vector<DirectoryInfo> before;
  std::uint64_t kept = 0;
  std::uint64_t unnamed = 0;
  InodeState state;
  state.attributes.size = 12345;
  state.attributes.mode = 0640;
  state.attributes.links = 3;
  state.attributes.uid = 1;
  state.attributes.gid = 2;
  state.attributes.accessed_ns = 3;
  state.attributes.modified_ns = 4;
  state.attributes.changed_ns = 5;
  state.attributes.created_ns = 6;
  state.attributes.version = 7;
  state.target = "../where it leads";
  {
    Service service(options_for(scratch));
    const std::uint64_t directory = make_tree(service);
    std::uint64_t empty = 0;
    REQUIRE(service.names->make_directory(service.names->instance("x")->root, "empty", {0711}, &empty).ok());
    const store::AttributeChange touched{.fields = 31, .mode = 02750, .uid = 21, .gid = 22, .accessed_ns = 23, .modified_ns = 24};
    REQUIRE(service.names->change_directory(empty, touched).ok());
    for (const std::uint64_t id : {directory, empty, service.names->instance("x")->root}) before.push_back(*service.names->directory(id));
    kept = service.names->lookup(service.names->instance("x")->root, "kept")->id;
    unnamed = *service.names->new_id();
    for (const std::uint64_t dataset : {kept, unnamed}) {
      state.dataset = dataset;
      REQUIRE(service.names->store_attributes({&state, 1}).ok());
    }
    state.target = std::string(kMaxTargetBytes + 1, 'x');
    CHECK(service.names->store_attributes({&state, 1}).code() == Code::kNameTooLong);
    state.target = "../where it leads";
    CHECK(service.names->last_inode(unnamed).ok());
    service.server->stop(true);
  }
  Service service(options_for(scratch));
  for (const DirectoryInfo& directory : before) {
    const auto after = service.names->directory(directory.id);
    REQUIRE(after.ok());
    CHECK(after->mode == directory.mode);
    CHECK(after->modified_ns == directory.modified_ns);
    CHECK(after->created_ns == directory.created_ns);
    CHECK(after->accessed_ns == directory.accessed_ns);
    CHECK(after->changed_ns == directory.changed_ns);
    CHECK(after->uid == directory.uid);
    CHECK(after->gid == directory.gid);
    CHECK(after->entries == directory.entries);
  }
  const auto said = service.names->last_inode(kept);
  REQUIRE(said.ok());
  CHECK(record_of(*said) == record_of(state));
  CHECK(service.names->last_inode(unnamed).code() == Code::kNotFound);
  service.server->stop(true);
}

TEST_CASE("extended attributes of a directory are there again, as they were last") {
  const test::Scratch scratch;
  const store::XattrValue large(60'000, 7);
  const store::XattrValue small{1, 2, 3};
  std::uint64_t with = 0;
  std::uint64_t without = 0;
  {
    Service service(options_for(scratch));
    make_tree(service);
    const std::uint64_t root = service.names->instance("x")->root;
    REQUIRE(service.names->make_directory(root, "with", {0700}, &with).ok());
    REQUIRE(service.names->make_directory(root, "without", {0700}, &without).ok());
    auto& names = *service.names;
    REQUIRE(names.change_directory_xattr(with, {store::XattrMode::kSet, "user.large", large}).ok());
    REQUIRE(names.change_directory_xattr(with, {store::XattrMode::kSet, "user.small", small}).ok());
    CHECK(names.change_directory_xattr(with, {store::XattrMode::kSet, "user.more", store::XattrValue(6000, 1)}).code() == Code::kNoSpace);
    REQUIRE(names.change_directory_xattr(without, {store::XattrMode::kSet, "user.small", small}).ok());
    REQUIRE(names.change_directory_xattr(without, {store::XattrMode::kRemove, "user.small", {}}).ok());
    service.server->stop(true);
  }
  for (int again = 0; again < 2; ++again) {  // from the journal, then from the snapshot of the second deployment
    Service service(options_for(scratch));
    CHECK(*service.names->directory_xattr(with, "user.large") == large);
    CHECK(*service.names->directory_xattr(with, "user.small") == small);
    CHECK(service.names->directory_xattr(without, "")->empty());
    service.server->stop(true);
  }
  CHECK(decode_xattrs({}).code() == Code::kCorrupt);
  const auto record = encode_xattrs({with, *store::changed_xattrs({}, {store::XattrMode::kSet, "user.a", small})});
  for (std::size_t bytes = 0; bytes < record.size(); ++bytes) {
    CHECK(decode_xattrs(std::span(record).first(bytes)).code() == Code::kCorrupt);
  }
}

TEST_CASE("a record of an inode or a directory that cannot be is damage, not a crash") {
  InodeState state;
  state.target = "target";
  const auto inode = encode_inode(state);
  for (std::size_t bytes = 0; bytes < inode.size(); ++bytes) {
    CHECK(decode_inode(std::span(inode).first(bytes)).code() == Code::kCorrupt);
  }
  CHECK(decode_inode(inode)->target == "target");
  auto longer = inode;
  longer[8 + 48 + 3] = std::byte{0xff};  // the length of the target
  longer.resize(10'000);
  CHECK(decode_inode(longer).code() == Code::kCorrupt);
  DirectoryInfo info;
  info.modified_ns = 1;
  info.accessed_ns = 2;
  const auto directory = encode_directory(info);
  CHECK(decode_directory(directory)->accessed_ns == 2);
  constexpr std::size_t kOfEarlierVersions = 40;
  CHECK(decode_directory(std::span(directory).first(kOfEarlierVersions))->accessed_ns == 1);
  for (std::size_t bytes = 0; bytes < directory.size(); ++bytes) {
    if (bytes == kOfEarlierVersions) continue;
    CHECK(decode_directory(std::span(directory).first(bytes)).code() == Code::kCorrupt);
  }
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
