// The control plane on ZeroMQ, over real sockets on this node's loopback addresses.
#include "net/control.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "net/module/zmq_control.h"

namespace imss::net {
namespace {

// Longer than anything takes that succeeds, also on a busy machine.
constexpr int kLongMs = 30'000;
constexpr const char* kHere = "127.0.0.1";

Bytes bytes_of(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Answers each question with itself and a mark, and "silence" not at all.
ControlServerOptions echo(std::string mark = "", std::uint16_t port = 0) {
  ControlServerOptions options;
  options.port = port;
  options.answer = [mark](std::span<const std::byte> question) {
    return text_of(question) == "silence" ? Bytes() : bytes_of(text_of(question) + mark);
  };
  return options;
}

std::unique_ptr<ControlServer> start(ControlServerOptions options) {
  Result<std::unique_ptr<ControlServer>> server = start_zmq_server(std::move(options));
  INFO(server.status().message());
  REQUIRE(server.ok());
  return std::move(*server);
}

std::unique_ptr<ControlClient> make_client(const ControlKeys& keys = {}) {
  Result<std::unique_ptr<ControlClient>> client = make_zmq_client(keys);
  INFO(client.status().message());
  REQUIRE(client.ok());
  return std::move(*client);
}

// The answer's text, or the name of the error.
std::string ask(ControlClient& client, std::uint16_t port, std::string_view question,
                int timeout_ms = kLongMs, const std::string& host = kHere) {
  const Result<Bytes> answer = client.ask(host, port, bytes_of(question), timeout_ms);
  return answer.ok() ? text_of(*answer) : std::string(name_of(answer.code()));
}

// The error that a client gets which the server does not want. Why nobody answers may not be known
// at once.
std::string refusal(ControlClient& client, std::uint16_t port) {
  const Deadline deadline = Deadline::from_now(kLongMs);
  std::string error;
  do error = ask(client, port, "hello", 500);
  while (error == "timed_out" && !deadline.expired());
  return error;
}

// The next announcement's text, or the name of the error.
std::string next(ControlClient& client, int timeout_ms = kLongMs) {
  const Result<Bytes> announcement = client.next_announcement(timeout_ms);
  return announcement.ok() ? text_of(*announcement) : std::string(name_of(announcement.code()));
}

ControlKeys make_keys() {
  const Result<ControlKeys> keys = make_zmq_keys();
  REQUIRE(keys.ok());
  return *keys;
}

// A port that was free a moment ago.
std::uint16_t free_port() { return start(echo())->port(); }

TEST_CASE("a question is answered by the server it was sent to") {
  const auto one = start(echo(" one"));
  const auto two = start(echo(" two"));
  const auto client = make_client();
  CHECK(ask(*client, one->port(), "hello") == "hello one");
  CHECK(ask(*client, two->port(), "hello") == "hello two");
  CHECK(ask(*client, one->port(), "") == " one");
  CHECK(one->counters().answered == 2);
  CHECK(ask(*client, one->port(), "by name", kLongMs, "localhost") == "by name one");
  CHECK(ask(*client, one->port(), "by IPv6", kLongMs, "::1") == "by IPv6 one");
}

TEST_CASE("a server is told which user asks over loopback, also when it was started after the client") {
  ControlServerOptions options;
  options.answer_to = [](std::span<const std::byte>, const Asker& asker) {
    return bytes_of(asker.known ? std::to_string(asker.uid) + "/" + std::to_string(asker.pid) : "unknown");
  };
  const std::string me = std::to_string(::geteuid()) + "/" + std::to_string(::getpid());
  auto server = start(options);
  const std::uint16_t port = options.port = server->port();
  const auto client = make_client();
  CHECK(ask(*client, port, "who") == me);
  CHECK(ask(*client, port, "who", kLongMs, "localhost") == me);
  server.reset();
  const auto early = make_client();
  CHECK(ask(*early, port, "who", 200) == "timed_out");
  server = start(options);
  CHECK(ask(*early, port, "who") == me);
  CHECK(ask(*client, port, "who") == me);
}

TEST_CASE("questions and answers of 1 MiB arrive whole, larger ones are refused") {
  const auto server = start(echo());
  const auto client = make_client();
  const std::string large(kMaxControlBytes, 'x');
  CHECK((ask(*client, server->port(), large) == large));
  CHECK(ask(*client, server->port(), large + "x") == "invalid_argument");
  CHECK(ask(*client, server->port(), "hello") == "hello");
}

TEST_CASE("an answer that would be too large is not sent and does no harm") {
  ControlServerOptions options;
  options.answer = [](std::span<const std::byte> question) {
    return text_of(question) == "large" ? Bytes(kMaxControlBytes + 1) : bytes_of("small");
  };
  const auto server = start(std::move(options));
  const auto client = make_client();
  CHECK(ask(*client, server->port(), "large", 200) == "timed_out");
  CHECK(ask(*client, server->port(), "other") == "small");
  CHECK(server->counters().rejected == 1);
}

TEST_CASE("many clients are answered at once, each with its own answers") {
  const auto server = start(echo());
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const Result<std::unique_ptr<ControlClient>> client = make_zmq_client({});
      for (int i = 0; client.ok() && i < 50; ++i) {
        const std::string question = std::to_string(t) + "/" + std::to_string(i);
        if (ask(**client, server->port(), question) == question) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(right == 400);
}

TEST_CASE("a question to nobody times out when its time is over") {
  const auto client = make_client();
  const std::uint16_t port = free_port();
  const std::int64_t begin = monotonic_ns();
  const Result<Bytes> answer = client->ask(kHere, port, bytes_of("hello"), 300);
  const std::int64_t ms = (monotonic_ns() - begin) / 1'000'000;
  CHECK(answer.code() == Code::kTimedOut);
  CHECK(answer.status().message().find("127.0.0.1:" + std::to_string(port)) != std::string::npos);
  CHECK(ms >= 300);
  CHECK(ms < kLongMs);
}

TEST_CASE("a question to an unknown host fails at once") {
  const auto client = make_client();
  CHECK(ask(*client, 5555, "hello", kLongMs, "no such host") == "io");
  CHECK(client->listen_to("no such host", 5555).code() == Code::kIo);
}

TEST_CASE("a server that is not there yet is waited for") {
  const std::uint16_t port = free_port();
  const auto client = make_client();
  CHECK(ask(*client, port, "hello", 50) == "timed_out");
  auto answer = std::async(std::launch::async, [&] { return ask(*client, port, "hello"); });
  const auto server = start(echo(" late", port));
  CHECK(answer.get() == "hello late");
}

TEST_CASE("a client finds a server again that was restarted between questions") {
  const auto client = make_client();
  auto server = start(echo(" 0"));
  const std::uint16_t port = server->port();
  CHECK(ask(*client, port, "hello") == "hello 0");
  for (int i = 1; i < 10; ++i) {
    const std::string mark = " " + std::to_string(i);
    server.reset();
    server = start(echo(mark, port));
    CHECK(ask(*client, port, "hello") == "hello" + mark);
  }
}

TEST_CASE("a question whose server dies before it answers is asked again of the next server") {
  std::promise<void> seen;
  ControlServerOptions mute;
  mute.answer = [&](std::span<const std::byte>) {
    seen.set_value();
    return Bytes();
  };
  auto server = start(std::move(mute));
  const std::uint16_t port = server->port();
  const auto client = make_client();
  auto answer = std::async(std::launch::async, [&] { return ask(*client, port, "hello"); });
  seen.get_future().wait();
  server.reset();
  server = start(echo(" again", port));
  CHECK(answer.get() == "hello again");
}

TEST_CASE("a late answer is not taken for the answer to the next question") {
  std::promise<void> go_on;
  ControlServerOptions options;
  options.answer = [&](std::span<const std::byte> question) {
    if (text_of(question) == "slow") go_on.get_future().wait();
    return Bytes(question.begin(), question.end());
  };
  const auto server = start(std::move(options));
  const auto client = make_client();
  CHECK(ask(*client, server->port(), "first") == "first");
  CHECK(ask(*client, server->port(), "slow", 100) == "timed_out");
  go_on.set_value();
  CHECK(ask(*client, server->port(), "next") == "next");
}

TEST_CASE("a question that nobody understands gets no answer and is counted") {
  const auto server = start(echo());
  const auto client = make_client();
  CHECK(ask(*client, server->port(), "silence", 200) == "timed_out");
  CHECK(server->counters().rejected == 1);
  CHECK(ask(*client, server->port(), "hello") == "hello");
}

TEST_CASE("announcements reach all who listen, in order, after an empty one") {
  const auto server = start(echo());
  const auto other = start(echo());
  std::vector<std::unique_ptr<ControlClient>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(make_client());
    REQUIRE(clients.back()->listen_to(kHere, server->port()).ok());
    CHECK(next(*clients.back()).empty());
  }
  for (const char* text : {"a", "b", "c"}) server->announce(bytes_of(text));
  other->announce(bytes_of("not for them"));
  for (const auto& client : clients) {
    // Questions share the connection with announcements.
    CHECK(ask(*client, server->port(), "hello") == "hello");
    CHECK(next(*client) == "a");
    CHECK(next(*client) == "b");
    CHECK(next(*client) == "c");
    CHECK(next(*client, 0) == "timed_out");
  }
}

TEST_CASE("one client listens to several servers") {
  const auto one = start(echo());
  const auto two = start(echo());
  const auto client = make_client();
  CHECK(ask(*client, one->port(), "first") == "first");
  REQUIRE(client->listen_to(kHere, one->port()).ok());
  CHECK(next(*client).empty());
  REQUIRE(client->listen_to(kHere, two->port()).ok());
  CHECK(next(*client).empty());
  one->announce(bytes_of("one"));
  CHECK(next(*client) == "one");
  two->announce(bytes_of("two"));
  CHECK(next(*client) == "two");
}

TEST_CASE("a listener goes on listening after a restart of the server, and is told") {
  auto server = start(echo());
  const std::uint16_t port = server->port();
  const auto client = make_client();
  REQUIRE(client->listen_to(kHere, port).ok());
  CHECK(next(*client).empty());
  server.reset();
  server = start(echo("", port));
  CHECK(next(*client).empty());
  server->announce(bytes_of("after"));
  CHECK(next(*client) == "after");
}

TEST_CASE("a listener that reads too slowly is told that it missed something, and goes on") {
  const auto server = start(echo());
  const auto client = make_client();
  REQUIRE(client->listen_to(kHere, server->port()).ok());
  CHECK(next(*client).empty());
  // More than the queues and the kernel take.
  const Bytes large(kMaxControlBytes, std::byte{'x'});
  const auto other = make_client();
  for (int i = 0; i < 200; ++i) {
    server->announce(large);
    // The server has taken what it was given before when it answers.
    if (i % 20 == 0) CHECK(ask(*other, server->port(), "hello") == "hello");
  }
  int whole = 0;
  std::string announcement = next(*client);
  for (; announcement.size() == large.size(); announcement = next(*client)) ++whole;
  CHECK(announcement.empty());
  CHECK(whole < 200);
  while (announcement.empty() || announcement.size() == large.size()) {
    // As long as its queue is full it can miss more, and is told each time.
    if (announcement.empty()) server->announce(bytes_of("after"));
    announcement = next(*client);
  }
  CHECK(announcement == "after");
}

TEST_CASE("with keys only those who have the same pair are answered") {
  const ControlKeys keys = make_keys();
  ControlServerOptions options = echo();
  options.keys = keys;
  const auto server = start(std::move(options));
  const auto friendly = make_client(keys);
  CHECK(ask(*friendly, server->port(), "hello") == "hello");
  REQUIRE(friendly->listen_to(kHere, server->port()).ok());
  CHECK(next(*friendly).empty());
  CHECK(refusal(*make_client(make_keys()), server->port()) == "permission");
  CHECK(refusal(*make_client(), server->port()) == "permission");
  CHECK(server->counters().answered == 1);
  // A second client, after strangers.
  CHECK(ask(*make_client(keys), server->port(), "hello") == "hello");
}

TEST_CASE("a client with keys does not talk to a server without") {
  const auto server = start(echo());
  CHECK(refusal(*make_client(make_keys()), server->port()) == "permission");
  CHECK(server->counters().answered == 0);
}

TEST_CASE("servers of one process may have different keys") {
  const ControlKeys one = make_keys();
  const ControlKeys two = make_keys();
  ControlServerOptions first = echo(" one");
  first.keys = one;
  ControlServerOptions second = echo(" two");
  second.keys = two;
  const auto server_one = start(std::move(first));
  const auto server_two = start(std::move(second));
  CHECK(ask(*make_client(one), server_one->port(), "hello") == "hello one");
  CHECK(ask(*make_client(two), server_two->port(), "hello") == "hello two");
  CHECK(refusal(*make_client(one), server_two->port()) == "permission");
}

TEST_CASE("keys that do not belong together are refused with a sentence") {
  const ControlKeys keys = {make_keys().public_key, make_keys().secret_key};
  const Result<std::unique_ptr<ControlClient>> client = make_zmq_client(keys);
  CHECK(client.code() == Code::kInvalidArgument);
  CHECK(client.status().message() == "the public and the secret key are not of one pair");
  ControlServerOptions options = echo();
  options.keys = {"short", "short"};
  CHECK(start_zmq_server(std::move(options)).code() == Code::kInvalidArgument);
  CHECK(make_zmq_client({make_keys().public_key, ""}).code() == Code::kInvalidArgument);
}

TEST_CASE("without keys and address a server is there on loopback only, with keys everywhere") {
  // All of 127.0.0.0/8 is this node, but only its first address is what loopback means to a server.
  const auto shy = start(echo());
  CHECK(ask(*make_client(), shy->port(), "hello", 300, "127.0.0.2") == "timed_out");
  CHECK(ask(*make_client(), shy->port(), "hello", kLongMs, "::1") == "hello");
  ControlServerOptions told = echo();
  told.address = "*";
  const auto open = start(std::move(told));
  CHECK(ask(*make_client(), open->port(), "hello", kLongMs, "127.0.0.2") == "hello");
  ControlServerOptions protected_by_keys = echo();
  protected_by_keys.keys = make_keys();
  const auto client = make_client(protected_by_keys.keys);
  const auto everywhere = start(std::move(protected_by_keys));
  CHECK(ask(*client, everywhere->port(), "hello", kLongMs, "127.0.0.2") == "hello");
}

TEST_CASE("a server is bound to the address it is told") {
  ControlServerOptions options = echo();
  options.address = "127.0.0.2";
  const auto server = start(std::move(options));
  CHECK(ask(*make_client(), server->port(), "hello", kLongMs, "127.0.0.2") == "hello");
  CHECK(ask(*make_client(), server->port(), "hello", 300) == "timed_out");
  for (const char* address : {"203.0.113.7", "no such host"}) {
    ControlServerOptions wrong = echo();
    wrong.address = address;
    const Result<std::unique_ptr<ControlServer>> refused = start_zmq_server(std::move(wrong));
    CHECK(refused.code() == Code::kInvalidArgument);
    CHECK(refused.status().message().find(address) != std::string::npos);
  }
}

TEST_CASE("a port in use is refused with a sentence, and free again when the server has stopped") {
  auto server = start(echo());
  const std::uint16_t port = server->port();
  const Result<std::unique_ptr<ControlServer>> second = start_zmq_server(echo("", port));
  CHECK(second.code() == Code::kBusy);
  CHECK(second.status().message() == "port " + std::to_string(port) + " is in use");
  server.reset();
  CHECK(start_zmq_server(echo("", port)).ok());
}

#if !defined(__SANITIZE_THREAD__)  // which does not follow a fork of a process with threads

// What a fork child finds. The exit code says which step failed.
int look_around_in_child(std::unique_ptr<ControlServer>& server,
                         std::unique_ptr<ControlClient>& client) {
  const std::uint16_t port = server->port();
  server->announce(bytes_of("from a ghost"));
  if (ask(*client, port, "hello") != "not_initialized") return 1;
  if (next(*client, 0) != "not_initialized") return 2;
  server.reset();
  client.reset();
  Result<std::unique_ptr<ControlClient>> own = make_zmq_client({});
  if (!own.ok() || ask(**own, port, "child") != "child parent") return 3;
  Result<std::unique_ptr<ControlServer>> own_server = start_zmq_server(echo(" of the child"));
  if (!own_server.ok()) return 4;
  if (ask(**own, (*own_server)->port(), "hello") != "hello of the child") return 5;
  return 0;
}

TEST_CASE("a fork child makes clients and servers of its own and leaves its parent's alone") {
  auto server = start(echo(" parent"));
  auto client = make_client();
  const std::uint16_t port = server->port();
  CHECK(ask(*client, port, "hello") == "hello parent");
  const pid_t child = fork();
  if (child == 0) _exit(look_around_in_child(server, client));
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(ask(*client, port, "hello") == "hello parent");
}

TEST_CASE("a fork child does not keep its parent's port in use") {
  auto server = start(echo());
  const std::uint16_t port = server->port();
  int to_child[2];
  int to_parent[2];
  REQUIRE(pipe(to_child) == 0);
  REQUIRE(pipe(to_parent) == 0);
  char byte = 0;
  const pid_t child = fork();
  if (child == 0) {
    close(to_child[1]);
    const bool told = write(to_parent[1], &byte, 1) == 1;
    _exit(told && read(to_child[0], &byte, 1) == 0 ? 0 : 1);  // until the parent closes its end
  }
  REQUIRE(read(to_parent[0], &byte, 1) == 1);
  server.reset();
  const Code code = start_zmq_server(echo("", port)).code();
  for (const int fd : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) close(fd);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(code == Code::kOk);
}

#endif

}  // namespace
}  // namespace imss::net
