// What the sanitizers are told by every unit test executable.
#if defined(__SANITIZE_ADDRESS__)
// LeakSanitizer of GCC 12 crashes over thread-local variables of modules that were loaded late.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "intercept_tls_get_addr=0"; }
#elif defined(__SANITIZE_THREAD__)
// ZeroMQ and its cipher are built without ThreadSanitizer, which sees their system calls but not their atomics.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:libzmq.so\ncalled_from_lib:libsodium.so\n";
}
#endif
