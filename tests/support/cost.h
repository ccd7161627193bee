// Test help: the instructions and system calls that a call takes, counted exactly by stepping a forked child through it.
//
// What is counted does not depend on the load of the machine, so a test may pin it. A string instruction that repeats
// counts once. x86-64 only, and not in programs that a sanitizer has instrumented.
#pragma once

#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <functional>
#include <optional>

namespace imss::test {

struct Cost {
  std::uint64_t instructions = 0;
  std::uint64_t system_calls = 0;
};

namespace cost_detail {

constexpr int kWarmUps = 32;
constexpr int kCounted = 5;

inline void breakpoint() { asm volatile("int3" ::: "memory"); }

[[noreturn]] inline void run_child(const std::function<void()>& call) {
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(2);
  for (int i = 0; i < kWarmUps; ++i) call();
  for (int i = 0; i < kCounted; ++i) {
    breakpoint();
    call();
    breakpoint();
  }
  ::_exit(0);
}

// Waits until the child stops at a breakpoint or after a step. False: it has ended.
inline bool stopped(pid_t child) {
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

// From one breakpoint to just before the next.
inline std::optional<Cost> step_to_breakpoint(pid_t child) {
  constexpr std::uint64_t kInt3 = 0xcc;
  constexpr std::uint64_t kSyscall = 0x050f;
  Cost cost;
  std::uint64_t before = 0;
  for (;;) {
    user_regs_struct registers{};
    if (::ptrace(PTRACE_GETREGS, child, nullptr, &registers) != 0) return std::nullopt;
    const auto code = static_cast<std::uint64_t>(::ptrace(PTRACE_PEEKTEXT, child, registers.rip, nullptr));
    if ((code & 0xff) == kInt3) return cost;
    if (registers.rip != before) ++cost.instructions;
    if ((code & 0xffff) == kSyscall) ++cost.system_calls;
    before = registers.rip;
    if (::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) != 0 || !stopped(child)) return std::nullopt;
  }
}

}  // namespace cost_detail

// What a call takes that was made some times before: the fewest instructions of several calls, and the most system
// calls. Nothing where a process may not trace its child.
inline std::optional<Cost> cost_of(const std::function<void()>& call) {
  namespace detail = cost_detail;
  const pid_t child = ::fork();
  if (child == 0) detail::run_child(call);
  if (child < 0) return std::nullopt;
  std::optional<Cost> least;
  for (int i = 0; i < detail::kCounted && detail::stopped(child); ++i) {
    const auto cost = detail::step_to_breakpoint(child);
    if (!cost) break;
    if (!least) least = cost;
    least->instructions = std::min(least->instructions, cost->instructions);
    least->system_calls = std::max(least->system_calls, cost->system_calls);
    // Over the breakpoint at the end, and on to the next one.
    if (::ptrace(PTRACE_CONT, child, nullptr, nullptr) != 0 || !detail::stopped(child)) break;
    if (::ptrace(PTRACE_CONT, child, nullptr, nullptr) != 0) break;
  }
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return least;
}

}  // namespace imss::test
