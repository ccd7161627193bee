// What becomes of calls to servers that behave well, badly, or not at all.
#include "net/caller.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <set>
#include <thread>

#include "base/clock.h"
#include "fake_server.h"
#include "net/remote_server.h"

using namespace imss::net;
using imss::Code;
using imss::Status;

namespace {

constexpr int kShortMs = 400;
// Long enough to be asked once, also on a busy machine; waited for to the end.
constexpr int kOnceMs = 3'000;
constexpr int kLongMs = 20'000;
// The machine may be busy; a deadline that is not kept at all takes far longer.
constexpr std::int64_t kSlackMs = 8'000;

struct AskingProcess {
  explicit AskingProcess(const FakeServer& server)
      : peers(*Peers::make({})), remote(peers, "localhost", server.port(), 0) {}
  std::shared_ptr<Peers> peers;
  RemoteServer remote;
};

std::int64_t took_ms(const std::function<void()>& what) {
  const std::int64_t begin = imss::monotonic_ns();
  what();
  return (imss::monotonic_ns() - begin) / 1'000'000;
}

void echo_version(FakeServer& server, FakeServer::Request& request) {
  server.reply(request, {}, encode(VersionReply{7}));
}

}  // namespace

TEST_CASE("a call has the server's answer") {
  FakeServer server(echo_version);
  AskingProcess asker(server);
  const auto reply = asker.remote.ask<Operation::kVersion>({1, 2}, kLongMs);
  REQUIRE(reply.ok());
  CHECK(reply->version == 7);
  CHECK(server.greetings() == 1);
}

TEST_CASE("a server that forgot the session is greeted again, also for changes") {
  FakeServer server([](FakeServer& self, FakeServer::Request& request) {
    if (request.head.token == 1) {
      self.reply(request, Status(Code::kPermission, "not known"), {}, {}, kUnknownSession);
    } else {
      self.reply(request, {}, encode(VersionReply{7}));
    }
  });
  AskingProcess asker(server);
  const std::byte content[] = {std::byte{1}};
  CHECK(asker.remote.ask<Operation::kPut>({1, 2, 0, 0, 0}, kLongMs, {content, {}, nullptr}).ok());
  CHECK(server.greetings() == 2);
  CHECK(asker.remote.ask<Operation::kVersion>({1, 2}, kLongMs).ok());
  CHECK(server.requests() == 3);
}

TEST_CASE("a server that knows no session ever is not asked for ever") {
  FakeServer server([](FakeServer& self, FakeServer::Request& request) {
    self.reply(request, Status(Code::kPermission, "not known"), {}, {}, kUnknownSession);
  });
  AskingProcess asker(server);
  CHECK(asker.remote.ask<Operation::kVersion>({1, 2}, kLongMs).code() == Code::kPermission);
  CHECK(server.requests() <= 4);
}

TEST_CASE("a request tells the server when not to begin it any more") {
  std::int64_t left_ms = 0;
  FakeServer server([&](FakeServer& self, FakeServer::Request& request) {
    left_ms = ServerClock::left_ms(request.head.deadline_ms, static_cast<std::int64_t>(FakeServer::its_clock_ms()));
    echo_version(self, request);
  });
  AskingProcess asker(server);
  REQUIRE(asker.remote.ask<Operation::kVersion>({1, 2}, kLongMs).ok());
  CHECK(left_ms <= kLongMs);
  CHECK(left_ms > kLongMs - kSlackMs);
}

TEST_CASE("a call that nobody answers ends at its deadline, and its late answer is nobody's") {
  std::vector<FakeServer::Request> waiting;
  FakeServer server([&](FakeServer& self, FakeServer::Request& request) {
    waiting.push_back(std::move(request));
    if (waiting.size() < 2) return;
    self.reply(waiting[0], {}, encode(VersionReply{1}));
    self.reply(waiting[1], {}, encode(VersionReply{2}));
  });
  AskingProcess asker(server);
  Code code = Code::kOk;
  const auto ms = took_ms([&] {
    code = asker.remote.ask<Operation::kVersion>({1, 2}, kShortMs).code();
  });
  CHECK(code == Code::kTimedOut);
  CHECK(ms >= kShortMs);
  CHECK(ms < kShortMs + kSlackMs);
  const auto second = asker.remote.ask<Operation::kVersion>({1, 3}, kLongMs);
  REQUIRE(second.ok());
  CHECK(second->version == 2);
}

TEST_CASE("a large payload that the server never takes does not keep a call beyond its deadline") {
  FakeServer server([](FakeServer& self, FakeServer::Request& request) {
    self.hold(std::move(request.payload));
  });
  AskingProcess asker(server);
  const std::vector<std::byte> content(8 << 20, std::byte{1});
  Code code = Code::kOk;
  const auto ms = took_ms([&] {
    code =
        asker.remote.ask<Operation::kPut>({1, 2, 0, 0, 0}, kShortMs, {content, {}, nullptr}).code();
  });
  CHECK(code == Code::kTimedOut);
  CHECK(ms < kShortMs + kSlackMs);
}

TEST_CASE("an answer to a request whose payload is never taken does not keep the call for ever") {
  FakeServer server([](FakeServer& self, FakeServer::Request& request) {
    self.reply(request, Status(Code::kNoSpace));
    self.hold(std::move(request.payload));
  });
  AskingProcess asker(server);
  const std::vector<std::byte> content(8 << 20, std::byte{1});
  Code code = Code::kOk;
  const auto ms = took_ms([&] {
    code =
        asker.remote.ask<Operation::kPut>({1, 2, 0, 0, 0}, kShortMs, {content, {}, nullptr}).code();
  });
  CHECK(code == Code::kNoSpace);
  CHECK(ms < kShortMs + kSlackMs);
}

TEST_CASE(
    "when the connection breaks what was under way is sent again, a change under its number") {
  std::vector<Head> heads;
  FakeServer server([&](FakeServer& self, FakeServer::Request& request) {
    heads.push_back(request.head);
    if (heads.size() % 2 == 1) return self.close(*request.connection);
    self.reply(request, {}, encode(NumberReply{heads.size()}));
  });
  AskingProcess asker(server);
  CHECK(asker.remote.ask<Operation::kVersion>({1, 2}, kLongMs).ok());
  const auto change = asker.remote.ask<Operation::kReserveAppend>({1, 2}, kLongMs);
  REQUIRE(change.ok());
  CHECK(change->number == 4);
  REQUIRE(asker.remote.ask<Operation::kReserveAppend>({1, 2}, kLongMs).ok());
  REQUIRE(heads.size() == 6);
  CHECK(heads[0].sequence == 0);
  for (const std::size_t first : {std::size_t{2}, std::size_t{4}}) {
    CHECK(heads[first].sequence != 0);
    CHECK(heads[first].sequence == heads[first + 1].sequence);
    CHECK((heads[first].flags & kRepeated) == 0);
    CHECK((heads[first + 1].flags & kRepeated) != 0);
  }
  // The next change of the place has a higher number.
  CHECK(heads[2].sequence < heads[4].sequence);
}

TEST_CASE("changes that are under way together have different numbers") {
  std::vector<FakeServer::Request> waiting;
  FakeServer server([&](FakeServer& self, FakeServer::Request& request) {
    waiting.push_back(std::move(request));
    if (waiting.size() < 3) return;
    for (auto& held : waiting) self.reply(held, {}, encode(NumberReply{held.head.sequence}));
  });
  AskingProcess asker(server);
  const auto deadline = imss::Deadline::from_now(kLongMs);
  Call calls[3];
  for (Call& call : calls) asker.remote.begin<Operation::kReserveAppend>(call, {1, 2}, deadline);
  std::set<std::uint64_t> numbers;
  for (Call& call : calls) {
    const auto reply = asker.remote.finish<Operation::kReserveAppend>(call, deadline);
    REQUIRE(reply.ok());
    numbers.insert(reply->number);
  }
  CHECK(numbers.size() == 3);
}

TEST_CASE("the outcome of a change is unknown when no server ever answers it") {
  FakeServer server(
      [](FakeServer& self, FakeServer::Request& request) { self.close(*request.connection); });
  AskingProcess asker(server);
  CHECK(asker.remote.ask<Operation::kReserveAppend>({1, 2}, kOnceMs).code() ==
        Code::kUnknownOutcome);
  CHECK(server.requests() >= 1);
}

TEST_CASE("a change is not sent again to a server that took the client for gone meanwhile") {
  FakeServer server([](FakeServer& self, FakeServer::Request& request) {
    self.forget_clients();
    self.close(*request.connection);
  });
  AskingProcess asker(server);
  CHECK(asker.remote.ask<Operation::kReserveAppend>({1, 2}, kLongMs).code() ==
        Code::kUnknownOutcome);
  CHECK(server.requests() == 1);
}

TEST_CASE("what goes with its connection is not sent again") {
  FakeServer server(
      [](FakeServer& self, FakeServer::Request& request) { self.close(*request.connection); });
  AskingProcess asker(server);
  CHECK(asker.remote.ask<Operation::kPrepare>({}, kLongMs).code() == Code::kUnknownOutcome);
  CHECK(server.requests() == 1);
}

TEST_CASE("whoever has things open at a server that forgot them is told, once") {
  std::atomic<bool> forgetting{false};
  FakeServer server([&](FakeServer& self, FakeServer::Request& request) {
    if (!forgetting.exchange(false)) return echo_version(self, request);
    self.forget_clients();
    self.close(*request.connection);
  });
  std::atomic<int> told{0};
  const auto peers = *Peers::make({});
  peers->on_forgotten([&](const Peer& peer) {
    if (peer.port == server.port()) ++told;
  });
  RemoteServer remote(peers, "localhost", server.port(), 0);
  REQUIRE(remote.ask<Operation::kVersion>({1, 2}, kLongMs).ok());
  forgetting = true;
  REQUIRE(remote.ask<Operation::kVersion>({1, 2}, kLongMs).ok());
  const std::int64_t end = imss::monotonic_ns() + std::int64_t{kLongMs} * 1'000'000;
  while (told == 0 && imss::monotonic_ns() < end) std::this_thread::yield();
  REQUIRE(remote.ask<Operation::kVersion>({1, 2}, kLongMs).ok());
  peers->on_forgotten({});
  CHECK(told == 1);
}

TEST_CASE("a range that changed on its way is no answer, and may be asked for again") {
  static const std::vector<std::byte> content(100, std::byte{5});
  int asked = 0;
  FakeServer server([&](FakeServer& self, FakeServer::Request& request) {
    self.reply(request, {}, encode(GetReply{true}), content, 0, ++asked == 1 ? 1 : 0);
  });
  AskingProcess asker(server);
  std::vector<std::byte> out(100);
  std::size_t received = 0;
  const auto ask = [&] {
    return asker.remote.ask<Operation::kGet>({1, 2, 0, 100, false}, kLongMs, {{}, out, &received});
  };
  CHECK(ask().code() == Code::kAgain);
  CHECK(ask().ok());
  CHECK(received == 100);
  CHECK(out == content);
}

TEST_CASE("an answer with more bytes than there is room for is an error and writes nothing") {
  static const std::vector<std::byte> content(100, std::byte{5});
  FakeServer server([&](FakeServer& self, FakeServer::Request& request) {
    self.reply(request, {}, encode(GetReply{true}), content);
  });
  AskingProcess asker(server);
  std::vector<std::byte> out(50);
  std::span<std::byte> half(out.data(), 20);
  CHECK(asker.remote.ask<Operation::kGet>({1, 2, 0, 20, false}, kLongMs, {{}, half, nullptr})
            .code() == Code::kIo);
  CHECK(out == std::vector<std::byte>(50));
}

TEST_CASE("a call that is refused before its payload was taken leaves the buffer when it ends") {
  FakeServer server([](FakeServer& self, FakeServer::Request& request) {
    self.reply(request, Status(Code::kNoSpace, "full"), {});
  });
  AskingProcess asker(server);
  for (int round = 0; round < 8; ++round) {
    const std::vector<std::byte> content(8 << 20, std::byte{1});
    CHECK(asker.remote.ask<Operation::kPut>({1, 2, 0, 0, 0}, kLongMs, {content, {}, nullptr})
              .code() == Code::kNoSpace);
  }
}

TEST_CASE("a fork child that ends leaves the connections of its parent alone") {
  FakeServer server(echo_version);
  AskingProcess asker(server);
  REQUIRE(asker.remote.ask<Operation::kVersion>({1, 2}, kLongMs).ok());
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // What a child does at its end: what it inherited goes.
    ::alarm(20);
    asker.peers->~Peers();
    // Ends before a sanitizer looks for leaks: what belongs to the parent is left alone on purpose.
    std::atexit([] { ::_exit(0); });
    std::exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  REQUIRE(asker.remote.ask<Operation::kVersion>({1, 2}, kLongMs).ok());
  CHECK(server.greetings() == 1);
}
