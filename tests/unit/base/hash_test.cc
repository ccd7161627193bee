#include "base/hash.h"

#include <array>
#include <catch2/catch.hpp>
#include <numeric>
#include <string>
#include <vector>

using imss::hash_bytes;
using imss::hash_text;

TEST_CASE("hash_bytes gives the published values of XXH64") {
  CHECK(hash_text("") == 0xEF46DB3751D8E999U);
  CHECK(hash_text("a") == 0xD24EC4F1A98C6E5BU);
  CHECK(hash_text("abc") == 0x44BC2CF5AD770999U);
  CHECK(hash_text("Nobody inspects the spammish repetition") == 0xFBCEA83C8A378BF1U);
  CHECK(hash_text("xxhash", 20141025) == 0xB559B98D844E0635U);
}

TEST_CASE("hash_bytes does not depend on the alignment of its input") {
  const std::string text = "0123456789abcdefghijklmnopqrstuvwxyz0123456789";
  std::array<char, 64> shifted{};
  for (std::size_t shift = 0; shift < 8; ++shift) {
    text.copy(shifted.data() + shift, text.size());
    CHECK(hash_bytes(shifted.data() + shift, text.size()) == hash_text(text));
  }
}

TEST_CASE("mix64 gives the published sequence of SplitMix64") {
  CHECK(imss::mix64(0) == 0xE220A8397B1DCDAFU);
  CHECK(imss::mix64(0x9E3779B97F4A7C15U) == 0x6E789E6AA1B965F4U);
  CHECK(imss::mix64(1234567) == 6457827717110365317U);
  CHECK(imss::mix64(1, 2) != imss::mix64(2, 1));
}

TEST_CASE("the checksums give the check values of their catalogue entries") {
  const std::string check = "123456789";
  CHECK(imss::crc16(check.data(), check.size()) == 0x31C3);
  CHECK(imss::crc32c(check.data(), check.size()) == 0xE3069283U);
  CHECK(imss::crc32c_portable(check.data(), check.size()) == 0xE3069283U);
  CHECK(imss::crc64(check.data(), check.size()) == 0x995DC9BBDF1939FAU);
}

TEST_CASE("CRC32C by tables and by instruction agree for every length and alignment") {
  std::vector<unsigned char> bytes(20000);
  std::uint64_t state = 1;
  for (auto& byte : bytes) byte = static_cast<unsigned char>(state = imss::mix64(state));
  for (std::size_t size = 0; size < 400; ++size) {
    const unsigned char* begin = bytes.data() + size % 9;
    REQUIRE(imss::crc32c(begin, size) == imss::crc32c_portable(begin, size));
  }
  for (const std::size_t size :
       {767U, 768U, 769U, 3071U, 4079U, 4080U, 4081U, 4096U, 8160U, 12288U, 12289U, 19991U}) {
    REQUIRE(imss::crc32c(bytes.data() + 3, size) == imss::crc32c_portable(bytes.data() + 3, size));
  }
}

TEST_CASE("CRC32C of two pieces, one after the other, is that of the whole") {
  const std::string text = "The quick brown fox jumps over the lazy dog";
  const std::uint32_t whole = imss::crc32c(text.data(), text.size());
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::uint32_t first = imss::crc32c(text.data(), cut);
    CHECK(imss::crc32c(text.data() + cut, text.size() - cut, first) == whole);
    CHECK(imss::crc32c_portable(text.data() + cut, text.size() - cut, first) == whole);
  }
}
