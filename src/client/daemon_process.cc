#include "client/daemon_process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "base/text.h"

extern char** environ;

namespace imss::client {
namespace {

constexpr std::string_view kProgramName = "server";
constexpr std::size_t kMaxReportBytes = 4096;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

bool is_program(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

// Folders where an installation keeps its programs, seen from the library or the program.
std::vector<std::filesystem::path> folders_nearby() {
  std::vector<std::filesystem::path> folders;
  std::error_code error;
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&find_server_program), &info) != 0 &&
      info.dli_fname != nullptr) {
    const auto library = std::filesystem::canonical(info.dli_fname, error);
    // PREFIX/lib, or PREFIX/lib/TRIPLET as Debian has it.
    if (!error) {
      folders.push_back(library.parent_path().parent_path() / "bin");
      folders.push_back(library.parent_path().parent_path().parent_path() / "bin");
    }
  }
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) folders.push_back(program.parent_path());
  return folders;
}

// What the daemon says: one line, "ready PID ..." or "failed SENTENCE".
Result<std::string> read_report(int fd, Deadline deadline) {
  std::string line;
  while (line.size() < kMaxReportBytes) {
    pollfd readable{fd, POLLIN, 0};
    const int ready = ::poll(&readable, 1, deadline.remaining_ms());
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0)
      return Status(Code::kTimedOut, "the data server did not begin to serve in time");
    char bytes[512];
    const ssize_t count = ::read(fd, bytes, sizeof(bytes));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    line.append(bytes, static_cast<std::size_t>(count));
    if (line.find('\n') != std::string::npos) break;
  }
  return line.substr(0, line.find('\n'));
}

Result<pid_t> parse_report(std::string_view line) {
  constexpr std::string_view kReady = "ready ";
  constexpr std::string_view kFailed = "failed ";
  if (line.starts_with(kReady)) {
    line.remove_prefix(kReady.size());
    pid_t process = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), process);
    if (error == std::errc() && process > 0) return process;
  }
  if (line.starts_with(kFailed)) {
    line.remove_prefix(kFailed.size());
    return Status(Code::kIo, concat("the data server did not start: ", line));
  }
  return Status(Code::kIo, "the data server ended before it served");
}

Result<pid_t> spawn(const std::string& program, const std::vector<std::string>& arguments,
                    int report_fd) {
  std::vector<char*> argv;
  std::string name(kProgramName);
  argv.push_back(name.data());
  std::vector<std::string> copies = arguments;
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, report_fd, kReportFd);
  // The signals that the application blocks or ignores are its own affair.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  ::sigemptyset(&none);
  sigset_t all;
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t process = 0;
  const int error =
      ::posix_spawn(&process, program.c_str(), &actions, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Status::from_errno(error, concat("cannot run ", program));
  return process;
}

}  // namespace

Result<std::string> find_server_program(const std::string& given) {
  if (!given.empty()) {
    if (is_program(given)) return given;
    return Status(Code::kNotFound,
                  concat(imss::quoted(given), " is not a program that can be run"));
  }
  for (const auto& folder : folders_nearby()) {
    const std::string path = folder / kProgramName;
    if (is_program(path)) return path;
  }
  const char* search = std::getenv("PATH");
  std::string_view rest = search != nullptr ? search : "";
  while (!rest.empty()) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
    const std::string path = concat(folder, "/", kProgramName);
    if (!folder.empty() && is_program(path)) return path;
  }
  return Status(Code::kNotFound,
                "the program `server` is neither beside the library nor in PATH; give its path as "
                "binary_path");
}

Result<pid_t> start_daemon(const std::string& program, const std::vector<std::string>& arguments,
                           Deadline deadline) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Status::from_errno(errno, "cannot make a pipe");
  const Descriptor readable(ends[0]);
  Descriptor writable(ends[1]);
  IMSS_ASSIGN_OR_RETURN(const pid_t starter, spawn(program, arguments, writable.get()));
  writable.close();
  auto report = read_report(readable.get(), deadline);
  // The process that was spawned only makes the daemon and ends.
  int status = 0;
  if (!report.ok()) ::kill(starter, SIGKILL);
  while (::waitpid(starter, &status, 0) < 0 && errno == EINTR) {
  }
  if (!report.ok()) return report.status();
  return parse_report(*report);
}

Status ask_to_retire(pid_t process) {
  if (::kill(process, SIGUSR1) == 0 || errno == ESRCH) return {};
  if (errno == EPERM) {
    return Status(Code::kPermission, concat("process ", std::to_string(process),
                                            ", a data server, is somebody else's"));
  }
  return Status::from_errno(errno, concat("cannot signal process ", std::to_string(process)));
}

}  // namespace imss::client
