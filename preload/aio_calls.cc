// POSIX asynchronous I/O. On a file of the store a request is done when the call returns, as it only copies memory; the C
// library's aio_error, aio_return, aio_suspend and aio_cancel then find it finished. Source: aio(7), sigevent(7).
#include <aio.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "calls.h"

namespace imss::preload {
namespace {

static_assert(sizeof(aiocb) == sizeof(aiocb64));

struct Told {
  void (*function)(sigval);
  sigval value;
};

void* tell(void* data) {
  const std::unique_ptr<Told> told(static_cast<Told*>(data));
  told->function(told->value);
  return nullptr;
}

void notify(const sigevent& event) {
  if (event.sigev_notify == SIGEV_SIGNAL) {
    siginfo_t info = {};
    info.si_signo = event.sigev_signo;
    info.si_code = SI_ASYNCIO;
    info.si_pid = ::getpid();
    info.si_uid = ::getuid();
    info.si_value = event.sigev_value;
    IMSS_REAL(syscall)(SYS_rt_sigqueueinfo, ::getpid(), event.sigev_signo, &info);
  } else if (event.sigev_notify == SIGEV_THREAD && event.sigev_notify_function != nullptr) {
    auto told = std::make_unique<Told>(Told{event.sigev_notify_function, event.sigev_value});
    pthread_t thread;
    if (::pthread_create(&thread, event.sigev_notify_attributes, tell, told.get()) != 0) return;
    told.release();
    ::pthread_detach(thread);
  }
}

void finish(aiocb64& request, ssize_t result) {
  request.__return_value = result;
  request.__error_code = result < 0 ? errno : 0;
}

// False: the number is not ours.
bool do_now(aiocb64& request, int operation) {
  if (!is_ours(request.aio_fildes)) return false;
  const Use used = use(request.aio_fildes);
  if (!used) return false;
  const int before = errno;
  // aiocb has the buffer of both directions.
  auto* const buffer = const_cast<void*>(request.aio_buf);
  if (operation == LIO_READ) {
    finish(request, read_ours_at(*used, buffer, request.aio_nbytes, request.aio_offset));
  } else if (operation == LIO_WRITE) {
    finish(request, write_ours_at(*used, buffer, request.aio_nbytes, request.aio_offset));
  } else {
    finish(request, 0);  // what was written is where it will be
  }
  errno = before;
  return true;
}

aiocb64* wide(aiocb* request) { return reinterpret_cast<aiocb64*>(request); }

bool done_alone(aiocb64* request, int operation) {
  if (!do_now(*request, operation)) return false;
  notify(request->aio_sigevent);
  return true;
}

int list(int mode, aiocb64* const requests[], int count, sigevent* event) {
  std::vector<aiocb64*> others;
  bool failed = false;
  bool any = false;
  for (int i = 0; i < count; ++i) {
    aiocb64* const request = requests[i];
    if (request == nullptr || request->aio_lio_opcode == LIO_NOP) continue;
    if (!done_alone(request, request->aio_lio_opcode)) {
      others.push_back(request);
      continue;
    }
    any = true;
    failed = failed || request->__error_code != 0;
  }
  if (!any) return IMSS_REAL(lio_listio64)(mode, requests, count, event);
  int result = 0;
  if (!others.empty()) {
    result = IMSS_REAL(lio_listio64)(mode, others.data(), static_cast<int>(others.size()), event);
  } else if (mode == LIO_NOWAIT && event != nullptr) {
    notify(*event);
  }
  if (result == 0 && failed && mode == LIO_WAIT) {
    errno = EIO;
    result = -1;
  }
  return result;
}

}  // namespace
}  // namespace imss::preload

using namespace imss::preload;

IMSS_INTERCEPT int aio_read64(aiocb64* request) noexcept {
  return done_alone(request, LIO_READ) ? 0 : IMSS_REAL(aio_read64)(request);
}
IMSS_INTERCEPT int aio_read(aiocb* request) noexcept { return aio_read64(wide(request)); }
IMSS_INTERCEPT int aio_write64(aiocb64* request) noexcept {
  return done_alone(request, LIO_WRITE) ? 0 : IMSS_REAL(aio_write64)(request);
}
IMSS_INTERCEPT int aio_write(aiocb* request) noexcept { return aio_write64(wide(request)); }
IMSS_INTERCEPT int aio_fsync64(int operation, aiocb64* request) noexcept {
  return done_alone(request, LIO_NOP) ? 0 : IMSS_REAL(aio_fsync64)(operation, request);
}
IMSS_INTERCEPT int aio_fsync(int operation, aiocb* request) noexcept { return aio_fsync64(operation, wide(request)); }
IMSS_INTERCEPT int lio_listio64(int mode, aiocb64* const requests[], int count, sigevent* event) noexcept {
  return list(mode, requests, count, event);
}
IMSS_INTERCEPT int lio_listio(int mode, aiocb* const requests[], int count, sigevent* event) noexcept {
  return list(mode, reinterpret_cast<aiocb64* const*>(requests), count, event);
}
