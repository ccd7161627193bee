// The functions that this library stands in front of, as the next library has them, and the guard of its own calls.
//
// Any thread, also before the library's constructor: a function is looked up when it is first needed.
#pragma once

#include <dlfcn.h>

#include <atomic>
#include <cerrno>

#define IMSS_INTERCEPT extern "C" __attribute__((visibility("default")))

// real(name)(arguments...): `name` is a function of the C library.
#define IMSS_REAL(name) (::imss::preload::next<decltype(&::name)>([]() -> std::atomic<void*>& { \
    static constinit std::atomic<void*> imss_address{nullptr};                                    \
    return imss_address;                                                                          \
  }(), #name))

namespace imss::preload {

// Relaxed: the address is all that there is to see, and every thread would find the same.
template <typename Function>
Function next(std::atomic<void*>& address, const char* name) {
  void* found = address.load(std::memory_order_relaxed);
  if (found == nullptr) [[unlikely]] {
    found = ::dlsym(RTLD_NEXT, name);
    address.store(found, std::memory_order_relaxed);
  }
  return reinterpret_cast<Function>(found);
}

// How deep this thread is in the store: what it calls from there is for the C library.
extern __attribute__((tls_model("initial-exec"))) thread_local constinit int depth_in_store;
inline bool in_store() { return depth_in_store != 0; }

// While it lives, calls of this thread go to the C library. Afterwards errno is what it was, or what fail() said.
class InStore {
 public:
  InStore() : errno_(errno) { ++depth_in_store; }
  InStore(const InStore&) = delete;
  InStore& operator=(const InStore&) = delete;
  ~InStore() {
    --depth_in_store;
    errno = errno_;
  }
  int fail(int error_number) {
    errno_ = error_number;
    return -1;
  }
  // Of a call of the C library that has set errno.
  template <typename T>
  T keep_errno(T outcome) {
    errno_ = errno;
    return outcome;
  }
  template <typename StatusLike>
  int done(const StatusLike& status) {
    return status.ok() ? 0 : fail(status.error_number());
  }

 private:
  int errno_;
};

}  // namespace imss::preload
