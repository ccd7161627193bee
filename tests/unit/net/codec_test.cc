#include "net/codec.h"

#include <catch2/catch.hpp>

#include "base/fields.h"

using namespace imss::net;
using imss::Code;

namespace {

struct Sample {
  bool flag = false;
  std::uint16_t number = 0;
  std::string text;
  std::vector<std::uint32_t> list;
  IMSS_FIELDS(flag, number, text, list)
};

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

}  // namespace

TEST_CASE("integers are little-endian and nothing is padded") {
  const Sample sample{true, 0x0102, "a", {3}};
  CHECK(encode(sample) == bytes_of({1, 2, 1, 1, 0, 'a', 1, 0, 0, 0, 3, 0, 0, 0}));
}

TEST_CASE("a bool that is neither 0 nor 1 is refused") {
  CHECK(decode<Sample>(bytes_of({2, 2, 1, 0, 0, 0, 0, 0, 0})).code() == Code::kInvalidArgument);
  CHECK(decode<Sample>(bytes_of({1, 2, 1, 0, 0, 0, 0, 0, 0})).ok());
}

TEST_CASE(
    "a list that claims more elements than there are bytes is refused before it takes memory") {
  std::vector<std::uint32_t> list;
  const auto bytes = bytes_of({255, 255, 255, 255, 1, 2, 3, 4});
  CHECK_FALSE(Decoder(bytes).get(list));
  CHECK(list.capacity() == 0);
  // As many elements as bytes: only those that are there are made.
  const auto four = bytes_of({4, 0, 0, 0, 1, 2, 3, 4});
  CHECK_FALSE(Decoder(four).get(list));
  CHECK(list.capacity() <= 4);
}

TEST_CASE("a string that claims more bytes than there are is refused") {
  std::string text = "as it was";
  const auto bytes = bytes_of({3, 0, 'a', 'b'});
  CHECK_FALSE(Decoder(bytes).get(text));
}

TEST_CASE("a string longer than its length can say is cut, and what follows still fits") {
  Sample sample;
  sample.text.assign(70'000, 'x');
  sample.list = {5};
  const auto again = decode<Sample>(encode(sample));
  REQUIRE(again.ok());
  CHECK(again->text.size() == 65'535);
  CHECK(again->list == sample.list);
}
