// What the tests of the C interface share: a process that is a whole attached store, and a way to
// ask with which errno a call failed. One store at a time, of the thread that runs the tests.
#pragma once

#include <imss/imss.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace api_test {

constexpr std::uint64_t kStorageBytes = std::uint64_t{64} << 20U;
constexpr int kBlockKib = 64;
constexpr std::size_t kBlockBytes = std::size_t{kBlockKib} * 1024;

// Ports that no other test process of this machine uses at the same time.
inline std::uint16_t metadata_port() {
  return static_cast<std::uint16_t>(10000 + 2 * (getpid() % 20000));
}
inline std::uint16_t data_port() { return static_cast<std::uint16_t>(metadata_port() + 1); }

// The name of this process's instance, and URIs in it.
inline std::string instance_uri() { return "imss://test" + std::to_string(getpid()); }
inline std::string uri_of(const std::string& path) { return instance_uri() + "/" + path; }

// The errno of a call that returned -1; 0 when it did not fail; negative when it failed without a
// sentence that says why.
inline int failure(std::int64_t returned) {
  const int error_number = errno;
  if (returned != -1) return 0;
  return *imss_last_error() != '\0' ? error_number : -error_number;
}
inline int failure(const void* returned) { return failure(returned == nullptr ? -1 : 0); }

inline std::int32_t start_server() {
  return hercules_init(0, kStorageBytes, data_port(), 1, metadata_port(), 0, nullptr);
}
inline std::int32_t deploy() {
  return init_imss(instance_uri().c_str(), nullptr, nullptr, 1, data_port(), 0, IMSS_ATTACHED,
                   nullptr, metadata_port());
}

// From the start of the server to the open instance, and back.
class AttachedStore {
 public:
  AttachedStore() {
    REQUIRE(failure(start_server()) == 0);
    REQUIRE(failure(stat_init(nullptr, metadata_port(), 1, 0)) == 0);
    REQUIRE(failure(deploy()) == 0);
  }
  AttachedStore(const AttachedStore&) = delete;
  AttachedStore& operator=(const AttachedStore&) = delete;
  ~AttachedStore() {
    release_imss(instance_uri().c_str(), IMSS_CLOSE_ATTACHED);
    stat_release();
    hercules_release();
  }
};

// A new dataset of 64 KiB blocks; its id.
inline std::int32_t create(const std::string& path, int block_count = 8,
                           const char* policy = "RR") {
  const std::int32_t id =
      create_dataset(uri_of(path).c_str(), policy, block_count, kBlockKib, 1, 1);
  REQUIRE(failure(id) == 0);
  return id;
}

using Bytes = std::vector<unsigned char>;

inline Bytes block_of(unsigned char value) { return Bytes(kBlockBytes, value); }

// A block in a failure's message: its size and its first runs of equal bytes.
template <typename Byte>
std::string summary(const std::vector<Byte>& bytes) {
  constexpr int kRunsShown = 8;
  std::string text = std::to_string(bytes.size()) + " bytes:";
  int runs = 0;
  for (std::size_t begin = 0; begin < bytes.size() && runs < kRunsShown; ++runs) {
    std::size_t end = begin;
    while (end < bytes.size() && bytes[end] == bytes[begin]) ++end;
    text += " " + std::to_string(end - begin) + " x " +
            std::to_string(static_cast<unsigned>(bytes[begin]));
    begin = end;
  }
  return runs == kRunsShown ? text + " ..." : text;
}

inline Bytes get_block(std::int32_t id, std::int32_t block) {
  Bytes bytes = block_of(0xEE);
  REQUIRE(failure(get_data(id, block, bytes.data())) == 0);
  return bytes;
}

}  // namespace api_test

template <>
struct Catch::StringMaker<std::vector<unsigned char>> {
  static std::string convert(const std::vector<unsigned char>& bytes) {
    return api_test::summary(bytes);
  }
};
template <>
struct Catch::StringMaker<std::vector<std::byte>> {
  static std::string convert(const std::vector<std::byte>& bytes) {
    return api_test::summary(bytes);
  }
};
