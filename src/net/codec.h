// From structs with IMSS_FIELDS to bytes and back.
//
// Integers and enumerations are little-endian of their own width, bool is one byte (0 or 1), a
// string is its length (16 bits) and its bytes, a vector its length (32 bits) and its elements, a
// struct its fields in order. Nothing is aligned or padded. A decoder never reads beyond its input
// and never allocates more than the input can fill; what is left over when a message has been
// decoded is an error, so that a message has one encoding only. Thread-owned values.
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace imss::net {

static_assert(std::endian::native == std::endian::little,
              "big-endian machines need byte swaps here");

template <typename T>
concept Scalar = std::unsigned_integral<T> || std::is_enum_v<T> || std::same_as<T, bool>;

class Encoder {
 public:
  explicit Encoder(std::vector<std::byte>* out) : out_(*out) {}

  template <typename T>
  void put(const T& value) {
    if constexpr (std::same_as<T, bool>) {
      put(static_cast<std::uint8_t>(value));
    } else if constexpr (Scalar<T>) {
      // Byte by byte: GCC 12 takes other ways for overflows.
      for (std::size_t i = 0; i < sizeof(T); ++i)
        out_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> 8 * i));
    } else if constexpr (std::same_as<T, std::string>) {
      const std::size_t length =
          std::min<std::size_t>(value.size(), std::numeric_limits<std::uint16_t>::max());
      put(static_cast<std::uint16_t>(length));
      for (const char c : value.substr(0, length)) out_.push_back(static_cast<std::byte>(c));
    } else if constexpr (requires { typename T::value_type; }) {
      put(static_cast<std::uint32_t>(value.size()));
      for (const auto& element : value) put(element);
    } else {
      value.visit([&](const char*, const auto&... fields) { (put(fields), ...); });
    }
  }

 private:
  std::vector<std::byte>& out_;
};

class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> in) : in_(in) {}

  // False when the input is too short or no value of that type.
  template <typename T>
  bool get(T& value) {
    if constexpr (std::same_as<T, bool>) {
      std::uint8_t byte = 0;
      if (!get(byte) || byte > 1) return false;
      value = byte != 0;
      return true;
    } else if constexpr (Scalar<T>) {
      if (in_.size() < sizeof(T)) return false;
      std::memcpy(&value, in_.data(), sizeof(T));
      in_ = in_.subspan(sizeof(T));
      return true;
    } else if constexpr (std::same_as<T, std::string>) {
      std::uint16_t length = 0;
      if (!get(length) || in_.size() < length) return false;
      value.assign(reinterpret_cast<const char*>(in_.data()), length);
      in_ = in_.subspan(length);
      return true;
    } else if constexpr (requires { typename T::value_type; }) {
      return get_vector(value);
    } else {
      return value.visit([&](const char*, auto&... fields) { return (get(fields) && ...); });
    }
  }
  std::size_t left() const { return in_.size(); }

 private:
  template <typename T>
  bool get_vector(T& value) {
    std::uint32_t count = 0;
    if (!get(count) || count > in_.size()) return false;  // an element has at least one byte
    value.clear();
    for (std::uint32_t i = 0; i < count; ++i) {
      if (!get(value.emplace_back())) return false;
    }
    return true;
  }

  std::span<const std::byte> in_;
};

template <typename T>
std::vector<std::byte> encode(const T& message) {
  std::vector<std::byte> bytes;
  Encoder(&bytes).put(message);
  return bytes;
}

// Errors: kInvalidArgument for bytes that are no such message.
template <typename T>
Result<T> decode(std::span<const std::byte> bytes) {
  T message;
  Decoder decoder(bytes);
  if (!decoder.get(message) || decoder.left() != 0) {
    return Status(Code::kInvalidArgument, "a message has fields that do not fit its kind");
  }
  return message;
}

}  // namespace imss::net
