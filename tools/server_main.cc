// The program `server`: one metadata or data server as a process, in the foreground or as a daemon.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/text.h"
#include "common_file.h"
#include "common_program.h"
#include "daemon.h"
#include "mount_state.h"
#include "server_options.h"

namespace {

using namespace imss;
using namespace imss::tools;

constexpr const char* kProgram = "server";

// The signals that end the server. Blocked in all threads; the main thread waits for them.
sigset_t ending_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGUSR1}) ::sigaddset(&signals, number);
  return signals;
}

bool ending_signal_pending() {
  sigset_t pending;
  ::sigemptyset(&pending);
  ::sigpending(&pending);
  for (const int number : {SIGTERM, SIGINT, SIGUSR1}) {
    if (::sigismember(&pending, number) == 1) return true;
  }
  return false;
}

class Reporter {
 public:
  // The label, if any, comes before the report.
  Reporter(int fd, const std::string& label)
      : fd_(fd), prefix_(label.empty() ? label : label + " ") {}
  // Tells whoever started this process; the first report counts.
  void send(const ReadyReport& report) {
    if (fd_ < 0) return;
    const Status status = write_all(fd_, prefix_ + format_report(report));
    if (!status.ok()) IMSS_LOG_WARN("nobody hears that this server is ready");
    ::close(fd_);
    fd_ = -1;
  }
  int refuse(const Status& status) {
    send({false, false, 0, status.message()});
    return fail(kProgram, status);
  }

 private:
  int fd_;
  const std::string prefix_;
};

// Serves until a signal ends it. `Server` is a MetadataServer or a DataServer.
template <typename Server>
int serve(Server& server, const char* role, unsigned port, Reporter& reporter) {
  const sigset_t signals = ending_signals();
  std::printf("%s server, port %u, segment %s: serving%s\n", role, port,
              server.segment_name().c_str(), server.took_over() ? " what was there" : "");
  std::fflush(stdout);
  reporter.send({true, server.took_over(), static_cast<int>(::getpid()), ""});
  int signal_number = 0;
  while (::sigwait(&signals, &signal_number) != 0) {
  }
  const bool retire = signal_number == SIGUSR1;
  server.stop(retire);
  std::printf("%s server, port %u: stopped, %s\n", role, port,
              retire ? "segment removed" : "segment kept");
  return kExitOk;
}

int run(const ServerOptions& options, Reporter& reporter) {
  if (options.is_metadata) {
    server::MetadataServerOptions metadata = options.metadata;
    metadata.give_up = ending_signal_pending;
    auto server = server::MetadataServer::start(metadata);
    if (!server.ok()) return reporter.refuse(server.status());
    return serve(**server, "metadata", options.metadata.port, reporter);
  }
  server::DataServerOptions data = options.data;
  data.give_up = ending_signal_pending;
  auto server = server::DataServer::start(data);
  if (!server.ok()) return reporter.refuse(server.status());
  return serve(**server, "data", data.port, reporter);
}

}  // namespace

int main(int argc, char** argv) {
  ServerOptions options;
  if (const auto code = read_server_options(argc, argv, &options)) return *code;
  // Before any thread starts, so that all inherit it. The reports' reader may be gone.
  const sigset_t signals = ending_signals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  if (options.daemonize) {
    const auto fd = daemonize(kProgram, options.ready_fd, options.report_label);
    if (!fd.ok()) return fail(kProgram, fd.status());
    options.ready_fd = *fd;
    options.report_label.clear();  // the process that called adds it
    ::signal(SIGHUP, SIG_IGN);
  } else if (!options.report_label.empty()) {
    options.ready_fd = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  }
  Reporter reporter(options.ready_fd, options.report_label);
  if (!options.run_dir.empty()) {
    const Status status = RunDirectory::prepare(options.run_dir, options.log_file);
    if (!status.ok()) return reporter.refuse(status);
  }
  if (!options.log_file.empty()) {
    const Status status = redirect_output(options.log_file);
    if (!status.ok()) return reporter.refuse(status);
  }
  if (options.pid_file.empty()) return run(options, reporter);
  const auto pid_fd = lock_pid_file(options.pid_file);
  if (!pid_fd.ok()) return reporter.refuse(pid_fd.status());
  const int code = run(options, reporter);
  ::unlink(options.pid_file.c_str());
  ::close(*pid_fd);
  // Of a server that did not start nothing stays; whoever started it has the reason.
  if (code != kExitOk && !options.run_dir.empty()) RunDirectory::remove_part(options.run_dir, {});
  return code;
}
