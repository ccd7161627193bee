#include "remote_launch.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/text.h"

extern char** environ;

namespace imss::tools {
namespace {

// What a shell and ssh end with when the program is not there and the host is not.
constexpr int kNoProgram = 127;
constexpr int kNoConnection = 255;
constexpr std::size_t kMostOutput = std::size_t{1} << 20;

struct GFree {
  void operator()(gchar* text) const { g_free(text); }
};
using GText = std::unique_ptr<gchar, GFree>;

// One process of the launcher and the commands it runs.
struct Process {
  std::vector<std::size_t> commands;  // positions
  pid_t pid = 0;
  int out = -1;       // its standard output, read by us
  int messages = -1;  // a file with its standard error
  std::string text = {};
  int wait_status = 0;
  int exit_code = -1;  // of one that ended by itself
};

bool is_installed(const std::string& program) {
  return GText(g_find_program_in_path(program.c_str())) != nullptr;
}

std::vector<std::string> with_environment(const std::vector<std::string>& words) {
  std::vector<std::string> all = {"env"};
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view variable = *each;
    if (variable.starts_with("IMSS_")) all.emplace_back(variable);
  }
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

// What a shell on the other side takes apart into these words again.
std::string shell_text(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ' ';
    text += GText(g_shell_quote(word.c_str())).get();
  }
  return text;
}

std::vector<std::string> words_for(const Launcher& launcher, const RemoteCommand& command) {
  const std::vector<std::string> words = with_environment(command.words);
  if (launcher.kind == LauncherKind::kSsh) {
    return {launcher.program,    "-o",         "BatchMode=yes",  "-o",
            "ConnectTimeout=10", command.host, shell_text(words)};
  }
  std::vector<std::string> all;
  if (launcher.kind == LauncherKind::kSrun) {
    // The step shares its cores and memory with the application's own steps.
    all = {"--nodes=1", "--ntasks=1", concat("--nodelist=", command.host), "--overlap"};
    all.insert(all.begin(), launcher.program);
  } else {
    all = {"-np", "1"};
    if (launcher.kind == LauncherKind::kOpenMpi) all.insert(all.end(), {"-host", command.host});
  }
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

bool is_mpi(const Launcher& launcher) {
  return launcher.kind == LauncherKind::kOpenMpi || launcher.kind == LauncherKind::kHydra;
}

using Started = std::pair<Process, std::vector<std::string>>;

// The one process of MPI for all commands. MPICH's Hydra wants all hosts at first and fills them in
// that order, Open MPI one with each command.
Started plan_mpi(const Launcher& launcher, const std::vector<RemoteCommand>& commands) {
  Started all{Process{}, {launcher.program}};
  auto& [process, line] = all;
  for (std::size_t i = 0; i < commands.size(); ++i) process.commands.push_back(i);
  // Those of one host side by side, as Hydra takes a host that is named twice.
  const auto first_on = [&](std::size_t i) {
    return std::ranges::find(commands, commands[i].host, &RemoteCommand::host) - commands.begin();
  };
  std::ranges::stable_sort(process.commands, {}, first_on);
  if (launcher.kind == LauncherKind::kHydra) {
    std::string hosts;
    for (const std::size_t i : process.commands) {
      hosts += hosts.empty() ? "" : ",";
      hosts += commands[i].host;
    }
    line.insert(line.end(), {"-hosts", hosts});
  }
  for (const std::size_t i : process.commands) {
    if (i != process.commands.front()) line.emplace_back(":");
    const std::vector<std::string> words = words_for(launcher, commands[i]);
    line.insert(line.end(), words.begin(), words.end());
  }
  return all;
}

// The processes to start with their words.
std::vector<Started> plan(const Launcher& launcher, const std::vector<RemoteCommand>& commands) {
  if (is_mpi(launcher)) return {plan_mpi(launcher, commands)};
  std::vector<Started> all;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    all.push_back({Process{{i}}, words_for(launcher, commands[i])});
  }
  return all;
}

// Which of the two families of MPI launchers this is.
LauncherKind mpi_kind(const std::string& program) {
  const std::string command = concat(GText(g_shell_quote(program.c_str())).get(), " --version");
  gchar* out = nullptr;
  g_spawn_command_line_sync(command.c_str(), &out, nullptr, nullptr, nullptr);
  const GText text(out);
  const bool is_open_mpi = text != nullptr && std::strstr(text.get(), "Open") != nullptr;
  return is_open_mpi ? LauncherKind::kOpenMpi : LauncherKind::kHydra;
}

Status start(Process* process, std::vector<std::string> words, bool stays) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Status::from_errno(errno, "pipe");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, process->messages, STDERR_FILENO);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  if (stays) ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int error =
      ::posix_spawnp(&process->pid, argv[0], &actions, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  process->out = ends[0];
  if (error == 0) return {};
  ::close(std::exchange(process->out, -1));
  process->pid = 0;
  return Status::from_errno(error, concat("cannot run ", words[0]));
}

// The line of a label, without the label; nothing when it is not there yet.
std::string_view line_of(std::string_view text, std::string_view label) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (!line.starts_with(label) || line.size() <= label.size() || line[label.size()] != ' ')
      continue;
    return line.substr(label.size() + 1);
  }
  return {};
}

bool all_reported(const Process& process, const std::vector<RemoteCommand>& commands) {
  return std::ranges::all_of(process.commands, [&](std::size_t i) {
    return !line_of(process.text, commands[i].label).empty();
  });
}

// Reads what came. Returns whether there may be more.
bool read_some(Process* process) {
  char part[4096];
  const ssize_t got = ::read(process->out, part, sizeof(part));
  if (got < 0 && errno == EINTR) return true;
  if (got <= 0 || process->text.size() > kMostOutput) return false;
  process->text.append(part, static_cast<std::size_t>(got));
  return true;
}

void end(Process* process, bool stays) {
  ::close(std::exchange(process->out, -1));
  if (stays) return;
  while (::waitpid(process->pid, &process->wait_status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(process->wait_status)) process->exit_code = WEXITSTATUS(process->wait_status);
}

// Reads until each has reported or ended, or the time is over, which ends those that still run.
void await(std::vector<Process>* processes, const std::vector<RemoteCommand>& commands,
           bool may_stay, const Deadline& deadline) {
  while (true) {
    std::vector<pollfd> waits;
    std::vector<Process*> waiting;
    for (Process& process : *processes) {
      if (process.out < 0) continue;
      waits.push_back({process.out, POLLIN, 0});
      waiting.push_back(&process);
    }
    if (waiting.empty()) return;
    const bool late = deadline.expired();
    if (!late && ::poll(waits.data(), waits.size(), deadline.remaining_ms()) < 0) continue;
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      Process* const process = waiting[i];
      bool open = !late;
      if (open && waits[i].revents != 0) open = read_some(process);
      if (open && may_stay && all_reported(*process, commands)) {
        end(process, true);
      } else if (!open) {
        if (late) ::kill(process->pid, SIGTERM);
        end(process, false);
      }
    }
  }
}

// The first line that says something: launchers frame their messages with dashes.
std::string first_message(int fd) {
  char text[4096];
  const ssize_t got = ::pread(fd, text, sizeof(text), 0);
  std::string_view rest(text, got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const bool words = std::ranges::any_of(
        line, [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; });
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())))
      line.remove_suffix(1);
    if (words) return std::string(line);
  }
  return {};
}

std::string reason_of(const Launcher& launcher, const Process& process,
                      const RemoteCommand& command, const Deadline& deadline) {
  const std::string message = first_message(process.messages);
  if (launcher.kind == LauncherKind::kSsh && process.exit_code == kNoProgram) {
    return concat("there is no program ", command.words.front(), " on ", command.host,
                  "; say where it is with --program");
  }
  if (launcher.kind == LauncherKind::kSsh && process.exit_code == kNoConnection) {
    return concat(command.host, " cannot be reached by ssh: ", message);
  }
  if (!message.empty()) return message;
  if (deadline.expired()) return "no answer in time";
  return concat(launcher.program, " ", how_it_ended(process.wait_status));
}

int message_file(const std::string& log_dir, const std::string& label, bool stays) {
  if (!stays) return ::memfd_create("messages", MFD_CLOEXEC);
  const std::string path = concat(log_dir, "/", label, ".srun");
  return ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
}

}  // namespace

Result<Launcher> find_launcher(const std::string& text) {
  if (text == "local") return Launcher{};
  if (text == "auto") {
    if (std::getenv("SLURM_JOB_ID") != nullptr && is_installed("srun")) {
      return Launcher{LauncherKind::kSrun, "srun"};
    }
    if (is_installed("ssh")) return Launcher{LauncherKind::kSsh, "ssh"};
    if (is_installed("mpirun")) return Launcher{mpi_kind("mpirun"), "mpirun"};
    return Status(Code::kNotFound,
                  "servers on other nodes need ssh, mpirun or srun, and none is installed");
  }
  const std::string_view name = std::string_view(text).substr(text.rfind('/') + 1);
  Launcher launcher{LauncherKind::kLocal, text};
  if (name.starts_with("ssh")) launcher.kind = LauncherKind::kSsh;
  const bool is_mpi_name = name.starts_with("mpirun") || name.starts_with("mpiexec");
  if (name.starts_with("srun")) launcher.kind = LauncherKind::kSrun;
  if (launcher.kind == LauncherKind::kLocal && !is_mpi_name) {
    return Status(Code::kInvalidArgument,
                  concat(imss::quoted(text),
                         " is no launcher: say auto, local, ssh, mpirun, mpiexec or srun"));
  }
  if (!is_installed(text)) {
    return Status(Code::kNotFound, concat("the launcher ", text, " is not installed"));
  }
  if (is_mpi_name) launcher.kind = mpi_kind(text);
  return launcher;
}

std::vector<ReadyReport> run_on_hosts(const Launcher& launcher,
                                      const std::vector<RemoteCommand>& commands,
                                      const std::string& log_dir, int timeout_ms) {
  std::vector<ReadyReport> reports(commands.size());
  const bool stays = keeps_foreground(launcher);
  // Several servers may be on one host; they do not compute.
  if (is_mpi(launcher)) ::setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);
  const Deadline deadline = Deadline::from_now(timeout_ms);
  std::vector<Process> processes;
  for (auto& [process, words] : plan(launcher, commands)) {
    process.messages = message_file(log_dir, commands[process.commands.front()].label, stays);
    const Status status = start(&process, std::move(words), stays);
    for (const std::size_t i : process.commands) reports[i].sentence = status.message();
    processes.push_back(std::move(process));
  }
  await(&processes, commands, stays, deadline);
  for (const Process& process : processes) {
    for (const std::size_t i : process.commands) {
      const std::string_view line = line_of(process.text, commands[i].label);
      if (!line.empty()) {
        reports[i] = parse_report(line);
      } else if (process.pid != 0) {
        reports[i].sentence = reason_of(launcher, process, commands[i], deadline);
      }
    }
    ::close(process.messages);
  }
  return reports;
}

}  // namespace imss::tools
