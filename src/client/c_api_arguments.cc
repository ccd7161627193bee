#include "client/c_api_arguments.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

#include "segment/segment.h"

namespace imss::client::c_api {

LifecycleLock::LifecycleLock() {
  if (State::get().lifecycle.take(std::chrono::milliseconds(segment::deadline_ms()))) return;
  status_ =
      Status(Code::kTimedOut, "another thread of this process is still deploying or releasing");
}

char* copy_text(const std::string& text) {
  auto* const copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

}  // namespace imss::client::c_api
