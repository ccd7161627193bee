#include "mount_state.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/text.h"
#include "daemon.h"
#include "segment/segment_files.h"

namespace imss::tools {
namespace {

constexpr const char* kStateFile = "state";
constexpr int kEndWaitMs = 15'000;
constexpr int kKillWaitMs = 5'000;

struct KeyFileFree {
  void operator()(GKeyFile* file) const { g_key_file_free(file); }
};
using KeyFile = std::unique_ptr<GKeyFile, KeyFileFree>;

struct GFree {
  void operator()(gchar* text) const { g_free(text); }
};
using GText = std::unique_ptr<gchar, GFree>;

std::string text_of(const KeyFile& file, const char* group, const char* key) {
  const GText text(g_key_file_get_string(file.get(), group, key, nullptr));
  return text ? text.get() : "";
}

std::string shared_base_directory() { return concat("/tmp/imss-", std::to_string(::geteuid())); }

std::string base_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/') return concat(runtime, "/imss");
  return shared_base_directory();
}

bool is_base_directory(const std::string& path) {
  return path == base_directory() || path == shared_base_directory();
}

// A file name for any instance name: letters, digits, '-' and '_' as they are, others as %XX.
std::string file_name_of(const std::string& instance) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string name = "instance-";
  for (const char c : instance) {
    const auto byte = static_cast<unsigned char>(c);
    if (g_ascii_isalnum(c) || c == '-' || c == '_') {
      name += c;
    } else {
      name += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  // File names end at 255 bytes; a long name keeps its start and is told apart by its hash.
  constexpr std::size_t kLongest = 200;
  if (name.size() > kLongest) {
    const std::uint32_t hash = g_str_hash(name.c_str());
    name = concat(std::string_view(name).substr(0, kLongest), "-", std::to_string(hash));
  }
  return name;
}

Status make_directory(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path();
  const bool in_base = is_base_directory(parent);
  for (const std::string& each : {in_base ? parent : path, path}) {
    if (::mkdir(each.c_str(), 0700) != 0 && errno != EEXIST) {
      return Status::from_errno(errno, concat("cannot make the run directory ", each));
    }
  }
  return {};
}

Status refuse_access(const std::string& path, std::string_view why) {
  return Status(Code::kPermission,
                concat("run directory ", path, " ", why, "; choose another with --run-dir"));
}

Status refuse_others(int fd, const std::string& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return Status::from_errno(errno, path);
  if (status.st_uid != ::geteuid()) return refuse_access(path, "belongs to another user");
  if ((status.st_mode & 077) != 0) return refuse_access(path, "is open to other users");
  return {};
}

}  // namespace

DaemonRecord daemon_record(const std::string& run_dir, bool is_metadata, std::uint16_t port,
                           std::uint32_t rank) {
  const std::string number = std::to_string(rank);
  DaemonRecord record;
  // The first, which most deployments have alone, needs no number.
  const bool is_first = is_metadata && rank == 0;
  record.label = is_first ? "metadata server" : concat(is_metadata ? "metadata" : "data", " server ", number);
  record.is_metadata = is_metadata;
  record.port = port;
  record.rank = rank;
  record.pid_file = is_first ? concat(run_dir, "/metadata.pid")
                             : concat(run_dir, is_metadata ? "/metadata-" : "/data-", number, ".pid");
  record.segment =
      segment::file_name(is_metadata ? segment::Role::kMetadata : segment::Role::kData, port, rank);
  return record;
}

std::string RunDirectory::default_path(const std::string& instance, bool several_nodes) {
  return concat(several_nodes ? shared_base_directory() : base_directory(), "/",
                file_name_of(instance));
}

Status RunDirectory::prepare(const std::string& path, const std::string& log_file) {
  IMSS_RETURN_IF_ERROR(make_directory(path));
  const File directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (directory.fd() < 0) {
    return Status::from_errno(errno, concat("cannot open run directory ", path));
  }
  IMSS_RETURN_IF_ERROR(refuse_others(directory.fd(), path));
  const std::string log_dir = std::filesystem::path(log_file).parent_path();
  if (log_dir.empty() || ::mkdir(log_dir.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return Status::from_errno(errno, concat("cannot make ", log_dir));
}

void RunDirectory::remove_part(const std::string& path, const std::vector<DaemonRecord>& daemons) {
  for (const DaemonRecord& record : daemons) ::unlink(record.pid_file.c_str());
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(path, error)) {
    // Other servers are left here, or mount.imss was called on this node.
    if (file.path().extension() == ".pid" || file.path().filename() == kStateFile) return;
  }
  std::filesystem::remove_all(concat(path, "/log"), error);
  ::rmdir(path.c_str());
  const std::string parent = std::filesystem::path(path).parent_path();
  if (is_base_directory(parent)) ::rmdir(parent.c_str());
}

Result<RunDirectory> RunDirectory::open(const std::string& path, bool create) {
  if (create) IMSS_RETURN_IF_ERROR(make_directory(path));
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) return Status(Code::kNotFound, concat("there is no ", path));
  if (fd < 0) return Status::from_errno(errno, concat("cannot open run directory ", path));
  RunDirectory directory(path, fd);
  IMSS_RETURN_IF_ERROR(refuse_others(fd, path));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return Status(Code::kBusy, concat("another mount.imss or umount.imss is at work in ", path));
  }
  return directory;
}

RunDirectory::~RunDirectory() {
  if (fd_ >= 0) ::close(fd_);
}

Result<MountState> RunDirectory::read() const {
  const KeyFile file(g_key_file_new());
  const std::string path = concat(path_, "/", kStateFile);
  GError* error = nullptr;
  if (g_key_file_load_from_file(file.get(), path.c_str(), G_KEY_FILE_NONE, &error) == FALSE) {
    const bool absent = g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT) != FALSE;
    const Status status(absent ? Code::kNotFound : Code::kCorrupt,
                        concat(path, ": ", error->message));
    g_error_free(error);
    return status;
  }
  MountState state;
  state.instance = text_of(file, "mount", "instance");
  state.log_dir = text_of(file, "mount", "log_dir");
  state.launcher = text_of(file, "mount", "launcher");
  state.program = text_of(file, "mount", "program");
  state.key_file = text_of(file, "mount", "key_file");
  for (int i = 0;; ++i) {
    const std::string group = concat("daemon ", std::to_string(i));
    if (g_key_file_has_group(file.get(), group.c_str()) == FALSE) return state;
    DaemonRecord record;
    record.label = text_of(file, group.c_str(), "label");
    record.is_metadata =
        g_key_file_get_boolean(file.get(), group.c_str(), "metadata", nullptr) != 0;
    record.port = static_cast<std::uint16_t>(
        g_key_file_get_integer(file.get(), group.c_str(), "port", nullptr));
    record.rank = static_cast<std::uint32_t>(
        g_key_file_get_integer(file.get(), group.c_str(), "rank", nullptr));
    record.host = text_of(file, group.c_str(), "host");
    record.pid_file = text_of(file, group.c_str(), "pid_file");
    record.segment = text_of(file, group.c_str(), "segment");
    state.daemons.push_back(std::move(record));
  }
}

Status RunDirectory::write(const MountState& state) const {
  const KeyFile file(g_key_file_new());
  g_key_file_set_string(file.get(), "mount", "instance", state.instance.c_str());
  g_key_file_set_string(file.get(), "mount", "log_dir", state.log_dir.c_str());
  g_key_file_set_string(file.get(), "mount", "launcher", state.launcher.c_str());
  g_key_file_set_string(file.get(), "mount", "program", state.program.c_str());
  g_key_file_set_string(file.get(), "mount", "key_file", state.key_file.c_str());
  for (std::size_t i = 0; i < state.daemons.size(); ++i) {
    const DaemonRecord& record = state.daemons[i];
    const std::string group = concat("daemon ", std::to_string(i));
    g_key_file_set_string(file.get(), group.c_str(), "label", record.label.c_str());
    g_key_file_set_boolean(file.get(), group.c_str(), "metadata", record.is_metadata ? 1 : 0);
    g_key_file_set_integer(file.get(), group.c_str(), "port", record.port);
    g_key_file_set_integer(file.get(), group.c_str(), "rank", static_cast<int>(record.rank));
    g_key_file_set_string(file.get(), group.c_str(), "host", record.host.c_str());
    g_key_file_set_string(file.get(), group.c_str(), "pid_file", record.pid_file.c_str());
    g_key_file_set_string(file.get(), group.c_str(), "segment", record.segment.c_str());
  }
  // GLib writes a temporary file and renames it, so a reader never sees half of it.
  GError* error = nullptr;
  const std::string path = concat(path_, "/", kStateFile);
  if (g_key_file_save_to_file(file.get(), path.c_str(), &error) != FALSE) return {};
  const Status status(Code::kIo, concat("cannot write ", path, ": ", error->message));
  g_error_free(error);
  return status;
}

void RunDirectory::remove(const MountState& state) const {
  for (const DaemonRecord& record : state.daemons) ::unlink(record.pid_file.c_str());
  ::unlink(concat(path_, "/", kStateFile).c_str());
  std::error_code error;
  std::filesystem::remove_all(concat(path_, "/log"), error);
  ::rmdir(path_.c_str());
  const std::string parent = std::filesystem::path(path_).parent_path();
  if (is_base_directory(parent)) ::rmdir(parent.c_str());
}

bool wait_for_end(const std::string& pid_file, int milliseconds) {
  const int pid = pid_of(pid_file);
  if (pid <= 0) return true;
  // By number: glibc 2.36 declares pidfd_open(2) without C linkage.
  const File process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  // The lock is asked again: while it is held, the id still belongs to the same process.
  if (process.fd() < 0 || pid_of(pid_file) != pid) return pid_of(pid_file) == 0;
  const Deadline deadline = Deadline::from_now(milliseconds);
  pollfd wait{process.fd(), POLLIN, 0};
  while (::poll(&wait, 1, deadline.remaining_ms()) < 0 && errno == EINTR) {
  }
  return (wait.revents & POLLIN) != 0;
}

std::vector<std::string> end_daemons(const std::vector<DaemonRecord>& daemons, int signal_number) {
  const auto send = [](const DaemonRecord& record, int number) {
    const int pid = pid_of(record.pid_file);
    if (pid > 0) ::kill(pid, number);
  };
  for (const DaemonRecord& record : daemons) send(record, signal_number);
  const Deadline deadline = Deadline::from_now(kEndWaitMs);
  std::vector<std::string> killed;
  for (const DaemonRecord& record : daemons) {
    if (wait_for_end(record.pid_file, deadline.remaining_ms())) continue;
    killed.push_back(record.label);
    send(record, SIGKILL);
    wait_for_end(record.pid_file, kKillWaitMs);
  }
  return killed;
}

}  // namespace imss::tools
