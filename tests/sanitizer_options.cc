// What AddressSanitizer is told by every unit test executable.
#ifdef __SANITIZE_ADDRESS__
// LeakSanitizer of GCC 12 crashes over thread-local variables of modules that were loaded late.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "intercept_tls_get_addr=0"; }
#endif
