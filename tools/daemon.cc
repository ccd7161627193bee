#include "daemon.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "base/text.h"
#include "common_program.h"

namespace imss::tools {
namespace {

struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

int number_in(std::string_view text) {
  int number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::string read_to_end(int fd) {
  std::string text;
  char part[512];
  while (true) {
    const ssize_t got = ::read(fd, part, sizeof(part));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(part, static_cast<std::size_t>(got));
  }
}

// The first process: waits for the daemon's report and ends with its outcome.
[[noreturn]] void end_with_report(std::string_view program, int fd, std::string_view label) {
  const ReadyReport report = parse_report(read_to_end(fd));
  if (!label.empty()) {
    const Status status = write_all(STDOUT_FILENO, concat(label, " ", format_report(report)));
    ::_exit(status.ok() ? kExitOk : kExitFailed);
  }
  if (report.ready) ::_exit(kExitOk);
  fail(program, report.sentence);
  ::_exit(kExitFailed);
}

void close_all_but(int keep, int keep_too) {
  unsigned first = STDERR_FILENO + 1;
  for (const int kept : {std::min(keep, keep_too), std::max(keep, keep_too)}) {
    const auto next = static_cast<unsigned>(kept);
    if (next > first) ::close_range(first, next - 1, 0);
    first = std::max(first, next + 1);
  }
  ::close_range(first, UINT_MAX, 0);
}

// Null as standard streams, no descriptor but the standard ones and the two given, and no folder
// that somebody may want to unmount. Both are out of the way of the standard streams.
Status leave_terminal(int keep, int keep_too) {
  const int null = ::open("/dev/null", O_RDWR);
  if (null < 0 || ::chdir("/") != 0) return Status::from_errno(errno, "cannot leave the terminal");
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, stream);
  close_all_but(keep, keep_too);
  return {};
}

// The process between: the daemon's parent, which alone hears how it ended. It passes the report
// on, or says what became of a daemon that ended without one.
[[noreturn]] void pass_report_on(pid_t daemon, int from, int to) {
  // It is no server, and whoever looks for those must not find it.
  ::prctl(PR_SET_NAME, "imss-starting");
  // It need not succeed: this process ends before anybody could mind.
  static_cast<void>(leave_terminal(from, to));
  std::string report = read_to_end(from);
  int wait_status = 0;
  if (report.empty() && ::waitpid(daemon, &wait_status, 0) == daemon) {
    report = format_report(
        {.sentence = concat(parse_report("").sentence, ": it ", how_it_ended(wait_status))});
  }
  ::_exit(write_all(to, report).ok() ? kExitOk : kExitFailed);
}

// There will be no daemon; errno says why.
[[noreturn]] void report_error(int to) {
  const Status status = Status::from_errno(errno, "cannot start a process");
  static_cast<void>(write_all(to, format_report({.sentence = status.message()})));
  ::_exit(kExitFailed);
}

}  // namespace

std::string how_it_ended(int wait_status) {
  if (!WIFSIGNALED(wait_status))
    return concat("ended with exit code ", std::to_string(WEXITSTATUS(wait_status)));
  const int number = WTERMSIG(wait_status);
  const char* const name = ::sigabbrev_np(number);
  return concat("was ended by signal ", std::to_string(number),
                name != nullptr ? concat(" (SIG", name, ")") : "",
                WCOREDUMP(wait_status) ? " and left a core file" : "");
}

Result<int> lock_pid_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Status::from_errno(errno, concat("cannot open pid file ", path));
  struct flock lock = whole_file();
  if (::fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    ::close(fd);
    return Status(Code::kBusy, concat("process ", std::to_string(pid_of(path)),
                                      " is running with pid file ", path));
  }
  const Status written = ::ftruncate(fd, 0) == 0
                             ? write_all(fd, concat(std::to_string(::getpid()), "\n"))
                             : Status::from_errno(errno, concat("cannot write ", path));
  if (written.ok()) return fd;
  ::close(fd);
  return written;
}

int pid_of(const std::string& path) {
  const File file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (file.fd() < 0) return 0;
  struct flock lock = whole_file();
  if (::fcntl(file.fd(), F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return 0;
  return number_in(read_to_end(file.fd()));
}

std::string format_report(const ReadyReport& report) {
  if (!report.ready) return concat("failed ", report.sentence, "\n");
  return concat("ready ", std::to_string(report.pid), report.continued ? " continued\n" : " new\n");
}

ReadyReport parse_report(std::string_view line) {
  ReadyReport report;
  if (line.ends_with('\n')) line.remove_suffix(1);
  constexpr std::string_view kReady = "ready ";
  constexpr std::string_view kFailed = "failed ";
  if (line.starts_with(kReady)) {
    report.pid = number_in(line.substr(kReady.size()));
    report.continued = line.ends_with(" continued");
    report.ready = report.pid > 0;
  } else if (line.starts_with(kFailed)) {
    report.sentence = line.substr(kFailed.size());
  }
  if (!report.ready && report.sentence.empty()) {
    report.sentence = "the server ended before it was ready";
  }
  return report;
}

Result<int> daemonize(std::string_view program, int keep_fd, std::string_view label) {
  int ends[2] = {-1, keep_fd};
  if (keep_fd < 0 && ::pipe2(ends, O_CLOEXEC) != 0) return Status::from_errno(errno, "pipe");
  const pid_t first = ::fork();
  if (first < 0) return Status::from_errno(errno, "cannot start a process");
  if (first > 0) {
    if (keep_fd >= 0) ::_exit(kExitOk);
    ::close(ends[1]);
    end_with_report(program, ends[0], label);
  }
  ::setsid();
  // Out of the way of the standard streams, should it be one of them.
  constexpr int kLeast = STDERR_FILENO + 1;
  const int outer = ::fcntl(ends[1], F_DUPFD_CLOEXEC, kLeast);
  int inner[2];
  if (outer < 0 || ::pipe2(inner, O_CLOEXEC) != 0) report_error(ends[1]);
  for (int& end : inner) end = ::fcntl(end, F_DUPFD_CLOEXEC, kLeast);
  // Not a session leader any more: opening a terminal never makes it the controlling one.
  const pid_t second = ::fork();
  if (second < 0 || inner[0] < 0 || inner[1] < 0) report_error(outer);
  if (second > 0) {
    ::close(inner[1]);
    pass_report_on(second, inner[0], outer);
  }
  IMSS_RETURN_IF_ERROR(leave_terminal(inner[1], inner[1]));
  return inner[1];
}

Status redirect_output(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return Status::from_errno(errno, concat("cannot open log file ", path));
  ::dup2(fd, STDOUT_FILENO);
  ::dup2(fd, STDERR_FILENO);
  ::close(fd);
  return {};
}

}  // namespace imss::tools
