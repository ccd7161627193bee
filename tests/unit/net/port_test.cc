// Messages between ports of one process: what arrives, in which order, and how often it completes.
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "port_pair.h"

namespace imss::net {

TEST_CASE("messages of every size arrive whole, in both directions") {
  Pair pair;
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{8}, std::size_t{4096}, std::size_t{9000},
        std::size_t{70'000}, std::size_t{1} << 20, kMaxPayloadBytes}) {
    const auto sent = pattern(bytes, static_cast<unsigned>(bytes));
    for (const bool to_server : {true, false}) {
      PortUser& from = to_server ? pair.client : pair.server;
      PortUser& to = to_server ? pair.server : pair.client;
      CAPTURE(bytes, to_server);
      const Piece piece(sent);
      Outcome outcome;
      from.send(to_server ? *pair.to_server : *pair.server.connections.at(0), "head",
                ConstPieces(&piece, bytes > 0 ? 1 : 0), outcome.completion());
      REQUIRE(pair.drive([&] { return !to.arrivals.empty(); }));
      CHECK(to.arrivals[0].head == "head");
      REQUIRE(to.arrivals[0].payload->bytes() == bytes);
      CHECK(take(pair, to.arrivals[0]) == sent);
      CHECK(pair.drive([&] { return outcome.runs > 0; }));
      CHECK(outcome.runs == 1);
      CHECK(outcome.status.ok());
      to.arrivals.clear();
    }
  }
}

TEST_CASE("messages of all sizes arrive in the order in which they were sent") {
  Pair pair;
  constexpr int kCount = 300;
  const std::array<std::size_t, 6> sizes = {0, 100, 60'000, 8, 400'000, 9'000};
  const auto bytes = pattern(400'000, 7);
  for (int i = 0; i < kCount; ++i) {
    const Piece piece(bytes.data(), sizes[static_cast<std::size_t>(i) % sizes.size()]);
    pair.client.send(*pair.to_server, std::to_string(i),
                     ConstPieces(&piece, piece.empty() ? 0 : 1));
  }
  REQUIRE(pair.drive([&] { return pair.server.arrivals.size() == kCount; }));
  for (int i = 0; i < kCount; ++i) {
    CHECK(pair.server.arrivals[static_cast<std::size_t>(i)].head == std::to_string(i));
  }
}

TEST_CASE("64 messages in flight complete once each and are not mixed up") {
  Pair pair;
  constexpr std::size_t kCount = 64;
  std::vector<std::vector<std::byte>> sent;
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < kCount; ++i) {
    sent.push_back(pattern(i % 2 == 0 ? 300'000 + i : 3'000 + i, static_cast<unsigned>(i)));
  }
  for (const auto& one : sent) pieces.emplace_back(one);
  std::vector<Outcome> sends(kCount);
  std::vector<Outcome> receives(kCount);
  std::vector<std::vector<std::byte>> received(kCount);
  std::size_t arrived = 0;
  pair.server.on_arrival = [&](Arrived& message) {
    auto& into = received[arrived];
    into.resize(message.payload->bytes());
    const std::span<std::byte> piece(into);
    message.payload->receive(Pieces(&piece, 1), receives[arrived].completion());
    ++arrived;
  };
  for (std::size_t i = 0; i < kCount; ++i) {
    pair.client.send(*pair.to_server, "x", ConstPieces(&pieces[i], 1), sends[i].completion());
  }
  REQUIRE(pair.drive([&] {
    for (std::size_t i = 0; i < kCount; ++i) {
      if (sends[i].runs == 0 || receives[i].runs == 0) return false;
    }
    return true;
  }));
  pair.settle();
  for (std::size_t i = 0; i < kCount; ++i) {
    CAPTURE(i);
    CHECK(sends[i].runs == 1);
    CHECK(receives[i].runs == 1);
    CHECK(sends[i].status.ok());
    CHECK(received[i] == sent[i]);
  }
}

TEST_CASE("a payload is given and taken in as many pieces as allowed") {
  Pair pair;
  for (const std::size_t piece_bytes : {std::size_t{1}, std::size_t{100}, std::size_t{65'537}}) {
    CAPTURE(piece_bytes);
    const auto sent = pattern(piece_bytes * kMaxPieces, 3);
    std::vector<Piece> out;
    for (std::size_t i = 0; i < kMaxPieces; ++i) {
      out.emplace_back(sent.data() + i * piece_bytes, piece_bytes);
    }
    Outcome outcome;
    pair.client.send(*pair.to_server, "pieces", ConstPieces(out), outcome.completion());
    REQUIRE(pair.drive([&] { return !pair.server.arrivals.empty(); }));
    // Taken in other pieces than it was given in, one of them empty.
    std::vector<std::byte> received(sent.size());
    const std::size_t third = received.size() / 3;
    const std::array<std::span<std::byte>, 4> in = {
        std::span(received).first(third), std::span(received).subspan(third, 0),
        std::span(received).subspan(third, third), std::span(received).subspan(2 * third)};
    Outcome taken;
    pair.server.arrivals[0].payload->receive(Pieces(in), taken.completion());
    REQUIRE(pair.drive([&] { return outcome.runs == 1 && taken.runs == 1; }));
    CHECK(outcome.status.ok());
    CHECK(taken.status.ok());
    CHECK(received == sent);
    pair.server.arrivals.clear();
  }
}

TEST_CASE("a payload that is discarded completes at the sender") {
  Pair pair;
  const auto sent = pattern(2 << 20, 1);
  const Piece piece(sent);
  Outcome outcome;
  pair.client.send(*pair.to_server, "unwanted", ConstPieces(&piece, 1), outcome.completion());
  REQUIRE(pair.drive([&] { return !pair.server.arrivals.empty(); }));
  CHECK(pair.server.arrivals[0].payload->at_hand().empty());
  pair.server.arrivals.clear();
  REQUIRE(pair.drive([&] { return outcome.runs == 1; }));
  CHECK(outcome.status.ok());
}

TEST_CASE("a small payload is at hand, and stays after its connection has ended") {
  Pair pair;
  const auto sent = pattern(1'000, 5);
  const Piece piece(sent);
  pair.client.send(*pair.to_server, "small", ConstPieces(&piece, 1));
  REQUIRE(pair.drive([&] { return !pair.server.arrivals.empty(); }));
  pair.client.port->close(*pair.to_server);
  REQUIRE(pair.drive([&] { return !pair.server.ended.empty(); }));
  const auto here = pair.server.arrivals[0].payload->at_hand();
  REQUIRE(here.size() == sent.size());
  CHECK(std::equal(here.begin(), here.end(), sent.begin()));
}

TEST_CASE("messages beyond the limits, or received into the wrong room, are refused by done") {
  Pair pair;
  const std::vector<std::byte> head(kMaxHeadBytes + 1);
  Outcome long_head;
  pair.client.port->send(*pair.to_server, head, {}, long_head.completion());
  const std::byte byte{};
  const std::vector<Piece> pieces(kMaxPieces + 1, Piece(&byte, 1));
  Outcome many_pieces;
  pair.client.send(*pair.to_server, "x", ConstPieces(pieces), many_pieces.completion());
  const std::vector<std::byte> large(kMaxPayloadBytes + 1);
  const Piece large_piece(large);
  Outcome long_payload;
  pair.client.send(*pair.to_server, "x", ConstPieces(&large_piece, 1), long_payload.completion());
  CHECK(long_head.runs == 0);  // never from within send()
  REQUIRE(pair.drive([&] { return long_payload.runs == 1; }));
  CHECK(long_head.status.code() == Code::kInvalidArgument);
  CHECK(many_pieces.status.code() == Code::kInvalidArgument);
  CHECK(long_payload.status.code() == Code::kInvalidArgument);

  // The longest head is not refused, with and without a payload behind it.
  const std::string longest(kMaxHeadBytes, 'h');
  const auto sent = pattern(1 << 20, 1);
  const Piece piece(sent);
  pair.client.send(*pair.to_server, longest);
  pair.client.send(*pair.to_server, longest, ConstPieces(&piece, 1));
  REQUIRE(pair.drive([&] { return pair.server.arrivals.size() == 2; }));
  CHECK(pair.server.arrivals[0].head == longest);
  CHECK(pair.server.arrivals[1].head == longest);
  std::vector<std::byte> small(10);
  const std::span<std::byte> wrong(small);
  Outcome taken;
  pair.server.arrivals[1].payload->receive(Pieces(&wrong, 1), taken.completion());
  REQUIRE(pair.drive([&] { return taken.runs == 1; }));
  CHECK(taken.status.code() == Code::kInvalidArgument);
  CHECK(take(pair, pair.server.arrivals[1]) == sent);
}

TEST_CASE("large payloads are not copied on the way") {
  Pair pair;
  const auto sent = pattern(4 << 20, 1);
  const Piece piece(sent);
  pair.client.send(*pair.to_server, "large", ConstPieces(&piece, 1));
  REQUIRE(pair.drive([&] { return !pair.server.arrivals.empty(); }));
  CHECK(take(pair, pair.server.arrivals[0]) == sent);
  CHECK(pair.server.port->counters().payloads_copied == 0);
  CHECK(pair.server.port->counters().payload_bytes_received == sent.size());
}

TEST_CASE("wake from another thread ends a wait, also one that begins later") {
  PortUser peer;
  while (peer.port->progress()) {
  }
  std::thread waker([&] { peer.port->wake(); });
  waker.join();
  // Whatever else wakes the port at its start, one of these waits for the wake-up.
  const auto begin = std::chrono::steady_clock::now();
  peer.port->wait(20'000);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(15));

  std::atomic<bool> stop = false;
  std::thread later([&] {
    while (!stop) {
      peer.port->wake();
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 100; ++i) peer.port->wait(20'000);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(15));
  stop = true;
  later.join();
}

TEST_CASE("a wait without events lasts as long as it was told") {
  Pair pair;
  pair.client.send(*pair.to_server, "connect");
  REQUIRE(pair.drive([&] { return !pair.server.arrivals.empty(); }));
  // Connections settle in several steps; then nothing is left that would end a wait early.
  REQUIRE(pair.drive([&] {
    const auto begin = std::chrono::steady_clock::now();
    pair.client.port->wait(100);
    return std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(90);
  }));
}

}  // namespace imss::net
