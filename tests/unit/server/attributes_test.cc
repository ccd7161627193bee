// What inodes say reaches the metadata file off the path of the requests: a later deployment shows it for datasets
// whose data is gone, also when servers were killed.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "engines.h"
#include "metadata/authority.h"
#include "segment/fault.h"
#include "server/attribute_feed.h"
#include "server/data_server.h"
#include "server/metadata_server.h"
#include "support/scratch.h"

namespace {

using engines::kMiB;
using imss::Code;
using imss::Status;
using imss::Uri;
using imss::client::Session;
using imss::server::DataServer;
using imss::server::DataServerOptions;
using imss::server::MetadataServer;
using imss::server::MetadataServerOptions;
using imss::store::Attributes;

constexpr std::uint16_t kPort = 22300;

MetadataServerOptions metadata_options(const imss::test::Scratch& scratch) {
  MetadataServerOptions options;
  options.port = kPort;
  options.capacity_bytes = 64 * kMiB;
  options.metadata_file = scratch.file("metadata");
  return options;
}

DataServerOptions data_options(std::uint32_t rank) {
  DataServerOptions options;
  options.instance = "told";
  options.port = static_cast<std::uint16_t>(kPort + 100 + rank);
  options.rank = rank;
  options.server_count = 2;
  options.capacity_bytes = 64 * kMiB;
  options.metadata_port = kPort;
  options.wait_ms = 0;
  return options;
}

struct Deployment {
  explicit Deployment(const imss::test::Scratch& scratch) {
    auto names = MetadataServer::start(metadata_options(scratch));
    INFO(names.status().message());
    REQUIRE(names.ok());
    metadata = std::move(*names);
    for (std::uint32_t rank = 0; rank < 2; ++rank) {
      auto started = DataServer::start(data_options(rank));
      INFO(started.status().message());
      REQUIRE(started.ok());
      data[rank] = std::move(*started);
    }
    auto connected = Session::connect({{{"localhost", 0}}, kPort});
    REQUIRE(connected.ok());
    session = std::move(*connected);
  }
  void retire() {
    session.reset();
    for (auto& server : data) server->stop(true);
    metadata->stop(true);
  }
  std::unique_ptr<MetadataServer> metadata;
  std::array<std::unique_ptr<DataServer>, 2> data;
  std::unique_ptr<Session> session;
};

std::string shown(const Attributes& a) {
  std::string text;
  for (const std::uint64_t number :
       {a.size, a.links, std::uint64_t{a.mode}, std::uint64_t{a.uid}, std::uint64_t{a.gid}, a.accessed_ns,
        a.modified_ns, a.changed_ns, a.created_ns, static_cast<std::uint64_t>(a.type), a.block_bytes, a.block_count,
        a.placement, a.version}) {
    text += std::to_string(number) + " ";
  }
  return text;
}

// What stat shows of everything, by path.
std::map<std::string, std::string> everything(Session& session, const std::string& path = "") {
  std::map<std::string, std::string> all;
  const auto own = session.attributes({"told", path});
  INFO(path << ": " << own.status().message());
  REQUIRE(own.ok());
  all[path] = shown(*own);
  if (own->type != imss::store::NodeType::kDirectory) return all;
  std::vector<imss::metadata::EntryInfo> entries;
  REQUIRE(session.list({"told", path}, 0, 1000, &entries).ok());
  for (const auto& entry : entries) all.merge(everything(session, path.empty() ? entry.name : path + "/" + entry.name));
  return all;
}

// Datasets of several kinds and ages, with sizes, modes and times of their own.
void make_tree(Session& session) {
  REQUIRE(session.make_directory({"told", "a/b"}, 0710, true).ok());
  const std::vector<std::byte> content(3000, std::byte{7});
  for (int i = 0; i < 20; ++i) {
    imss::client::DatasetOptions options;
    options.block_bytes = 4096;
    options.block_count = i % 2 == 0 ? 5 : 0;
    options.mode = 0600 + static_cast<std::uint32_t>(i);
    const Uri uri{"told", (i % 3 == 0 ? "a/b/d" : "d") + std::to_string(i)};
    auto handle = session.create(uri, options);
    INFO(handle.status().message());
    REQUIRE(handle.ok());
    auto dataset = session.dataset(*handle);
    REQUIRE(dataset.ok());
    if (i % 2 == 1) REQUIRE(session.write_at(**dataset, static_cast<std::uint64_t>(i) * 1000, content).ok());
    if (i == 5) REQUIRE(session.truncate(**dataset, 77).ok());
    REQUIRE(session.release(*handle).ok());
  }
  REQUIRE(session.unlink({"told", "d1"}).ok());
  // Several names, and one of them gone; symbolic links.
  REQUIRE(session.link({"told", "d4"}, {"told", "a/second"}).ok());
  REQUIRE(session.link({"told", "d7"}, {"told", "a/other"}).ok());
  REQUIRE(session.unlink({"told", "d7"}).ok());
  REQUIRE(session.make_symlink("../d5", {"told", "a/link"}).ok());
  REQUIRE(session.make_symlink(std::string(4000, 'x'), {"told", "long"}).ok());
  REQUIRE(session.rename({"told", "d2"}, {"told", "a/moved"}).ok());
}

void require_sound(const std::string& name) {
  auto segment = imss::segment::Segment::open(name);
  REQUIRE(segment.ok());
  (*segment)->clean_up();
  imss::segment::CheckOptions options;
  options.reach = name.starts_with("imss-data") ? imss::segment::ReachVisitor(imss::store::visit)
                                                : imss::segment::ReachVisitor(imss::metadata::visit);
  const auto report = imss::segment::check_segment(**segment, options);
  REQUIRE(report.ok());
  CHECK(report->errors.empty());
  CHECK(report->leaked_extents == 0);
  (*segment)->leave();
}

template <typename Condition>
bool comes_true(Condition&& condition) {
  const imss::Deadline patience = imss::Deadline::from_now(20'000);
  while (!condition()) {
    if (patience.expired()) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

TEST_CASE("a later deployment shows what every inode and directory said, and opening is an error") {
  const imss::test::Scratch scratch;
  std::map<std::string, std::string> before;
  {
    Deployment first(scratch);
    make_tree(*first.session);
    before = everything(*first.session);
    CHECK(before.size() == 25);
    first.retire();
  }
  REQUIRE(imss::segment::list_files().empty());
  for (int deployment = 0; deployment < 2; ++deployment) {
    Deployment later(scratch);
    CHECK(everything(*later.session) == before);
    CHECK(later.session->open({"told", "d5"}).code() == Code::kIo);
    CHECK(later.session->open({"told", "a/link"}).code() == Code::kIo);
    CHECK(*later.session->read_symlink({"told", "a/link"}) == "../d5");
    CHECK(*later.session->read_symlink({"told", "long"}) == std::string(4000, 'x'));
    CHECK(later.session->attributes({"told", "a/second"})->links == 2);
    CHECK(later.session->attributes({"told", "d1"}).code() == Code::kNotFound);
    require_sound("imss-metadata-" + std::to_string(kPort) + "-0");
    later.retire();
  }
  Deployment last(scratch);
  // What was stored anew is shown as it is, what is removed is forgotten.
  const auto id = last.session->resolve({"told", "d5"})->entry.id;
  CHECK(last.session->names().last_inode(id)->attributes.size == 77);
  REQUIRE(last.session->unlink({"told", "d5"}).ok());
  CHECK(last.session->names().last_inode(id).code() == Code::kNotFound);
  imss::client::DatasetOptions options;
  options.block_count = 1;
  options.block_bytes = 4096;
  REQUIRE(last.session->create({"told", "d5"}, options).ok());
  CHECK(last.session->attributes({"told", "d5"})->size == 4096);
  last.retire();
}

TEST_CASE("what changed reaches the metadata server while the servers run, once") {
  const imss::test::Scratch scratch;
  Deployment servers(scratch);
  make_tree(*servers.session);
  const auto id = servers.session->resolve({"told", "d5"})->entry.id;
  auto& names = servers.session->names();
  CHECK(comes_true([&] {
    const auto told = names.last_inode(id);
    return told.ok() && told->attributes.size == 77;
  }));
  // Removed datasets leave nothing behind.
  std::vector<std::uint64_t> datasets;
  for (const auto& [path, text] : everything(*servers.session)) {
    if (servers.session->attributes({"told", path})->type == imss::store::NodeType::kDirectory) continue;
    datasets.push_back(servers.session->resolve({"told", path})->entry.id);
    REQUIRE(comes_true([&] { return names.last_inode(datasets.back()).ok(); }));
  }
  for (const auto& [path, text] : everything(*servers.session)) {
    if (servers.session->attributes({"told", path})->type == imss::store::NodeType::kDirectory) continue;
    REQUIRE(servers.session->unlink({"told", path}).ok());
  }
  for (const std::uint64_t dataset : datasets) {
    CHECK(comes_true([&] { return names.last_inode(dataset).code() == Code::kNotFound; }));
  }
  servers.retire();
}

TEST_CASE("marks that the ring cannot hold, or that never came, are found by looking at all inodes") {
  engines::DataEngine data(64 * kMiB);
  engines::NameEngine names;
  REQUIRE(data.store.note_changes().ok());
  // As a journaller has it: a server without file is not told.
  auto& root = names.names.segment().super().service_root;
  {
    auto me = names.names.segment().self();
    REQUIRE(me.ok());
    imss::segment::Extents extents(names.names.segment());
    const auto held = extents.take(**me, imss::segment::class_for(64 << 10), false);
    REQUIRE(held.ok());
    std::memset(names.names.segment().base() + held->ref.offset(), 0, 64 << 10);
    root[imss::metadata::kRingPlaces].store((64 << 10) / sizeof(imss::metadata::DirtyKey));
    root[imss::metadata::kRingOffset].store(held->ref.offset());
    (*me)->hand[held->slot].store(0);
  }
  imss::server::AttributeFeed feed(data.store);
  Attributes attributes;
  attributes.block_bytes = 4096;
  constexpr std::uint64_t kDatasets = 6000;  // more than the ring holds
  for (std::uint64_t i = 1; i <= kDatasets; ++i) {
    attributes.size = i;
    REQUIRE(data.store.create_inode(100 + i, attributes).ok());
  }
  REQUIRE(feed.send(names.names, true).ok());
  REQUIRE(feed.send(names.names, true).ok());
  CHECK_FALSE(data.store.changes_pending());
  for (std::uint64_t i = 1; i <= kDatasets; ++i) REQUIRE(names.names.last_inode(100 + i)->attributes.size == i);
  SECTION("an inode that changes a thousand times takes one place of the ring") {
    auto& head = (*data.hosted).super().service_root[imss::store::kDirtyHead];
    const std::uint64_t places = head.load();
    for (std::uint64_t i = 0; i < 1000; ++i) REQUIRE(data.store.extend_size(101, 10'000 + i).ok());
    CHECK(head.load() == places + 1);
    REQUIRE(feed.send(names.names).ok());
    CHECK(names.names.last_inode(101)->attributes.size == 10'999);
    REQUIRE(data.store.extend_size(101, 20'000).ok());
    CHECK(head.load() == places + 2);
  }
  SECTION("a mark whose author stopped does not keep the others back") {
    (*data.hosted).super().service_root[imss::store::kDirtyHead].fetch_add(1);
    REQUIRE(data.store.extend_size(102, 20'000).ok());
    for (int round = 0; round < 20; ++round) REQUIRE(feed.send(names.names, true).ok());
    CHECK(names.names.last_inode(102)->attributes.size == 20'000);
  }
  SECTION("an inode that is gone when it has been told leaves nothing") {
    REQUIRE(data.store.extend_size(103, 20'000).ok());
    REQUIRE(data.store.erase_inode(103).ok());
    imss::metadata::InodeState stale{103, false, attributes, ""};
    REQUIRE(names.names.store_attributes({&stale, 1}).ok());
    stale.gone = true;
    REQUIRE(names.names.store_attributes({&stale, 1}).ok());
    REQUIRE(feed.send(names.names, true).ok());
    CHECK(names.names.last_inode(103).code() == Code::kNotFound);
  }
  data.hosted.require_sound();
  names.hosted.require_sound();
}

namespace {

// Two metadata servers, of which the second can be out of reach.
struct TwoServers {
  Status operator()(std::span<const imss::metadata::InodeState> states) {
    const auto giver = imss::metadata::giver_of(states.front().dataset);
    for (const auto& state : states) REQUIRE(imss::metadata::giver_of(state.dataset) == giver);
    ++requests[giver];
    if (giver == 1 && second_gone) return Code::kIo;
    for (const auto& state : states) sizes[state.dataset] = state.attributes.size;
    told[giver] += states.size();
    return {};
  }
  bool second_gone = false;
  std::array<std::uint64_t, 2> requests{};
  std::array<std::uint64_t, 2> told{};
  std::map<std::uint64_t, std::uint64_t> sizes;
};

}  // namespace

TEST_CASE("a metadata server that is out of reach does not keep the others from being told") {
  engines::DataEngine data(64 * kMiB);
  REQUIRE(data.store.note_changes().ok());
  TwoServers names;
  names.second_gone = true;
  imss::server::AttributeFeed feed(data.store);
  const auto send = [&](bool at_once) { return feed.send(std::ref(names), at_once); };
  constexpr std::uint64_t kDatasets = 3000;
  const auto dataset = [](std::uint32_t server, std::uint64_t i) { return imss::metadata::first_id_of(server) + 100 + i; };
  for (std::uint64_t i = 1; i <= kDatasets; ++i) {
    for (const std::uint32_t server : {0U, 1U}) {
      Attributes attributes;
      attributes.block_bytes = 4096;
      attributes.size = i;
      REQUIRE(data.store.create_inode(dataset(server, i), attributes).ok());
    }
  }
  CHECK(send(true).code() == Code::kIo);
  CHECK(names.requests[1] == 1);
  for (std::uint64_t i = 1; i <= kDatasets; ++i) REQUIRE(names.sizes[dataset(0, i)] == i);
  // While it stays away.
  REQUIRE(data.store.extend_size(dataset(0, 7), 10'000).ok());
  REQUIRE(data.store.extend_size(dataset(1, 7), 10'000).ok());
  CHECK(send(false).code() == Code::kIo);
  CHECK(names.sizes[dataset(0, 7)] == 10'000);
  // It is back, and is told of all; the other one has nothing to hear.
  names.second_gone = false;
  const std::uint64_t told_first = names.told[0];
  REQUIRE(send(true).ok());
  for (std::uint64_t i = 1; i <= kDatasets; ++i) REQUIRE(names.sizes[dataset(1, i)] == (i == 7 ? 10'000 : i));
  CHECK(names.told[0] == told_first);
  REQUIRE(send(true).ok());
  CHECK(names.told[1] == kDatasets);
}

// ThreadSanitizer does not follow a fork of a process with threads.
#if !defined(__SANITIZE_THREAD__)
namespace {

// The process that serves one of the two roles, until it is killed. -1: it does not start.
pid_t serve(const std::function<bool()>& start, const std::string& fault) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("IMSS_FAULT", fault.c_str(), 1);
    imss::segment::fault_reload();
    const char answer = start() ? 'y' : 'n';
    if (::write(ends[1], &answer, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  ::close(ends[1]);
  char answer = 'n';
  const bool serves = ::read(ends[0], &answer, 1) == 1 && answer == 'y';
  ::close(ends[0]);
  return serves ? child : -1;
}

void kill_and_wait(pid_t process) {
  ::kill(process, SIGKILL);
  REQUIRE(::waitpid(process, nullptr, 0) == process);
}

}  // namespace

TEST_CASE("servers that are killed while inodes are told lose nothing of what the next ones show") {
  for (const char* fault : {"", "attributes.taken:1:kill", "attributes.taken:2:kill"}) {
    INFO("fault " << fault);
    const imss::test::Scratch scratch;
    const auto start_metadata = [&] {
      static std::unique_ptr<MetadataServer> server;
      auto started = MetadataServer::start(metadata_options(scratch));
      if (started.ok()) server = std::move(*started);
      return started.ok();
    };
    const auto start_data = [&] {
      static std::vector<std::unique_ptr<DataServer>> servers;
      for (std::uint32_t rank = 0; rank < 2; ++rank) {
        auto started = DataServer::start(data_options(rank));
        if (!started.ok()) return false;
        servers.push_back(std::move(*started));
      }
      return true;
    };
    pid_t metadata = serve(start_metadata, "");
    REQUIRE(metadata > 0);
    pid_t data = serve(start_data, "");
    REQUIRE(data > 0);
    std::map<std::string, std::string> before;
    {
      const auto session = Session::connect({{{"localhost", 0}}, kPort});
      REQUIRE(session.ok());
      make_tree(**session);
      kill_and_wait(data);
      if (*fault != '\0') {
        // A server tells everything when it starts, perhaps before it says that it serves.
        const pid_t dying = ::fork();
        if (dying == 0) {
          ::setenv("IMSS_FAULT", fault, 1);
          imss::segment::fault_reload();
          if (!start_data()) ::_exit(1);
          for (;;) ::pause();
        }
        int status = 0;
        REQUIRE(::waitpid(dying, &status, 0) == dying);
        CHECK(WIFSIGNALED(status));
      }
      data = serve(start_data, "");
      REQUIRE(data > 0);
      kill_and_wait(metadata);
      metadata = serve(start_metadata, "");
      REQUIRE(metadata > 0);
    }
    {
      const auto session = Session::connect({{{"localhost", 0}}, kPort});
      REQUIRE(session.ok());
      before = everything(**session);
      CHECK(before.size() == 25);
      CHECK(comes_true([&] {
        for (const auto& [path, text] : before) {
          if ((*session)->resolve({"told", path})->directory != 0) continue;
          const auto id = (*session)->resolve({"told", path})->entry.id;
          auto told = (*session)->names().last_inode(id);
          if (!told.ok()) return false;
          const auto now = (*session)->attributes({"told", path});
          if (told->attributes.size != now->size || told->attributes.changed_ns != now->changed_ns) return false;
        }
        return true;
      }));
      (*session)->metadata_segment()->leave();
    }
    kill_and_wait(data);
    kill_and_wait(metadata);
    // The next server on the segment writes everything into the file; then the segments are lost.
    metadata = serve(start_metadata, "");
    REQUIRE(metadata > 0);
    kill_and_wait(metadata);
    for (const std::string& file : imss::segment::list_files()) std::filesystem::remove(imss::segment::path_of(file));
    Deployment later(scratch);
    CHECK(everything(*later.session) == before);
    later.retire();
  }
}
#endif
