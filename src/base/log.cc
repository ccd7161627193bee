#include "base/log.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace imss {
namespace {

constexpr std::array<std::string_view, 6> kLevelNames = {"none", "error", "warn",
                                                         "info", "debug", "trace"};
constexpr int kUnset = -1;

// The log is the one thing of a process that every layer reaches, so these two are global. Relaxed
// order is enough: each stands alone and publishes nothing else.
std::atomic<int> g_level{kUnset};
std::atomic<int> g_fd{STDERR_FILENO};

int level_from_environment() {
  const char* text = std::getenv("IMSS_DEBUG_LEVEL");
  const auto level = text != nullptr ? parse_log_level(text) : std::nullopt;
  return static_cast<int>(level.value_or(LogLevel::kWarn));
}

// Takes what fits off the front of `message`, without control bytes; returns the bytes used of
// `out`.
std::size_t take_printable(std::string_view& message, char* out, std::size_t room) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::size_t used = 0;
  for (; !message.empty(); message.remove_prefix(1)) {
    const char c = message.front();
    const auto byte = static_cast<unsigned char>(c);
    const bool control = byte < 0x20 || byte == 0x7F;
    if (used + (control ? 4U : 1U) > room) break;
    if (!control) {
      out[used++] = c;
      continue;
    }
    out[used++] = '\\';
    out[used++] = 'x';
    out[used++] = kHex[byte >> 4];
    out[used++] = kHex[byte & 0xF];
  }
  return used;
}

std::size_t write_prefix(LogLevel level, char* out, std::size_t room) {
  // Computed here because localtime_r takes a lock that a fork child may find held for ever.
  const auto now = std::chrono::system_clock::now();
  const auto day = std::chrono::floor<std::chrono::days>(now);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(std::chrono::floor<std::chrono::milliseconds>(now - day));
  const int written = std::snprintf(
      out, room, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ imss[%d] %s: ", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
      static_cast<int>(time.seconds().count()), static_cast<int>(time.subseconds().count()),
      static_cast<int>(getpid()), kLevelNames[static_cast<std::size_t>(level)].data());
  return std::min(static_cast<std::size_t>(std::max(written, 0)), room - 1);
}

}  // namespace

std::optional<LogLevel> parse_log_level(std::string_view text) {
  if (text.size() == 1 && text[0] >= '0' && text[0] <= '5')
    return static_cast<LogLevel>(text[0] - '0');
  for (std::size_t i = 0; i < kLevelNames.size(); ++i) {
    const std::string_view name = kLevelNames[i];
    if (std::ranges::equal(text, name, [](char a, char b) { return (a | 0x20) == b; })) {
      return static_cast<LogLevel>(i);
    }
  }
  return std::nullopt;
}

LogLevel log_level() {
  int level = g_level.load(std::memory_order_relaxed);
  if (level == kUnset) {
    const int from_environment = level_from_environment();
    // Another thread may have set the level meanwhile; then its choice stays.
    if (g_level.compare_exchange_strong(level, from_environment, std::memory_order_relaxed)) {
      level = from_environment;
    }
  }
  return static_cast<LogLevel>(level);
}

void set_log_level(LogLevel level) {
  g_level.store(static_cast<int>(level), std::memory_order_relaxed);
}

void set_log_fd(int fd) { g_fd.store(fd, std::memory_order_relaxed); }

void log_line(LogLevel level, const char* format, ...) {
  const int saved_errno = errno;
  constexpr std::size_t kLine = kMaxLogLineBytes;
  constexpr std::string_view kCut = "...";
  std::array<char, kLine> message;
  std::va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(message.data(), message.size(), format, arguments);
  va_end(arguments);

  std::array<char, kLine> line;
  const auto length_bytes = static_cast<std::size_t>(std::max(length, 0));
  bool cut = length_bytes >= message.size();
  std::string_view text(message.data(), std::min(length_bytes, message.size() - 1));
  std::size_t used = write_prefix(level, line.data(), 128);
  used += take_printable(text, line.data() + used, line.size() - used - kCut.size() - 1);
  cut = cut || !text.empty();
  if (cut) {
    std::memcpy(line.data() + used, kCut.data(), kCut.size());
    used += kCut.size();
  }
  line[used++] = '\n';
  // A partial write or an error cannot be reported anywhere.
  [[maybe_unused]] const ssize_t written =
      write(g_fd.load(std::memory_order_relaxed), line.data(), used);
  errno = saved_errno;
}

}  // namespace imss
