// Results of operations: Status and Result<T> over one table of codes.
//
// A code exists only where a caller reacts to it differently. Each has a wire value (its number, fixed
// for ever), an errno and a sentence. "Not applied" and "may have been applied" are different codes.
// Immutable values; any thread. Success carries no allocation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace imss {

enum class Code : std::uint16_t {
  kOk = 0,
  kInvalidArgument = 1,   // EINVAL: the caller's argument can never work
  kNotFound = 2,          // ENOENT
  kExists = 3,            // EEXIST
  kNotDirectory = 4,      // ENOTDIR
  kIsDirectory = 5,       // EISDIR
  kNotEmpty = 6,          // ENOTEMPTY
  kNameTooLong = 7,       // ENAMETOOLONG
  kNoSpace = 8,           // ENOSPC: nothing was applied
  kTimedOut = 9,          // ETIMEDOUT: not applied within the deadline
  kUnknownOutcome = 10,   // EIO: may have been applied
  kIo = 11,               // EIO: not applied, data or server is gone
  kBadHandle = 12,        // EBADF
  kNotInitialized = 13,   // ENOTCONN: the session or service is not there
  kBusy = 14,             // EBUSY
  kCorrupt = 15,          // EUCLEAN: a stored structure is damaged
  kIncompatible = 16,     // EPROTO: written by another version of the layout
  kPermission = 17,       // EACCES
  kLoop = 18,             // ELOOP
  kRange = 19,            // ERANGE: an output buffer is too small
  kNotSupported = 20,     // ENOTSUP
  kFenced = 21,           // ESTALE: this server no longer serves
  kTooManyLinks = 22,     // EMLINK
  kAlreadyOpen = 23,      // EALREADY
  kSystem = 24,           // errno of the system call that failed, kept in the status
  kNoMemory = 25,         // ENOMEM
  kAgain = 26,            // EAGAIN: try once more now
  kTooManyOpen = 27,      // EMFILE: a table of handles or participants is full
  kWouldCycle = 28,       // EINVAL: a directory would become its own ancestor
  kClaimed = 29,          // EBUSY: a change over several servers, see Status::claim(), holds it; not applied
  kNoData = 30,           // ENODATA: no extended attribute of that name
};

// The errno value that the C API reports for a code, and the sentence used when nothing better is known.
int errno_of(Code code);
std::string_view sentence_of(Code code);
std::string_view name_of(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code) : code_(code) {}  // NOLINT: a bare code is a status
  Status(Code code, std::string message);
  // kSystem with the errno given; `what` says which call on which object failed.
  static Status from_errno(int error_number, std::string_view what);
  // kClaimed: the change over several servers that holds what was asked for.
  static Status claimed(std::uint64_t change);

  Status(const Status& other) { *this = other; }
  Status& operator=(const Status& other);
  Status(Status&&) noexcept = default;
  Status& operator=(Status&&) noexcept = default;

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  int error_number() const;     // 0 on success
  std::string message() const;  // a sentence; empty on success
  // The change that a status of kClaimed is about; otherwise 0.
  std::uint64_t claim() const { return details_ ? details_->claim : 0; }

 private:
  struct Details {
    std::string message;
    std::uint64_t claim = 0;
  };

  Code code_ = Code::kOk;
  int system_errno_ = 0;
  std::unique_ptr<Details> details_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}        // NOLINT
  Result(Status status) : status_(std::move(status)) {}  // NOLINT: REQUIRES !status.ok()
  Result(Code code) : status_(code) {}                 // NOLINT
  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  const Status& status() const { return status_; }
  Code code() const { return status_.code(); }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace imss

#define IMSS_CONCAT_INNER(a, b) a##b
#define IMSS_CONCAT(a, b) IMSS_CONCAT_INNER(a, b)
// Leaves the calling function with the status when it is not ok.
#define IMSS_RETURN_IF_ERROR(expression) \
  IMSS_RETURN_IF_ERROR_IMPL(IMSS_CONCAT(imss_status_, __LINE__), expression)
#define IMSS_RETURN_IF_ERROR_IMPL(status, expression) \
  do {                                                \
    ::imss::Status status = (expression);             \
    if (!status.ok()) return status;                  \
  } while (false)

// Declares `target` from a Result, or leaves the calling function with its status.
#define IMSS_ASSIGN_OR_RETURN(target, expression) \
  IMSS_ASSIGN_OR_RETURN_IMPL(IMSS_CONCAT(imss_result_, __LINE__), target, expression)
#define IMSS_ASSIGN_OR_RETURN_IMPL(result, target, expression) \
  auto result = (expression);                                  \
  if (!result.ok()) return result.status();                    \
  target = std::move(*result)
