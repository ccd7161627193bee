// What commands print: JSON, tables, times and names as people and programs read them.
//
// Plain values and writers to standard output; the main thread of a program.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/attributes.h"

namespace imss::tools {

// Builds a JSON text. Keys and values come in the order of the calls; commas are put where needed.
class Json {
 public:
  Json& begin_object();
  Json& end_object();
  Json& begin_array();
  Json& end_array();
  Json& key(std::string_view name);
  // Bytes that are no UTF-8 become \udcXX, from which Python's "surrogateescape" gets them back.
  Json& value(std::string_view text);
  Json& value(const char* text) { return value(std::string_view(text)); }
  Json& value(std::uint64_t number);
  Json& value(std::uint32_t number) { return value(static_cast<std::uint64_t>(number)); }
  Json& value(bool flag);
  Json& null();
  // Writes the text and a line end to standard output.
  void print() const;
  const std::string& text() const { return text_; }

 private:
  void separate();
  std::string text_;
  bool needs_comma_ = false;
};

// Rows of cells, printed in columns as wide as their widest cell.
class Table {
 public:
  enum class Align : std::uint8_t { kLeft, kRight };
  explicit Table(std::vector<Align> columns) : columns_(std::move(columns)) {}
  // REQUIRES: as many cells as columns.
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  // Rows printed by name only, for commands whose output is read by people.
  void print() const;

 private:
  std::vector<Align> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// A name for standard output: control bytes are shown as '?' on a terminal, and kept otherwise.
std::string shown_name(std::string_view name);
// Local time, "2024-05-17 09:31:02".
std::string format_time(std::uint64_t nanoseconds);
// "dataset", "directory" ... and the letter that ls(1) has for it.
std::string_view type_word(store::NodeType type);
char type_letter(store::NodeType type);
// "drwxr-xr-x".
std::string format_mode(char type, std::uint32_t mode);
// The name of the user or group, or its number.
std::string user_name(std::uint32_t uid);
std::string group_name(std::uint32_t gid);

}  // namespace imss::tools
