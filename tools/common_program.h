// What all programs of this folder share: exit codes, messages and the reading of a command line.
//
// Used by the main thread of a program only. A message is one line on standard error that begins
// with the program's name.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace imss::tools {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// Prints "PROGRAM: SENTENCE" and returns kExitFailed.
int fail(std::string_view program, std::string_view sentence);
int fail(std::string_view program, const Status& status);
// Prints the sentence and where help is, and returns kExitUsage.
int usage_error(std::string_view program, std::string_view sentence);
// Prints the program's name, version and licence line.
void print_version(std::string_view program);

// Options in the GNU manner, with --help and --version. Values keep what they held when their
// option is not given.
class CommandLine {
 public:
  // `arguments` names the positional arguments for the usage line; `examples` follows the options.
  CommandLine(std::string program, std::string arguments, std::string summary,
              std::string examples);

  // A short name of 0 is none.
  void flag(const char* name, char short_name, const char* help, bool* value);
  void text(const char* name, char short_name, const char* argument, const char* help,
            std::string* value);
  // A whole number from `least` to `most`.
  void number(const char* name, char short_name, const char* argument, const char* help,
              std::uint64_t least, std::uint64_t most, std::uint64_t* value);
  // Bytes, such as 8GiB; a bare number counts in `unit_bytes`.
  void size(const char* name, char short_name, const char* argument, const char* help,
            std::uint64_t unit_bytes, std::uint64_t* value);

  // Returns the exit code when the program shall end now: after --help, --version, and a wrong
  // command line (the message is printed).
  std::optional<int> parse(int argc, char** argv);
  // Complains unless there are `least` to `most` positional arguments.
  std::optional<int> expect_arguments(std::size_t least, std::size_t most) const;

  const std::vector<std::string>& arguments() const { return arguments_; }
  const std::string& program() const { return program_; }
  // Whether the option was on the command line.
  bool given(std::string_view name) const;

 private:
  enum class Kind : std::uint8_t { kFlag, kText, kNumber, kSize };
  struct Option {
    Kind kind;
    const char* name;
    char short_name;
    const char* argument;
    const char* help;
    std::uint64_t least;
    std::uint64_t most;
    void* value;
    int raw_flag = 0;
    char* raw_text = nullptr;
  };
  std::optional<int> take_values();
  Status take(Option& option);

  std::string program_;
  std::string usage_;
  std::string summary_;
  std::string examples_;
  std::deque<Option> options_;  // raw values must not move
  std::vector<std::string> arguments_;
};

}  // namespace imss::tools
