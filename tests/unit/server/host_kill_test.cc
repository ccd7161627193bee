// The servers' process killed at each fault point of its hosts while clients store, read and
// remove: the clients go on, a new process takes the segments over, every acknowledged block is
// there, and the segments are sound.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "engines.h"
#include "metadata/reach.h"
#include "segment/check.h"
#include "segment/fault.h"
#include "server/data_server.h"
#include "server/metadata_server.h"
#include "store/reach.h"
#include "support/scratch.h"

// ThreadSanitizer does not follow a fork of a process with threads.
#if !defined(__SANITIZE_THREAD__)

namespace {

using engines::is_stamped;
using engines::kKiB;
using engines::kMiB;
using engines::stamped;
using imss::Code;
using imss::Status;
using imss::Uri;
using imss::client::Session;

constexpr std::uint16_t kPort = 5569;
constexpr std::uint32_t kClients = 2;
constexpr std::uint64_t kOperations = 250;  // before and after the death
// Together more than the capacity when all blocks of both clients are there, so that memory changes
// its use.
constexpr std::uint64_t kCapacity = 28 * kMiB;
struct Shape {
  std::uint64_t block_bytes;
  std::uint64_t blocks;
};
constexpr std::array<Shape, 4> kShapes{{{1000, 64}, {40'000, 32}, {700 * kKiB, 8}, {5 * kMiB, 2}}};
constexpr std::uint64_t kMostBlocks = 64;

// What the clients were told, in memory that all processes share.
struct Board {
  std::atomic<bool> restarted{false};
  std::atomic<std::uint64_t> operations{0};
  std::uint64_t stamps[kClients][kShapes.size()][kMostBlocks + 1] = {};  // 0: zeros
  char failure[kClients][512] = {};
};

// Null when no metadata server comes; one that was killed has a successor soon.
std::unique_ptr<Session> connect() {
  const imss::Deadline patience = imss::Deadline::from_now(20'000);
  for (;;) {
    auto session = Session::connect({{{"localhost"}}, kPort});
    if (session.ok()) return std::move(*session);
    if (session.code() != Code::kNotInitialized || patience.expired()) return nullptr;
    std::this_thread::yield();
  }
}

// A process with a metadata server and a data server, which it leaves only by dying. -1 when they
// do not start.
pid_t start_servers(const std::string& fault) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    imss::server::MetadataServerOptions metadata;
    metadata.port = kPort;
    metadata.capacity_bytes = 32 * kMiB;
    const auto names = imss::server::MetadataServer::start(metadata);
    imss::server::DataServerOptions options;
    options.instance = "host";
    options.capacity_bytes = kCapacity;
    options.metadata_port = kPort;
    const auto data = imss::server::DataServer::start(options);
    const char answer = names.ok() && data.ok() ? 'y' : 'n';
    // Only now, as starting passes the same points.
    ::setenv("IMSS_FAULT", fault.c_str(), 1);
    imss::segment::fault_reload();
    if (::write(ends[1], &answer, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  ::close(ends[1]);
  char answer = 'n';
  const bool serves = ::read(ends[0], &answer, 1) == 1 && answer == 'y';
  ::close(ends[0]);
  return serves || answer != 'n' ? child : -1;
}

class Client {
 public:
  Client(Session& session, Board& board, std::uint32_t number, std::uint64_t seed)
      : session_(session), board_(board), number_(number), random_(seed) {}

  // False: see Board::failure.
  bool run() {
    for (std::size_t shape = 0; shape < kShapes.size(); ++shape) {
      if (!create(shape)) return false;
    }
    std::uint64_t left = kOperations;
    for (std::uint64_t done = 0; done < 20 * kOperations && left > 0; ++done) {
      if (!step()) return false;
      board_.operations.fetch_add(1);
      if (board_.restarted.load()) --left;
    }
    return true;
  }

  bool verify() {
    for (std::size_t shape = 0; shape < kShapes.size(); ++shape) {
      for (std::uint64_t block = 1; block <= kShapes[shape].blocks; ++block) {
        if (!check(shape, block)) return false;
      }
    }
    return true;
  }

 private:
  std::uint64_t random(std::uint64_t below) {
    random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (random_ >> 33) % below;
  }
  Uri uri(std::size_t shape) const {
    return {"host", "c" + std::to_string(number_) + "-" + std::to_string(shape)};
  }
  std::uint64_t& stamp(std::size_t shape, std::uint64_t block) {
    return board_.stamps[number_][shape][block];
  }
  bool fail(const std::string& what) {
    std::snprintf(board_.failure[number_], sizeof(board_.failure[number_]), "%s", what.c_str());
    return false;
  }
  bool create(std::size_t shape) {
    imss::client::DatasetOptions options;
    options.block_bytes = kShapes[shape].block_bytes;
    options.block_count = kShapes[shape].blocks;
    auto handle = session_.create(uri(shape), options);
    // An inode is small, but its memory may be what is missing.
    while (handle.code() == Code::kNoSpace) {
      if (!empty(random(kShapes.size()))) return false;
      handle = session_.create(uri(shape), options);
    }
    if (!handle.ok()) return fail("create: " + handle.status().message());
    const Status released = session_.release(*handle);
    return released.ok() || fail("release: " + released.message());
  }
  bool empty(std::size_t shape) {
    const Status removed = session_.unlink(uri(shape));
    if (!removed.ok() && removed.code() != Code::kNotFound)
      return fail("unlink: " + removed.message());
    for (std::uint64_t& each : board_.stamps[number_][shape]) each = 0;
    return true;
  }
  // What served one size of blocks may serve another one afterwards.
  bool empty_all() {
    for (std::size_t shape = 0; shape < kShapes.size(); ++shape) {
      if (!empty(shape)) return false;
    }
    return true;
  }
  bool check(std::size_t shape, std::uint64_t block) {
    auto dataset = session_.peek(uri(shape));
    if (dataset.code() == Code::kNotFound && stamp(shape, block) == 0) return true;
    if (!dataset.ok()) return fail("peek: " + dataset.status().message());
    std::vector<std::byte> content(kShapes[shape].block_bytes);
    const Status got = session_.get(**dataset, block, 0, content);
    if (!got.ok()) return fail("get: " + got.message());
    return is_stamped(content, stamp(shape, block)) ||
           fail("block " + std::to_string(block) + " of " + format_uri(uri(shape)) +
                " has other content");
  }
  bool step() {
    const std::size_t shape = random(kShapes.size());
    if (random(24) == 0) return empty(shape) && create(shape);
    if (random(100) == 0) return empty_all();
    const std::uint64_t block = 1 + random(kShapes[shape].blocks);
    if (random(3) == 0) return check(shape, block);
    auto dataset = session_.peek(uri(shape));
    if (dataset.code() == Code::kNotFound) return create(shape);
    if (!dataset.ok()) return fail("peek: " + dataset.status().message());
    const std::uint64_t next = 1 + random(1'000'000);
    const auto content = stamped(kShapes[shape].block_bytes, next);
    const Status status = random(2) == 0 ? session_.put(**dataset, block, content)
                                         : session_.write(**dataset, block, 0, content);
    if (status.ok()) stamp(shape, block) = next;
    if (!status.ok() && status.code() != Code::kNoSpace) return fail("put: " + status.message());
    return true;
  }

  Session& session_;
  Board& board_;
  std::uint32_t number_;
  std::uint64_t random_;
};

pid_t start_client(Board& board, std::uint32_t number, std::uint64_t seed) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const auto session = connect();
  ::_exit(session != nullptr && Client(*session, board, number, seed).run() ? 0 : 1);
}

imss::segment::CheckReport check(imss::segment::Segment& segment) {
  imss::segment::CheckOptions options;
  options.reach = segment.name().starts_with("imss-data")
                      ? imss::segment::ReachVisitor(imss::store::visit)
                      : imss::segment::ReachVisitor(imss::metadata::visit);
  auto report = imss::segment::check_segment(segment, options);
  REQUIRE(report.ok());
  std::string errors;
  for (const auto& error : report->errors) errors += error + "\n";
  INFO(segment.name() << ": " << errors);
  CHECK(report->exclusive);
  CHECK(report->errors.empty());
  return *report;
}

void require_sound(const std::string& name) {
  auto segment = imss::segment::Segment::open(name);
  REQUIRE(segment.ok());
  (*segment)->clean_up();
  CHECK(check(**segment).leaked_extents == 0);
  (*segment)->leave();
}

void end(pid_t process) {
  ::kill(process, SIGKILL);
  REQUIRE(::waitpid(process, nullptr, 0) == process);
}

// Returns whether the servers came to the fault point.
bool kill_servers_at(const std::string& fault, std::uint64_t seed) {
  const imss::test::Scratch scratch;
  void* memory =
      ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  auto& board = *new (memory) Board();
  pid_t servers = start_servers(fault);
  REQUIRE(servers > 0);
  std::array<pid_t, kClients> clients{};
  for (std::uint32_t i = 0; i < kClients; ++i) clients[i] = start_client(board, i, seed + i);
  bool killed = false;
  for (std::uint32_t running = kClients; running > 0;) {
    int status = 0;
    const pid_t ended = ::wait(&status);
    REQUIRE(ended > 0);
    if (ended == servers) {
      CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
      REQUIRE_FALSE(killed);
      killed = true;
      servers = start_servers("");
      REQUIRE(servers > 0);
      board.restarted.store(true);
      continue;
    }
    --running;
    const std::size_t number = ended == clients[0] ? 0 : 1;
    INFO("client " << number << ": " << board.failure[number]);
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  }
  {
    const auto session = connect();
    REQUIRE(session != nullptr);
    for (std::uint32_t i = 0; i < kClients; ++i) {
      const bool all_there = Client(*session, board, i, seed).verify();
      INFO(board.failure[i]);
      CHECK(all_there);
    }
    session->metadata_segment()->leave();
  }
  end(servers);
  require_sound("imss-data-5555-0");
  require_sound("imss-metadata-5569-0");
  ::munmap(memory, sizeof(Board));
  return killed;
}

}  // namespace

TEST_CASE("servers killed at any fault point of a host lose nothing, and their clients go on") {
  std::uint64_t seed = 1;
  for (const char* point :
       {"host.obtained", "host.taken", "host.run_marked", "host.set_aside", "host.memory_dropping",
        "host.reclaimed"}) {
    int kills = 0;
    for (const int pass : {1, 3, 9}) {
      const std::string fault = std::string(point) + ":" + std::to_string(pass) + ":kill";
      INFO(fault);
      if (kill_servers_at(fault, seed += 2)) ++kills;
    }
    INFO(point);
    CHECK(kills >= 1);
  }
}
#endif
