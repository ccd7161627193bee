#include "base/log.h"

#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "base/log_limit.h"

using imss::LogLevel;

namespace {

// Sends the log into a pipe for the life of the object.
class LogCapture {
 public:
  explicit LogCapture(LogLevel level) : level_before_(imss::log_level()) {
    REQUIRE(pipe(ends_.data()) == 0);
    imss::set_log_fd(ends_[1]);
    imss::set_log_level(level);
  }
  ~LogCapture() {
    imss::set_log_fd(STDERR_FILENO);
    imss::set_log_level(level_before_);
    close(ends_[0]);
    if (ends_[1] >= 0) close(ends_[1]);
  }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  // Everything logged until now; the log must fit into the pipe. Once only.
  std::string take() {
    close(ends_[1]);
    ends_[1] = -1;
    std::string text;
    std::array<char, 4096> piece;
    for (ssize_t got = 0; (got = read(ends_[0], piece.data(), piece.size())) > 0;) {
      text.append(piece.data(), static_cast<std::size_t>(got));
    }
    return text;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
  LogLevel level_before_;
};

std::size_t count_of(const std::string& text, const std::string& word) {
  std::size_t count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    ++count;
  return count;
}

}  // namespace

TEST_CASE("a line carries the time, the process, the level and the message") {
  LogCapture capture(LogLevel::kInfo);
  IMSS_LOG_INFO("server %d is ready", 3);
  const std::string text = capture.take();
  INFO(text);
  CHECK(text.find("imss[" + std::to_string(getpid()) + "] info: server 3 is ready\n") == 25);
  CHECK(text.substr(4, 1) == "-");
  CHECK(text.substr(10, 1) == "T");
  CHECK(text.substr(23, 2) == "Z ");
}

TEST_CASE("what is below the level is neither written nor evaluated") {
  LogCapture capture(LogLevel::kWarn);
  int evaluated = 0;
  IMSS_LOG_INFO("%d", ++evaluated);
  IMSS_LOG_WARN("%d", ++evaluated);
  CHECK(evaluated == 1);
  CHECK(count_of(capture.take(), "\n") == 1);
}

TEST_CASE("a message stays one line whatever bytes it holds, and long ones are cut visibly") {
  LogCapture capture(LogLevel::kError);
  IMSS_LOG_ERROR("a\nb\x1b[31m");
  IMSS_LOG_ERROR("%s", std::string(5000, 'x').c_str());
  IMSS_LOG_ERROR("%s", std::string(2000, '\n').c_str());
  const std::string text = capture.take();
  CHECK(text.find("a\\x0ab\\x1b[31m\n") != std::string::npos);
  CHECK(count_of(text, "\n") == 3);
  CHECK(count_of(text, "...\n") == 2);
  CHECK(text.size() < 3 * static_cast<std::size_t>(imss::kMaxLogLineBytes));
}

TEST_CASE("logging leaves errno alone, also when the line cannot be written") {
  LogCapture capture(LogLevel::kError);
  imss::set_log_fd(-1);
  errno = ENOENT;
  IMSS_LOG_ERROR("lost");
  CHECK(errno == ENOENT);
}

TEST_CASE("lines of several threads do not mix") {
  LogCapture capture(LogLevel::kError);
  std::vector<std::thread> threads;
  for (char name = 'a'; name <= 'd'; ++name) {
    threads.emplace_back([name] {
      for (int i = 0; i < 50; ++i) IMSS_LOG_ERROR("<%s>", std::string(100, name).c_str());
    });
  }
  for (auto& thread : threads) thread.join();
  const std::string text = capture.take();
  for (char name = 'a'; name <= 'd'; ++name) {
    CHECK(count_of(text, "<" + std::string(100, name) + ">\n") == 50);
  }
}

TEST_CASE("levels are read from words and digits") {
  CHECK(imss::parse_log_level("none") == LogLevel::kNone);
  CHECK(imss::parse_log_level("Debug") == LogLevel::kDebug);
  CHECK(imss::parse_log_level("5") == LogLevel::kTrace);
  CHECK_FALSE(imss::parse_log_level("6").has_value());
  CHECK_FALSE(imss::parse_log_level("").has_value());
  CHECK_FALSE(imss::parse_log_level("loud").has_value());
}

TEST_CASE("what others cause again and again is logged now and then, with how often it was not") {
  imss::LogLimit limit;
  constexpr std::int64_t kSecond = imss::LogLimit::kPeriodNs;
  const std::int64_t start = 1000 * kSecond;
  std::uint64_t left_out = 0;
  int passed = 0;
  for (int i = 0; i < 1000; ++i) passed += limit.pass(start, &left_out) ? 1 : 0;
  CHECK(passed == imss::LogLimit::kBurst);
  CHECK(left_out == 0);
  CHECK(limit.pass(start + kSecond, &left_out));
  CHECK(left_out == 1000 - imss::LogLimit::kBurst);
  CHECK_FALSE(limit.pass(start + kSecond, &left_out));
  for (int i = 0; i < 1000; ++i) passed += limit.pass(start + 1000 * kSecond, &left_out) ? 1 : 0;
  CHECK(passed == 2 * imss::LogLimit::kBurst);
}

TEST_CASE("a complaint is said once as long as its reason stays, and when it is over") {
  LogCapture capture(LogLevel::kInfo);
  imss::Complaint complaint("cannot sing");
  for (int i = 0; i < 3; ++i) complaint.note(imss::Status(imss::Code::kIo, "hoarse"));
  for (int i = 0; i < 2; ++i) complaint.note(imss::Status(imss::Code::kIo, "shy"));
  for (int i = 0; i < 2; ++i) complaint.note({});
  const std::string text = capture.take();
  CHECK(count_of(text, "cannot sing: hoarse") == 1);
  CHECK(count_of(text, "cannot sing: shy") == 1);
  CHECK(count_of(text, "no longer: cannot sing") == 1);
  CHECK(count_of(text, "\n") == 3);
}

TEST_CASE("a bounded line stands for those that were left out before it") {
  LogCapture capture(LogLevel::kWarn);
  for (int i = 0; i < 500; ++i) IMSS_LOG_WARN_BOUNDED("stranger %d", i);
  const std::string text = capture.take();
  CHECK(count_of(text, "stranger 0\n") == 1);
  CHECK(count_of(text, "\n") < 100);
}
