// Reading the arguments of the C interface, and what its calls do first.
//
// Stateless functions; any thread. Errors are those that imss.h documents for the arguments.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/uri.h"
#include "client/c_api_state.h"

namespace imss::client::c_api {

inline Status null_argument(const char* what) {
  return Status(Code::kInvalidArgument, std::string(what) + " is a null pointer");
}

// The URI of a dataset, a directory or an instance.
inline Result<Uri> uri_argument(const char* text) {
  if (text == nullptr) return null_argument("the URI");
  return parse_uri(text);
}

// The URI of an instance. Errors: also kInvalidArgument when it names more.
inline Result<Uri> instance_argument(const char* text) {
  IMSS_ASSIGN_OR_RETURN(Uri uri, uri_argument(text));
  if (!uri.path.empty()) {
    return Status(Code::kInvalidArgument,
                  format_uri(uri) + " names more than an instance; write imss://NAME");
  }
  return uri;
}

// A call on names of one instance: announced, connected, and the instance is open.
class NamesCall {
 public:
  explicit NamesCall(const Uri& uri)
      : scope_(State::get().calls, mark_of_instance(uri.instance)),
        session_(State::get().session_of(uri)) {}
  const Status& status() const { return session_.status(); }
  Session& session() const { return **session_; }

 private:
  Calls::Scope scope_;
  Result<Session*> session_;
};

// The right to change the connection, the servers or the open instances.
class LifecycleLock {
 public:
  LifecycleLock();
  ~LifecycleLock() {
    if (status_.ok()) State::get().lifecycle.give_back();
  }
  LifecycleLock(const LifecycleLock&) = delete;
  LifecycleLock& operator=(const LifecycleLock&) = delete;
  // Errors: kTimedOut when another such call went on until the deadline.
  const Status& status() const { return status_; }

 private:
  Status status_;
};

// A malloc'ed copy, for the caller to free. Throws std::bad_alloc.
char* copy_text(const std::string& text);

}  // namespace imss::client::c_api
