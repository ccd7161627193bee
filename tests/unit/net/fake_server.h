// A server that does with requests what a test says: a control port that greets everybody, and one
// port whose arrivals go to the test's function, on a thread of its own.
//
// The function runs on that thread; the rest is for the test's thread.
#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "net/codec.h"
#include "net/head.h"
#include "net/messages.h"
#include "net/module.h"
#include "net/server_clock.h"

namespace imss::net {

class FakeServer final : private PortHandler {
 public:
  struct Request {
    Connection* connection = nullptr;
    Head head;
    std::vector<std::byte> fields;
    std::unique_ptr<Payload> payload;
  };
  using Script = std::function<void(FakeServer&, Request&)>;

  explicit FakeServer(Script script) : script_(std::move(script)) {
    auto module = load_module();
    REQUIRE(module.ok());
    auto made = (*module)->make_port(*this);
    REQUIRE(made.ok());
    port_ = std::move(*made);
    const auto listening = port_->listen("localhost", 0);
    REQUIRE(listening.ok());
    data_port_ = *listening;
    ControlServerOptions options;
    options.answer = [this](std::span<const std::byte> question) { return answer(question); };
    auto control = (*module)->start_control_server(std::move(options));
    REQUIRE(control.ok());
    control_ = std::move(*control);
    thread_ = std::thread([this] { run(); });
  }
  ~FakeServer() override {
    stopping_ = true;
    port_->wake();
    thread_.join();
    control_.reset();
  }

  std::uint16_t port() const { return control_->port(); }
  int greetings() const { return greetings_; }
  int requests() const { return requests_; }
  void hold(std::unique_ptr<Payload> payload) { held_.push_back(std::move(payload)); }

  // --- for the script ---
  // From now on clients are told that what was kept of them is gone.
  void forget_clients() { ++record_; }
  // Its clock, as that of another node, is far from this one's.
  static std::uint64_t its_clock_ms() { return static_cast<std::uint64_t>(clock_ms() + 7'000'000'000); }
  void close(Connection& connection) { port_->close(connection); }
  void reply(const Request& request, Status status = {}, std::span<const std::byte> fields = {},
             std::span<const std::byte> payload = {}, std::uint32_t flags = 0,
             std::uint32_t damage = 0) {
    Head head;
    head.operation = request.head.operation;
    head.request = request.head.request;
    head.status = static_cast<std::uint16_t>(status.code());
    head.flags = kReplyFlag | flags;
    head.payload_bytes = static_cast<std::uint32_t>(payload.size());
    head.payload_crc = crc32c(payload.data(), payload.size()) ^ damage;
    const auto sentence = encode(std::string(status.message()));
    const auto bytes = write_head(head, status.ok() ? fields : sentence);
    if (payload.empty()) {
      port_->send(*request.connection, bytes, {}, {});
    } else {
      port_->send(*request.connection, bytes, std::span(&payload, 1), [](const Status&) {});
    }
  }

 private:
  void accepted(Connection&) override {}
  void arrived(Connection& connection, std::span<const std::byte> bytes,
               std::unique_ptr<Payload> payload) override {
    const auto read = read_head(bytes, payload ? payload->bytes() : 0);
    if (!read.ok()) return;
    ++requests_;
    Request request{
        &connection, read->head, {read->fields.begin(), read->fields.end()}, std::move(payload)};
    script_(*this, request);
  }
  void closed(Connection&, const Status&) override {}

  Bytes answer(std::span<const std::byte> question) {
    Decoder decoder(question);
    auto operation = Operation::kNone;
    if (!decoder.get(operation)) return {};
    if (operation == Operation::kAlive) {
      AliveAnswer alive;
      alive.known = true;
      alive.clock_ms = its_clock_ms();
      return encode(alive);
    }
    HelloAnswer hello;
    hello.version = kProtocolVersion;
    hello.token = static_cast<std::uint64_t>(++greetings_);
    hello.port = data_port_;
    hello.record = record_;
    hello.clock_ms = its_clock_ms();
    return encode(hello);
  }
  void run() {
    while (!stopping_) {
      if (!port_->progress()) port_->wait(50);
    }
    held_.clear();
  }

  const Script script_;
  std::unique_ptr<Port> port_;
  std::uint16_t data_port_ = 0;
  std::unique_ptr<ControlServer> control_;
  std::vector<std::unique_ptr<Payload>> held_;
  std::atomic<int> greetings_{0};
  std::atomic<std::uint64_t> record_{1};
  std::atomic<int> requests_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace imss::net
