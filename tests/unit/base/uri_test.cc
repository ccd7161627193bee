#include "base/uri.h"

#include <catch2/catch.hpp>

using imss::Code;
using imss::format_uri;
using imss::parse_uri;
using imss::Uri;

namespace {

Uri parsed(std::string_view text) {
  const auto uri = parse_uri(text);
  INFO(text << ": " << uri.status().message());
  REQUIRE(uri.ok());
  return *uri;
}

}  // namespace

TEST_CASE("a URI splits into the instance and the path below it") {
  CHECK(parsed("imss://x") == Uri{"x", ""});
  CHECK(parsed("imss://x/0") == Uri{"x", "0"});
  CHECK(parsed("imss://job 7/a/b'c\"/d") == Uri{"job 7", "a/b'c\"/d"});
  CHECK(parsed("imss://x/caf\xc3\xa9\n\xff") == Uri{"x", "caf\xc3\xa9\n\xff"});
}

TEST_CASE("the unnamed instance is written with an empty name") {
  CHECK(parsed("imss://") == Uri{"", ""});
  CHECK(parsed("imss:///path/to") == Uri{"", "path/to"});
  CHECK(format_uri(Uri{"", "path"}) == "imss:///path");
}

TEST_CASE("repeated slashes, slashes at the end and dots do not matter") {
  CHECK(parsed("imss://x/") == Uri{"x", ""});
  CHECK(parsed("imss://x//a///b/") == Uri{"x", "a/b"});
  CHECK(parsed("imss://x/./a/.") == Uri{"x", "a"});
  CHECK(parsed("imss://x/...") == Uri{"x", "..."});
}

TEST_CASE("dot dot is refused and the message says what to write") {
  const auto uri = parse_uri("imss://x/a/../b");
  CHECK(uri.code() == Code::kInvalidArgument);
  CHECK(uri.status().message().find("from the root") != std::string::npos);
  CHECK(parse_uri("imss://..").code() == Code::kInvalidArgument);
  CHECK(parse_uri("imss://./a").code() == Code::kInvalidArgument);
}

TEST_CASE("a text without the scheme is refused and the message shows the right form") {
  for (const std::string_view text :
       {"", "x", "/mnt/imss/a", "imss:/x", "imss", "IMSS://x", " imss://x"}) {
    const auto uri = parse_uri(text);
    CHECK(uri.code() == Code::kInvalidArgument);
    CHECK(uri.status().message().find("imss://INSTANCE") != std::string::npos);
  }
}

TEST_CASE("a NUL byte is refused anywhere") {
  CHECK(parse_uri(std::string_view("imss://x\0y", 10)).code() == Code::kInvalidArgument);
  CHECK(parse_uri(std::string_view("imss://x/a\0", 11)).code() == Code::kInvalidArgument);
}

TEST_CASE("names up to 255 and URIs up to 4096 bytes are accepted, one more is too long") {
  const std::string name(255, 'n');
  CHECK(parsed("imss://" + name + "/" + name) == Uri{name, name});
  CHECK(parse_uri("imss://" + name + "n").code() == Code::kNameTooLong);
  CHECK(parse_uri("imss://x/" + name + "n").code() == Code::kNameTooLong);

  std::string longest = "imss://x";
  while (longest.size() + 2 <= imss::kMaxUriBytes) longest += "/a";
  longest.resize(imss::kMaxUriBytes, 'b');
  CHECK(parse_uri(longest).ok());
  CHECK(parse_uri(longest + "c").code() == Code::kNameTooLong);
}

TEST_CASE("the formatted URI reads back to the same value") {
  for (const std::string_view text : {"imss://", "imss:///a", "imss://x", "imss://x//a/b/"}) {
    const Uri uri = parsed(text);
    CHECK(parsed(format_uri(uri)) == uri);
  }
}

TEST_CASE("a path splits into its names") {
  CHECK(imss::split_path("").empty());
  CHECK(imss::split_path("///").empty());
  CHECK(imss::split_path("a") == std::vector<std::string_view>{"a"});
  CHECK(imss::split_path("/a//b c/") == std::vector<std::string_view>{"a", "b c"});
}
