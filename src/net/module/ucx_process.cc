#include "net/module/ucx_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <ucs/async/async_fwd.h>
#include <ucs/sys/event_set.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <system_error>
#include <thread>

#include "net/module/ucx_settings.h"

// Exported by libucs but in no header that is installed. Should a later UCX lack them, children
// cannot have ports.
extern "C" {
__attribute__((weak)) void ucs_async_global_init();
__attribute__((weak)) ucs_status_t ucs_async_dispatch_handlers(int* fds, std::size_t count,
                                                               ucs_event_set_types_t events);
}

namespace imss::net {
namespace {

// All guarded by ucx_process_mutex().
struct ProcessState {
  pid_t pid = -1;         // of the process that made the latest context
  int marker_fd = -1;     // an event descriptor that UCX's thread watches for us
  int thread_epoll = -1;  // what UCX's thread waits for; -1: not found
};

ProcessState& process_state() {
  static ProcessState state;
  return state;
}

// The two are a pair around fork(), which clang cannot know.
void lock_for_fork() IMSS_NO_THREAD_ANALYSIS { ucx_process_mutex().lock(); }
void unlock_after_fork() IMSS_NO_THREAD_ANALYSIS { ucx_process_mutex().unlock(); }

void ignore_marker(int, ucs_event_set_types_t, void*) {}

bool is_epoll(int fd) {
  std::array<char, 64> target = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  return readlink(link.c_str(), target.data(), target.size() - 1) > 0 &&
         std::string(target.data()) == "anon_inode:[eventpoll]";
}

bool watches(int epoll, int fd) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(epoll);
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), &std::fclose);
  if (!file) return false;
  std::array<char, 256> line = {};
  int watched = -1;
  while (std::fgets(line.data(), static_cast<int>(line.size()), file.get()) != nullptr) {
    if (std::sscanf(line.data(), "tfd: %d", &watched) == 1 && watched == fd) return true;
  }
  return false;
}

// The epoll descriptor of this process that watches `fd`.
int find_epoll_of(int fd) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc/self/fd"), &closedir);
  if (!folder) return -1;
  while (const dirent* entry = readdir(folder.get())) {
    const int candidate = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && is_epoll(candidate) && watches(candidate, fd)) return candidate;
  }
  return -1;
}

// Lets UCX start its thread now, for as long as the process lives, and finds out what it waits for.
void start_thread_of_ucx(ProcessState& state) {
  state.marker_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (state.marker_fd < 0) return;
  if (ucs_async_set_event_handler(UCS_ASYNC_MODE_THREAD_SPINLOCK, state.marker_fd,
                                  UCS_EVENT_SET_EVREAD, ignore_marker, nullptr,
                                  nullptr) == UCS_OK) {
    state.thread_epoll = find_epoll_of(state.marker_fd);
  }
}

ucs_event_set_types_t events_for_ucx(std::uint32_t epoll_events) {
  unsigned events = 0;
  if ((epoll_events & EPOLLIN) != 0) events |= UCS_EVENT_SET_EVREAD;
  if ((epoll_events & EPOLLOUT) != 0) events |= UCS_EVENT_SET_EVWRITE;
  if ((epoll_events & EPOLLERR) != 0) events |= UCS_EVENT_SET_EVERR;
  return static_cast<ucs_event_set_types_t>(events);
}

// What UCX's own thread does, but for timers, which connections do not use.
void run_thread(int epoll) {
  std::array<epoll_event, 16> events = {};
  for (;;) {
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) return;
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      int fd = static_cast<int>(reinterpret_cast<std::intptr_t>(event.data.ptr));
      // The port is at work itself and will look for what was missed; it needs the processor more.
      if (ucs_async_dispatch_handlers(&fd, 1, events_for_ucx(event.events)) ==
          UCS_ERR_NO_PROGRESS) {
        sched_yield();
      }
    }
  }
}

Status replace_thread_of_ucx(ProcessState& state) {
  if (state.thread_epoll < 0 || ucs_async_dispatch_handlers == nullptr ||
      ucs_async_global_init == nullptr) {
    return Status(Code::kNotSupported,
                  "a process whose parent was connected to other nodes cannot be, with this UCX");
  }
  // The descriptor is UCX's for ever; only if the child closed it, the number may have become
  // somebody else's.
  const bool free_number = fcntl(state.thread_epoll, F_GETFD) < 0;
  if (!free_number && !is_epoll(state.thread_epoll)) {
    return Status(Code::kNotSupported,
                  "a descriptor of UCX was closed in this fork child and its number used again");
  }
  const int fresh = epoll_create1(EPOLL_CLOEXEC);
  if (fresh < 0) return Status::from_errno(errno, "an epoll descriptor for UCX");
  const int result = dup3(fresh, state.thread_epoll, O_CLOEXEC);
  ::close(fresh);
  if (result < 0) return Status::from_errno(errno, "an epoll descriptor for UCX");
  // Forgets what the parent's thread was to watch, and a lock that it may have held during the
  // fork.
  ucs_async_global_init();
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Status status;
  try {
    std::thread thread(run_thread, state.thread_epoll);
    pthread_setname_np(thread.native_handle(), "imss-ucx");
    thread.detach();
  } catch (const std::system_error& error) {
    status = Status::from_errno(error.code().value(), "a thread for UCX");
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return status;
}

}  // namespace

Mutex& ucx_process_mutex() {
  static Mutex mutex;
  return mutex;
}

Status prepare_ucx_process() {
  ProcessState& state = process_state();
  const pid_t pid = getpid();
  if (state.pid == pid) return {};
  if (state.pid == -1) {
    quieten_ucx();
    pthread_atfork(lock_for_fork, unlock_after_fork, unlock_after_fork);
    start_thread_of_ucx(state);
  } else {
    IMSS_RETURN_IF_ERROR(replace_thread_of_ucx(state));
  }
  state.pid = pid;
  return {};
}

}  // namespace imss::net
