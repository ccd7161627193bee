// How the C interface reports failures: errno and the sentence of the calling thread.
//
// The one place that decides which errno a caller of imss.h sees. The sentence belongs to its
// thread. Nothing here fails; any thread.
#pragma once

#include <cstdint>
#include <exception>
#include <new>
#include <utility>

#include "base/result.h"

namespace imss::client::c_api {

// Sets errno and the sentence and returns -1. REQUIRES: !status.ok().
std::int32_t fail(const Status& status) noexcept;
// The errno that `status` is for callers of imss.h; 0 on success.
int errno_for(const Status& status);
// The sentence of this thread's last failure, "" when there was none.
const char* last_sentence();

inline std::int32_t answer(const Status& status) { return status.ok() ? 0 : fail(status); }
inline std::int32_t answer(const Result<std::int32_t>& result) {
  return result.ok() ? *result : fail(result.status());
}
// For calls that return something malloc'ed, or null on failure.
template <typename T>
T* answer(const Result<T*>& result) {
  if (result.ok()) return *result;
  fail(result.status());
  return nullptr;
}

Status status_of_exception(const std::exception& error);

// Runs the body of a call, which returns a Status or a Result; no exception leaves it.
template <typename Body>
auto call(Body&& body) noexcept -> decltype(answer(body())) {
  using Outcome = decltype(body());
  try {
    return answer(body());
  } catch (const std::bad_alloc&) {
    return answer(Outcome(Code::kNoMemory));
  } catch (const std::exception& error) {
    return answer(Outcome(status_of_exception(error)));
  }
}

}  // namespace imss::client::c_api
