#include "common_output.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace imss::tools {

using store::NodeType;

namespace {

// Bytes of the UTF-8 character at the front of `text`, 0 when there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!follows(1) || !follows(2)) return 0;
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) >= 0xa0;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    const bool overlong = first == 0xf0 && byte(1) < 0x90;
    const bool beyond = first == 0xf4 && byte(1) >= 0x90;
    return overlong || beyond ? 0 : 4;
  }
  return 0;
}

void append_escaped(std::string_view text, std::string* out) {
  char escape[16];
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t length = utf8_length(text);
    if (first == '"' || first == '\\') {
      out->push_back('\\');
      out->push_back(text.front());
    } else if (first < 0x20 || first == 0x7f) {
      std::snprintf(escape, sizeof(escape), "\\u%04x", first);
      out->append(escape);
    } else if (length == 0) {
      std::snprintf(escape, sizeof(escape), "\\udc%02x", first);
      out->append(escape);
    } else {
      out->append(text.substr(0, length));
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
}

}  // namespace

void Json::separate() {
  if (needs_comma_) text_ += ", ";
  needs_comma_ = true;
}

Json& Json::begin_object() {
  separate();
  text_ += '{';
  needs_comma_ = false;
  return *this;
}

Json& Json::end_object() {
  text_ += '}';
  needs_comma_ = true;
  return *this;
}

Json& Json::begin_array() {
  separate();
  text_ += '[';
  needs_comma_ = false;
  return *this;
}

Json& Json::end_array() {
  text_ += ']';
  needs_comma_ = true;
  return *this;
}

Json& Json::key(std::string_view name) {
  value(name);
  text_ += ": ";
  needs_comma_ = false;
  return *this;
}

Json& Json::value(std::string_view text) {
  separate();
  text_ += '"';
  append_escaped(text, &text_);
  text_ += '"';
  return *this;
}

Json& Json::value(std::uint64_t number) {
  separate();
  text_ += std::to_string(number);
  return *this;
}

Json& Json::value(bool flag) {
  separate();
  text_ += flag ? "true" : "false";
  return *this;
}

Json& Json::null() {
  separate();
  text_ += "null";
  return *this;
}

void Json::print() const { std::printf("%s\n", text_.c_str()); }

void Table::print() const {
  std::vector<std::size_t> widths(columns_.size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      if (i > 0) line += "  ";
      line += columns_[i] == Align::kRight ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    std::printf("%s\n", line.c_str());
  }
}

std::string shown_name(std::string_view name) {
  static const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  std::string shown(name);
  if (!terminal) return shown;
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return shown;
}

std::string format_time(std::uint64_t nanoseconds) {
  const auto seconds = static_cast<std::time_t>(nanoseconds / 1'000'000'000);
  std::tm parts{};
  char text[32];
  if (::localtime_r(&seconds, &parts) == nullptr) return "?";
  const std::size_t length = std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
  return std::string(text, length);
}

std::string_view type_word(NodeType type) {
  switch (type) {
    case NodeType::kDirectory:
      return "directory";
    case NodeType::kInstance:
      return "instance";
    case NodeType::kSymlink:
      return "symlink";
    case NodeType::kFifo:
      return "fifo";
    case NodeType::kSocket:
      return "socket";
    case NodeType::kCharacterDevice:
      return "character device";
    case NodeType::kBlockDevice:
      return "block device";
    default:
      return "dataset";
  }
}

char type_letter(NodeType type) {
  switch (store::type_bits(type)) {
    case S_IFLNK:
      return 'l';
    case S_IFDIR:
      return 'd';
    case S_IFIFO:
      return 'p';
    case S_IFSOCK:
      return 's';
    case S_IFCHR:
      return 'c';
    case S_IFBLK:
      return 'b';
    default:
      return '-';
  }
}

std::string format_mode(char type, std::uint32_t mode) {
  std::string text(1, type);
  constexpr char kLetters[] = "rwxrwxrwx";
  for (int bit = 8; bit >= 0; --bit) text += (mode >> bit & 1) != 0 ? kLetters[8 - bit] : '-';
  if ((mode & 01000) != 0) text.back() = (mode & 1) != 0 ? 't' : 'T';
  return text;
}

std::string user_name(std::uint32_t uid) {
  const passwd* entry = ::getpwuid(uid);
  return entry != nullptr ? entry->pw_name : std::to_string(uid);
}

std::string group_name(std::uint32_t gid) {
  const group* entry = ::getgrgid(gid);
  return entry != nullptr ? entry->gr_name : std::to_string(gid);
}

}  // namespace imss::tools
