// Processes: what children and new programs are handed on, and who this one is.
//
// A new program finds the numbers that are ours by their names (descriptors.h). That it shall look for them, and the
// working directory if that is inside, an environment variable says, which it takes out before main() runs.
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdarg>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "calls.h"

namespace imss::preload {
namespace {

constexpr const char* kVariable = "IMSS_INHERITED";
constexpr std::string_view kSetting = "IMSS_INHERITED=";

// The environment of a new program. `environment` itself when there is nothing to hand on.
class Handed {
 public:
  // `copies`: descriptors may be copied on the way, so those count too that are closed by an exec.
  explicit Handed(char* const* environment, bool copies = false) : all_(environment) {
    const InStore guard;
    const bool inside = works_inside();
    if (!inside && !anything_to_inherit(copies)) return;
    share_all_positions();
    setting_ = kSetting;
    if (inside) setting_ += working_directory_text();
    for (char* const* one = environment; one != nullptr && *one != nullptr; ++one) {
      if (!std::string_view(*one).starts_with(kSetting)) pointers_.push_back(*one);
    }
    pointers_.push_back(setting_.data());
    pointers_.push_back(nullptr);
    all_ = pointers_.data();
  }
  char* const* all() const { return all_; }
  const char* value() const { return pointers_.empty() ? nullptr : setting_.c_str() + kSetting.size(); }

 private:
  char* const* all_;
  std::string setting_;
  std::vector<char*> pointers_;
};

// A program that lies in the store is copied to a memory file, which the kernel can execute. Returns its number, or -1.
int copy_program(const posix::Spot& spot) {
  Inside inside;
  if (!spot.is_there()) return inside.fail(ENOENT);
  const Status allowed = inside.paths().check(inside.who(), spot, X_OK);
  if (!allowed.ok()) return inside.done(allowed);
  if (spot.is_directory()) return inside.fail(EACCES);
  posix::Caller root;  // who may execute a program need not be allowed to read it
  auto opened = inside.paths().open(root, spot, O_RDONLY, 0);
  if (!opened.ok()) return inside.fail(opened.status().error_number());
  const int fd = ::memfd_create("program", 0);
  if (fd < 0) return inside.keep_errno(-1);
  std::vector<std::byte> buffer(1 << 20);
  for (std::uint64_t offset = 0;;) {
    const auto got = opened->file->read(offset, buffer);
    const bool written = got.ok() && IMSS_REAL(write)(fd, buffer.data(), *got) == static_cast<ssize_t>(*got);
    if (!written) {
      IMSS_REAL(close)(fd);
      return inside.fail(got.ok() ? ENOMEM : got.status().error_number());
    }
    if (*got == 0) break;
    offset += *got;
  }
  ::fchmod(fd, 0755);
  return fd;
}

// Calls run(path) with a path that the kernel knows.
template <typename Run>
int with_program(const char* path, Run run) {
  return by_path(
      AT_FDCWD, path, true, [&](int, const char* where) { return run(where); },
      [&](const posix::Spot& spot) {
        const int fd = copy_program(spot);
        if (fd < 0) return -1;
        const std::string where = "/proc/self/fd/" + std::to_string(fd);
        const int outcome = run(where.c_str());
        const int error_number = errno;
        IMSS_REAL(close)(fd);
        errno = error_number;
        return outcome;
      });
}

int execute(const char* path, char* const arguments[], char* const environment[]) {
  const Handed handed(environment);
  return with_program(path, [&](const char* where) { return IMSS_REAL(execve)(where, arguments, handed.all()); });
}

// As execvp(3): a name without '/' is looked for in PATH by the C library.
int execute_by_name(const char* file, char* const arguments[], char* const environment[]) {
  const Handed handed(environment);
  auto* const real = IMSS_REAL(execvpe);
  if (std::strchr(file, '/') == nullptr) return real(file, arguments, handed.all());
  return with_program(file, [&](const char* where) { return real(where, arguments, handed.all()); });
}

// posix_spawn(3) returns its error.
template <typename Real>
int spawn(Real real, bool by_name, pid_t* child, const char* path, const posix_spawn_file_actions_t* actions,
          const posix_spawnattr_t* attributes, char* const arguments[], char* const environment[]) {
  const Handed handed(environment, actions != nullptr);
  if (by_name && std::strchr(path, '/') == nullptr) return real(child, path, actions, attributes, arguments, handed.all());
  int outcome = 0;
  const int failed = with_program(path, [&](const char* where) {
    outcome = real(child, where, actions, attributes, arguments, handed.all());
    errno = outcome;
    return outcome == 0 ? 0 : -1;
  });
  return failed == 0 ? 0 : errno;
}

// For functions that start a program with the environment of this one.
template <typename Call>
auto with_variable(Call call) {
  const Handed handed(nullptr);
  if (handed.value() == nullptr) return call();
  ::setenv(kVariable, handed.value(), 1);
  auto outcome = call();
  const int error_number = errno;
  ::unsetenv(kVariable);
  errno = error_number;
  return outcome;
}

template <typename T>
T as_another(T outcome) {
  forget_caller();
  return outcome;
}

// Before all others' constructors, so that streams made by them are already ours where the numbers are.
__attribute__((constructor)) void begin(int, char**, char** environment) {
  for (char** one = environment; one != nullptr && *one != nullptr; ++one) {
    if (!std::string_view(*one).starts_with(kSetting)) continue;
    const InStore guard;
    std::string path(*one + kSetting.size());
    for (char** later = one; *later != nullptr; ++later) later[0] = later[1];
    if (!path.empty()) inherit_working_directory(std::move(path));
    find_inherited();
    for (int fd = 0; fd <= 2; ++fd) follow_if_standard(fd);
    return;
  }
}

}  // namespace
}  // namespace imss::preload

using namespace imss;           // NOLINT: this file defines functions of the C library
using namespace imss::preload;  // NOLINT

// The child of a real vfork would share the table with its parent.
IMSS_INTERCEPT pid_t vfork() noexcept { return ::fork(); }
// This one leaves out what is to be done around a fork.
IMSS_INTERCEPT pid_t _Fork() noexcept { return ::fork(); }

IMSS_INTERCEPT int execve(const char* path, char* const arguments[], char* const environment[]) noexcept {
  return execute(path, arguments, environment);
}
IMSS_INTERCEPT int execv(const char* path, char* const arguments[]) noexcept { return execute(path, arguments, environ); }
IMSS_INTERCEPT int execvp(const char* file, char* const arguments[]) noexcept {
  return execute_by_name(file, arguments, environ);
}
IMSS_INTERCEPT int execvpe(const char* file, char* const arguments[], char* const environment[]) noexcept {
  return execute_by_name(file, arguments, environment);
}
IMSS_INTERCEPT int fexecve(int fd, char* const arguments[], char* const environment[]) noexcept {
  const Handed handed(environment);
  if (is_ours(fd)) {
    if (const Use used = use(fd)) {
      const int copy = copy_program(used->spot());
      return copy < 0 ? -1 : IMSS_REAL(fexecve)(copy, arguments, handed.all());
    }
  }
  return IMSS_REAL(fexecve)(fd, arguments, handed.all());
}

// The arguments of execl and its relatives, up to the null pointer.
#define IMSS_COLLECT(first)                                                     \
  std::vector<char*> list = {const_cast<char*>(first)};                         \
  std::va_list arguments;                                                       \
  va_start(arguments, first);                                                   \
  while (list.back() != nullptr) list.push_back(va_arg(arguments, char*))

IMSS_INTERCEPT int execl(const char* path, const char* first, ...) noexcept {
  IMSS_COLLECT(first);
  va_end(arguments);
  return execute(path, list.data(), environ);
}
IMSS_INTERCEPT int execlp(const char* file, const char* first, ...) noexcept {
  IMSS_COLLECT(first);
  va_end(arguments);
  return execute_by_name(file, list.data(), environ);
}
IMSS_INTERCEPT int execle(const char* path, const char* first, ...) noexcept {
  IMSS_COLLECT(first);
  char* const* const environment = va_arg(arguments, char* const*);
  va_end(arguments);
  return execute(path, list.data(), environment);
}

IMSS_INTERCEPT int posix_spawn(pid_t* child, const char* path, const posix_spawn_file_actions_t* actions,
                               const posix_spawnattr_t* attributes, char* const arguments[], char* const environment[]) {
  return spawn(IMSS_REAL(posix_spawn), false, child, path, actions, attributes, arguments, environment);
}
IMSS_INTERCEPT int posix_spawnp(pid_t* child, const char* file, const posix_spawn_file_actions_t* actions,
                                const posix_spawnattr_t* attributes, char* const arguments[], char* const environment[]) {
  return spawn(IMSS_REAL(posix_spawnp), true, child, file, actions, attributes, arguments, environment);
}
IMSS_INTERCEPT int system(const char* command) {
  return with_variable([=] { return IMSS_REAL(system)(command); });
}
IMSS_INTERCEPT FILE* popen(const char* command, const char* mode) {
  return with_variable([=] { return IMSS_REAL(popen)(command, mode); });
}

namespace {

// What a thread of the network module begins with.
struct ModuleThread {
  void* (*run)(void*);
  void* argument;
};

void* run_in_store(void* given) {
  const std::unique_ptr<ModuleThread> thread(static_cast<ModuleThread*>(given));
  ++depth_in_store;  // for as long as it lives
  return thread->run(thread->argument);
}

}  // namespace

IMSS_INTERCEPT int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                                  void* argument) noexcept {
  auto* const real = IMSS_REAL(pthread_create);
  if (!in_store()) return real(thread, attributes, run, argument);
  auto given = std::make_unique<ModuleThread>(ModuleThread{run, argument});
  const int outcome = real(thread, attributes, run_in_store, given.get());
  if (outcome == 0) given.release();
  return outcome;
}

IMSS_INTERCEPT mode_t umask(mode_t mask) noexcept {
  set_current_umask(mask);
  return IMSS_REAL(umask)(mask);
}
IMSS_INTERCEPT int setuid(uid_t user) noexcept { return as_another(IMSS_REAL(setuid)(user)); }
IMSS_INTERCEPT int seteuid(uid_t user) noexcept { return as_another(IMSS_REAL(seteuid)(user)); }
IMSS_INTERCEPT int setreuid(uid_t real, uid_t effective) noexcept { return as_another(IMSS_REAL(setreuid)(real, effective)); }
IMSS_INTERCEPT int setresuid(uid_t real, uid_t effective, uid_t saved) noexcept {
  return as_another(IMSS_REAL(setresuid)(real, effective, saved));
}
IMSS_INTERCEPT int setgid(gid_t group) noexcept { return as_another(IMSS_REAL(setgid)(group)); }
IMSS_INTERCEPT int setegid(gid_t group) noexcept { return as_another(IMSS_REAL(setegid)(group)); }
IMSS_INTERCEPT int setregid(gid_t real, gid_t effective) noexcept { return as_another(IMSS_REAL(setregid)(real, effective)); }
IMSS_INTERCEPT int setresgid(gid_t real, gid_t effective, gid_t saved) noexcept {
  return as_another(IMSS_REAL(setresgid)(real, effective, saved));
}
IMSS_INTERCEPT int setgroups(size_t count, const gid_t* groups) noexcept {
  return as_another(IMSS_REAL(setgroups)(count, groups));
}
IMSS_INTERCEPT int initgroups(const char* user, gid_t group) { return as_another(IMSS_REAL(initgroups)(user, group)); }
