// The evaluations of a training run: which are due, their log, and the best step.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "midus/train/checkpoint.hpp"
#include "midus/train/interrupt.hpp"
#include "midus/train/line_log.hpp"
#include "midus/train/trainer.hpp"

namespace midus {

/// Token files to evaluate on, by name.
using EvaluationFiles = std::vector<std::pair<std::string, EvaluationBatches>>;

/// Evaluates a run before its first step, after every n-th and after the last. Which files have been
/// evaluated at the present step is read off the log, so a run that was stopped in between goes on with the
/// next one.
template <class Model>
class RunEvaluations {
 public:
  /// Appends to the log at `log`. `every`: steps; 0: only before the first and after the last.
  RunEvaluations(Trainer<Model>& trainer, const EvaluationFiles& files, const std::filesystem::path& log,
                 Index every)
      : trainer_(trainer), files_(files), log_(log), every_(every) {}

  /// Cuts the log back to `length` bytes, where the trainer stands. `best`: of the evaluations before.
  void resume(Index length, const std::optional<BestStep>& best) {
    log_.truncate_to(length);
    best_ = best;
    step_ = trainer_.state().step;
    done_ = 0;
    std::ifstream lines(log_.path());
    for (std::string text; std::getline(lines, text);) {
      const Json line = parse_json(text, log_.path().string());
      if (line.is_object() && line.value("step", Json()) == step_) ++done_;
    }
  }

  LineLog& log() { return log_; }
  const std::optional<BestStep>& best() const { return best_; }
  /// Whether the model as it is now is the best so far.
  bool is_best() const { return best_ && best_->step == trainer_.state().step; }

  /// Whether there is something to evaluate before the next step.
  bool pending() const {
    const Index step = trainer_.state().step;
    const bool due = step == 0 || trainer_.done() || (every_ > 0 && step % every_ == 0);
    return due && (step_ == step ? done_ : 0) < files_.size();
  }

  /// Evaluates what is pending; returns early, between two batches, once `interrupt` is requested.
  void operator()(StepProgress& progress, const Interrupt& interrupt) {
    if (step_ != trainer_.state().step) done_ = 0;
    step_ = trainer_.state().step;
    struct Stopped {};
    try {
      for (; done_ < files_.size(); ++done_) {
        const auto& [name, batches] = files_[done_];
        const auto each = [&](Index batch, Index all) {
          if (interrupt.requested() && batch < all) throw Stopped();
        };
        if (interrupt.requested()) return;
        record(name, evaluate(trainer_.model(), batches, trainer_.options().batch, each), progress);
      }
    } catch (const Stopped&) {
    }
  }

 private:
  void record(const std::string& name, const LossSum& loss, StepProgress& progress) {
    Json line;
    line["step"] = step_;
    line["name"] = name;
    line["loss"] = loss.mean();
    line["perplexity"] = std::exp(loss.mean());
    line["tokens"] = loss.count;
    log_.append(dump_json_line(line) + "\n");
    progress.end_line();
    std::fprintf(stderr, "step %lld  %s: loss %.4f  perplexity %.3f\n", static_cast<long long>(step_),
                 name.c_str(), loss.mean(), std::exp(loss.mean()));
    if (done_ == 0 && (!best_ || loss.mean() < best_->loss)) best_ = BestStep{step_, loss.mean()};
  }

  Trainer<Model>& trainer_;
  const EvaluationFiles& files_;
  LineLog log_;
  Index every_;
  Index step_ = -1;       ///< the last one that was evaluated at
  std::size_t done_ = 0;  ///< files evaluated at it
  std::optional<BestStep> best_;
};

}  // namespace midus
