// A whole training run: log, evaluations, checkpoints, Ctrl-C, resume.
#pragma once

#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "midus/train/beyond_memory.hpp"
#include "midus/train/checkpoint.hpp"
#include "midus/train/interrupt.hpp"
#include "midus/train/replaced_run.hpp"
#include "midus/train/run_card.hpp"
#include "midus/train/run_checkpoints.hpp"
#include "midus/train/run_directory.hpp"
#include "midus/train/run_estimate.hpp"
#include "midus/train/run_evaluations.hpp"

namespace midus {

/// What a run does beside its steps. A run is a directory: `log.jsonl` (a line a step) and `log.csv`,
/// `evaluations.jsonl`, `step-N` (training checkpoints), `best` (a link to the best of them), `final` (the
/// model). What becomes of it on every signal and fault: docs/running.md.
struct RunOptions {
  std::filesystem::path directory;
  std::filesystem::path like{};  ///< the model directory whose config.json and tokenizer files are taken over
  std::optional<Dtype> dtype{};  ///< of the weights in `final`; left out: `like`'s, or the device's scalar
  /// Start again where the directory holds a run: that one is set aside, and removed once the new one has a
  /// checkpoint. (A run that ended before its first checkpoint is started again in any case.)
  bool replace = false;
  EvaluationFiles evaluations{};  ///< by name
  EvaluationPlan evaluation_plan{};
  CheckpointPlan checkpoints{};
  std::string resume_command{};  ///< what to say when interrupted
};

/// Runs a trainer to its end, or until it is asked to stop (`Interrupt`); goes on from `checkpoint` where one
/// is given (the trainer's model must have been loaded from it). Returns 0, or 128 + the signal that stopped
/// the run. Throws `Error` where the run cannot go on; the steps that were done have a checkpoint then.
template <class Model>
class Run {
 public:
  Run(Trainer<Model>& trainer, RunOptions options) : trainer_(trainer), options_(std::move(options)) {
    options_.evaluation_plan.check(options_.evaluations);
    for (const auto& [name, value] : {std::pair{"checkpoints.every", options_.checkpoints.every},
                                      {"checkpoints.keep_last", options_.checkpoints.keep_last},
                                      {"checkpoints.keep_every", options_.checkpoints.keep_every}})
      if (value < 0) fail(name, " must be at least 0, found ", value);
    if (!(options_.checkpoints.minutes >= 0))
      fail("checkpoints.minutes must be at least 0, found ", options_.checkpoints.minutes);
  }

  int operator()(const std::optional<std::filesystem::path>& checkpoint = std::nullopt) {
    const double memory = run_memory(trainer_).all();
    if (const std::string beyond = beyond_memory(memory); !beyond.empty())
      fail("the run needs ", memory_text(memory), ", ", beyond);
    std::error_code error;
    if (std::filesystem::exists(options_.directory / "config.json", error))
      fail(options_.directory.string(), " is a model's directory; choose another for the run");
    like_ = options_.like;
    inputs_ = inputs();
    make_directories(options_.directory);
    const RunLock lock(options_.directory);
    if (!lock.warning().empty()) warn(lock.warning());
    repair_run(options_.directory);
    const Interrupt interrupt;  // from here on a signal leaves what can be gone on with
    const bool replaces = !checkpoint && make_way();
    try {
      if (!checkpoint) rehearse_checkpoint(trainer_, options_.directory, like_, inputs_);
      return run(checkpoint, interrupt);
    } catch (...) {
      if (replaces && !has_result()) {  // as if it had not been tried
        remove_run_without_result(options_.directory);
        settle_replaced_run(options_.directory);
      }
      throw;
    }
  }

 private:
  std::filesystem::path final() const { return options_.directory / "final"; }

  /// Whether `final` was written after this checkpoint: patience may have ended the run before it, too.
  bool final_is_of(const std::optional<std::filesystem::path>& checkpoint) const {
    std::error_code error, none;
    const auto written = std::filesystem::last_write_time(final() / "config.json", error);
    return checkpoint && !error &&
           written >= std::filesystem::last_write_time(*checkpoint / "trainer.json", none);
  }

  /// Whether the directory holds a checkpoint of a step that was done.
  bool has_result() const {
    const auto all = training_checkpoints(options_.directory);
    return !all.empty() && all.back().first > 0;
  }

  /// Sets the run that is in the directory aside; whether there was one.
  bool make_way() {
    const std::filesystem::path& directory = options_.directory;
    give_up_replacement(directory);
    if (!holds_run(directory)) return false;
    if (holds_run_without_result(directory)) {
      remove_run_without_result(directory);
      return false;
    }
    if (!options_.replace)
      fail(directory.string(), " holds a run already; go on with it, replace it, or choose another");
    if (lies_in(options_.like, directory))
      fail(options_.like.string(), " lies in the run that would be replaced, ", directory.string(),
           "; choose another directory");
    if (const std::string reason = why_not_replace(final(), options_.like); !reason.empty()) fail(reason);
    set_aside_run(directory);
    return true;
  }

  int run(const std::optional<std::filesystem::path>& checkpoint, const Interrupt& interrupt) {
    StepLog log(options_.directory / "log.jsonl");
    RunEvaluations<Model> evaluations(trainer_, options_.evaluations,
                                      options_.directory / "evaluations.jsonl", options_.evaluation_plan);
    RunCheckpoints<Model> checkpoints(trainer_, log, evaluations, options_.directory, like_, inputs_,
                                      options_.checkpoints);
    std::error_code error;
    if (checkpoint) {
      resume(*checkpoint, log, evaluations);
      checkpoints.resumed();
      rehearse_checkpoint(trainer_, options_.directory, like_, inputs_);
      std::filesystem::remove_all(options_.directory / detail::rehearsal_name, error);
    } else {
      log.truncate_to(0);
      evaluations.resume(0, std::nullopt);
    }
    if (over(evaluations)) {
      if (trainer_.done())
        std::fprintf(stderr, "all %lld steps are done already\n",
                     static_cast<long long>(trainer_.options().steps));
      else
        std::fprintf(stderr, "the run has ended already: %s\n", evaluations.want_of_gain().c_str());
      if (final_is_of(checkpoint) && !options_.dtype && !evaluations.pending()) return 0;
    }
    if (const std::string reason = why_not_replace(final(), options_.like); !reason.empty()) fail(reason);
    StepProgress progress(trainer_.options().steps);
    if (!over(evaluations)) trainer_.set_peak(measure_peak(trainer_.model().device()));
    loop(log, evaluations, checkpoints, progress, interrupt);
    progress.end_line();
    if (interrupt.requested() && (!over(evaluations) || evaluations.pending())) {
      std::fprintf(stderr, "stopped after step %lld; go on with: %s\n",
                   static_cast<long long>(trainer_.state().step), options_.resume_command.c_str());
      return interrupt.exit_code();
    }
    if (!trainer_.done())
      std::fprintf(stderr, "ended after step %lld: %s\n", static_cast<long long>(trainer_.state().step),
                   evaluations.want_of_gain().c_str());
    try {
      export_csv(log.path(), options_.directory / "log.csv");
    } catch (const Error& failure) {
      warn(failure.what());
    }
    save(trainer_.model(), final(),
         {.like = like_,
          .dtype = options_.dtype,
          .card = model_card(trainer_, like_, inputs_),
          .force = true});
    std::fprintf(stderr, "wrote %s\n", final().c_str());
    return 0;
  }

  /// Whether there are no more steps to do.
  bool over(const RunEvaluations<Model>& evaluations) const {
    return trainer_.done() || evaluations.patience_is_over();
  }

  /// Steps, evaluations and checkpoints, to the end or until `interrupt` is requested: then what stands has a
  /// checkpoint.
  void loop(StepLog& log, RunEvaluations<Model>& evaluations, RunCheckpoints<Model>& checkpoints,
            StepProgress& progress, const Interrupt& interrupt) {
    std::optional<StepRecord> unlogged;  // of a step that is done
    const auto work = [&](auto&& part) {
      try {
        part();
      } catch (const std::exception& error) {
        progress.end_line();
        std::string kept;
        try {  // the state is that of the last step
          if (unlogged) log.append(*unlogged);
          if (trainer_.state().step > 0) checkpoints.write_beside_older();
          if (checkpoints.written()) kept = "\nThe steps before are kept in " + checkpoints.path().string();
        } catch (const std::exception& second) {
          kept = text("\nNor can the steps since the last checkpoint be kept: ", sentence_of(second));
        }
        fail(sentence_of(error), kept);
      }
    };
    for (;;) {
      // First the checkpoint, then an evaluation, which may take long.
      const bool step_done = trainer_.state().step > 0;
      if (step_done && (checkpoints.due() || trainer_.done() || interrupt.requested())) checkpoints.write();
      if (evaluations.pending()) {
        work([&] { evaluations(progress, interrupt); });
        checkpoints.note_evaluation();
      }
      const bool end = interrupt.requested() || over(evaluations);
      if (end) checkpoints.write();
      if (end) return;
      work([&] {
        unlogged = trainer_.step();
        if (unlogged->peak_share > 1)
          trainer_.set_peak(
              raised_peak(trainer_.peak(), unlogged->peak_share, measure_peak(trainer_.model().device())));
        log.append(*unlogged);
        progress.show(*std::exchange(unlogged, std::nullopt));
      });
    }
  }

  /// Brings trainer, log and evaluations to where `checkpoint` stands.
  void resume(const std::filesystem::path& checkpoint, StepLog& log, RunEvaluations<Model>& evaluations) {
    const Resumed resumed = restore_checkpoint(trainer_, checkpoint);
    check_inputs(resumed.inputs, checkpoint);
    log.truncate_to(resumed.logs.steps);
    evaluations.resume(resumed.logs.evaluations, resumed.best);
    for (const std::string& warning : resumed.warnings) warn(warning);
    for (const auto& [step, path] : step_directories(options_.directory))
      if (step > trainer_.state().step && !is_checkpoint(path))
        warn(path.string() + " has no trainer.json: it is half a checkpoint, and is passed over");
    std::fprintf(stderr, "resumed at step %lld from %s\n", static_cast<long long>(trainer_.state().step),
                 checkpoint.c_str());
  }

  /// What the run reads beside its data, whose files the trainer's batches know.
  Json inputs() const {
    Json json = Json::object();
    if (like_) json["model"] = {{"name", like_.directory().string()}, {"sha256", like_.config_digest()}};
    json["evaluations"] = Json::array();
    for (const auto& [name, batches] : options_.evaluations) {
      json["evaluations"].push_back({{"name", name}, {"sha256", to_hex(batches.file().sha256())}});
      if (batches.predicted() < batches.file().size() - 1)
        json["evaluations"].back()["limit"] = batches.predicted();
    }
    if (!options_.evaluations.empty())
      json["keep_best"] = options_.evaluation_plan.keep_best.empty() ? options_.evaluations.front().first
                                                                     : options_.evaluation_plan.keep_best;
    return json;
  }

  /// Throws where this continuation starts from another model than the run, or evaluates on other files: its
  /// best step would mean something else.
  void check_inputs(const Json& before, const std::filesystem::path& checkpoint) const {
    const JsonObject run(before, (checkpoint / "trainer.json").string(), "inputs");
    const std::string name = run.has("model") ? run.object("model").string("name") : "no model";
    const std::string hash = run.has("model") ? run.object("model").string("sha256") : "";
    if (hash != (inputs_.contains("model") ? inputs_["model"]["sha256"].get<std::string>() : ""))
      fail(checkpoint.string(), ": the run started from ", name, ", whose config.json is not that of ",
           options_.like.string(), "; give the model of the run");
    const Json evaluations = before.value("evaluations", Json::array());
    // As they stand in a file: names may be no UTF-8.
    const Json written = parse_json(dump_json_line(inputs_), "inputs");
    const std::string was = evaluated_text(evaluations), now = evaluated_text(written["evaluations"]);
    if (was != now)
      fail(checkpoint.string(), ": the run evaluates on ", was, "; this continuation on ", now,
           "; give the same files, names and limit");
    if (before.contains("keep_best") && before["keep_best"] != written.value("keep_best", Json()))
      fail(checkpoint.string(), ": the run keeps what is best on ", found_text(before["keep_best"]),
           ", this continuation on ", found_text(written.value("keep_best", Json())),
           "; give the same --keep-best");
  }

  /// "new (SHA-256 7bb369d5ab449788, the first 4096 tokens), old (SHA-256 ...)".
  static std::string evaluated_text(const Json& evaluations) {
    std::string out;
    for (const Json& file : evaluations) {
      if (!file.is_object()) continue;
      const auto text_of = [&](const char* key) {
        return file.contains(key) && file[key].is_string() ? file[key].get<std::string>() : "?";
      };
      out += (out.empty() ? "" : ", ") + text_of("name") + " (SHA-256 " + text_of("sha256").substr(0, 16);
      if (file.contains("limit")) out += ", the first " + found_text(file["limit"]) + " tokens";
      out += ")";
    }
    return out.empty() ? "nothing" : out;
  }

  Trainer<Model>& trainer_;
  RunOptions options_;
  Like like_;
  Json inputs_;
};

}  // namespace midus
