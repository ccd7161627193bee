#include "base/config.h"
#include "base/config_plain.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using imss::Code;
using imss::Config;
using imss::ConfigKey;
using imss::ConfigOrigin;

namespace {

// Sets a variable of the environment until the end of the scope.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~ScopedVariable() { unsetenv(name_); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const char* name_;
};

// A file with the contents given, removed at the end of the scope.
class ScopedFile {
 public:
  explicit ScopedFile(const std::string& text)
      : path_(std::filesystem::temp_directory_path() /
              ("imss-config-test-" + std::to_string(getpid()))) {
    std::ofstream(path_) << text;
  }
  ~ScopedFile() { std::filesystem::remove(path_); }
  ScopedFile(const ScopedFile&) = delete;
  ScopedFile& operator=(const ScopedFile&) = delete;
  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void check_refused(const imss::Status& status, std::initializer_list<std::string> words) {
  INFO(status.message());
  CHECK(status.code() == Code::kInvalidArgument);
  for (const std::string& word : words) CHECK(status.message().find(word) != std::string::npos);
}

}  // namespace

TEST_CASE("every key has a built-in value that its own check accepts, and a description") {
  Config config;
  for (const imss::ConfigRow& row : imss::config_rows()) {
    INFO(row.name);
    CHECK(config.origin(row.key) == ConfigOrigin::kBuiltIn);
    CHECK(config.origin_text(row.key) == "built-in");
    CHECK_FALSE(row.description.empty());
    CHECK(config.set(row.name, row.built_in).ok());
  }
  CHECK(config.integer(ConfigKey::kMetadataPort) == 5569);
  CHECK(config.bytes(ConfigKey::kBlockSize) == 512 * 1024);
  CHECK(config.text(ConfigKey::kPolicy) == "RR");
  CHECK(config.integer(ConfigKey::kDeadline) == 30);
}

TEST_CASE("a stronger layer wins in whatever order the layers are applied") {
  const ScopedVariable variable("IMSS_DATA_PORT", "2000");
  const ScopedVariable size("IMSS_BLOCK_SIZE", "64");
  Config config;
  REQUIRE(config.set("block-size", "128").ok());
  REQUIRE(config.read_environment().ok());
  REQUIRE(config.read_text("DATA_PORT = 1000\nTHREAD_POOL = 3\nBLOCK_SIZE = 32\n", "a.conf").ok());
  CHECK(config.bytes(ConfigKey::kBlockSize) == 128 * 1024);
  CHECK(config.origin_text(ConfigKey::kBlockSize) == "command line");
  CHECK(config.integer(ConfigKey::kDataPort) == 2000);
  CHECK(config.origin_text(ConfigKey::kDataPort) == "environment IMSS_DATA_PORT");
  CHECK(config.integer(ConfigKey::kThreadPool) == 3);
  CHECK(config.origin_text(ConfigKey::kThreadPool) == "file a.conf");
}

TEST_CASE("variables of the earlier name are accepted behind those of today's") {
  const ScopedVariable earlier("HERCULES_THREAD_POOL", "4");
  const ScopedVariable earlier_port("HERCULES_DATA_PORT", "4000");
  const ScopedVariable port("IMSS_DATA_PORT", "5000");
  const ScopedVariable empty("IMSS_METADATA_PORT", "");
  Config config;
  REQUIRE(config.read_environment().ok());
  CHECK(config.integer(ConfigKey::kThreadPool) == 4);
  CHECK(config.origin_text(ConfigKey::kThreadPool) == "environment HERCULES_THREAD_POOL");
  CHECK(config.integer(ConfigKey::kDataPort) == 5000);
  CHECK(config.origin(ConfigKey::kMetadataPort) == ConfigOrigin::kBuiltIn);
}

TEST_CASE("a file may have a group header or none, comments, quotes and keys in any case") {
  Config plain;
  REQUIRE(plain.read_text("# a comment\n\nURI = \"imss://a b\"\r\npolicy=crc16B\n", "f").ok());
  CHECK(plain.text(ConfigKey::kUri) == "imss://a b");
  CHECK(plain.text(ConfigKey::kPolicy) == "CRC16b");
  Config grouped;
  REQUIRE(grouped.read_text("# c\n[imss]\nURI=imss://x\n", "f").ok());
  CHECK(grouped.text(ConfigKey::kUri) == "imss://x");
  Config empty;
  CHECK(empty.read_text("", "f").ok());
}

TEST_CASE("an unknown key is refused with the file, the line and the nearest key") {
  Config config;
  check_refused(config.read_text("URI = imss://x\n\nBLOK_SIZE = 4\n", "my.conf"),
                {"my.conf:3:", "BLOK_SIZE", "BLOCK_SIZE"});
  check_refused(config.set("prefetchsize", "1"), {"prefetchsize", "PREFETCH_SIZE"});
}

TEST_CASE("a value that does not fit is refused with its place, its key and what would fit") {
  Config config;
  check_refused(config.read_text("DATA_PORT = 70000", "f"),
                {"f:1:", "DATA_PORT", "70000", "1 to 65535"});
  check_refused(config.set("REPL_FACTOR", "4"), {"REPL_FACTOR", "1 to 3", "DRM"});
  check_refused(config.set("POLICY", "RRR"), {"POLICY", "BUCKETS"});
  check_refused(config.set("BLOCK_SIZE", "65537"), {"BLOCK_SIZE", "64 MiB"});
  check_refused(config.set("BLOCK_SIZE", "big"), {"BLOCK_SIZE", "8GiB"});
  check_refused(config.set("ASYNC_IO", "maybe"), {"ASYNC_IO", "yes or no"});
  check_refused(config.set("URI", "x"), {"URI", "imss://INSTANCE"});
  check_refused(config.set("THREAD_POOL", "-1"), {"THREAD_POOL"});
  check_refused(config.set("THREAD_POOL", ""), {"THREAD_POOL"});
  check_refused(config.set("MOUNT_POINT", "a\nb"), {"MOUNT_POINT"});
  const ScopedVariable variable("IMSS_DEADLINE", "0");
  check_refused(config.read_environment(), {"IMSS_DEADLINE", "1 to 86400"});
}

TEST_CASE("text that is not a key file is refused with the file's name") {
  Config config;
  check_refused(config.read_text("this is prose\n", "f.conf"), {"f.conf", "this is prose"});
  check_refused(config.read_text("[elsewhere]\nURI=imss://x\n", "f.conf"), {"f.conf", "elsewhere"});
  check_refused(config.read_text(std::string_view("URI=imss://x\n\0URI=a", 19), "f.conf"), {"NUL"});
}

TEST_CASE("words and sizes are understood where users wrote them before") {
  Config config;
  REQUIRE(config
              .read_text("REPL_FACTOR=DRM\nREPL_TYPE=ASYNC\nDEBUG_LEVEL=info\nSTORAGE_SIZE=8\n"
                         "PREFETCH_SIZE=4\nASYNC_IO=Yes\n",
                         "f")
              .ok());
  CHECK(config.integer(ConfigKey::kReplFactor) == 2);
  CHECK(config.integer(ConfigKey::kReplType) == 1);
  CHECK(config.integer(ConfigKey::kDebugLevel) == 3);
  CHECK(config.storage_bytes() == std::uint64_t{8} << 30);
  CHECK(config.bytes(ConfigKey::kPrefetchSize) == std::uint64_t{4} << 20);
  CHECK(config.flag(ConfigKey::kAsyncIo));
}

TEST_CASE("a storage size of 0 is three quarters of the node's memory") {
  const Config config;
  const auto memory =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  CHECK(static_cast<double>(config.storage_bytes()) == Approx(0.75 * memory));
}

TEST_CASE("load reads the file that IMSS_CONF names and refuses one that is not there") {
  const ScopedFile file("THREAD_POOL = 7\n");
  {
    const ScopedVariable variable("IMSS_CONF", file.path());
    const auto config = Config::load();
    REQUIRE(config.ok());
    CHECK(config->integer(ConfigKey::kThreadPool) == 7);
    CHECK(config->origin_text(ConfigKey::kThreadPool) == "file " + file.path());
  }
  const ScopedVariable variable("IMSS_CONF", "/nonexistent/imss.conf");
  const auto config = Config::load();
  CHECK(config.code() == Code::kNotFound);
  CHECK(config.status().message().find("IMSS_CONF") != std::string::npos);
}

TEST_CASE("variables may have the names of earlier versions, and today's count first") {
  const ScopedVariable port("IMSS_META_PORT", "1234");
  const ScopedVariable hosts("IMSS_HOSTFILE", "nodes");
  const ScopedVariable blocks("IMSS_BLKSIZE", "128");
  const ScopedVariable before("IMSS_SRV_PORT", "1");
  const ScopedVariable now("HERCULES_DATA_PORT", "2");
  Config config;
  REQUIRE(config.read_environment().ok());
  CHECK(config.integer(ConfigKey::kMetadataPort) == 1234);
  CHECK(config.origin_text(ConfigKey::kMetadataPort) == "environment IMSS_META_PORT");
  CHECK(config.text(ConfigKey::kDataHostfile) == "nodes");
  CHECK(config.bytes(ConfigKey::kBlockSize) == std::uint64_t{128} << 10);
  CHECK(config.integer(ConfigKey::kDataPort) == 2);
  const ScopedVariable wrong("IMSS_N_SERVERS", "many");
  const auto refused = config.read_environment();
  CHECK(refused.code() == Code::kInvalidArgument);
  CHECK(refused.message().find("IMSS_N_SERVERS") != std::string::npos);
}

TEST_CASE("configuration files read the same with and without GLib") {
  for (const std::string_view text :
       {"", "# c\n\nURI = \"imss://a b\"\r\npolicy=crc16B\n", "[imss]\nURI=imss://x\n", "[HERCULES]\nA=1\nB = 2 # 3", "A=\n", "A==b\n",
        "  A = 1  \n# [x]\nB=[x]", "[elsewhere]\nA=1\n", "this is prose\n", "=1\n", "[imss\nA=1\n", "A=1\n[imss]\nB=2\n[hercules]\nC=3\n"}) {
    INFO(text);
    const auto glib = imss::parse_config_file(text, "f");
    const auto plain = imss::parse_config_plainly(text, "f");
    REQUIRE(glib.ok() == plain.ok());
    if (!glib.ok()) {
      CHECK(plain.status().message().starts_with("f:"));
      continue;
    }
    REQUIRE(glib->size() == plain->size());
    for (std::size_t i = 0; i < glib->size(); ++i) {
      CHECK((*glib)[i].name == (*plain)[i].name);
      CHECK((*glib)[i].value == (*plain)[i].value);
      CHECK((*glib)[i].line == (*plain)[i].line);
    }
  }
}
