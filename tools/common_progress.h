// A progress line on standard error while bytes are copied, and the figures when they are.
//
// One line that is drawn again a few times a second, and only on a terminal. Thread-owned.
#pragma once

#include <cstdint>
#include <string>

namespace imss::tools {

class Progress {
 public:
  // `total_bytes` 0: unknown. Draws nothing when standard error is no terminal.
  Progress(std::string label, std::uint64_t total_bytes);
  // Removes the line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(std::uint64_t bytes);
  // Removes the line and prints what was done and how fast, on a terminal or when `always`.
  void finish(bool always);

 private:
  void draw(std::int64_t now_ns);
  void clear();

  const std::string label_;
  const std::uint64_t total_bytes_;
  const bool terminal_;
  const std::int64_t start_ns_;
  std::uint64_t done_bytes_ = 0;
  std::int64_t drawn_ns_ = 0;
  bool visible_ = false;
};

}  // namespace imss::tools
