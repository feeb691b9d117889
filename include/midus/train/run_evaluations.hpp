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

/// When a run evaluates, what decides which model is best, and when to stop for want of gain.
struct EvaluationPlan {
  Index every = 0;          ///< steps; 0: only before the first and after the last
  std::string keep_best{};  ///< the name of the file that decides; empty: the first
  Index patience = 0;       ///< stop after so many evaluations without a lower loss of that file; 0: never

  /// Throws `Error` where that cannot be with these files.
  void check(const EvaluationFiles& files) const {
    for (const auto& [name, value] : {std::pair{"evaluate-every", every}, {"patience", patience}})
      if (value < 0) fail(name, " must be at least 0, found ", value);
    if (patience > 0 && (files.empty() || every == 0))
      fail("patience needs a file to evaluate on, and evaluate-every: it counts evaluations");
    std::string names;
    for (const auto& [name, batches] : files) {
      if (name == keep_best) return;
      names += (names.empty() ? "" : ", ") + name;
    }
    if (!keep_best.empty())
      fail("keep-best: expected the name of an evaluation (", names.empty() ? "there are none" : names,
           "), found \"", keep_best, "\"");
  }
};

/// Evaluates a run before its first step, after every n-th and after the last. Which files have been
/// evaluated at the present step is read off the log, so a run that was stopped in between goes on with the
/// next one.
template <class Model>
class RunEvaluations {
 public:
  /// Appends to the log at `log`.
  RunEvaluations(Trainer<Model>& trainer, const EvaluationFiles& files, const std::filesystem::path& log,
                 const EvaluationPlan& plan)
      : trainer_(trainer), files_(files), log_(log), plan_(plan) {
    plan.check(files);
    while (decides_ < files.size() && !plan.keep_best.empty() && files[decides_].first != plan.keep_best)
      ++decides_;
  }

  /// Cuts the log back to `length` bytes, where the trainer stands. `best`: of the evaluations before.
  void resume(Index length, const std::optional<BestStep>& best) {
    log_.truncate_to(length);
    best_ = best;
    step_ = trainer_.state().step;
    done_ = 0;
    without_gain_ = 0;
    Json name;  // as a line has it: it may be no UTF-8
    if (decides_ < files_.size()) name = parse_json(dump_json_line(files_[decides_].first), "the name");
    std::ifstream lines(log_.path());
    for (std::string text; std::getline(lines, text);) {
      const Json line = parse_json(text, log_.path().string());
      if (!line.is_object()) continue;
      const std::optional<Index> step = exact_integer(line.value("step", Json()));
      if (step == step_) ++done_;
      const bool decides = line.value("name", Json()) == name;
      if (best && decides && step && *step > best->step) ++without_gain_;
    }
  }

  LineLog& log() { return log_; }
  const std::optional<BestStep>& best() const { return best_; }
  /// Whether the model as it is now is the best so far.
  bool is_best() const { return best_ && best_->step == trainer_.state().step; }

  /// Whether the run has gone on for as long as `patience` allows since the best step.
  bool patience_is_over() const { return plan_.patience > 0 && without_gain_ >= plan_.patience; }
  /// "new has gained nothing in 3 evaluations; the best was step 200 (kept as RUN/best), loss 2.3456".
  std::string want_of_gain() const {
    const BestStep best = best_.value_or(BestStep());
    char loss[32];
    std::snprintf(loss, sizeof loss, "%.4f", best.loss);
    return text(files_[decides_].first, " has gained nothing in ", without_gain_,
                without_gain_ == 1 ? " evaluation" : " evaluations", "; the best was step ", best.step,
                best.step > 0 ? " (kept as " + (log_.path().parent_path() / "best").string() + ")" : "",
                ", loss ", loss);
  }

  /// Whether there is something to evaluate before the next step.
  bool pending() const {
    const Index step = trainer_.state().step;
    const bool due = step == 0 || trainer_.done() || (plan_.every > 0 && step % plan_.every == 0);
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
        const auto each = [&, &name = name](Index batch, Index all) {
          if (interrupt.requested() && batch < all) throw Stopped();
          progress.show_evaluation(name, batch, all);
        };
        if (interrupt.requested()) return;
        record(name, batches, evaluate(trainer_.model(), batches, trainer_.options().batch, each), progress);
      }
    } catch (const Stopped&) {
    }
  }

 private:
  void record(const std::string& name, const EvaluationBatches& batches, const LossSum& loss,
              StepProgress& progress) {
    Json line;
    line["step"] = step_;
    line["name"] = name;
    line["loss"] = loss.mean();
    line["perplexity"] = std::exp(loss.mean());
    line["tokens"] = loss.count;
    std::string bits;
    if (const std::optional<double> per_byte = batches.bits_per_byte(loss.mean())) {
      line["bits_per_byte"] = *per_byte;
      char number[32];
      std::snprintf(number, sizeof number, "  bits/byte %.4f", *per_byte);
      bits = number;
    }
    log_.append(dump_json_line(line) + "\n");
    progress.end_line();
    std::fprintf(stderr, "step %lld  %s: loss %.4f  perplexity %.3f%s\n", static_cast<long long>(step_),
                 name.c_str(), loss.mean(), std::exp(loss.mean()), bits.c_str());
    if (done_ != decides_) return;
    if (!best_ || loss.mean() < best_->loss) {
      best_ = BestStep{step_, loss.mean()};
      without_gain_ = 0;
    } else {
      ++without_gain_;
    }
  }

  Trainer<Model>& trainer_;
  const EvaluationFiles& files_;
  LineLog log_;
  EvaluationPlan plan_;
  std::size_t decides_ = 0;  ///< the file whose loss says which model is best
  Index without_gain_ = 0;   ///< evaluations since that one
  Index step_ = -1;          ///< the last one that was evaluated at
  std::size_t done_ = 0;     ///< files evaluated at it
  std::optional<BestStep> best_;
};

}  // namespace midus
