// The connection of this process, and who it is.
#include "mount.h"

#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"
#include "base/config.h"
#include "base/host_file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread_annotations.h"
#include "descriptors.h"
#include "locks.h"
#include "real.h"

namespace imss::preload {

thread_local constinit int depth_in_store = 0;

namespace {

constexpr std::uint64_t kLeastBlockBytes = 64 * 1024;
constexpr std::uint64_t kTryAgainMs = 1000;  // after a connection that failed

struct Connection {
  Mutex mutex;
  std::atomic<View*> view{nullptr};
  std::atomic<bool> adopts{false};  // a fork child has yet to open what it inherited
  bool told IMSS_GUARDED_BY(mutex) = false;
  int last_error IMSS_GUARDED_BY(mutex) = 0;
  std::uint64_t failed_ms IMSS_GUARDED_BY(mutex) = 0;
};
Connection& connection() {
  static Connection* const made = new Connection();
  return *made;
}

struct Who {
  Mutex mutex;
  bool known IMSS_GUARDED_BY(mutex) = false;
  posix::Caller caller IMSS_GUARDED_BY(mutex);
};
Who& who() {
  static Who* const made = new Who();
  return *made;
}

std::uint64_t now_ms() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

// The configured instance; where none is, the one that there is.
Result<std::string> choose_instance(const Config& config, client::Session& session) {
  IMSS_ASSIGN_OR_RETURN(const Uri uri, parse_uri(config.text(ConfigKey::kUri)));
  if (!uri.path.empty()) {
    return Status(Code::kInvalidArgument, format_uri(uri) + " is below an instance; instances can be mounted");
  }
  if (config.origin(ConfigKey::kUri) != ConfigOrigin::kBuiltIn) return uri.instance;
  IMSS_ASSIGN_OR_RETURN(const auto instances, session.names().instances());
  const bool has_default = std::ranges::any_of(instances, [&](const auto& each) { return each.name == uri.instance; });
  if (instances.size() == 1 && !has_default) return instances.front().name;
  if (!has_default && instances.size() > 1) {
    return Status(Code::kNotInitialized, "there are " + std::to_string(instances.size()) +
                                             " instances: say in IMSS_URI which one the mount point shows");
  }
  return uri.instance;
}

// The lowest numbers are the program's. What is mapped stays mapped.
void close_segment_files(View& made) {
  if (made.session->metadata_segment() != nullptr) made.session->metadata_segment()->close_file();
  const auto servers = made.session->instance(made.instance);
  if (!servers.ok()) return;
  for (store::Store* const mapped : (*servers)->mapped) {
    if (mapped != nullptr) mapped->segment().close_file();
  }
}

// A program has no servers inside: they would end with it.
Status check_deployment() {
  const char* const text = std::getenv("IMSS_DEPLOYMENT");
  if (text == nullptr || *text == '\0' || std::strcmp(text, "2") == 0 || std::strcmp(text, "DETACHED") == 0) return {};
  return Status(Code::kNotSupported, concat("IMSS_DEPLOYMENT is ", quoted(text),
                                            ", but intercepted programs use servers that run already: 2 or DETACHED"));
}

Result<std::unique_ptr<View>> connect() {
  IMSS_RETURN_IF_ERROR(check_deployment());
  IMSS_ASSIGN_OR_RETURN(const Config config, Config::load());
  client::ConnectOptions options;
  options.port = static_cast<std::uint16_t>(config.integer(ConfigKey::kMetadataPort));
  options.key_file = config.text(ConfigKey::kKeyFile);
  options.hosts = {Host{"localhost", 0}};
  if (const std::string& hosts = config.text(ConfigKey::kMetadataHostfile); !hosts.empty()) {
    IMSS_ASSIGN_OR_RETURN(options.hosts, read_host_file(hosts));
  }
  segment::set_deadline_ms(static_cast<int>(config.integer(ConfigKey::kDeadline) * 1000));
  auto made = std::make_unique<View>();
  IMSS_ASSIGN_OR_RETURN(made->session, client::Session::connect(options));
  IMSS_ASSIGN_OR_RETURN(made->instance, choose_instance(config, *made->session));
  if (made->instance.size() > kMostInstanceBytes) {
    return Status(Code::kNameTooLong, concat("the name of the instance is longer than ", std::to_string(kMostInstanceBytes),
                                             " bytes"));
  }
  posix::FileOptions files;
  IMSS_ASSIGN_OR_RETURN(files.policy, parse_policy(config.text(ConfigKey::kPolicy)));
  files.replicas = static_cast<std::uint32_t>(config.integer(ConfigKey::kReplFactor));
  if (config.origin(ConfigKey::kBlockSize) != ConfigOrigin::kBuiltIn) {
    files.block_bytes = std::bit_ceil(std::max(config.bytes(ConfigKey::kBlockSize), kLeastBlockBytes));
  }
  IMSS_ASSIGN_OR_RETURN(made->files, posix::FileSystem::open(*made->session, made->instance, files));
  made->paths = std::make_unique<posix::PathView>(*made->session, *made->files);
  close_segment_files(*made);
  return made;
}

// What the parent holds over the fork, the child finds in order. The child has the parent's descriptions.
void before_fork() IMSS_NO_THREAD_ANALYSIS {
  lock_descriptions_for_fork();
  connection().mutex.lock();
  who().mutex.lock();
  if (View* const there = connected_view()) {
    there->session->lock_for_fork();
    there->files->lock_for_fork();
  }
}

void after_fork() IMSS_NO_THREAD_ANALYSIS {
  if (View* const there = connected_view()) {
    there->files->unlock_after_fork();
    there->session->unlock_after_fork();
  }
  who().mutex.unlock();
  connection().mutex.unlock();
  unlock_descriptions_after_fork();
}

void after_fork_in_child() {
  after_fork();
  forget_process_locks();
  if (connected_view() != nullptr) connection().adopts = true;
}

int settle(Connection& mine, Status why) IMSS_REQUIRES(mine.mutex) {
  // The caller can react to a store that is not there in one way only.
  const int error_number = why.code() == Code::kPermission ? EACCES : ENOTCONN;
  mine.last_error = error_number;
  mine.failed_ms = now_ms();
  if (!mine.told) IMSS_LOG_ERROR("%s: %s", mount_point().c_str(), why.message().c_str());
  mine.told = true;
  return error_number;
}

}  // namespace

View* connected_view() { return connection().view.load(std::memory_order_acquire); }

View* view(int* error_number) {
  Connection& mine = connection();
  View* there = mine.view.load(std::memory_order_acquire);
  if (there != nullptr) [[likely]] {
    if (mine.adopts.load(std::memory_order_relaxed) && mine.adopts.exchange(false)) there->session->adopt_handles();
    return there;
  }
  const MutexLock lock(mine.mutex);
  there = mine.view.load(std::memory_order_acquire);
  if (there != nullptr) return there;
  if (mine.last_error != 0 && now_ms() - mine.failed_ms < kTryAgainMs) {
    *error_number = mine.last_error;
    return nullptr;
  }
  auto made = connect();
  if (!made.ok()) {
    *error_number = settle(mine, made.status());
    return nullptr;
  }
  static std::atomic<bool> once{false};
  if (!once.exchange(true)) {
    ::pthread_atfork(before_fork, after_fork, after_fork_in_child);
    // What streams hold goes out while the network module is still there.
    std::atexit([] { std::fflush(nullptr); });
  }
  there = made->release();
  mine.view.store(there, std::memory_order_release);
  return there;
}

posix::Caller caller() {
  Who& mine = who();
  const MutexLock lock(mine.mutex);
  if (!mine.known) {
    mine.caller = {::geteuid(), ::getegid(), {}};
    if (!mine.caller.all_mighty()) {
      const int count = ::getgroups(0, nullptr);
      mine.caller.groups.resize(static_cast<std::size_t>(std::max(count, 0)));
      if (count > 0) mine.caller.groups.resize(static_cast<std::size_t>(std::max(::getgroups(count, mine.caller.groups.data()), 0)));
    }
    mine.known = true;
  }
  return mine.caller;
}

void forget_caller() {
  Who& mine = who();
  const MutexLock lock(mine.mutex);
  mine.known = false;
}

namespace {
constexpr std::uint32_t kUnknownMask = ~0U;
std::atomic<std::uint32_t> known_mask{kUnknownMask};
}  // namespace

// Asked of the system once, where it can be read without being changed.
std::uint32_t current_umask() {
  const std::uint32_t mask = known_mask.load(std::memory_order_relaxed);
  if (mask != kUnknownMask) return mask;
  std::uint32_t found = 022;
  char text[1024] = {};
  const int fd = IMSS_REAL(open)("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (IMSS_REAL(read)(fd, text, sizeof(text) - 1) > 0) {
      if (const char* const line = std::strstr(text, "\nUmask:")) {
        found = static_cast<std::uint32_t>(std::strtoul(line + 7, nullptr, 8));
      }
    }
    IMSS_REAL(close)(fd);
  }
  known_mask = found;
  return found;
}

void set_current_umask(std::uint32_t mask) { known_mask.store(mask & 0777, std::memory_order_relaxed); }

}  // namespace imss::preload
