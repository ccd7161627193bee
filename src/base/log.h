// Lines for people, on standard error or a file descriptor of the caller's choice.
//
// The level comes from IMSS_DEBUG_LEVEL (none, error, warn, info, debug, trace, or 0-5) and is warn
// without it, so that a library stays silent in a healthy program. Each line is one write(2): lines
// of several threads and processes do not mix. Any thread, also in a fork child; errno is
// preserved; a line that cannot be written is lost silently. Whoever decides what an error means
// logs it, once.
#pragma once

#include <optional>
#include <string_view>

namespace imss {

enum class LogLevel : int { kNone = 0, kError = 1, kWarn = 2, kInfo = 3, kDebug = 4, kTrace = 5 };

// The level named by a word (any case) or a digit.
std::optional<LogLevel> parse_log_level(std::string_view text);

LogLevel log_level();
void set_log_level(LogLevel level);

// Where lines go; 2 at first. The descriptor stays the caller's.
void set_log_fd(int fd);

inline bool log_enabled(LogLevel level) {
  return static_cast<int>(level) <= static_cast<int>(log_level());
}

// Writes one line from a printf format. Control bytes are shown as \xNN, so that a message stays
// one line; what exceeds kMaxLogLineBytes is cut and ends in "...".
inline constexpr int kMaxLogLineBytes = 2048;
void log_line(LogLevel level, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace imss

// Arguments are evaluated only when the level is on.
#define IMSS_LOG_AT(level, ...)                                           \
  do {                                                                    \
    if (::imss::log_enabled(level)) ::imss::log_line(level, __VA_ARGS__); \
  } while (false)
#define IMSS_LOG_ERROR(...) IMSS_LOG_AT(::imss::LogLevel::kError, __VA_ARGS__)
#define IMSS_LOG_WARN(...) IMSS_LOG_AT(::imss::LogLevel::kWarn, __VA_ARGS__)
#define IMSS_LOG_INFO(...) IMSS_LOG_AT(::imss::LogLevel::kInfo, __VA_ARGS__)
#define IMSS_LOG_DEBUG(...) IMSS_LOG_AT(::imss::LogLevel::kDebug, __VA_ARGS__)
