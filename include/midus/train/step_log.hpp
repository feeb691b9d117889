// What every training step did, in a file and on the console.
#pragma once

#include <cstddef>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>

#include "midus/core/shape.hpp"
#include "midus/train/line_log.hpp"
#include "midus/train/progress.hpp"
#include "midus/train/step_record.hpp"

namespace midus {

/// The log of steps.
class StepLog : public LineLog {
 public:
  using LineLog::append;
  using LineLog::LineLog;
  /// Adds a step's line; allocates nothing.
  void append(const StepRecord& record) {
    StepLine line;
    append(line.format(record));
  }
};

/// The steps of a run on the console: "step 120/1000  loss 2.3456  rate 3.00e-03  10.7k tokens/s  38 % of
/// peak 3 min 20 s left". The time left is reckoned from the steps of this process but the first, which warms
/// up.
class StepProgress {
 public:
  explicit StepProgress(Index steps) : steps_(steps) {}
  /// On another stream; see `ProgressLine`.
  StepProgress(Index steps, std::FILE* out, bool terminal, double interval = -1)
      : steps_(steps), line_(out, terminal, interval) {}

  /// Call it after every step; it prints when a line is due, and after the last step.
  void show(const StepRecord& record) {
    const double now = line_.elapsed();
    if (first_step_ < 0) {
      first_step_ = record.step;
      first_at_ = now;
    }
    if (!line_.due() && record.step < steps_) return;
    double left = std::numeric_limits<double>::quiet_NaN();
    if (record.step > first_step_)
      left = (now - first_at_) / static_cast<double>(record.step - first_step_) *
             static_cast<double>(steps_ - record.step);
    char text[200];
    int used = std::snprintf(text, sizeof text, "step %lld/%lld  loss %.4f  rate %.2e  %s tokens/s",
                             static_cast<long long>(record.step), static_cast<long long>(steps_), record.loss,
                             record.learning_rate, count_text(record.tokens_per_s).c_str());
    const auto add = [&](const char* format, auto... values) {
      if (used >= 0 && used < static_cast<int>(sizeof text))
        used += std::snprintf(text + used, sizeof text - static_cast<std::size_t>(used), format, values...);
    };
    if (record.peak_share == record.peak_share) add("  %.0f %% of peak", 100 * record.peak_share);
    if (record.step < steps_) add("  %s left", duration_text(left).c_str());
    line_.show(text);
    if (record.step >= steps_) line_.end_line();
  }

  /// Call it after every batch of an evaluation, of which `done` of `all` are done: "evaluating new  34 %  1
  /// min 02 s left".
  void show_evaluation(std::string_view name, Index done, Index all) {
    const double now = line_.elapsed();
    if (done == 1) evaluation_at_ = now;
    if (done == 1 || done == all || !line_.due()) return;
    const double left =
        (now - evaluation_at_) / static_cast<double>(done - 1) * static_cast<double>(all - done);
    line_.show(text("evaluating ", name, "  ", 100 * done / all, " %  ", duration_text(left), " left"));
  }

  /// Before other text is printed.
  void end_line() { line_.end_line(); }

 private:
  Index steps_, first_step_ = -1;
  double first_at_ = 0, evaluation_at_ = 0;
  ProgressLine line_;
};

}  // namespace midus
