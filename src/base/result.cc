#include "base/result.h"

#include <array>
#include <cerrno>
#include <cstring>

namespace imss {
namespace {

struct CodeRow {
  Code code;
  std::string_view name;
  int error_number;
  std::string_view sentence;
};

// Ordered by wire value, so that a code indexes its row.
constexpr std::array kCodes = {
    CodeRow{Code::kOk, "ok", 0, ""},
    CodeRow{Code::kInvalidArgument, "invalid_argument", EINVAL, "an argument is not valid"},
    CodeRow{Code::kNotFound, "not_found", ENOENT, "there is no such name"},
    CodeRow{Code::kExists, "exists", EEXIST, "the name already exists"},
    CodeRow{Code::kNotDirectory, "not_directory", ENOTDIR, "a part of the path is not a directory"},
    CodeRow{Code::kIsDirectory, "is_directory", EISDIR, "the name is a directory"},
    CodeRow{Code::kNotEmpty, "not_empty", ENOTEMPTY, "the directory is not empty"},
    CodeRow{Code::kNameTooLong, "name_too_long", ENAMETOOLONG,
            "a name is longer than 255 bytes or a URI longer than 4096"},
    CodeRow{Code::kNoSpace, "no_space", ENOSPC, "no room is left: the capacity given to the server, or its node's memory, is used up"},
    CodeRow{Code::kTimedOut, "timed_out", ETIMEDOUT, "the deadline passed before the operation was applied"},
    CodeRow{Code::kUnknownOutcome, "unknown_outcome", EIO, "the operation may or may not have been applied"},
    CodeRow{Code::kIo, "io", EIO, "the data or the server that held it is gone"},
    CodeRow{Code::kBadHandle, "bad_handle", EBADF, "the id does not name an open dataset"},
    CodeRow{Code::kNotInitialized, "not_initialized", ENOTCONN, "no metadata service is connected"},
    CodeRow{Code::kBusy, "busy", EBUSY, "the object is in use"},
    CodeRow{Code::kCorrupt, "corrupt", EUCLEAN, "a stored structure is damaged"},
    CodeRow{Code::kIncompatible, "incompatible", EPROTO, "the layout was written by an incompatible version"},
    CodeRow{Code::kPermission, "permission", EACCES, "permission denied"},
    CodeRow{Code::kLoop, "loop", ELOOP, "too many symbolic links"},
    CodeRow{Code::kRange, "range", ERANGE, "a buffer is too small"},
    CodeRow{Code::kNotSupported, "not_supported", ENOTSUP, "the operation is not supported"},
    CodeRow{Code::kFenced, "fenced", ESTALE, "the server no longer serves"},
    CodeRow{Code::kTooManyLinks, "too_many_links", EMLINK, "too many links"},
    CodeRow{Code::kAlreadyOpen, "already_open", EALREADY, "it is open already"},
    CodeRow{Code::kSystem, "system", EIO, "a system call failed"},
    CodeRow{Code::kNoMemory, "no_memory", ENOMEM, "out of memory"},
    CodeRow{Code::kAgain, "again", EAGAIN, "try again"},
    CodeRow{Code::kTooManyOpen, "too_many_open", EMFILE, "a table of handles is full"},
    CodeRow{Code::kWouldCycle, "would_cycle", EINVAL, "a directory cannot be moved into itself"},
    CodeRow{Code::kClaimed, "claimed", EBUSY, "a change over several servers is under way there"},
    CodeRow{Code::kNoData, "no_data", ENODATA, "there is no such extended attribute"},
};

const CodeRow& row_of(Code code) {
  const auto index = static_cast<std::size_t>(code);
  return kCodes[index < kCodes.size() ? index : static_cast<std::size_t>(Code::kUnknownOutcome)];
}

}  // namespace

int errno_of(Code code) { return row_of(code).error_number; }
std::string_view sentence_of(Code code) { return row_of(code).sentence; }
std::string_view name_of(Code code) { return row_of(code).name; }

Status::Status(Code code, std::string message)
    : code_(code), details_(new Details{std::move(message), 0}) {}

Status Status::from_errno(int error_number, std::string_view what) {
  Status status(Code::kSystem, std::string(what) + ": " + std::strerror(error_number));
  status.system_errno_ = error_number;
  return status;
}

Status Status::claimed(std::uint64_t change) {
  Status status(Code::kClaimed);
  status.details_.reset(new Details{std::string(sentence_of(Code::kClaimed)), change});
  return status;
}

Status& Status::operator=(const Status& other) {
  code_ = other.code_;
  system_errno_ = other.system_errno_;
  details_ = other.details_ ? std::make_unique<Details>(*other.details_) : nullptr;
  return *this;
}

int Status::error_number() const { return system_errno_ != 0 ? system_errno_ : errno_of(code_); }

std::string Status::message() const {
  return details_ ? details_->message : std::string(sentence_of(code_));
}

}  // namespace imss
