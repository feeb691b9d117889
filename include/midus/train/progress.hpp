// One line on the console that says how far the work has come.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <string>
#include <string_view>

namespace midus {

/// 42 -> "42 s", 200 -> "3 min 20 s", 7380 -> "2 h 03 min"; what is unknown is "?".
inline std::string duration_text(double seconds) {
  if (!(seconds >= 0 && seconds < 1e9)) return "?";
  const long long whole = std::llround(seconds);
  char out[48];
  if (whole < 60)
    std::snprintf(out, sizeof out, "%lld s", whole);
  else if (whole < 3600)
    std::snprintf(out, sizeof out, "%lld min %02lld s", whole / 60, whole % 60);
  else
    std::snprintf(out, sizeof out, "%lld h %02lld min", whole / 3600, whole % 3600 / 60);
  return out;
}

/// 950 -> "950", 10700 -> "10.7k", 3.2e6 -> "3.20M": three digits.
inline std::string count_text(double count) {
  if (!std::isfinite(count) || count < 0) return "?";
  const char* const units[] = {"", "k", "M", "G", "T"};
  std::size_t unit = 0;
  while (count >= 999.5 && unit + 1 < std::size(units)) {
    count /= 1000;
    ++unit;
  }
  char out[32];
  const int decimals = unit == 0 || count >= 99.95 ? 0 : count >= 9.995 ? 1 : 2;
  std::snprintf(out, sizeof out, "%.*f%s", decimals, count, units[unit]);
  return out;
}

/// A line that is rewritten in place on a terminal, a few times a second; anywhere else (a file, a pipe) a
/// new line every few seconds.
class ProgressLine {
 public:
  /// Standard error.
  ProgressLine() : ProgressLine(stderr, ::isatty(STDERR_FILENO) == 1) {}
  /// Another stream, and whether it is a terminal; at most one line in `interval` seconds (negative: the
  /// default, 0.1 on a terminal and 5 elsewhere).
  ProgressLine(std::FILE* out, bool terminal, double interval = -1)
      : out_(out),
        terminal_(terminal),
        interval_(interval >= 0 ? interval
                  : terminal    ? 0.1
                                : 5.0) {}
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine() { end_line(); }

  /// Whether it is time for another line: ask before the text is put together. The last one is due where
  /// others came before it, so that what is left to see is the end.
  bool due(bool last = false) const { return elapsed() - shown_at_ >= interval_ || (last && shown_at_ >= 0); }

  /// Shows a text without a line feed.
  void show(std::string_view text) {
    shown_at_ = elapsed();
    if (terminal_) {
      // A line that wraps could not be rewritten.
      struct winsize window {};
      if (::ioctl(::fileno(out_), TIOCGWINSZ, &window) == 0 && window.ws_col > 1)
        text = text.substr(0, window.ws_col - 1u);
      std::fprintf(out_, "\r%.*s\x1b[K", static_cast<int>(text.size()), text.data());
      open_ = true;
    } else {
      std::fprintf(out_, "%.*s\n", static_cast<int>(text.size()), text.data());
    }
    std::fflush(out_);
  }

  /// Leaves the line as it stands, so that other text may follow below.
  void end_line() {
    if (open_) std::fputc('\n', out_);
    open_ = false;
    std::fflush(out_);
  }

  /// Seconds since the object was made.
  double elapsed() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::FILE* out_;
  bool terminal_;
  double interval_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double shown_at_ = -1e9;
  bool open_ = false;
};

}  // namespace midus
