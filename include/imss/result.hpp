// Error and Result<T>: how the C++ interface tells that an operation failed. Immutable values; any
// thread. Included through imss.hpp.
#ifndef IMSS_RESULT_HPP_
#define IMSS_RESULT_HPP_

#ifndef IMSS_NO_SHORT_NAMES
#define IMSS_NO_SHORT_NAMES
#define IMSS_NO_SHORT_NAMES_IS_OURS_
#endif
#include <imss/imss.h>
#ifdef IMSS_NO_SHORT_NAMES_IS_OURS_
#undef IMSS_NO_SHORT_NAMES
#undef IMSS_NO_SHORT_NAMES_IS_OURS_
#endif

#include <cerrno>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace imss {
inline namespace v1 {

// What went wrong: an errno value and a sentence.
class Error : public std::exception {
 public:
  Error(int error_number, std::string sentence)
      : error_number_(error_number),
        sentence_(std::make_shared<std::string>(std::move(sentence))) {}

  // The error of the C call that has just failed in this thread.
  static Error last() {
    const int error_number = errno;
    return Error(error_number, imss_last_error());
  }

  int code() const noexcept { return error_number_; }
  const char* what() const noexcept override { return sentence_->c_str(); }

 private:
  int error_number_;
  std::shared_ptr<const std::string> sentence_;  // shared, so that copying never throws
};

// A value or an Error. value() throws the Error when there is no value.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }
  T& value() & {
    throw_if_error();
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    throw_if_error();
    return *std::get_if<0>(&state_);
  }
  T value() && {
    throw_if_error();
    return std::move(*std::get_if<0>(&state_));
  }
  const Error& error() const { return *std::get_if<1>(&state_); }  // REQUIRES: !ok()

 private:
  void throw_if_error() const {
    if (!ok()) throw error();
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT

  bool ok() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  void value() const {
    if (error_) throw *error_;
  }
  const Error& error() const { return *error_; }  // REQUIRES: !ok()

 private:
  std::optional<Error> error_;
};

namespace detail {

inline Result<void> check(std::int32_t returned) {
  if (returned < 0) return Error::last();
  return {};
}

inline const char* null_if_empty(const std::string& text) {
  return text.empty() ? nullptr : text.c_str();
}

// A NUL inside a std::string would cut the name short in the C interface.
inline Result<void> check_uri(const std::string& uri) {
  if (uri.find('\0') == std::string::npos) return {};
  return Error(EINVAL, "a URI must not contain a NUL byte");
}

}  // namespace detail

}  // namespace v1
}  // namespace imss

#endif  // IMSS_RESULT_HPP_
