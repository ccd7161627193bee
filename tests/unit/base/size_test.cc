#include "base/size.h"

#include <catch2/catch.hpp>

using imss::Code;
using imss::format_size;
using imss::parse_size;

namespace {

std::uint64_t parsed(std::string_view text, std::uint64_t unit_bytes = 1) {
  const auto size = parse_size(text, unit_bytes);
  INFO(text << ": " << size.status().message());
  REQUIRE(size.ok());
  return *size;
}

}  // namespace

TEST_CASE("a number without a suffix counts in the caller's unit") {
  CHECK(parsed("0") == 0);
  CHECK(parsed("4096") == 4096);
  CHECK(parsed("512", imss::kKiB) == 512 * imss::kKiB);
  CHECK(parsed("1.5", imss::kGiB) == 1536 * imss::kMiB);
  CHECK(parsed("7B", imss::kGiB) == 7);
}

TEST_CASE("suffixes are powers of 1024, and of 1000 where they end in a plain B") {
  CHECK(parsed("512K") == 512 * 1024);
  CHECK(parsed("512k") == 512 * 1024);
  CHECK(parsed("8GiB") == 8 * imss::kGiB);
  CHECK(parsed(" 8 gib ") == 8 * imss::kGiB);
  CHECK(parsed("8GB") == 8'000'000'000);
  CHECK(parsed("1.5TiB") == imss::kTiB + imss::kTiB / 2);
  CHECK(parsed("2P") == 2048 * imss::kTiB);
  CHECK(parsed("0.1K") == 102);
}

TEST_CASE("sizes up to 2^64-1 are exact and larger ones are refused") {
  CHECK(parsed("18446744073709551615") == UINT64_MAX);
  CHECK(parsed("15E") == 15 * (imss::kTiB << 20));
  CHECK(parse_size("18446744073709551616").code() == Code::kInvalidArgument);
  CHECK(parse_size("16EiB").code() == Code::kInvalidArgument);
  CHECK(parse_size("99999999999999999999G").code() == Code::kInvalidArgument);
}

TEST_CASE("what is not a size is refused and the message gives examples") {
  for (const std::string_view text : {"", " ", "GiB", "-1", "+1", "1.5", "1.", ".5G", "1e9",
                                      "8GiBs", "8iB", "1 2", "0x10", "1,5G", "12KK", "5 k i b"}) {
    INFO(text);
    const auto size = parse_size(text);
    CHECK(size.code() == Code::kInvalidArgument);
    CHECK(size.status().message().find("8GiB") != std::string::npos);
  }
}

TEST_CASE("sizes for people have at most one decimal and stay below 1024") {
  CHECK(format_size(0) == "0 B");
  CHECK(format_size(1023) == "1023 B");
  CHECK(format_size(1024) == "1 KiB");
  CHECK(format_size(1536) == "1.5 KiB");
  CHECK(format_size(imss::kMiB - 1) == "1 MiB");
  CHECK(format_size(1000 * imss::kKiB) == "1000 KiB");
  CHECK(format_size(8 * imss::kGiB + imss::kGiB / 4) == "8.3 GiB");
  CHECK(format_size(std::uint64_t{1} << 63) == "8 EiB");
  CHECK(format_size(UINT64_MAX) == "16 EiB");
}
