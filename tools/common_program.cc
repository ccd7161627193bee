#include "common_program.h"

#include <glib.h>

#include <charconv>
#include <clocale>
#include <cstdio>
#include <memory>
#include <utility>

#include "base/size.h"
#include "base/text.h"

namespace imss::tools {
namespace {

struct ContextFree {
  void operator()(GOptionContext* context) const { g_option_context_free(context); }
};

void print_line(std::string_view program, std::string_view sentence) {
  std::fprintf(stderr, "%.*s: %.*s\n", static_cast<int>(program.size()), program.data(),
               static_cast<int>(sentence.size()), sentence.data());
}

}  // namespace

int fail(std::string_view program, std::string_view sentence) {
  print_line(program, sentence);
  return kExitFailed;
}

int fail(std::string_view program, const Status& status) { return fail(program, status.message()); }

int usage_error(std::string_view program, std::string_view sentence) {
  print_line(program, sentence);
  std::fprintf(stderr, "Try '%.*s --help'.\n", static_cast<int>(program.size()), program.data());
  return kExitUsage;
}

void print_version(std::string_view program) {
  std::printf("%.*s (IMSS) %s\n", static_cast<int>(program.size()), program.data(), IMSS_VERSION);
}

CommandLine::CommandLine(std::string program, std::string arguments, std::string summary,
                         std::string examples)
    : program_(std::move(program)),
      usage_(std::move(arguments)),
      summary_(std::move(summary)),
      examples_(std::move(examples)) {}

void CommandLine::flag(const char* name, char short_name, const char* help, bool* value) {
  options_.push_back({Kind::kFlag, name, short_name, nullptr, help, 0, 0, value});
}

void CommandLine::text(const char* name, char short_name, const char* argument, const char* help,
                       std::string* value) {
  options_.push_back({Kind::kText, name, short_name, argument, help, 0, 0, value});
}

void CommandLine::number(const char* name, char short_name, const char* argument, const char* help,
                         std::uint64_t least, std::uint64_t most, std::uint64_t* value) {
  options_.push_back({Kind::kNumber, name, short_name, argument, help, least, most, value});
}

void CommandLine::size(const char* name, char short_name, const char* argument, const char* help,
                       std::uint64_t unit_bytes, std::uint64_t* value) {
  options_.push_back({Kind::kSize, name, short_name, argument, help, unit_bytes, 0, value});
}

bool CommandLine::given(std::string_view name) const {
  for (const Option& option : options_) {
    if (name == option.name) return option.raw_text != nullptr || option.raw_flag != 0;
  }
  return false;
}

Status CommandLine::take(Option& option) {
  if (option.kind == Kind::kFlag) {
    if (option.raw_flag != 0) *static_cast<bool*>(option.value) = true;
    return {};
  }
  if (option.raw_text == nullptr) return {};
  const std::string_view text = option.raw_text;
  if (option.kind == Kind::kText) {
    *static_cast<std::string*>(option.value) = text;
    return {};
  }
  std::uint64_t number = 0;
  if (option.kind == Kind::kSize) {
    auto bytes = parse_size(text, option.least);
    if (!bytes.ok()) {
      return Status(Code::kInvalidArgument,
                    concat("--", option.name, ": ", bytes.status().message()));
    }
    number = *bytes;
  } else {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < option.least ||
        number > option.most) {
      return Status(Code::kInvalidArgument,
                    concat("--", option.name, ": ", imss::quoted(text), " is not a number from ",
                           std::to_string(option.least), " to ", std::to_string(option.most)));
    }
  }
  *static_cast<std::uint64_t*>(option.value) = number;
  return {};
}

std::optional<int> CommandLine::take_values() {
  for (Option& option : options_) {
    if (const Status status = take(option); !status.ok()) {
      return usage_error(program_, status.message());
    }
  }
  return std::nullopt;
}

std::optional<int> CommandLine::parse(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");
  gboolean version = FALSE;
  gchar** rest = nullptr;
  std::vector<GOptionEntry> entries;
  for (Option& option : options_) {
    const bool is_flag = option.kind == Kind::kFlag;
    entries.push_back({option.name, option.short_name, 0,
                       is_flag ? G_OPTION_ARG_NONE : G_OPTION_ARG_FILENAME,
                       is_flag ? static_cast<gpointer>(&option.raw_flag)
                               : static_cast<gpointer>(&option.raw_text),
                       option.help, option.argument});
  }
  entries.push_back({"version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version", nullptr});
  entries.push_back(
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &rest, nullptr, nullptr});
  entries.push_back({nullptr, 0, 0, G_OPTION_ARG_NONE, nullptr, nullptr, nullptr});

  g_set_prgname(program_.c_str());
  const std::unique_ptr<GOptionContext, ContextFree> context(g_option_context_new(usage_.c_str()));
  g_option_context_set_summary(context.get(), summary_.c_str());
  g_option_context_set_description(context.get(), examples_.c_str());
  g_option_context_add_main_entries(context.get(), entries.data(), nullptr);
  GError* error = nullptr;
  if (g_option_context_parse(context.get(), &argc, &argv, &error) == FALSE) {
    const int code = usage_error(program_, error->message);
    g_error_free(error);
    return code;
  }
  for (gchar** argument = rest; argument != nullptr && *argument != nullptr; ++argument) {
    arguments_.emplace_back(*argument);
  }
  g_strfreev(rest);
  if (version != FALSE) {
    print_version(program_);
    return kExitOk;
  }
  return take_values();
}

std::optional<int> CommandLine::expect_arguments(std::size_t least, std::size_t most) const {
  if (arguments_.size() < least) {
    return usage_error(program_, concat("arguments are missing: ", usage_));
  }
  if (arguments_.size() > most) {
    return usage_error(program_, concat("unexpected argument ", imss::quoted(arguments_[most])));
  }
  return std::nullopt;
}

}  // namespace imss::tools
