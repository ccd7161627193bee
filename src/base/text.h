// Small helpers for text that people write and read. ASCII only, independent of the locale. Any
// thread.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace imss {

constexpr bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// The text without blanks at either end.
constexpr std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

constexpr bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return to_lower(x) == to_lower(y); });
}

// The parts one after the other.
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::string text;
  text.reserve((std::string_view(parts).size() + ... + 0));
  (text.append(std::string_view(parts)), ...);
  return text;
}

// The text in single quotes for a message, cut after 64 bytes.
inline std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 64;
  return concat("'", text.substr(0, kShown), text.size() > kShown ? "..." : "", "'");
}

// Without blanks around it, and then without a pair of double quotes.
inline std::string_view unquote(std::string_view text) {
  text = trim(text);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') return text.substr(1, text.size() - 2);
  return text;
}

}  // namespace imss
