#include "base/host_file.h"

#include <catch2/catch.hpp>

using imss::Code;
using imss::Host;
using imss::parse_host_file;

TEST_CASE("hosts are read in order, with and without a port") {
  const auto hosts = parse_host_file(
      "# all nodes\n\nnode01\n  node-02.cluster:5556  # behind the switch\nnode_03 port=5557\r\n"
      "[fe80::1%eth0]:80\n[::1]\n10.0.0.1\tport=65535\nlast",
      "f");
  INFO(hosts.status().message());
  REQUIRE(hosts.ok());
  CHECK(*hosts == std::vector<Host>{{"node01", 0},
                                    {"node-02.cluster", 5556},
                                    {"node_03", 5557},
                                    {"fe80::1%eth0", 80},
                                    {"::1", 0},
                                    {"10.0.0.1", 65535},
                                    {"last", 0}});
}

TEST_CASE("a line that is not a host is refused with the file, the line and the right form") {
  for (const std::string_view line :
       {"node 01", "node:", "node:0", "node:65536", "node:12x", "node port=", "node port=-1",
        "nodeport=1 x", "node slots=4", "[::1", "[]:5", "[::1]5555", "[::1] 5555", ":5555", "no/de",
        "node01,node02", "-x"}) {
    INFO(line);
    const auto hosts = parse_host_file("ok\n" + std::string(line) + "\n", "nodes.txt");
    REQUIRE(hosts.code() == Code::kInvalidArgument);
    CHECK(hosts.status().message().find("nodes.txt:2: ") == 0);
    CHECK(hosts.status().message().find("HOST:PORT") != std::string::npos);
  }
}

TEST_CASE("a host file without hosts is refused") {
  for (const std::string_view text : {"", "\n\n", "# nothing\n", "   "}) {
    const auto hosts = parse_host_file(text, "f");
    CHECK(hosts.code() == Code::kInvalidArgument);
    CHECK(hosts.status().message().find("localhost") != std::string::npos);
  }
}

TEST_CASE("a missing host file is refused with what to do") {
  const auto hosts = imss::read_host_file("/nonexistent/hosts");
  CHECK(hosts.code() == Code::kNotFound);
  CHECK(hosts.status().message().find("/nonexistent/hosts") != std::string::npos);
  CHECK(hosts.status().message().find("one host per line") != std::string::npos);
}

TEST_CASE("a folder in place of a host file is an error of the system") {
  CHECK(imss::read_host_file("/").code() == Code::kSystem);
}
