// Every message of the table, there and back.
#include "net/messages.h"

#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <string>

#include "net/codec.h"
#include "net/control.h"

using namespace imss::net;
using imss::Code;

namespace {

std::mt19937_64& generator() {
  static std::mt19937_64 engine(7);
  return engine;
}

template <typename T>
void fill(T& value) {
  auto& engine = generator();
  if constexpr (std::is_same_v<T, bool>) {
    value = engine() % 2 == 1;
  } else if constexpr (Scalar<T>) {
    value = static_cast<T>(engine());
  } else if constexpr (std::is_same_v<T, std::string>) {
    value.assign(engine() % 300, '\0');
    for (char& c : value) c = static_cast<char>(engine());
  } else if constexpr (requires { typename T::value_type; }) {
    value.resize(engine() % 5);
    for (auto& element : value) fill(element);
  } else {
    value.visit([](const char*, auto&... fields) { (fill(fields), ...); });
  }
}

// The encoding is one to one, so equal bytes are equal messages.
template <typename T>
void round_trip() {
  for (int i = 0; i < 50; ++i) {
    T message;
    fill(message);
    const Bytes bytes = encode(message);
    const auto again = decode<T>(bytes);
    REQUIRE(again.ok());
    REQUIRE(encode(*again) == bytes);
  }
}

template <typename T>
void refuses_other_lengths() {
  T message;
  fill(message);
  Bytes bytes = encode(message);
  for (std::size_t length = 0; length < bytes.size(); ++length)
    REQUIRE(decode<T>(std::span(bytes).first(length)).code() == Code::kInvalidArgument);
  bytes.push_back(std::byte{0});
  REQUIRE(decode<T>(bytes).code() == Code::kInvalidArgument);
}

template <typename Visit>
void for_each_operation(const Visit& visit) {
#define VISIT(name, number, Request, Reply, effect, text) \
  visit.template operator()<Request, Reply>(#name, std::uint16_t{number});
  IMSS_CONTROL_OPERATIONS(VISIT)
  IMSS_DATA_OPERATIONS(VISIT)
  IMSS_METADATA_OPERATIONS(VISIT)
#undef VISIT
}

std::string hex(const Bytes& bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

}  // namespace

TEST_CASE("every message of the table comes back as it was sent") {
  for_each_operation([]<typename Request, typename Reply>(const char* name, std::uint16_t) {
    INFO(name);
    round_trip<Request>();
    round_trip<Reply>();
  });
}

TEST_CASE("messages that are too short or too long are refused") {
  for_each_operation([]<typename Request, typename Reply>(const char* name, std::uint16_t) {
    INFO(name);
    refuses_other_lengths<Request>();
    refuses_other_lengths<Reply>();
  });
}

TEST_CASE("no number stands for two operations") {
  std::set<std::uint16_t> numbers;
  for_each_operation([&]<typename, typename>(const char* name, std::uint16_t number) {
    INFO(name);
    CHECK(number != 0);
    CHECK(numbers.insert(number).second);
  });
}

TEST_CASE("the bytes of messages are as they were when version 1 was made") {
  CHECK(hex(encode(HelloQuestion{1, 0x1122334455667788})) == "01008877665544332211");
  CHECK(hex(encode(PutRequest{1, 2, 3, 4, 5})) ==
        "0100000000000000"
        "0200000000000000"
        "0300000000000000"
        "0400000000000000"
        "0500000000000000");
  CHECK(hex(encode(GetReply{true})) == "01");
  CHECK(hex(encode(NameRequest{7, "ab"})) ==
        "0700000000000000"
        "0200"
        "6162");
  CHECK(hex(encode(BlocksReply{{{1, 2}}})) ==
        "01000000"
        "0100000000000000"
        "0200000000000000");
  EntryRequest entry;
  entry.entry.id = 9;
  entry.entry.type = imss::store::NodeType::kDataset;
  entry.entry.layout.server_count = 2;
  entry.entry.name = "x";
  CHECK(hex(encode(entry)) ==
        "0000000000000000"
        "0000000000000000"
        "0900000000000000"
        "01000000"
        "00"
        "01"
        "0200"
        "00000000"
        "0000000000000000"
        "0000000000000000"
        "0000000000000000"
        "00000000"
        "0000000000000000"
        "0100"
        "78");
  CHECK(static_cast<unsigned>(Operation::kPut) == 32);
  CHECK(static_cast<unsigned>(Operation::kSettle) == 56);
  CHECK(static_cast<unsigned>(Operation::kListServers) == 116);
}
