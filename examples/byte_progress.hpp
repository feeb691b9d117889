// How far a program has come through many bytes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "midus/core/error.hpp"
#include "midus/train/progress.hpp"

/// "loading  42 %  812MB/s  3 s left", on standard error, once the work has taken a second.
class ByteProgress {
 public:
  explicit ByteProgress(std::string what = "") : what_(std::move(what)) {}

  void operator()(std::uint64_t done, std::uint64_t all) {
    if (!line_.due(done == all) || line_.elapsed() < 1) return;  // small inputs need no progress
    const double rate = static_cast<double>(done) / line_.elapsed();
    line_.show(midus::text(what_, what_.empty() ? "" : "  ", 100 * done / all, " %  ",
                           midus::count_text(rate), "B/s  ",
                           midus::duration_text(static_cast<double>(all - done) / rate), " left"));
  }
  void end() { line_.end_line(); }

 private:
  std::string what_;
  midus::ProgressLine line_;
};
