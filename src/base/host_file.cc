#include "base/host_file.h"

#include <algorithm>
#include <charconv>

#include "base/file_text.h"
#include "base/text.h"

namespace imss {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxHostNameBytes = 255;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '_';
}

bool is_address_char(char c) { return is_name_char(c) || c == ':' || c == '%'; }

template <typename Predicate>
bool is_word(std::string_view text, Predicate allowed) {
  if (text.empty() || text.size() > kMaxHostNameBytes || text.front() == '-') return false;
  for (const char c : text) {
    if (!allowed(c)) return false;
  }
  return true;
}

// A port from 1 to 65535, or 0 when the text is none.
std::uint16_t parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() ? port : std::uint16_t{0};
}

// One line without comment and outer blanks; an error is a part of a sentence.
Result<Host> parse_line(std::string_view line) {
  Host host;
  std::string_view rest;
  bool named = false;
  if (line.starts_with('[')) {
    const std::size_t close = line.find(']');
    if (close == std::string_view::npos)
      return Status(Code::kInvalidArgument, "']' is missing after the address");
    host.name = line.substr(1, close - 1);
    rest = line.substr(close + 1);
    named = is_word(host.name, is_address_char);
  } else {
    host.name = line.substr(0, line.find_first_of(" \t\r:"));
    rest = line.substr(host.name.size());
    named = is_word(host.name, is_name_char);
  }
  if (!named)
    return Status(Code::kInvalidArgument,
                  concat(quoted(host.name), " cannot be the name of a host"));

  if (rest.empty()) return host;
  std::string_view port = trim(rest);
  if (rest.front() == ':') {
    port = rest.substr(1);
  } else if (is_blank(rest.front()) && port.starts_with("port=")) {
    port.remove_prefix(5);
  } else {
    return Status(Code::kInvalidArgument,
                  concat(quoted(port), " is not understood after the host"));
  }
  host.port = parse_port(port);
  if (host.port == 0) {
    return Status(Code::kInvalidArgument, concat(quoted(port), " is not a port from 1 to 65535"));
  }
  return host;
}

}  // namespace

Result<std::vector<Host>> parse_host_file(std::string_view text, std::string_view file_name) {
  std::vector<Host> hosts;
  std::size_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    line = trim(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    Result<Host> host = parse_line(line);
    if (!host.ok()) {
      return Status(
          Code::kInvalidArgument,
          concat(file_name, ":", std::to_string(line_number), ": ", host.status().message(),
                 "; a line is HOST, HOST:PORT or HOST port=PORT"));
    }
    hosts.push_back(*std::move(host));
  }
  if (hosts.empty()) {
    return Status(
        Code::kInvalidArgument,
        concat(file_name, " names no host; write one host per line, for example localhost"));
  }
  return hosts;
}

Result<std::vector<Host>> read_host_file(const std::string& path) {
  Result<std::string> text = read_text_file(path, kMaxFileBytes);
  if (text.code() == Code::kNotFound) {
    return Status(Code::kNotFound,
                  concat("there is no host file ", path,
                         "; write one host per line into it (localhost for this machine) or "
                         "name another file"));
  }
  if (!text.ok()) return text.status();
  return parse_host_file(*text, path);
}

}  // namespace imss
