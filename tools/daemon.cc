#include "daemon.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>

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
[[noreturn]] void end_with_report(std::string_view program, int fd) {
  const ReadyReport report = parse_report(read_to_end(fd));
  if (report.ready) ::_exit(kExitOk);
  fail(program, report.sentence);
  ::_exit(kExitFailed);
}

void close_all_but(int keep_fd) {
  constexpr unsigned kFirst = STDERR_FILENO + 1;
  const auto keep = static_cast<unsigned>(keep_fd);
  if (keep > kFirst) ::close_range(kFirst, keep - 1, 0);
  ::close_range(keep + 1, UINT_MAX, 0);
}

}  // namespace

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

Result<int> daemonize(std::string_view program, int keep_fd) {
  int ends[2] = {-1, keep_fd};
  if (keep_fd < 0 && ::pipe2(ends, O_CLOEXEC) != 0) return Status::from_errno(errno, "pipe");
  const pid_t first = ::fork();
  if (first < 0) return Status::from_errno(errno, "cannot start a process");
  if (first > 0) {
    if (keep_fd >= 0) ::_exit(kExitOk);
    ::close(ends[1]);
    end_with_report(program, ends[0]);
  }
  ::setsid();
  // Not a session leader any more: opening a terminal never makes it the controlling one.
  const pid_t second = ::fork();
  if (second != 0) ::_exit(second < 0 ? kExitFailed : kExitOk);
  // Out of the way of the standard streams, should it be one of them.
  const int report_fd = ::fcntl(ends[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int null = ::open("/dev/null", O_RDWR);
  if (report_fd < 0 || null < 0 || ::chdir("/") != 0)
    return Status::from_errno(errno, "cannot leave the terminal");
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, stream);
  close_all_but(report_fd);
  return report_fd;
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
