#include "bench_report.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace imss::bench {
namespace {

std::string number(const char* format, double value) {
  if (value <= 0) return "-";
  char text[48];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

std::string bandwidth(const Row& row, double rate) {
  return number("%.2f", rate * static_cast<double>(row.bytes) / 1e9);
}

// As one worker sees it.
std::string microseconds(const Row& row, double rate) {
  return rate <= 0 ? "-" : number("%.3f", 1e6 * row.workers / rate);
}

void print_row(const Row& row) {
  if (row.bytes != 0) {
    std::printf(
        "%-18s %-24s %10s %8s %8s %9s %8s %9s\n", row.operation.c_str(), row.setting.c_str(),
        microseconds(row, row.rate).c_str(), bandwidth(row, row.rate).c_str(),
        bandwidth(row, row.ceiling_rate).c_str(), number("%.2f", row.ceiling_ratio).c_str(),
        bandwidth(row, row.reference_rate).c_str(), number("%.2f", row.reference_ratio).c_str());
  } else {
    std::printf("%-18s %-24s %10s %12s %8s\n", row.operation.c_str(), row.setting.c_str(),
                microseconds(row, row.rate).c_str(), microseconds(row, row.reference_rate).c_str(),
                number("%.2f", row.reference_ratio).c_str());
  }
}

void print_heading(const Row& row) {
  std::printf("\n%s\n", row.group.c_str());
  if (row.bytes != 0) {
    std::printf("%-18s %-24s %10s %8s %8s %9s %8s %9s\n", "", "", "us each", "GB/s", "memcpy",
                "x memcpy", row.reference.c_str(), ("x " + row.reference).c_str());
  } else {
    std::printf("%-18s %-24s %10s %12s %8s\n", "", "", "us each", (row.reference + " us").c_str(),
                ("x " + row.reference).c_str());
  }
}

}  // namespace

std::string count_of(unsigned count, const char* noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : noun[0] == 'p' ? "es" : "s");
}

Report::Report(bool json) : json_(json), terminal_(::isatty(STDERR_FILENO) != 0) {}

void Report::progress(const std::string& what) {
  if (terminal_) std::fprintf(stderr, "\r\033[Kmeasuring %s ...", what.c_str());
}

void Report::clear_line() {
  if (terminal_) std::fprintf(stderr, "\r\033[K");
}

void Report::print() {
  clear_line();
  if (json_) {
    print_json();
  } else {
    print_table();
  }
  std::fflush(stdout);
}

void Report::print_table() const {
  std::vector<std::string> groups;
  for (const Row& row : rows_) {
    if (std::find(groups.begin(), groups.end(), row.group) == groups.end()) {
      groups.push_back(row.group);
    }
  }
  for (const std::string& group : groups) {
    bool first = true;
    for (const Row& row : rows_) {
      if (row.group != group) continue;
      if (std::exchange(first, false)) print_heading(row);
      print_row(row);
    }
  }
  if (!figures_.empty()) std::printf("\nMemory\n");
  for (const Figure& figure : figures_) {
    std::printf("%-52s %8.1f %s", figure.name.c_str(), figure.value, figure.unit.c_str());
    if (figure.limit > 0) std::printf(" (goal: at most %.4g)", figure.limit);
    std::printf("\n");
  }
  for (const std::string& note : notes_) std::printf("\n%s\n", note.c_str());
}

void Report::print_json() const {
  std::printf("{\"rows\": [");
  const char* separator = "\n";
  for (const Row& row : rows_) {
    std::printf(
        "%s  {\"group\": \"%s\", \"operation\": \"%s\", \"setting\": \"%s\", \"bytes\": %llu, "
        "\"workers\": %u, \"operations_per_second\": %.6g, \"reference\": \"%s\", "
        "\"reference_operations_per_second\": %.6g, \"ratio_to_reference\": %.4g, "
        "\"memcpy_operations_per_second\": %.6g, \"ratio_to_memcpy\": %.4g}",
        separator, row.group.c_str(), row.operation.c_str(), row.setting.c_str(),
        static_cast<unsigned long long>(row.bytes), row.workers, row.rate, row.reference.c_str(),
        row.reference_rate, row.reference_ratio, row.ceiling_rate, row.ceiling_ratio);
    separator = ",\n";
  }
  std::printf("\n], \"figures\": [");
  separator = "\n";
  for (const Figure& figure : figures_) {
    std::printf("%s  {\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"limit\": %.6g}",
                separator, figure.name.c_str(), figure.value, figure.unit.c_str(), figure.limit);
    separator = ",\n";
  }
  std::printf("\n], \"notes\": [");
  separator = "\n";
  for (const std::string& note : notes_) {
    std::printf("%s  \"%s\"", separator, note.c_str());
    separator = ",\n";
  }
  std::printf("\n]}\n");
}

}  // namespace imss::bench
