#include "segment/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace imss::segment {
namespace {

// What is armed. Set before threads use it (start of the process, or a freshly forked child).
struct Fault {
  std::string name;
  std::atomic<int> remaining{0};
  int signal_number = SIGKILL;
  int trace_fd = -1;
};

Fault& fault() {
  static Fault instance;
  return instance;
}

[[maybe_unused]] const bool loaded = (fault_reload(), true);

}  // namespace

std::atomic<bool> fault_armed{false};

void fault_reload() {
  Fault& armed = fault();
  const char* spec = std::getenv("IMSS_FAULT");
  const char* trace = std::getenv("IMSS_FAULT_TRACE");
  armed.name.clear();
  armed.signal_number = SIGKILL;
  int count = 1;
  if (spec != nullptr) {
    const std::string text = spec;
    const auto first = text.find(':');
    armed.name = text.substr(0, first);
    if (first != std::string::npos) {
      count = std::atoi(text.c_str() + first + 1);
      if (count < 1) count = 1;
      if (text.ends_with(":stop")) armed.signal_number = SIGSTOP;
      if (text.ends_with(":exit")) armed.signal_number = 0;
    }
  }
  armed.remaining.store(count);
  if (trace != nullptr && armed.trace_fd < 0) {
    armed.trace_fd = ::open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  }
  // Publishes what is armed, to threads that run already too.
  fault_armed.store(!armed.name.empty() || armed.trace_fd >= 0, std::memory_order_release);
}

void fault_hit(const char* name) {
  if (!fault_armed.load(std::memory_order_acquire)) return;
  Fault& armed = fault();
  if (armed.trace_fd >= 0) {
    const std::string line = std::string(name) + "\n";
    [[maybe_unused]] const auto written = ::write(armed.trace_fd, line.data(), line.size());
  }
  if (armed.name != name) return;
  if (armed.remaining.fetch_sub(1, std::memory_order_relaxed) != 1) return;
  if (armed.signal_number == 0) ::_exit(86);
  ::kill(::getpid(), armed.signal_number);
}

}  // namespace imss::segment
