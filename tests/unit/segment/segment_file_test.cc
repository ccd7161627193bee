#include <fcntl.h>
#include <signal.h>

#include <fstream>

#include "segment_test_util.h"

using namespace imss;
using namespace imss::segment_test;
using segment::Superblock;

namespace {

constexpr const char* kName = "imss-data-7000-0";

void write_at(const std::string& path, std::uint64_t offset, const void* bytes, std::size_t count) {
  const int fd = ::open(path.c_str(), O_WRONLY);
  REQUIRE(fd >= 0);
  REQUIRE(::pwrite(fd, bytes, count, static_cast<off_t>(offset)) == static_cast<ssize_t>(count));
  ::close(fd);
}

// Starts a host in a child of its own and kills it once it has done `work`.
void leave_orphan(const HostOptions& options, const std::function<bool(Segment&)>& work) {
  const int status = run_child([&] {
    auto host = segment::Host::start(options);
    if (!host.ok() || !(*host)->publish().ok() || !work(*(*host)->segment())) return 1;
    ::kill(::getpid(), SIGKILL);
    return 2;
  });
  REQUIRE(was_killed(status));
}

}  // namespace

TEST_CASE("a segment has its name only once it is published, and loses it when it is retired") {
  const Directory directory;
  auto host = segment::Host::start(host_options(16 * kMiB));
  REQUIRE(host.ok());
  CHECK(segment::list_files().empty());
  REQUIRE((*host)->publish().ok());
  CHECK(segment::list_files() == std::vector<std::string>{kName});
  const auto opened = open_segment();
  CHECK(opened->serving());
  const auto second = segment::Host::start(host_options(16 * kMiB));
  CHECK(second.code() == Code::kBusy);
  (*host)->stop(true);
  CHECK(segment::list_files().empty());
  CHECK_FALSE(opened->serving());
  CHECK(Segment::open(kName).code() == Code::kNotFound);
}

TEST_CASE("two hosts that start under one name: the second to publish is refused") {
  const Directory directory;
  auto first = segment::Host::start(host_options(16 * kMiB));
  auto second = segment::Host::start(host_options(16 * kMiB));
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  REQUIRE((*first)->publish().ok());
  CHECK((*second)->publish().code() == Code::kExists);
  (*second)->stop(true);
  CHECK(segment::list_files() == std::vector<std::string>{kName});
}

TEST_CASE("a capacity outside the limits is refused") {
  const Directory directory;
  CHECK(segment::Host::start(host_options(15 * kMiB)).code() == Code::kInvalidArgument);
  CHECK(segment::Host::start(host_options(64ULL << 40)).code() == Code::kInvalidArgument);
#ifndef __SANITIZE_THREAD__  // which leaves fewer addresses than that
  const auto host = segment::Host::start(host_options(1ULL << 40));
  REQUIRE(host.ok());
  CHECK((*host)->segment()->super().address_bytes >= 16ULL << 40);
#endif
}

TEST_CASE("a file that is no segment is refused with a sentence") {
  const Directory directory;
  const std::string path = directory.path() + "/" + kName;
  std::ofstream(path) << "hello";
  CHECK(Segment::open(kName).code() == Code::kCorrupt);
  std::filesystem::resize_file(path, 8 * kMiB);
  const auto opened = Segment::open(kName);
  CHECK(opened.code() == Code::kCorrupt);
  CHECK(opened.status().message().find("not a segment") != std::string::npos);
  const auto info = segment::inspect(kName);
  REQUIRE(info.ok());
  CHECK(info->state == segment::FileState::kForeign);
  CHECK(segment::Host::start(host_options(16 * kMiB)).code() == Code::kCorrupt);
  CHECK(std::filesystem::exists(path));
  CHECK(Segment::open("imss-data-1-1").code() == Code::kNotFound);
}

TEST_CASE("each damaged field of the superblock is refused") {
  const Directory directory;
  { start_host(host_options(16 * kMiB))->stop(false); }
  const std::string path = directory.path() + "/" + kName;
  struct Damage {
    std::uint64_t offset;
    std::uint64_t value;
    std::size_t bytes;
    Code code;
  };
  const std::vector<Damage> damages{
      {offsetof(Superblock, magic), 1, 8, Code::kCorrupt},
      {offsetof(Superblock, layout_version), 99, 4, Code::kIncompatible},
      {offsetof(Superblock, role), 9, 4, Code::kCorrupt},
      {offsetof(Superblock, read_only_compatible), 1ULL << 40, 8, Code::kIncompatible},
      {offsetof(Superblock, incompatible), 1ULL << 41, 8, Code::kIncompatible},
      {offsetof(Superblock, max_participants), 1 << 20, 4, Code::kCorrupt},
      {offsetof(Superblock, max_participants), 65, 4, Code::kCorrupt},
      {offsetof(Superblock, capacity_bytes), ~0ULL, 8, Code::kCorrupt},
      {offsetof(Superblock, address_bytes), 1 << 20, 8, Code::kCorrupt},
      {offsetof(Superblock, liveness_offset), ~0ULL, 8, Code::kCorrupt},
      {offsetof(Superblock, liveness_offset), 8193, 8, Code::kCorrupt},
      {offsetof(Superblock, participants_offset), 1ULL << 60, 8, Code::kCorrupt},
      {offsetof(Superblock, participants_offset), 0, 8, Code::kCorrupt},
      {offsetof(Superblock, descriptors_offset), ~0ULL - 4096, 8, Code::kCorrupt},
      {offsetof(Superblock, arenas_offset), 4096, 8, Code::kCorrupt},
      {offsetof(Superblock, arena_count), 1ULL << 40, 8, Code::kCorrupt},
      {offsetof(Superblock, next_arena), 1ULL << 40, 8, Code::kCorrupt},
      {offsetof(Superblock, state), 17, 8, Code::kCorrupt},
      {offsetof(Superblock, tables) + offsetof(segment::TableRoot, arenas_offset), 1ULL << 62, 8,
       Code::kCorrupt},
      {offsetof(Superblock, tables) + offsetof(segment::TableRoot, buckets), 0, 8, Code::kCorrupt},
      {offsetof(Superblock, tables) + offsetof(segment::TableRoot, ready_buckets), ~0ULL, 8,
       Code::kCorrupt},
  };
  REQUIRE(Segment::open(kName).ok());
  for (const Damage& damage : damages) {
    std::uint64_t good = 0;
    {
      const int fd = ::open(path.c_str(), O_RDONLY);
      REQUIRE(::pread(fd, &good, damage.bytes, static_cast<off_t>(damage.offset)) ==
              static_cast<ssize_t>(damage.bytes));
      ::close(fd);
    }
    write_at(path, damage.offset, &damage.value, damage.bytes);
    const auto opened = Segment::open(kName);
    INFO("offset " << damage.offset << ", value " << damage.value);
    CHECK(opened.code() == damage.code);
    CHECK(opened.status().message().find(path) != std::string::npos);
    write_at(path, damage.offset, &good, damage.bytes);
  }
  CHECK(Segment::open(kName).ok());
}

TEST_CASE("a restarted server finds everything that a killed one had") {
  const Directory directory;
  leave_orphan(host_options(64 * kMiB), [](Segment& segment) {
    Engine engine(segment, **segment.self(), 1);
    for (std::uint64_t i = 1; i <= 500; ++i) {
      if (!engine.put({kOwning, i}, static_cast<std::uint32_t>(i % 17), false).ok()) return false;
    }
    return engine.steps(2000, 400).ok();
  });
  const auto info = segment::inspect(kName);
  REQUIRE(info.ok());
  CHECK(info->state == segment::FileState::kOrphan);
  HostOptions options = host_options(64 * kMiB);
  CHECK(segment::Host::start(options).code() == Code::kExists);
  options.take_over = true;
  const auto host = start_host(options);
  CHECK(host->took_over());
  Segment& segment = *host->segment();
  require_sound(segment);
  Engine engine(segment, self_of(segment), 2);
  for (std::uint64_t i = 401; i <= 500; ++i) {
    Snapshot snapshot;
    REQUIRE(engine.table().find({kOwning, i}, &snapshot).ok());
    REQUIRE(snapshot.entry != nullptr);
    REQUIRE(engine.verify({kOwning, i}).ok());
  }
  CHECK(engine.steps(3000, 400).ok());
  require_sound(segment);
}

TEST_CASE("a client goes on through the death of the host and its return") {
  const Directory directory;
  leave_orphan(host_options(64 * kMiB), [](Segment&) { return true; });
  const auto segment = open_segment();
  Engine engine(*segment, self_of(*segment), 1);
  const Deadline deadline(50);
  // No memory without a host, but nothing breaks.
  CHECK(engine.put({kOwning, 1}, segment::kClass64K, false).code() == Code::kTimedOut);
  HostOptions options = host_options(64 * kMiB);
  options.take_over = true;
  const auto host = start_host(options);
  segment::set_deadline_ms(5000);
  CHECK(engine.put({kOwning, 1}, segment::kClass64K, false).ok());
  CHECK(engine.verify({kOwning, 1}).ok());
  require_sound(*segment);
}

TEST_CASE("nobody waits for an attached server that is dead") {
  const Directory directory;
  HostOptions options = host_options(64 * kMiB);
  options.create.attached = true;
  leave_orphan(options, [](Segment&) { return true; });
  const auto segment = open_segment();
  Engine engine(*segment, self_of(*segment), 1);
  CHECK(engine.put({kOwning, 1}, segment::kClass64K, false).code() == Code::kFenced);
}

TEST_CASE("attached segments are reclaimed only when their host is dead") {
  const Directory directory;
  HostOptions alive = host_options(16 * kMiB, "imss-data-7001-0");
  alive.create.attached = true;
  HostOptions dead = host_options(16 * kMiB, "imss-data-7002-0");
  dead.create.attached = true;
  leave_orphan(dead, [](Segment&) { return true; });
  leave_orphan(host_options(16 * kMiB, "imss-data-7003-0"), [](Segment&) { return true; });
  const auto host = start_host(alive);
  const auto survivor = open_segment(dead.name);
  CHECK(segment::reclaim_dead_attached() == std::vector<std::string>{dead.name});
  CHECK(segment::list_files() == std::vector<std::string>{alive.name, "imss-data-7003-0"});
  CHECK_FALSE(survivor->serving());
  Table table(*survivor, 0);
  CHECK(table.put(self_of(*survivor), {1, 1}, {}, true).code() == Code::kFenced);
  CHECK(segment::reclaim_dead_attached().empty());
}
