#include "net/head.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "base/hash.h"

using namespace imss::net;
using imss::Code;

namespace {

std::vector<std::byte> sample(std::size_t fields, std::uint32_t payload_bytes = 0) {
  Head head;
  head.operation = 33;
  head.request = 5;
  head.token = 6;
  head.payload_bytes = payload_bytes;
  return write_head(head, std::vector<std::byte>(fields, std::byte{7}));
}

// With a checksum that fits, so that the next check is the one that refuses.
void seal(std::vector<std::byte>& bytes) {
  std::memset(bytes.data() + offsetof(Head, head_crc), 0, 4);
  const std::uint32_t crc = imss::crc32c(bytes.data(), bytes.size());
  std::memcpy(bytes.data() + offsetof(Head, head_crc), &crc, 4);
}

}  // namespace

TEST_CASE("a head comes back with its fields") {
  const auto bytes = sample(40, 12);
  const auto read = read_head(bytes, 12);
  REQUIRE(read.ok());
  CHECK(read->head.operation == 33);
  CHECK(read->head.request == 5);
  CHECK(read->head.token == 6);
  CHECK(read->fields.size() == 40);
  CHECK(read->fields.data() == bytes.data() + sizeof(Head));
}

TEST_CASE("every single damaged bit of a head and its fields is found") {
  auto bytes = sample(9);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    INFO(bit);
    REQUIRE_FALSE(read_head(bytes, 0).ok());
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
  }
  CHECK(read_head(bytes, 0).ok());
}

TEST_CASE("a head that is too short, or whose lengths do not fit what arrived, is refused") {
  const auto bytes = sample(9, 3);
  for (std::size_t length = 0; length < bytes.size(); ++length)
    REQUIRE_FALSE(read_head(std::span(bytes).first(length), 3).ok());
  CHECK_FALSE(read_head(bytes, 0).ok());
  CHECK_FALSE(read_head(bytes, 4).ok());
  auto longer = bytes;
  longer.push_back(std::byte{0});
  seal(longer);
  CHECK(read_head(longer, 3).code() == Code::kInvalidArgument);
  const auto large = sample(0, kMaxPayloadBytes + 1);
  CHECK(read_head(large, kMaxPayloadBytes + 1).code() == Code::kInvalidArgument);
}

TEST_CASE("another version of the protocol is said to be that") {
  auto bytes = sample(0);
  const std::uint16_t version = kProtocolVersion + 1;
  std::memcpy(bytes.data() + offsetof(Head, version), &version, sizeof(version));
  seal(bytes);
  CHECK(read_head(bytes, 0).code() == Code::kIncompatible);
}

TEST_CASE("the bytes of a head are as they were when version 1 was made") {
  const auto bytes = sample(1);
  CHECK(std::memcmp(bytes.data(), "IMSS\4\0\41\0\5\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0", 24) == 0);
  std::uint32_t crc = 0;
  std::memcpy(&crc, bytes.data() + 60, 4);
  CHECK(crc == 0xe31cb64);
}
