#include "base/size.h"

#include <array>
#include <limits>

#include "base/text.h"
#include "base/wide_math.h"

namespace imss {
namespace {

constexpr std::string_view kPrefixes = "kmgtpe";
constexpr std::array<std::string_view, 7> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

Status not_a_size(std::string_view text) {
  return Status(
      Code::kInvalidArgument,
      concat(quoted(text),
             " is not a size: write a number and a unit such as 4096, 512K, 8GiB or 1.5TiB"));
}

// Bytes per unit of a suffix, or 0 when there is no such suffix.
std::uint64_t unit_of_suffix(std::string_view suffix) {
  if (suffix.size() > 3) return 0;
  std::string word;
  for (const char c : suffix) word += to_lower(c);
  if (word == "b") return 1;
  const std::size_t prefix = kPrefixes.find(word[0]);
  if (prefix == std::string_view::npos) return 0;
  const std::string_view tail = std::string_view(word).substr(1);
  if (!tail.empty() && tail != "b" && tail != "ib") return 0;
  const std::uint64_t base = tail == "b" ? 1000 : 1024;
  std::uint64_t unit = 1;
  for (std::size_t i = 0; i <= prefix; ++i) unit *= base;
  return unit;
}

struct Number {
  std::uint64_t whole = 0;
  std::uint64_t fraction = 0;        // the digits after the point, as a number
  std::uint64_t fraction_scale = 1;  // ten to the number of these digits
  bool valid = false;
};

// Takes the number off the front of `text`.
Number take_number(std::string_view& text) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  constexpr std::uint64_t kMaxScale = 1'000'000'000'000'000'000;
  Number number;
  while (!text.empty() && is_digit(text.front())) {
    const auto digit = static_cast<std::uint64_t>(text.front() - '0');
    if (number.whole > (kMax - digit) / 10) return {};
    number.whole = number.whole * 10 + digit;
    number.valid = true;
    text.remove_prefix(1);
  }
  if (!number.valid || text.empty() || text.front() != '.') return number;
  text.remove_prefix(1);
  number.valid = !text.empty() && is_digit(text.front());
  while (!text.empty() && is_digit(text.front())) {
    // Digits beyond the eighteenth cannot change a whole number of bytes by more than rounding.
    if (number.fraction_scale < kMaxScale) {
      number.fraction = number.fraction * 10 + static_cast<std::uint64_t>(text.front() - '0');
      number.fraction_scale *= 10;
    }
    text.remove_prefix(1);
  }
  return number;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t unit_bytes) {
  std::string_view rest = trim(text);
  const Number number = take_number(rest);
  if (!number.valid) return not_a_size(text);
  const std::string_view suffix = trim(rest);
  const std::uint64_t unit = suffix.empty() ? unit_bytes : unit_of_suffix(suffix);
  const bool parts_of_bytes = unit == 1 && number.fraction_scale > 1;
  if (unit == 0 || parts_of_bytes) return not_a_size(text);
  const Uint128 total = static_cast<Uint128>(number.whole) * unit +
                        static_cast<Uint128>(number.fraction) * unit / number.fraction_scale;
  if (total > std::numeric_limits<std::uint64_t>::max()) {
    return Status(Code::kInvalidArgument,
                  concat(quoted(text), " is more bytes than 64 bits can count"));
  }
  return static_cast<std::uint64_t>(total);
}

std::string format_size(std::uint64_t bytes) {
  std::size_t unit = 0;
  std::uint64_t unit_bytes = 1;
  // Tenths are rounded to the nearest; what rounds up to 1024 is written as 1 of the next unit.
  Uint128 tenths = 0;
  for (;;) {
    tenths = (static_cast<Uint128>(bytes) * 10 + unit_bytes / 2) / unit_bytes;
    if (tenths < 10240 || unit + 1 == kUnits.size()) break;
    ++unit;
    unit_bytes *= 1024;
  }
  const bool with_tenth = unit > 0 && tenths % 10 != 0;
  const auto shown = static_cast<std::uint64_t>(tenths);
  const std::string tenth = std::to_string(shown % 10);
  return concat(std::to_string(shown / 10), with_tenth ? "." : "", with_tenth ? tenth : "", " ",
                kUnits[unit]);
}

}  // namespace imss
