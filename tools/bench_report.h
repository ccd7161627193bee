// What a benchmark run has measured: rows for people and for programs, and the progress line.
//
// Owned by one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace imss::bench {

// One measured operation beside its ceiling and a reference. Zero means "not measured".
struct Row {
  std::string group;        // rows of a group are printed under one heading
  std::string operation;    // "get 4 KiB"
  std::string setting;      // "1 thread, attached"
  std::uint64_t bytes = 0;  // of an operation
  unsigned workers = 1;
  double rate = 0;          // operations per second of all workers
  double ceiling_rate = 0;  // bare memcpy
  double reference_rate = 0;
  double ceiling_ratio = 0;  // rate / ceiling_rate, median over rounds
  double reference_ratio = 0;
  std::string reference = "tmpfs";
};

// A single number.
struct Figure {
  std::string name;
  double value = 0;
  std::string unit;
  double limit = 0;  // the goal: at most this; 0: none
};

class Report {
 public:
  explicit Report(bool json);
  // Rewrites one line of the terminal, if standard error is one.
  void progress(const std::string& what);
  void add(Row row) { rows_.push_back(std::move(row)); }
  void add(Figure figure) { figures_.push_back(std::move(figure)); }
  // A word about something that was left out.
  void note(std::string text) { notes_.push_back(std::move(text)); }
  void print();

 private:
  void clear_line();
  void print_table() const;
  void print_json() const;

  bool json_;
  bool terminal_;
  std::vector<Row> rows_;
  std::vector<Figure> figures_;
  std::vector<std::string> notes_;
};

// "1 thread", "2 processes".
std::string count_of(unsigned count, const char* noun);

}  // namespace imss::bench
