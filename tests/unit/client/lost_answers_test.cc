// Answers that are lost because the server dies: a change is executed once and its first result
// comes from the server that was started in its place; and what a client has open at a server that
// took it for gone is opened again.
//
// The servers that die are processes of their own: this program with a hidden test.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/clock.h"
#include "client/remote_names.h"
#include "client/remote_store.h"
#include "client/session.h"
#include "engines.h"
#include "segment/outcome.h"
#include "server/data_requests.h"
#include "server/data_server.h"
#include "server/metadata_server.h"
#include "server/name_requests.h"
#include "unit/client/serve.h"
#include "support/scratch.h"

namespace imss::client {
namespace {

constexpr std::uint16_t kMetadataPort = 22410;
constexpr std::uint16_t kDataPort = 22411;
constexpr std::uint64_t kDataset = 40;
constexpr int kPatienceMs = 30'000;

// A server that is killed at the fault point, if one is given.
class ServerProcess {
 public:
  ServerProcess(const std::string& role, const std::string& fault) {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::alarm(120);  // should the test die
      ::dup2(ready[1], kReadyFd);
      ::setenv("IMSS_TEST_ROLE", role.c_str(), 1);
      if (!fault.empty()) ::setenv("IMSS_FAULT", fault.c_str(), 1);
      ::execl("/proc/self/exe", "test_client", "[.server-process]", nullptr);
      ::_exit(127);
    }
    ::close(ready[1]);
    char byte = 0;
    const auto heard = ::read(ready[0], &byte, 1);
    ::close(ready[0]);
    REQUIRE(heard == 1);
  }
  ~ServerProcess() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    wait();
  }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  pid_t process() const { return pid_; }
  // How it ended.
  int wait() {
    int status = 0;
    if (pid_ > 0) ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

  static constexpr int kReadyFd = 77;

 private:
  pid_t pid_ = -1;
};

// Runs `ask` while the server dies at the fault point and another one is started in its place.
void across_a_death(const std::string& role, const std::string& fault,
                    const std::function<void()>& ask) {
  ServerProcess first(role, fault);
  const pid_t process = first.process();
  int status = 0;
  std::unique_ptr<ServerProcess> second;
  std::thread keeper([&] {
    status = first.wait();
    second = std::make_unique<ServerProcess>(role, "");
  });
  try {
    ask();
  } catch (...) {  // a check that failed
    ::kill(process, SIGKILL);
    keeper.join();
    throw;
  }
  keeper.join();
  CHECK(WIFSIGNALED(status));
}

// Until the server is reached for the first time: how long that may take on a busy machine is not what is tested here.
template <typename Ask>
void await_contact(Ask ask) {
  const Deadline patience = Deadline::from_now(kPatienceMs);
  while (ask() == Code::kIo) REQUIRE_FALSE(patience.expired());
}

std::shared_ptr<net::Peers> make_peers() {
  auto peers = net::Peers::make({});
  REQUIRE(peers.ok());
  return *peers;
}

}  // namespace

TEST_CASE("a server for the tests of this file", "[.server-process]") {
  const char* const wanted = std::getenv("IMSS_TEST_ROLE");
  if (wanted == nullptr) return;
  const std::string role = wanted;
  server::NetworkOptions network;
  network.enabled = true;
  std::unique_ptr<server::MetadataServer> metadata;
  std::unique_ptr<server::DataServer> data;
  if (role == "metadata") {
    server::MetadataServerOptions options;
    options.port = kMetadataPort;
    options.capacity_bytes = 32 << 20;
    options.network = network;
    auto started = server::MetadataServer::start(options);
    INFO(started.status().message());
    REQUIRE(started.ok());
    metadata = std::move(*started);
  } else {
    server::DataServerOptions options;
    options.port = kDataPort;
    options.capacity_bytes = 32 << 20;
    options.join_later = true;
    options.network = network;
    auto started = server::DataServer::start(options);
    INFO(started.status().message());
    REQUIRE(started.ok());
    data = std::move(*started);
  }
  REQUIRE(::write(ServerProcess::kReadyFd, "r", 1) == 1);
  for (;;) ::pause();
}

TEST_CASE("an append whose server is killed before it answers is executed once") {
  const test::Scratch scratch;
  // The inode is the first change, the append the second.
  across_a_death("data", "request.executed:2:kill", [] {
    RemoteStore store(make_peers(), "localhost", kDataPort, 0);
    await_contact([&] { return store.attributes(kDataset).code(); });
    store::Attributes attributes;
    attributes.size = 100;
    REQUIRE(store.create_inode(kDataset, attributes).ok());
    const auto first = store.reserve_append(kDataset, 10);
    INFO(first.status().message());
    REQUIRE(first.ok());
    CHECK(*first == 100);
    const auto second = store.reserve_append(kDataset, 10);
    REQUIRE(second.ok());
    CHECK(*second == 110);
  });
}

TEST_CASE("a put whose server is killed while its payload lies in an extent is executed once") {
  const test::Scratch scratch;
  for (const char* fault : {"put.staged", "put.filled", "transaction.committed:2:kill"}) {
    INFO(fault);
    const std::uint64_t block = 1;
    const auto content = engines::pattern(1 << 20, 5);
    across_a_death("data", fault, [&] {
      RemoteStore store(make_peers(), "localhost", kDataPort, 0);
      await_contact([&] { return store.attributes(kDataset).code(); });
      const auto version = store.put({kDataset, block}, content);
      INFO(version.status().message());
      REQUIRE(version.ok());
      CHECK(*store.version({kDataset, block}) == *version);
      std::vector<std::byte> out(content.size());
      REQUIRE(store.get({kDataset, block}, 0, out).ok());
      CHECK(out == content);
    });
  }
}

TEST_CASE("names whose server is killed before it answers are made, moved and removed once") {
  const test::Scratch scratch;
  metadata::InstanceInfo info;
  info.name = "w";
  info.root = 1000;
  info.servers = {1};
  // The instance is the first change.
  across_a_death("metadata", "request.executed:2:kill", [&] {
    RemoteNames names(make_peers(), "localhost", kMetadataPort, 0);
    await_contact([&] { return names.directory(1000).code(); });
    REQUIRE(names.create_instance(info).ok());
    std::uint64_t id = 0;
    const Status made = names.make_directory(1000, "dir", {0755}, &id);
    INFO(made.message());
    REQUIRE(made.ok());
    CHECK(names.lookup(1000, "dir")->id == id);
  });
  across_a_death("metadata", "request.executed:1:kill", [&] {
    RemoteNames names(make_peers(), "localhost", kMetadataPort, 0);
    await_contact([&] { return names.directory(1000).code(); });
    const auto renamed = names.rename(1000, "dir", 1000, "other");
    INFO(renamed.status().message());
    REQUIRE(renamed.ok());
    CHECK_FALSE(renamed->replaced);
    CHECK(names.lookup(1000, "dir").code() == Code::kNotFound);
  });
  across_a_death("metadata", "request.executed:1:kill", [&] {
    RemoteNames names(make_peers(), "localhost", kMetadataPort, 0);
    await_contact([&] { return names.directory(1000).code(); });
    CHECK(names.remove_directory(1000, "other").ok());
    CHECK(names.directory(1000)->entries == 0);
  });
}

TEST_CASE("what a client has open at a server that took it for gone is opened again") {
  const test::Scratch scratch;
  engines::NameEngine names;
  engines::DataEngine data;
  const auto name_service = serve<server::NameRequests>(names.hosted.segment(), 0);
  auto data_service = serve<server::DataRequests>(data.hosted.segment(), 0);
  const std::uint16_t port = data_service->port();
  metadata::ServerInfo record;
  record.nonce = (*data.hosted).super().nonce;
  record.port = port;
  record.host = kElsewhere;
  record.segment_name = data.hosted.segment()->name();
  const auto id = names.names.join_server(record);
  REQUIRE(id.ok());
  metadata::InstanceInfo info;
  info.name = "w";
  info.block_bytes = 64 << 10;
  info.servers = {*id};
  REQUIRE(names.names.create_instance(info).ok());

  ConnectOptions connect;
  connect.hosts = {Host{kElsewhere, 0}};
  connect.port = name_service->port();
  auto session = Session::connect(connect);
  INFO(session.status().message());
  REQUIRE(session.ok());
  REQUIRE((*session)->metadata_segment() == nullptr);
  DatasetOptions options;
  options.block_bytes = 64 << 10;
  options.block_count = 2;
  const auto handle = (*session)->create({"w", "file"}, options);
  REQUIRE(handle.ok());
  const auto dataset = (*session)->dataset(*handle);
  const std::uint64_t inode = (*dataset)->id;
  const auto opens = [&] { return data.store.attributes(inode)->opens; };
  CHECK(opens() == 1);

  // As after a pause of the client: the server forgets it.
  data_service.reset();
  segment::Outcomes outcomes(*data.hosted);
  REQUIRE(outcomes.forget([](std::uint64_t) { return false; }, [](std::uint64_t) {}).ok());
  store::Store::SweepActions actions;
  actions.settle = [] { return Status(); };
  actions.drop = [](std::uint64_t) { return Status(); };
  actions.remote_changes = 7;
  REQUIRE(data.store.sweep(actions).ok());
  CHECK(opens() == 0);
  data_service = serve<server::DataRequests>(data.hosted.segment(), port);

  const std::int64_t end = monotonic_ns() + std::int64_t{kPatienceMs} * 1'000'000;
  while (opens() == 0 && monotonic_ns() < end) std::this_thread::yield();
  CHECK(opens() == 1);
  // So it stays when its name goes, until it is closed.
  REQUIRE((*session)->unlink({"w", "file"}).ok());
  const std::vector<std::byte> content(100, std::byte{1});
  CHECK((*session)->put(**dataset, 1, content).ok());
  CHECK((*session)->release(*handle).ok());
  CHECK(data.store.attributes(inode).code() == Code::kNotFound);
}

}  // namespace imss::client
