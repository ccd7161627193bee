// Finds libimss_net.so and loads it once.
#include <dlfcn.h>
#include <ucm/api/ucm.h>

#include <csignal>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "net/module.h"

namespace imss::net {
namespace {

constexpr const char* kModuleFile = "libimss_net.so";
constexpr const char* kModuleSymbol = "imss_net_module_v1";

// The start code of UCX replaces the handlers of these signals, to print where a program crashed.
// They belong to the program, so they are put back, unless the user has chosen what UCX shall do
// (UCX_HANDLE_ERRORS).
class SignalHandlers {
 public:
  SignalHandlers() {
    for (std::size_t i = 0; i < kCount; ++i) sigaction(kSignals[i], nullptr, &actions_[i]);
    sigaltstack(nullptr, &stack_);
  }
  void put_back() const {
    if (std::getenv("UCX_HANDLE_ERRORS") != nullptr) return;
    for (std::size_t i = 0; i < kCount; ++i) sigaction(kSignals[i], &actions_[i], nullptr);
    stack_t now = {};
    sigaltstack(nullptr, &now);
    if (now.ss_sp != stack_.ss_sp) sigaltstack(&stack_, nullptr);
  }

 private:
  static constexpr int kSignals[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE};
  static constexpr std::size_t kCount = sizeof kSignals / sizeof kSignals[0];
  struct sigaction actions_[kCount] = {};
  stack_t stack_ = {};
};

// UCX's start code overwrites instructions of madvise, munmap and others in the C library, to hear
// of memory that is given back. A thread that executes one of them at that moment crashes, and
// programs that load the module have threads. The part of UCX that does it is therefore started
// first and told not to; later UCX finds it started. (See also NoMemoryHooks in
// module/ucx_settings.h.) Nothing is done where the user has chosen, or where the program uses UCX
// itself and has it all behind it.
void keep_code_of_c_library() {
  constexpr const char* kLibrary = "libucm.so.0";
  if (std::getenv("UCX_MEM_EVENTS") != nullptr || std::getenv("UCX_MEM_MMAP_HOOK_MODE") != nullptr)
    return;
  if (void* const present = dlopen(kLibrary, RTLD_LAZY | RTLD_NOLOAD); present != nullptr) {
    dlclose(present);
    return;
  }
  void* const library = dlopen(kLibrary, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return;  // then UCX is missing, or of a kind that we do not know
  const auto* const options =
      static_cast<const ucm_global_config_t*>(dlsym(library, "ucm_global_opts"));
  const auto set_options =
      reinterpret_cast<decltype(&ucm_set_global_opts)>(dlsym(library, "ucm_set_global_opts"));
  if (options == nullptr || set_options == nullptr) return;
  ucm_global_config_t changed = *options;
  changed.enable_events = 0;
  set_options(&changed);
}

// The folder of the program or library that this code is part of, as the dynamic linker names it.
std::string own_folder() {
  Dl_info info = {};
  if (dladdr(reinterpret_cast<const void*>(&load_module), &info) == 0 || info.dli_fname == nullptr)
    return ".";
  const std::string file = info.dli_fname;
  // A program is named as it was called, which need not be where it is.
  if (file.find('/') == std::string::npos || file[0] != '/') {
    char* resolved = realpath("/proc/self/exe", nullptr);
    if (resolved != nullptr) {
      const std::string program = resolved;
      std::free(resolved);
      return program.substr(0, program.rfind('/'));
    }
  }
  const std::size_t slash = file.rfind('/');
  return slash == std::string::npos ? "." : file.substr(0, slash);
}

Result<Module*> load() {
  const std::string folder = own_folder();
  const std::vector<std::string> places = {
      folder + "/" + kModuleFile, folder + "/../lib/" + kModuleFile,
      folder + "/../lib/imss/" + kModuleFile, folder + "/../" IMSS_LIBDIR "/" + kModuleFile,
      kModuleFile};
  const SignalHandlers handlers;
  keep_code_of_c_library();
  std::string tried;
  for (const std::string& place : places) {
    // What is not needed twice in a process must not be taken out of it either: it has threads of
    // its own.
    void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    handlers.put_back();
    if (library == nullptr) {
      tried += std::string(tried.empty() ? "" : "; ") + dlerror();
      continue;
    }
    void* symbol = dlsym(library, kModuleSymbol);
    if (symbol == nullptr) {
      tried += std::string(tried.empty() ? "" : "; ") + place + " is of another version";
      continue;
    }
    return reinterpret_cast<Module* (*)()>(symbol)();
  }
  return Status(
      Code::kNotSupported,
      "servers on other nodes need the network module, which cannot be loaded (" + tried + ")");
}

}  // namespace

Result<Module*> load_module() {
  static std::mutex mutex;
  static Module* loaded = nullptr;
  const std::lock_guard lock(mutex);
  // A failure is not kept: the module may be installed while the process runs.
  if (loaded == nullptr) {
    IMSS_ASSIGN_OR_RETURN(loaded, load());
  }
  return loaded;
}

}  // namespace imss::net
