// A worker on a real port, asked by hand-made messages.
#include "server/request_worker.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <mutex>

#include "base/hash.h"
#include "net/head.h"
#include "net/server_clock.h"
#include "unit/net/port_peer.h"

namespace imss::server {
namespace {

// Answers with the payload it got, and keeps a list of whom it served.
class Echo final : public Requests {
 public:
  struct Log {
    std::mutex mutex;
    std::vector<std::uint64_t> served;  // the dataset of each request
    std::atomic<int> closed{0};
    std::atomic<bool> blocked{false};  // whoever is executed waits until it is false
    std::atomic<int> put_off{0};       // so many times a request is told to wait
    std::atomic<const RequestWorker*> worker{nullptr};
    std::atomic<std::size_t> most_waiting{0};
  };
  explicit Echo(std::shared_ptr<Log> log) : log_(std::move(log)) {}
  void execute(Exchange& exchange) override {
    const auto request = net::decode<net::BlockFields>(exchange.fields);
    exchange.status = request.status();
    if (!request.ok()) return;
    log_->blocked.wait(true);
    if (const auto* const worker = log_->worker.load(); worker != nullptr)
      log_->most_waiting = std::max<std::size_t>(log_->most_waiting, worker->waiting());
    if (log_->put_off.load() > 0) {
      --log_->put_off;
      exchange.later = true;
      return;
    }
    {
      const std::lock_guard lock(log_->mutex);
      log_->served.push_back(request->dataset);
    }
    auto copy =
        std::make_shared<std::vector<std::byte>>(exchange.payload.begin(), exchange.payload.end());
    exchange.reply_payload = *copy;
    exchange.hold = copy;
  }
  void connection_closed(std::uint64_t) override { ++log_->closed; }

 private:
  const std::shared_ptr<Log> log_;
};

struct World {
  World() {
    auto module = net::load_module();
    REQUIRE(module.ok());
    auto started =
        RequestWorker::start(**module, clients, std::make_unique<Echo>(log),
                                      {"localhost", 0, {}});
    REQUIRE(started.ok());
    worker = std::move(*started);
    log->worker = worker.get();
  }
  ~World() { log->worker = nullptr; }
  RemoteClients clients;
  std::shared_ptr<Echo::Log> log = std::make_shared<Echo::Log>();
  std::unique_ptr<RequestWorker> worker;
};

// One connection of a client, with its replies.
struct Client {
  explicit Client(World& world, std::uint64_t number) : token(world.clients.add(number)) {
    auto connected = user.port->connect("localhost", world.worker->port());
    REQUIRE(connected.ok());
    connection = *connected;
  }
  void send(std::uint64_t request, std::uint64_t dataset, std::span<const std::byte> payload = {},
            std::uint32_t damage = 0) {
    net::Head head;
    head.operation = static_cast<std::uint16_t>(net::Operation::kGet);
    head.request = request;
    head.token = token;
    head.deadline_ms = static_cast<std::uint32_t>(net::clock_ms() + wait_ms);
    head.payload_bytes = static_cast<std::uint32_t>(payload.size());
    head.payload_crc = crc32c(payload.data(), payload.size()) ^ damage;
    const auto bytes = net::write_head(head, net::encode(net::BlockFields{dataset, 1}));
    user.port->send(*connection, bytes, net::ConstPieces(&payload, payload.empty() ? 0 : 1),
                    [](const Status&) {});
  }
  bool drive(const std::function<bool()>& condition) { return net::drive({&user}, condition); }
  net::Head reply(std::size_t index) {
    REQUIRE(drive([&] { return user.arrivals.size() > index; }));
    net::Head head;
    std::memcpy(&head, user.arrivals[index].head.data(), sizeof(head));
    return head;
  }
  net::PortUser user;
  net::Connection* connection = nullptr;
  std::uint64_t token = 0;
  std::int64_t wait_ms = 60'000;
};

TEST_CASE("a request is executed and answered under its number") {
  World world;
  Client client(world, 7);
  const auto payload = net::pattern(300, 1);
  client.send(42, 1, payload);
  const net::Head reply = client.reply(0);
  CHECK(reply.request == 42);
  CHECK(reply.flags == net::kReplyFlag);
  CHECK(reply.status == 0);
  CHECK(reply.payload_bytes == 300);
  CHECK(world.worker->served() == 1);
}

TEST_CASE("a request with a damaged payload is refused and not executed") {
  World world;
  Client client(world, 7);
  const auto payload = net::pattern(300, 1);
  client.send(1, 1, payload, 1);
  CHECK(client.reply(0).status == static_cast<std::uint16_t>(Code::kIo));
  CHECK(world.log->served.empty());
}

TEST_CASE("a request whose deadline has passed is not executed") {
  World world;
  Client client(world, 7);
  const auto late = static_cast<std::uint16_t>(Code::kTimedOut);
  client.wait_ms = -1;  // it was held up on its way
  const auto payload = net::pattern(300, 1);
  client.send(1, 1, payload);
  CHECK(client.reply(0).status == late);
  // Held up by the one before it, after it has arrived.
  world.log->blocked = true;
  client.wait_ms = 60'000;
  client.send(2, 2);
  client.wait_ms = 50;
  const Deadline passed = Deadline::from_now(client.wait_ms + 1);
  client.send(3, 3);
  CHECK(client.drive([&] { return passed.expired(); }));
  world.log->blocked = false;
  world.log->blocked.notify_all();
  CHECK(client.reply(1).status == 0);
  CHECK(client.reply(2).status == late);
  CHECK(world.log->served == std::vector<std::uint64_t>{2});
}

TEST_CASE("a token that is not known is refused with a flag, and a new one goes on") {
  World world;
  Client client(world, 7);
  const std::uint64_t good = client.token;
  client.token = good ^ 1;
  client.send(1, 1);
  const net::Head refused = client.reply(0);
  CHECK(refused.status == static_cast<std::uint16_t>(Code::kPermission));
  CHECK(refused.flags == (net::kReplyFlag | net::kUnknownSession));
  CHECK(world.log->served.empty());
  client.token = good;
  client.send(2, 1);
  CHECK(client.reply(1).status == 0);
  // But not in the name of another while the first one lives.
  client.token = world.clients.add(8);
  client.send(3, 1);
  CHECK(client.reply(2).status == static_cast<std::uint16_t>(Code::kPermission));
  CHECK(world.log->served.size() == 1);
}

TEST_CASE("a message that makes no sense ends its connection, and only that") {
  World world;
  Client bad(world, 7);
  Client good(world, 8);
  good.send(1, 1);
  CHECK(good.reply(0).status == 0);
  // Also while a large payload of it is on its way.
  const auto large = net::pattern(16 << 20, 1);
  bad.send(1, 1, large);
  bad.user.send(*bad.connection, "nonsense");
  CHECK(bad.drive([&] { return !bad.user.ended.empty(); }));
  good.send(2, 1);
  CHECK(good.reply(1).status == 0);
  CHECK(world.log->closed == 1);
  CHECK(world.worker->connections() == 1);
}

TEST_CASE("a request for which there is no room is executed when there is") {
  World world;
  world.log->put_off = 3;
  Client client(world, 7);
  client.send(1, 1);
  client.send(2, 2);
  CHECK(client.reply(0).request == 1);
  CHECK(client.reply(1).request == 2);
  CHECK(world.log->put_off == 0);
  CHECK(world.log->served == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("connections take turns: a thousand requests of one do not keep another waiting") {
  World world;
  Client busy(world, 7);
  Client other(world, 8);
  busy.send(1, 1);
  CHECK(busy.reply(0).status == 0);
  other.send(1, 2);
  CHECK(other.reply(0).status == 0);
  // Both have asked before the worker goes on.
  constexpr std::size_t kMany = 1000;
  world.log->blocked = true;
  for (std::size_t i = 0; i < kMany; ++i) busy.send(2 + i, 1);
  other.send(2, 2);
  world.log->blocked = false;
  world.log->blocked.notify_all();
  REQUIRE(net::drive({&busy.user, &other.user}, [&] {
    return busy.user.arrivals.size() == kMany + 1 && other.user.arrivals.size() == 2;
  }));
  const std::lock_guard lock(world.log->mutex);
  const auto& served = world.log->served;
  const auto turn = std::find(served.begin() + 2, served.end(), 2) - served.begin();
  CHECK(turn < static_cast<std::ptrdiff_t>(kMany / 2));
}

TEST_CASE("a client that takes no replies keeps nobody else from working") {
  World world;
  Client stuck(world, 7);
  Client other(world, 8);
  const auto payload = net::pattern(16 << 20, 1);
  int sent = 0;
  for (int i = 0; i < 20; ++i) stuck.send(1, 1, payload);
  // Its replies arrive and stay where they are.
  CHECK(stuck.drive([&] { return stuck.user.arrivals.size() > 2; }));
  for (; sent < 10; ++sent) {
    other.send(1, 2);
    CHECK(other.reply(static_cast<std::size_t>(sent)).status == 0);
  }
}

// Several connections of which each has asked for less than it may, but all of them for more.
struct Crowd {
  static constexpr std::size_t kClients = 5;
  static constexpr std::size_t kOfEach = 4000;
  static_assert(kOfEach < RequestWorker::kMostOfConnection);
  static_assert(kClients * kOfEach > RequestWorker::kMost);

  explicit Crowd(World& world) {
    for (std::size_t i = 0; i < kClients; ++i) {
      clients.push_back(std::make_unique<Client>(world, 100 + i));
      users.push_back(&clients.back()->user);
      // The port knows its peer, and what follows is sent at once.
      clients.back()->send(0, i);
      REQUIRE(clients.back()->reply(0).status == 0);
      clients.back()->user.arrivals.clear();
    }
  }
  void ask() {
    for (std::size_t request = 1; request <= kOfEach; ++request) {
      for (const auto& client : clients) client->send(request, 1);
    }
  }
  std::size_t answered(Code code) const {
    std::size_t count = 0;
    for (const auto& client : clients) {
      for (const auto& arrival : client->user.arrivals) {
        net::Head head;
        std::memcpy(&head, arrival.head.data(), sizeof(head));
        count += head.status == static_cast<std::uint16_t>(code);
      }
    }
    return count;
  }
  std::size_t answered() const {
    std::size_t count = 0;
    for (const auto& client : clients) count += client->user.arrivals.size();
    return count;
  }
  bool drive(const std::function<bool()>& condition) {
    return net::drive(users, condition, std::chrono::seconds(120));
  }

  std::vector<std::unique_ptr<Client>> clients;
  std::vector<net::PortUser*> users;
};

TEST_CASE("what clients send while many requests wait stays with them until there is room") {
  World world;
  Crowd crowd(world);
  // The worker gets to see all of it at once.
  world.log->blocked = true;
  crowd.ask();
  world.log->blocked = false;
  world.log->blocked.notify_all();
  REQUIRE(crowd.drive([&] { return crowd.answered() == Crowd::kClients * Crowd::kOfEach; }));
  CHECK(crowd.answered(Code::kOk) == crowd.answered());
  CHECK(world.log->most_waiting >= RequestWorker::kMany / 2);  // or nothing was tested
  CHECK(world.log->most_waiting < RequestWorker::kMany + RequestWorker::kMany / 2);
  CHECK(world.worker->waiting() == 0);
}

TEST_CASE("requests are refused when those that wait cannot go on, and these are kept") {
  World world;
  Crowd crowd(world);
  world.log->put_off = 1'000'000'000;
  crowd.ask();
  constexpr std::size_t kTooMany = Crowd::kClients * Crowd::kOfEach - RequestWorker::kMost;
  REQUIRE(crowd.drive([&] { return crowd.answered(Code::kBusy) >= kTooMany; }));
  CHECK(crowd.answered() == kTooMany);
  world.log->put_off = 0;
  // Any message lets the worker look again.
  crowd.clients.front()->send(1, 1);
  REQUIRE(crowd.drive([&] { return crowd.answered() > Crowd::kClients * Crowd::kOfEach; }));
  CHECK(crowd.answered(Code::kOk) >= RequestWorker::kMost);
}

TEST_CASE("a client that goes on asking and takes no answers loses its connection") {
  World world;
  Client stuck(world, 7);
  const auto payload = net::pattern(16 << 20, 1);
  for (int i = 0; i < 10; ++i) stuck.send(1, 1, payload);
  CHECK(stuck.drive([&] { return stuck.user.arrivals.size() > 2; }));
  for (std::size_t i = 0; i < RequestWorker::kMostOfConnection; ++i) stuck.send(2, 2);
  CHECK(stuck.drive([&] { return !stuck.user.ended.empty(); }));
  Client other(world, 8);
  other.send(1, 2);
  CHECK(other.reply(0).status == 0);
  CHECK(world.worker->connections() == 1);
}

}  // namespace
}  // namespace imss::server
