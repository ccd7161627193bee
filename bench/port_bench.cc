// Bandwidth and latency of ports between two hosts: `port_bench serve`, then `port_bench HOST`
// elsewhere.
//
// Requests carry what the test calls for: a payload that the server takes into a buffer of its own,
// or an answer of the same size. Figures are printed one a line, so that they can be set against
// ucx_perftest's of the same run.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "net/module.h"

namespace {

using namespace imss;
using namespace imss::net;
using Clock = std::chrono::steady_clock;

constexpr std::uint16_t kPortNumber = 5599;
constexpr int kPollRounds = 2000;
constexpr auto kTime = std::chrono::milliseconds(1000);

// What the client asks of the server.
enum class Kind : std::uint32_t {
  kPut,   // takes the payload, answers without
  kEcho,  // answers with a payload of the same size
};
struct Request {
  Kind kind = Kind::kPut;
  std::uint32_t answer_bytes = 0;
};

std::span<const std::byte> bytes_of(const Request& request) {
  return std::as_bytes(std::span(&request, 1));
}

// Looks often, then sleeps, as servers do.
template <typename Condition>
void drive(Port& port, const Condition& condition) {
  int idle = 0;
  while (!condition()) {
    if (port.progress()) {
      idle = 0;
    } else if (++idle > kPollRounds) {
      port.wait(1000);
    }
  }
}

class Server final : public PortHandler {
 public:
  explicit Server(Module& module) : buffer_(kMaxPayloadBytes) {
    port = std::move(*module.make_port(*this));
  }
  void accepted(Connection&) override {}
  void closed(Connection&, const Status& why) override {
    std::fprintf(stderr, "%s\n", why.message().c_str());
  }
  void arrived(Connection& connection, std::span<const std::byte> head,
               std::unique_ptr<Payload> payload) override {
    Request request;
    if (head.size() != sizeof request) return;
    std::memcpy(&request, head.data(), sizeof request);
    const std::span<std::byte> piece(buffer_.data(), payload->bytes());
    if (payload->bytes() == 0) {
      answer(connection, request);
      return;
    }
    payload->receive(Pieces(&piece, 1), [this, &connection, request](const Status& status) {
      if (status.ok()) answer(connection, request);
    });
  }
  std::unique_ptr<Port> port;

 private:
  void answer(Connection& connection, const Request& request) {
    const std::span<const std::byte> piece(buffer_.data(), request.answer_bytes);
    port->send(connection, bytes_of(request), ConstPieces(&piece, piece.empty() ? 0 : 1), {});
  }
  std::vector<std::byte> buffer_;
};

class Client final : public PortHandler {
 public:
  Client(Module& module, const std::string& host) : buffer_(kMaxPayloadBytes) {
    port = std::move(*module.make_port(*this));
    auto connected = port->connect(host, kPortNumber);
    if (!connected.ok()) fail(connected.status());
    connection_ = *connected;
  }
  void accepted(Connection&) override {}
  void closed(Connection&, const Status& why) override { fail(why); }
  void arrived(Connection&, std::span<const std::byte>, std::unique_ptr<Payload> payload) override {
    if (payload->bytes() == 0) {
      ++answers_;
      return;
    }
    const std::span<std::byte> piece(buffer_.data(), payload->bytes());
    payload->receive(Pieces(&piece, 1), [this](const Status& status) {
      if (!status.ok()) fail(status);
      ++answers_;
    });
  }

  // Requests per second with so many at once.
  double rate(const Request& request, std::size_t payload_bytes, std::size_t in_flight) {
    const std::span<const std::byte> piece(buffer_.data(), payload_bytes);
    const std::size_t first = answers_;
    std::size_t sent = 0;
    const auto begin = Clock::now();
    while (Clock::now() - begin < kTime) {
      while (sent - (answers_ - first) < in_flight) {
        port->send(*connection_, bytes_of(request), ConstPieces(&piece, piece.empty() ? 0 : 1), {});
        ++sent;
      }
      const std::size_t before = answers_;
      drive(*port, [&] { return answers_ != before; });
    }
    drive(*port, [&] { return answers_ - first == sent; });
    const std::chrono::duration<double> seconds = Clock::now() - begin;
    return static_cast<double>(sent) / seconds.count();
  }

  std::unique_ptr<Port> port;

 private:
  [[noreturn]] static void fail(const Status& status) {
    std::fprintf(stderr, "port_bench: %s\n", status.message().c_str());
    std::exit(1);
  }
  std::vector<std::byte> buffer_;
  Connection* connection_ = nullptr;
  std::size_t answers_ = 0;
};

void run_client(Module& module, const std::string& host) {
  Client client(module, host);
  client.rate({Kind::kPut, 0}, 8, 1);  // connects
  for (const std::size_t bytes : {std::size_t{8}, std::size_t{4096}, std::size_t{65536}}) {
    const auto answer = static_cast<std::uint32_t>(bytes);
    std::printf("echo of %zu B, one at a time: %.2f us one way\n", bytes,
                1e6 / client.rate({Kind::kEcho, answer}, bytes, 1) / 2);
    std::printf("put of %zu B, 64 in flight: %.0f /s\n", bytes,
                client.rate({Kind::kPut, 0}, bytes, 64));
  }
  for (const std::size_t bytes : {std::size_t{1} << 20, std::size_t{16} << 20}) {
    const auto answer = static_cast<std::uint32_t>(bytes);
    for (const std::size_t in_flight : {std::size_t{1}, std::size_t{4}, std::size_t{64}}) {
      if (bytes * in_flight > (std::size_t{256} << 20)) continue;
      std::printf(
          "put of %zu B, %zu in flight: %.0f MB/s\n", bytes, in_flight,
          static_cast<double>(bytes) * client.rate({Kind::kPut, 0}, bytes, in_flight) / 1e6);
      std::printf(
          "get of %zu B, %zu in flight: %.0f MB/s\n", bytes, in_flight,
          static_cast<double>(bytes) * client.rate({Kind::kEcho, answer}, 0, in_flight) / 1e6);
    }
  }
  const PortCounters counters = client.port->counters();
  std::printf("payloads copied by the client: %llu of %llu messages\n",
              static_cast<unsigned long long>(counters.payloads_copied),
              static_cast<unsigned long long>(counters.messages_received));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: port_bench serve | port_bench HOST\n");
    return 2;
  }
  auto module = load_module();
  if (!module.ok()) {
    std::fprintf(stderr, "port_bench: %s\n", module.status().message().c_str());
    return 1;
  }
  if (std::string(argv[1]) != "serve") {
    run_client(**module, argv[1]);
    return 0;
  }
  Server server(**module);
  auto number = server.port->listen("", kPortNumber);
  if (!number.ok()) {
    std::fprintf(stderr, "port_bench: %s\n", number.status().message().c_str());
    return 1;
  }
  drive(*server.port, [] { return false; });
}
