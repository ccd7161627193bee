// The ends of connections and ports: closed, killed, never reached, or copied by fork().
#include <arpa/inet.h>
#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "port_pair.h"
#include "port_process.h"

namespace imss::net {
namespace {

constexpr std::size_t kLarge = kMaxPayloadBytes;

int tcp_socket_to(std::uint16_t port_number) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port_number);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

// Exchanges a message, so that the connection is known to stand.
void greet(Pair& pair) {
  pair.client.send(*pair.to_server, "hello");
  REQUIRE(pair.drive([&] { return !pair.server.arrivals.empty(); }));
  pair.server.arrivals.clear();
}

// The first instructions of the calls that UCX would like to hear of.
std::string code_of_memory_calls() {
  std::string code;
  for (const char* name :
       {"madvise", "mmap", "munmap", "mremap", "brk", "sbrk", "shmat", "shmdt"}) {
    const void* const call = dlsym(RTLD_DEFAULT, name);
    REQUIRE(call != nullptr);
    constexpr std::size_t kBytes = 16;
    code.append(static_cast<const char*>(call), kBytes);
  }
  return code;
}

}  // namespace

TEST_CASE("a peer for tests in another process", "[.port-peer]") {
  const char* wanted = std::getenv("IMSS_TEST_ROLE");
  if (wanted == nullptr) return;
  const std::string role = wanted;
  const auto number = static_cast<std::uint16_t>(std::stoi(std::getenv("IMSS_TEST_PORT")));
  if (role == "handlers") {
    std::array<struct sigaction, 4> before = {};
    const std::array<int, 4> signals = {SIGILL, SIGSEGV, SIGBUS, SIGFPE};
    for (std::size_t i = 0; i < 4; ++i) sigaction(signals[i], nullptr, &before[i]);
    REQUIRE(load_module().ok());
    const PortUser peer;
    for (std::size_t i = 0; i < 4; ++i) {
      struct sigaction after = {};
      sigaction(signals[i], nullptr, &after);
      CHECK(reinterpret_cast<void*>(after.sa_sigaction) ==
            reinterpret_cast<void*>(before[i].sa_sigaction));
    }
    return;
  }
  if (role == "libc") {
    const auto before = code_of_memory_calls();
    REQUIRE(load_module().ok());
    const std::vector<std::byte> large(1 << 20);
    const std::span<const std::byte> piece(large);
    Outcome outcome;  // the end of the ports completes the transfer
    Pair pair;
    greet(pair);
    pair.client.send(*pair.to_server, "large", ConstPieces(&piece, 1), outcome.completion());
    REQUIRE(pair.drive([&] { return !pair.server.arrivals.empty(); }));
    CHECK(code_of_memory_calls() == before);
    return;
  }
  if (role == "exit") {
    std::atomic<int> arrived = 0;
    std::thread worker([&] {
      Pair pair;
      pair.server.on_arrival = [&](Arrived& message) {
        pair.server.send(*message.connection, "again");
        ++arrived;
      };
      pair.client.on_arrival = [&](Arrived&) { pair.client.send(*pair.to_server, "once more"); };
      pair.client.send(*pair.to_server, "first");
      (void)pair.drive([] { return false; });
    });
    while (arrived < 100) std::this_thread::yield();
    std::exit(0);
  }
  PortUser peer;
  auto connection = peer.port->connect("127.0.0.1", number);
  REQUIRE(connection.ok());
  std::vector<std::byte> bytes(kLarge, std::byte{7});
  if (role == "send") {
    const Piece piece(bytes);
    peer.send(**connection, "large", ConstPieces(&piece, 1));
  } else {
    peer.send(**connection, "ready");
    REQUIRE(drive({&peer}, [&] { return !peer.arrivals.empty(); }));
    const std::span<std::byte> piece(bytes);
    peer.arrivals[0].payload->receive(Pieces(&piece, 1), {});
    Outcome told;
    peer.send(**connection, "started", {}, told.completion());
    REQUIRE(drive({&peer}, [&] { return told.runs == 1; }));
    // Told, but not finished: from here on the transfer stands still.
    for (;;) pause();
  }
  (void)drive({&peer}, [] { return false; });
}

TEST_CASE("a connection to where nobody listens is closed with a reason") {
  PortUser peer;
  std::uint16_t unused = 0;
  {
    PortUser other;
    auto number = other.port->listen("127.0.0.1", 0);
    REQUIRE(number.ok());
    unused = *number;
  }
  auto connection = peer.port->connect("127.0.0.1", unused);
  REQUIRE(connection.ok());
  Outcome outcome;
  peer.send(**connection, "anybody?", {}, outcome.completion());
  REQUIRE(drive({&peer}, [&] { return !peer.ended.empty(); }));
  CHECK(outcome.runs == 1);
  CHECK(outcome.status.code() == Code::kIo);
  CHECK(peer.reasons[0].code() == Code::kIo);
  CHECK_FALSE(peer.reasons[0].message().empty());
}

TEST_CASE("a host name that is unknown is an error of connect, a foreign address one of listen") {
  PortUser peer;
  CHECK(peer.port->connect("no-such-host.invalid", 1).code() == Code::kIo);
  CHECK(peer.port->listen("192.0.2.1", 0).code() == Code::kInvalidArgument);
  auto number = peer.port->listen("127.0.0.1", 0);
  REQUIRE(number.ok());
  PortUser second;
  CHECK(second.port->listen("127.0.0.1", *number).code() == Code::kBusy);
}

TEST_CASE("closing tells the peer, and completes every transfer with an error once") {
  const bool receiver_closes = GENERATE(true, false);
  CAPTURE(receiver_closes);
  Pair pair;
  greet(pair);
  const auto sent = pattern(kLarge, 1);
  std::vector<std::byte> received(kLarge);
  const Piece out(sent);
  const std::span<std::byte> in(received);
  Outcome sending;
  Outcome receiving;
  pair.client.send(*pair.to_server, "large", ConstPieces(&out, 1), sending.completion());
  REQUIRE(pair.drive([&] { return !pair.server.arrivals.empty(); }));
  pair.server.arrivals[0].payload->receive(Pieces(&in, 1), receiving.completion());
  REQUIRE(pair.drive([&] { return received[kLarge / 16] == sent[kLarge / 16]; }));
  REQUIRE(receiving.runs == 0);

  PortUser& closer = receiver_closes ? pair.server : pair.client;
  PortUser& other = receiver_closes ? pair.client : pair.server;
  closer.port->close(receiver_closes ? *pair.server.connections[0] : *pair.to_server);
  REQUIRE(pair.drive([&] { return sending.runs == 1 && receiving.runs == 1; }));
  const auto left_by_transfer = received;
  CHECK(receiving.status.code() == Code::kIo);
  CHECK(sending.status.code() == Code::kIo);
  REQUIRE(pair.drive([&] { return !other.ended.empty(); }));
  CHECK(closer.ended.empty());
  pair.settle();
  CHECK(sending.runs == 1);
  CHECK(receiving.runs == 1);
  CHECK((received == left_by_transfer));
}

TEST_CASE("a payload whose connection has ended is received with an error") {
  Pair pair;
  greet(pair);
  const auto sent = pattern(kLarge, 1);
  const Piece out(sent);
  pair.client.send(*pair.to_server, "large", ConstPieces(&out, 1));
  REQUIRE(pair.drive([&] { return !pair.server.arrivals.empty(); }));
  pair.client.port->close(*pair.to_server);
  REQUIRE(pair.drive([&] { return !pair.server.ended.empty(); }));
  std::vector<std::byte> received(kLarge);
  const std::span<std::byte> in(received);
  Outcome outcome;
  pair.server.arrivals[0].payload->receive(Pieces(&in, 1), outcome.completion());
  REQUIRE(pair.drive([&] { return outcome.runs == 1; }));
  CHECK(outcome.status.code() == Code::kIo);
  CHECK(std::count(received.begin(), received.end(), std::byte{}) == kLarge);
}

TEST_CASE("a handler may close the connection whose message it gets") {
  Pair pair;
  pair.server.on_arrival = [&](Arrived& message) {
    if (pair.server.arrivals.size() == 2) pair.server.port->close(*message.connection);
  };
  for (int i = 0; i < 10; ++i) pair.client.send(*pair.to_server, "x");
  REQUIRE(pair.drive([&] { return !pair.client.ended.empty(); }));
  CHECK(pair.server.arrivals.size() == 2);
  CHECK(pair.server.ended.empty());
}

TEST_CASE("a port that ends completes what is under way") {
  Outcome sending;
  Outcome receiving;
  const auto sent = pattern(kLarge, 1);
  std::vector<std::byte> received(kLarge);
  const Piece out(sent);
  const std::span<std::byte> in(received);
  Pair pair;
  pair.client.send(*pair.to_server, "large", ConstPieces(&out, 1), sending.completion());
  REQUIRE(pair.drive([&] { return !pair.server.arrivals.empty(); }));
  pair.server.arrivals[0].payload->receive(Pieces(&in, 1), receiving.completion());
  pair.server.port.reset();
  CHECK(receiving.runs == 1);
  CHECK(receiving.status.code() == Code::kIo);
  const auto left_by_transfer = received;
  REQUIRE(drive({&pair.client}, [&] { return !pair.client.ended.empty(); }));
  CHECK(sending.runs == 1);
  CHECK(sending.status.code() == Code::kIo);
  CHECK((received == left_by_transfer));
}

TEST_CASE("a receiver notices that the sender is killed while it sends") {
  PortUser peer;
  auto number = peer.port->listen("127.0.0.1", 0);
  REQUIRE(number.ok());
  PeerProcess sender("send", *number);
  REQUIRE(drive({&peer}, [&] { return !peer.arrivals.empty(); }));
  REQUIRE(peer.arrivals[0].payload->bytes() == kLarge);
  std::vector<std::byte> received(kLarge);
  const std::span<std::byte> in(received);
  Outcome outcome;
  peer.arrivals[0].payload->receive(Pieces(&in, 1), outcome.completion());
  REQUIRE(drive({&peer}, [&] { return received[kLarge / 16] == std::byte{7}; }));
  REQUIRE(outcome.runs == 0);
  sender.kill();
  REQUIRE(drive({&peer}, [&] { return !peer.ended.empty(); }));
  CHECK(outcome.runs == 1);
  CHECK(outcome.status.code() == Code::kIo);
  CHECK(received.back() == std::byte{});
}

TEST_CASE("a sender notices that the receiver is killed while it receives") {
  PortUser peer;
  auto number = peer.port->listen("127.0.0.1", 0);
  REQUIRE(number.ok());
  PeerProcess receiver("receive", *number);
  REQUIRE(drive({&peer}, [&] { return !peer.arrivals.empty(); }));
  const auto sent = pattern(kLarge, 1);
  const Piece out(sent);
  Outcome outcome;
  peer.send(*peer.connections[0], "large", ConstPieces(&out, 1), outcome.completion());
  REQUIRE(drive({&peer}, [&] { return peer.arrivals.size() == 2; }));
  REQUIRE(outcome.runs == 0);
  receiver.kill();
  REQUIRE(drive({&peer}, [&] { return !peer.ended.empty(); }));
  CHECK(outcome.runs == 1);
  CHECK(outcome.status.code() == Code::kIo);
}

TEST_CASE("what is no port at all does a listening port no harm") {
  Pair pair;
  const int silent = tcp_socket_to(pair.port_number);
  for (const char fill : {char{0}, char{-1}, char{71}}) {
    const int fd = tcp_socket_to(pair.port_number);
    const std::string garbage(100'000, fill);
    // The port may end the connection at any byte.
    [[maybe_unused]] const ssize_t sent =
        send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    pair.settle();
    ::close(fd);
  }
  greet(pair);
  ::close(silent);
  CHECK(pair.server.connections.size() == 1);
}

TEST_CASE("a process may exit while another thread of it is inside a port") {
  PeerProcess process("exit", 0);
  CHECK(process.wait_for_end() == 0);
}

TEST_CASE("the signal handlers of a program stay when the module is loaded") {
  PeerProcess process("handlers", 0);
  CHECK(process.wait_for_end() == 0);
}

TEST_CASE("the C library's code stays as it is when ports are made and used") {
  PeerProcess process("libc", 0);
  CHECK(process.wait_for_end() == 0);
}

TEST_CASE("a fork child makes ports of its own while the parent goes on") {
  Pair pair;
  greet(pair);
  const pid_t child = fork();
  if (child == 0) {
    int failed = 1;
    {
      PortUser server;
      PortUser client;
      auto number = server.port->listen("127.0.0.1", 0);
      auto connection = number.ok() ? client.port->connect("127.0.0.1", *number)
                                    : Result<Connection*>(number.status());
      if (connection.ok()) {
        client.send(**connection, "from the child");
        if (drive({&server, &client}, [&] { return !server.arrivals.empty(); })) failed = 0;
      }
    }
    _exit(failed);
  }
  greet(pair);
  int status = -1;
  pid_t waited = 0;
  REQUIRE(pair.drive([&] { return (waited = waitpid(child, &status, WNOHANG)) != 0; }));
  CHECK(waited == child);
  CHECK(status == 0);
  // New connections of the parent still work, also the steps that UCX's own thread does.
  PortUser late;
  auto connection = late.port->connect("127.0.0.1", pair.port_number);
  REQUIRE(connection.ok());
  late.send(**connection, "late");
  REQUIRE(
      drive({&pair.server, &pair.client, &late}, [&] { return !pair.server.arrivals.empty(); }));
}

}  // namespace imss::net
