// The program `imfssfs`: mounts an instance as a file system.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "client/attached.h"
#include "base/log.h"
#include "common_program.h"
#include "kernel_features.h"
#include "mount_options.h"
#include "operations.h"
#include "posix/file_system.h"

namespace {

using namespace imss;

constexpr const char* kProgram = "imfssfs";
constexpr int kJoinMs = 10'000;

// Everything of the store that a mount uses, in the order in which it is made.
struct Mount {
  std::unique_ptr<client::AttachedServers> servers;
  std::unique_ptr<client::Session> session;
  std::unique_ptr<posix::FileSystem> files;
};

Status start_servers(const fuse::MountOptions& options, Mount* mount) {
  client::AttachedOptions attached;
  attached.storage_bytes = options.capacity_bytes;
  attached.data_port = options.data_port;
  attached.metadata_port = options.connect.port;
  attached.runs_metadata = true;
  attached.metadata_file = options.metadata_file;
  IMSS_ASSIGN_OR_RETURN(mount->servers, client::AttachedServers::start(attached));
  IMSS_ASSIGN_OR_RETURN(mount->session, client::Session::connect(options.connect));
  IMSS_RETURN_IF_ERROR(mount->servers->join(kJoinMs));
  mount->session->set_own_segment(mount->servers->segment_name());
  return client::form_instance(*mount->session, {options.root.instance, 1, options.data_port},
                               Deadline::from_now(kJoinMs));
}

Status connect(const fuse::MountOptions& options, Mount* mount) {
  if (options.attached) {
    IMSS_RETURN_IF_ERROR(start_servers(options, mount));
  } else {
    IMSS_ASSIGN_OR_RETURN(mount->session, client::Session::connect(options.connect));
  }
  IMSS_ASSIGN_OR_RETURN(mount->files, posix::FileSystem::open(*mount->session, options.root.instance, options.files));
  return {};
}

// The program that was called ends when the mount is there, with the outcome that the child tells; a child that dies
// before has said why. Returns the end to tell it through.
int go_to_background() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return -1;
  const pid_t child = ::fork();
  if (child != 0) {
    ::close(ends[1]);
    char mounted = 0;
    const bool ok = child > 0 && ::read(ends[0], &mounted, 1) == 1;
    std::_Exit(ok ? tools::kExitOk : tools::kExitFailed);
  }
  ::close(ends[0]);
  ::setsid();
  return ends[1];
}

void tell_mounted(int end) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  ::close(null);
  if (::chdir("/") != 0) return;
  [[maybe_unused]] const ssize_t told = ::write(end, "", 1);
  ::close(end);
}

int serve(const fuse::MountOptions& options, posix::FileSystem& files, int end) {
  const std::string list = "default_permissions,fsname=" + format_uri(options.root) + ",subtype=imss" +
                           (options.fuse_options.empty() ? "" : "," + options.fuse_options);
  fuse_args arguments = FUSE_ARGS_INIT(0, nullptr);
  for (const char* const argument : {kProgram, "-o", list.c_str()}) fuse_opt_add_arg(&arguments, argument);
  fuse::Door door{files};
  fuse_session* const session = fuse_session_new(&arguments, &fuse::operations(), sizeof(fuse_lowlevel_ops), &door);
  fuse_opt_free_args(&arguments);
  if (session == nullptr) return tools::fail(kProgram, "fuse does not accept the options " + list);
  int code = tools::kExitFailed;
  if (fuse_set_signal_handlers(session) == 0) {
    if (fuse_session_mount(session, options.mount_point.c_str()) == 0) {
      if (!door.features.attach(session)) IMSS_LOG_WARN("mmap of shared files will be refused: libfuse is too old");
      if (end >= 0) tell_mounted(end);
      fuse_loop_config* const config = fuse_loop_cfg_create();
      fuse_loop_cfg_set_clone_fd(config, 1);
      // A signal ends the loop with its number, which is a clean end.
      const int ended = fuse_session_loop_mt(session, config);
      code = ended >= 0 ? tools::kExitOk
                        : tools::fail(kProgram, Status::from_errno(-ended, "the mount at " + options.mount_point + " ended"));
      fuse_loop_cfg_destroy(config);
      fuse_session_unmount(session);
    } else {
      tools::fail(kProgram, "cannot mount at " + options.mount_point + "; see the message above");
    }
    fuse_remove_signal_handlers(session);
  }
  fuse_session_destroy(session);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  fuse::MountOptions options;
  if (const auto code = fuse::read_mount_options(argc, argv, &options)) return *code;
  std::error_code error;
  if (!std::filesystem::is_directory(options.mount_point, error)) {
    return tools::fail(kProgram, "there is no directory " + options.mount_point + " to mount at");
  }
  options.mount_point = std::filesystem::canonical(options.mount_point, error).string();
  const int end = options.foreground ? -1 : go_to_background();
  Mount mount;
  const Status connected = connect(options, &mount);
  if (!connected.ok()) return tools::fail(kProgram, connected);
  return serve(options, *mount.files, end);
}
