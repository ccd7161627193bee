#include "common_progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/clock.h"
#include "base/size.h"

namespace imss::tools {
namespace {

constexpr std::int64_t kDrawEveryNs = 100'000'000;
constexpr int kBarCells = 24;

std::string rate_text(std::uint64_t bytes, std::int64_t elapsed_ns) {
  const double seconds = static_cast<double>(std::max<std::int64_t>(elapsed_ns, 1)) / 1e9;
  return format_size(static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds)) + "/s";
}

std::size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

Progress::Progress(std::string label, std::uint64_t total_bytes)
    : label_(std::move(label)),
      total_bytes_(total_bytes),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_ns_(monotonic_ns()) {
  drawn_ns_ = start_ns_;
}

Progress::~Progress() { clear(); }

void Progress::advance(std::uint64_t bytes) {
  done_bytes_ += bytes;
  if (!terminal_) return;
  const std::int64_t now = monotonic_ns();
  if (now - drawn_ns_ >= kDrawEveryNs) draw(now);
}

void Progress::draw(std::int64_t now_ns) {
  drawn_ns_ = now_ns;
  visible_ = true;
  std::string line = label_ + "  ";
  if (total_bytes_ > 0) {
    const std::uint64_t done = std::min(done_bytes_, total_bytes_);
    const double part = static_cast<double>(done) / static_cast<double>(total_bytes_);
    const int filled = static_cast<int>(part * kBarCells);
    char percent[16];
    std::snprintf(percent, sizeof(percent), "%3d%% ", static_cast<int>(part * 100));
    line += percent;
    line += '[' + std::string(static_cast<std::size_t>(filled), '#') +
            std::string(static_cast<std::size_t>(kBarCells - filled), ' ') + "] ";
  }
  line += format_size(done_bytes_) + "  " + rate_text(done_bytes_, now_ns - start_ns_);
  line.resize(std::min(line.size(), terminal_columns() - 1));
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
}

void Progress::clear() {
  if (visible_) std::fprintf(stderr, "\r\033[K");
  visible_ = false;
}

void Progress::finish(bool always) {
  clear();
  if (!terminal_ && !always) return;
  const std::int64_t elapsed = monotonic_ns() - start_ns_;
  std::fprintf(stderr, "%s: %s in %.3f s, %s\n", label_.c_str(), format_size(done_bytes_).c_str(),
               static_cast<double>(elapsed) / 1e9, rate_text(done_bytes_, elapsed).c_str());
}

}  // namespace imss::tools
