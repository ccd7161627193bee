#include "client/c_api_error.h"

#include <cerrno>
#include <string>
#include <system_error>

namespace imss::client::c_api {
namespace {

std::string& sentence() {
  thread_local std::string text;
  return text;
}

}  // namespace

int errno_for(const Status& status) {
  // A server that was fenced or retired is gone for its clients.
  return status.code() == Code::kFenced ? EIO : status.error_number();
}

std::int32_t fail(const Status& status) noexcept {
  try {
    sentence() = status.message();
  } catch (const std::bad_alloc&) {
    sentence().clear();
  }
  errno = errno_for(status);
  return -1;
}

const char* last_sentence() { return sentence().c_str(); }

Status status_of_exception(const std::exception& error) {
  // The standard library throws this when the system gives it no thread.
  if (const auto* system = dynamic_cast<const std::system_error*>(&error)) {
    return Status::from_errno(system->code().value(), "the system refused");
  }
  return Status(Code::kSystem, error.what());
}

}  // namespace imss::client::c_api
