#include "store/process_stamp.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

namespace imss::store {
namespace {

// The stamp of a process from /proc/PID/stat, see proc(5); 0 when it is gone or a zombie.
std::uint64_t stamp_of(std::uint32_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[1024] = {};
  const ssize_t length = ::read(fd, text, sizeof(text) - 1);
  ::close(fd);
  if (length <= 0) return 0;
  const std::string_view stat(text, static_cast<std::size_t>(length));
  // The program's name is in parentheses and may hold anything; the state follows it, and the start
  // time is nineteen fields further.
  std::size_t at = stat.rfind(')');
  if (at == std::string_view::npos || at + 2 >= stat.size()) return 0;
  at += 2;
  if (stat[at] == 'Z' || stat[at] == 'X') return 0;
  for (int field = 0; field < 19; ++field) {
    at = stat.find(' ', at);
    if (at == std::string_view::npos) return 0;
    ++at;
  }
  const std::uint64_t started = std::strtoull(text + at, nullptr, 10);
  return started << 32 | pid;
}

// Of the process that has the id in its lower half; a forked child asks anew.
std::atomic<std::uint64_t> own_stamp{0};

}  // namespace

std::uint64_t own_process_stamp() {
  const auto pid = static_cast<std::uint32_t>(::getpid());
  std::uint64_t stamp = own_stamp.load(std::memory_order_relaxed);
  if (static_cast<std::uint32_t>(stamp) != pid) {
    stamp = stamp_of(pid);
    own_stamp.store(stamp, std::memory_order_relaxed);
  }
  return stamp;
}

bool process_lives(std::uint64_t stamp) {
  return stamp != 0 && stamp_of(static_cast<std::uint32_t>(stamp)) == stamp;
}

}  // namespace imss::store
