// What calls cost in instructions and system calls once everything they need is there. The limits
// leave room for other compilers; who makes a call do more on purpose raises its limit with the
// reason in the commit.
#include <cstring>

#include "support/cost.h"
#include "unit/api/attached_store.h"

using namespace api_test;  // NOLINT

namespace {

// Counts of a program that was not optimised, or that a sanitizer has instrumented, mean nothing.
#if defined(__x86_64__) && defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
constexpr bool kCountable = true;
#else
constexpr bool kCountable = false;
#endif

constexpr std::size_t kSmallBytes = 4096;

// Through a pointer that the compiler does not see through, so that it is the same copy as the
// library's.
void* (*volatile copy)(void*, const void*, std::size_t) = std::memcpy;

void require_at_most(std::uint64_t most, const std::function<void()>& call,
                     const std::function<void()>& part_not_counted) {
  call();
  if (!kCountable) return;
  const auto whole = imss::test::cost_of(call);
  const auto part = imss::test::cost_of(part_not_counted);
  if (!whole || !part) {
    WARN("this system does not let a process trace its child");
    return;
  }
  INFO(whole->instructions << " instructions, " << part->instructions << " of them not counted");
  CHECK(whole->system_calls == 0);
  CHECK(whole->instructions - part->instructions <= most);
}

}  // namespace

TEST_CASE("a warm get, set or stat makes no system call and takes few instructions") {
  const AttachedStore store;
  constexpr int kBlocks = 64;
  const std::int32_t id = create_dataset(uri_of("small").c_str(), "RR", kBlocks, 4, 1, 1);
  REQUIRE(failure(id) == 0);
  std::vector<unsigned char> buffer(kSmallBytes, 1);
  std::vector<unsigned char> other(kSmallBytes, 2);
  for (int block = 1; block <= kBlocks; ++block)
    REQUIRE(set_data(id, block, buffer.data(), 0, 0) == 0);
  const auto copy_block = [&] { copy(buffer.data(), other.data(), kSmallBytes); };
  const auto nothing = [] {};

  SECTION("get_data of one block again and again") {
    require_at_most(
        900, [&] { get_data(id, 7, buffer.data()); }, copy_block);
  }
  SECTION("get_data in order, where the next blocks are loaded ahead") {
    int block = 0;
    require_at_most(
        900, [&] { get_data(id, ++block, buffer.data()); }, copy_block);
  }
  SECTION("set_data") {
    require_at_most(
        2700, [&] { set_data(id, 7, buffer.data(), 0, 0); }, copy_block);
  }
  SECTION("stat_dataset") {
    const std::string uri = uri_of("small");
    require_at_most(
        13500,
        [&] {
          dataset_info info{};
          if (stat_dataset(uri.c_str(), &info) > 0) free_dataset(&info);
        },
        nothing);
  }
}
