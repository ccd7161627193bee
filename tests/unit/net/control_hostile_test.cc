// What reaches a control server besides its clients: garbage, silence, crowds, messages too large
// or of wrong shape.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "net/control.h"
#include "net/module/zmq_control.h"
#include "net/module/zmq_frame.h"
#include "net/module/zmq_process.h"
#include "net/module/zmq_socket.h"

namespace imss::net {
namespace {

constexpr int kLongMs = 30'000;
constexpr const char* kHere = "127.0.0.1";

std::unique_ptr<ControlServer> start_echo(const ControlKeys& keys = {}) {
  ControlServerOptions options;
  options.keys = keys;
  options.answer = [](std::span<const std::byte> question) {
    return Bytes(question.begin(), question.end());
  };
  Result<std::unique_ptr<ControlServer>> server = start_zmq_server(std::move(options));
  REQUIRE(server.ok());
  return std::move(*server);
}

// Whether a client that was not there before gets an answer.
bool answers(const ControlServer& server, const ControlKeys& keys = {}) {
  const Result<std::unique_ptr<ControlClient>> client = make_zmq_client(keys);
  REQUIRE(client.ok());
  const Bytes question(100, std::byte{42});
  const Result<Bytes> answer = (*client)->ask(kHere, server.port(), question, kLongMs);
  return answer.ok() && *answer == question;
}

template <typename Condition>
bool eventually(Condition condition) {
  const Deadline deadline = Deadline::from_now(kLongMs);
  while (!condition()) {
    if (deadline.expired()) return false;
    usleep(1000);
  }
  return true;
}

// A plain TCP connection.
class Stranger {
 public:
  explicit Stranger(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, kHere, &address.sin_addr);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  }
  Stranger(Stranger&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  ~Stranger() {
    if (fd_ >= 0) close(fd_);
  }
  bool connected() const { return connected_; }
  void say(std::string_view text) const { send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  // Reads until the other side closes the connection.
  bool is_closed_by_peer() const {
    timeval limit{kLongMs / 1000, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    char buffer[4096];
    ssize_t got = 0;
    do got = recv(fd_, buffer, sizeof(buffer), 0);
    while (got > 0);
    return got == 0 || errno == ECONNRESET;
  }

 private:
  int fd_;
  bool connected_ = false;
};

// A socket of ZeroMQ that says what it likes.
class RawPeer {
 public:
  explicit RawPeer(std::uint16_t port, const ControlKeys& own = {},
                   const std::string& server_key = "") {
    Result<ZmqSocket> made = ZmqSocket::make(shared_zmq_context(), ZMQ_DEALER);
    REQUIRE(made.ok());
    socket_ = std::move(*made);
    if (!own.none()) {
      REQUIRE(socket_.set(ZMQ_CURVE_SERVERKEY, server_key));
      REQUIRE(socket_.set(ZMQ_CURVE_PUBLICKEY, own.public_key));
      REQUIRE(socket_.set(ZMQ_CURVE_SECRETKEY, own.secret_key));
    }
    REQUIRE(zmq_connect(socket_.get(), ("tcp://127.0.0.1:" + std::to_string(port)).c_str()) == 0);
  }
  void say(const std::vector<std::string>& frames) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const int flags = i + 1 < frames.size() ? ZMQ_SNDMORE : 0;
      REQUIRE(zmq_send(socket_.get(), frames[i].data(), frames[i].size(), flags) >= 0);
    }
  }
  // Whether a message comes in time.
  bool hears(int timeout_ms) {
    zmq_pollitem_t item{socket_.get(), 0, ZMQ_POLLIN, 0};
    return zmq_poll(&item, 1, timeout_ms) > 0;
  }

 private:
  ZmqSocket socket_;
};

std::string header(FrameKind kind, std::uint64_t id = 0) {
  const FrameHeaderBytes bytes = encode_frame_header({kind, id});
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE("a frame header that was encoded is decoded, and nothing else is") {
  const FrameHeaderBytes bytes = encode_frame_header({FrameKind::kAnswer, 0x8877665544332211});
  const std::optional<FrameHeader> decoded = decode_frame_header(bytes);
  REQUIRE(decoded);
  CHECK(decoded->kind == FrameKind::kAnswer);
  CHECK(decoded->id == 0x8877665544332211);
  CHECK(bytes[8] == std::byte{0x11});
  CHECK_FALSE(decode_frame_header({}));
  CHECK_FALSE(decode_frame_header(std::span(bytes).first(15)));
  // All but the id is checked.
  for (std::size_t i = 0; i < 8; ++i) {
    FrameHeaderBytes wrong = bytes;
    wrong[i] = std::byte{0xEE};
    CHECK_FALSE(decode_frame_header(wrong));
  }
  FrameHeaderBytes no_kind = bytes;
  no_kind[5] = std::byte{0};
  CHECK_FALSE(decode_frame_header(no_kind));
}

TEST_CASE("garbage on the port does no harm") {
  const ControlKeys keys = GENERATE(false, true) ? *make_zmq_keys() : ControlKeys();
  const auto server = start_echo(keys);
  const std::string greeting("\xFF\0\0\0\0\0\0\0\x01\x7F\x03\x00", 12);
  const std::string null_mechanism = greeting + "NULL" + std::string(16 + 32, '\0');
  const std::vector<std::string> garbage = {
      "GET / HTTP/1.1\r\nHost: here\r\n\r\n",
      std::string(1, '\0'),
      std::string(70'000, '\0'),
      std::string(70'000, '\xFF'),
      "\x01" + std::string(1000, '\x01'),
      greeting,
      greeting + "CURVE" + std::string(1000, '\x04'),
      null_mechanism + std::string(1000, '\xFF'),
      // A command and a message that claim to have 2^63 bytes.
      null_mechanism + "\x06\x7F" + std::string(1000, '\xFF'),
      null_mechanism + "\x02\x7F" + std::string(1000, '\xFF'),
  };
  std::minstd_rand random(1);
  for (const std::string& text : garbage) {
    const Stranger stranger(server->port());
    REQUIRE(stranger.connected());
    stranger.say(text);
    // The same with noise in it.
    std::string noisy = text;
    for (int i = 0; i < 10; ++i) noisy[random() % noisy.size()] = static_cast<char>(random());
    const Stranger noisy_stranger(server->port());
    noisy_stranger.say(noisy);
  }
  CHECK(answers(*server, keys));
  CHECK(eventually([&] { return server->counters().connections == 0; }));
}

TEST_CASE("a connection that says nothing is closed") {
  const auto server = start_echo();
  const Stranger stranger(server->port());
  REQUIRE(stranger.connected());
  CHECK(stranger.is_closed_by_peer());
}

TEST_CASE("a thousand idle connections do not keep a client from its answer") {
  const auto server = start_echo();
  std::vector<Stranger> strangers;
  for (int i = 0; i < 1000; ++i) {
    strangers.emplace_back(server->port());
    REQUIRE(strangers.back().connected());
  }
  CHECK(eventually([&] { return server->counters().connections == 1000; }));
  CHECK(answers(*server));
  strangers.clear();
  CHECK(eventually([&] { return server->counters().connections == 0; }));
}

TEST_CASE("connections beyond the limit are refused, and those within it stay") {
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = 200;  // a server takes half of it
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  const auto server = start_echo();
  limit.rlim_cur = before;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  std::vector<Stranger> strangers;
  for (int i = 0; i < 130; ++i) strangers.emplace_back(server->port());
  CHECK(eventually([&] { return server->counters().connections_refused == 30; }));
  CHECK(eventually([&] { return server->counters().connections == 100; }));
  strangers.clear();
  CHECK(answers(*server));
}

TEST_CASE("to know the server's public key is not enough to be answered") {
  const ControlKeys keys = *make_zmq_keys();
  const auto server = start_echo(keys);
  RawPeer stranger(server->port(), *make_zmq_keys(), keys.public_key);
  stranger.say({header(FrameKind::kQuestion, 1), "body"});
  CHECK_FALSE(stranger.hears(300));
  CHECK(server->counters().answered == 0);
  RawPeer friendly(server->port(), keys, keys.public_key);
  friendly.say({header(FrameKind::kQuestion, 1), "body"});
  CHECK(friendly.hears(kLongMs));
}

TEST_CASE("messages of a wrong shape are counted and do no harm") {
  const auto server = start_echo();
  RawPeer peer(server->port());
  const std::vector<std::vector<std::string>> wrong = {
      {"question"},
      {"no header of ours", "body"},
      {header(FrameKind::kQuestion), "body", "more"},
      {header(FrameKind::kQuestion)},
      {"", header(FrameKind::kQuestion), "body"},
      {header(FrameKind::kAnswer), "body"},
      {header(FrameKind::kGreeting), ""},
      std::vector<std::string>(5000, header(FrameKind::kQuestion)),
  };
  for (const std::vector<std::string>& frames : wrong) peer.say(frames);
  CHECK(eventually([&] { return server->counters().rejected == wrong.size(); }));
  CHECK_FALSE(peer.hears(0));
  peer.say({header(FrameKind::kQuestion, 1), "body"});
  CHECK(peer.hears(kLongMs));
  CHECK(answers(*server));
}

// What a client without keys says before its first message: greeting and READY command of ZMTP 3.
std::string handshake() {
  const std::string signature("\xFF\0\0\0\0\0\0\0\x01\x7F", 10);
  const std::string version_and_mechanism =
      std::string("\x03\0NULL", 6) + std::string(16 + 32, '\0');
  const std::string property = "\x0BSocket-Type" + std::string(3, '\0') + "\x06" + "DEALER";
  const std::string ready = "\x05READY" + property;
  return signature + version_and_mechanism + '\x04' + static_cast<char>(ready.size()) + ready;
}

// The beginning of a message of that size.
std::string long_frame(std::uint64_t bytes) {
  std::string head = "\x02";
  for (int shift = 56; shift >= 0; shift -= 8) head += static_cast<char>(bytes >> shift);
  return head;
}

TEST_CASE("a message that is too large closes its connection and does no harm") {
  const auto server = start_echo();
  const Stranger in_bounds(server->port());
  in_bounds.say(handshake() + long_frame(kMaxControlBytes));
  const Stranger stranger(server->port());
  stranger.say(handshake() + long_frame(kMaxControlBytes + 1));
  CHECK(stranger.is_closed_by_peer());
  CHECK(answers(*server));
  // The other goes on until it has said what it began.
  CHECK(eventually([&] { return server->counters().connections == 1; }));
  in_bounds.say(std::string(kMaxControlBytes, 'x'));
  CHECK(eventually([&] { return server->counters().rejected == 1; }));
}

TEST_CASE("a connection whose other end falls silent is closed") {
  const auto server = start_echo();
  const Stranger stranger(server->port());
  stranger.say(handshake());
  const std::int64_t begin = monotonic_ns();
  CHECK(stranger.is_closed_by_peer());
  // Later than one that has not even said this.
  CHECK(monotonic_ns() - begin > 10'000'000'000);
}

TEST_CASE("a peer that asks and never reads its answers does not stop the others") {
  const auto server = start_echo();
  RawPeer peer(server->port());
  const std::string large(kMaxControlBytes, 'x');
  for (std::uint64_t i = 0; i < 100; ++i) peer.say({header(FrameKind::kQuestion, i), large});
  CHECK(eventually([&] { return server->counters().answered == 100; }));
  CHECK(answers(*server));
}

TEST_CASE("listeners that are gone are forgotten") {
  const auto server = start_echo();
  {
    RawPeer peer(server->port());
    peer.say({header(FrameKind::kListen), ""});
    CHECK(peer.hears(kLongMs));
    CHECK(eventually([&] { return server->counters().listeners == 1; }));
  }
  CHECK(eventually([&] { return server->counters().connections == 0; }));
  CHECK(eventually([&] {
    server->announce(Bytes(1));
    return server->counters().listeners == 0;
  }));
}

}  // namespace
}  // namespace imss::net
