// A whole training run: log, evaluations, checkpoints, Ctrl-C, resume.
#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "midus/train/checkpoint.hpp"
#include "midus/train/interrupt.hpp"
#include "midus/train/run_directory.hpp"

namespace midus {

/// What a run does beside its steps. A run is a directory: `log.jsonl` (a line a step) and `log.csv`,
/// `evaluations.jsonl`, `step-N` (training checkpoints), `best` (a link to the best of them), `final` (the
/// model).
struct RunOptions {
  std::filesystem::path directory;
  std::filesystem::path like{};  ///< the model directory whose config.json and tokenizer files are taken over
  std::optional<Dtype> dtype{};  ///< of the weights in `final`; left out: `like`'s, or the device's scalar
  bool replace = false;          ///< start again where the directory holds a run: that one is removed
  std::vector<std::pair<std::string, EvaluationBatches>>
      evaluations{};             ///< by name; the first decides which is best
  Index evaluate_every = 0;      ///< steps; 0: only before the first and after the last
  Index checkpoint_every = 0;    ///< steps; 0: only at the end, and when interrupted
  Index keep_last = 2;           ///< checkpoints
  Index keep_every = 0;          ///< also keep those whose step is a multiple; 0: none
  std::string resume_command{};  ///< what to say when interrupted
};

/// What a training run takes in memory, in bytes.
struct RunMemory {
  double weights = 0, gradients_and_moments = 0, activations = 0;
  double all() const { return weights + gradients_and_moments + activations; }
};

/// Measures what a run of this trainer will take; nothing is computed.
template <class Model>
RunMemory run_memory(Trainer<Model>& trainer) {
  using S = typename Model::Scalar;
  Index stored = 0, trained = 0;
  trainer.model().visit([&](const Path&, const auto& parameter) {
    stored += parameter.shape.size() * static_cast<Index>(parameter.value.is_bfloat16() ? 2 : sizeof(S));
    trained += parameter.frozen() ? 0 : parameter.shape.size();
  });
  return {static_cast<double>(stored), 3.0 * sizeof(S) * static_cast<double>(trained),
          static_cast<double>(trainer.activation_bytes())};
}

/// The machine's peak after a step that reached `share` > 1 of it: the processor was busy with something else
/// when `peak` was measured. At least what the step reached, or what is measured now.
inline double raised_peak(double peak, double share, double measured) {
  return std::max(measured, share * peak);
}

/// Runs a trainer to its end, or to Ctrl-C; goes on from `checkpoint` where one is given (the trainer's model
/// must have been loaded from it). Returns 0, or 128 + the signal that stopped the run.
template <class Model>
class Run {
 public:
  Run(Trainer<Model>& trainer, RunOptions options) : trainer_(trainer), options_(std::move(options)) {
    for (const auto& [name, value] : {std::pair{"evaluate_every", options_.evaluate_every},
                                      {"checkpoint_every", options_.checkpoint_every},
                                      {"keep_last", options_.keep_last},
                                      {"keep_every", options_.keep_every}})
      if (value < 0) fail(name, " must be at least 0, found ", value);
  }

  int operator()(const std::optional<std::filesystem::path>& checkpoint = std::nullopt) {
    const double memory = run_memory(trainer_).all();
    if (const std::string beyond = beyond_memory(memory); !beyond.empty())
      fail("the run needs ", memory_text(memory), ", ", beyond);
    if (std::filesystem::exists(options_.directory / "config.json"))
      fail(options_.directory.string(), " is a model's directory; choose another for the run");
    make_directories(options_.directory);
    const RunLock lock(options_.directory);
    if (!checkpoint && holds_run(options_.directory)) {
      if (!options_.replace)
        fail(options_.directory.string(),
             " holds a run already; go on with it, replace it, or choose another");
      if (lies_in(options_.like, options_.directory))
        fail(options_.like.string(), " lies in the run that would be replaced, ", options_.directory.string(),
             "; choose another directory");
      remove_run(options_.directory);
    }
    StepLog log(options_.directory / "log.jsonl");
    LineLog evaluations(options_.directory / "evaluations.jsonl");
    inputs_ = inputs();
    LogLengths lengths;
    if (checkpoint) {
      const Resumed resumed = restore_checkpoint(trainer_, *checkpoint);
      check_inputs(resumed.inputs, *checkpoint);
      lengths = resumed.logs;
      best_ = resumed.best;
      for (const std::string& warning : resumed.warnings)
        std::fprintf(stderr, "warning: %s\n", warning.c_str());
      std::fprintf(stderr, "resumed at step %lld from %s\n", static_cast<long long>(trainer_.state().step),
                   checkpoint->c_str());
    }
    log.truncate_to(lengths.steps);
    evaluations.truncate_to(lengths.evaluations);
    const std::filesystem::path final = options_.directory / "final";
    if (trainer_.done()) {
      std::fprintf(stderr, "all %lld steps are done already\n",
                   static_cast<long long>(trainer_.options().steps));
      if (std::filesystem::exists(final) && !options_.dtype) return 0;
    }

    trainer_.set_peak(measure_peak(trainer_.model().device()));
    StepProgress progress(trainer_.options().steps);
    const Interrupt interrupt;
    if (trainer_.state().step == 0) evaluate_all(progress, evaluations);
    for (bool stop = false; !stop;) {
      const std::optional<StepRecord> record = trainer_.step();
      if (!record) break;
      if (record->peak_share > 1) measure_peak_again(record->peak_share);
      log.append(*record);
      progress.show(*record);
      if (due(options_.evaluate_every) || trainer_.done()) evaluate_all(progress, evaluations);
      stop = trainer_.done() || interrupt.requested();
      const bool best = best_ && best_->step == record->step;
      if (due(options_.checkpoint_every) || best || stop) checkpoint_now(log, evaluations);
    }
    progress.end_line();
    if (interrupt.requested() && !trainer_.done()) {
      std::fprintf(stderr, "stopped after step %lld; go on with: %s\n",
                   static_cast<long long>(trainer_.state().step), options_.resume_command.c_str());
      return interrupt.exit_code();
    }
    export_csv(log.path(), options_.directory / "log.csv");
    save(trainer_.model(), final, {.like = options_.like, .dtype = options_.dtype, .force = true});
    std::fprintf(stderr, "wrote %s\n", final.c_str());
    return 0;
  }

 private:
  bool due(Index every) const { return every > 0 && trainer_.state().step % every == 0; }

  void measure_peak_again(double share) {
    trainer_.set_peak(raised_peak(trainer_.peak(), share, measure_peak(trainer_.model().device())));
  }

  void evaluate_all(StepProgress& progress, LineLog& log) {
    for (std::size_t i = 0; i < options_.evaluations.size(); ++i) {
      const auto& [name, batches] = options_.evaluations[i];
      const LossSum loss = evaluate(trainer_.model(), batches, trainer_.options().batch);
      Json line;
      line["step"] = trainer_.state().step;
      line["name"] = name;
      line["loss"] = loss.mean();
      line["perplexity"] = std::exp(loss.mean());
      line["tokens"] = loss.count;
      log.append(line.dump() + "\n");
      progress.end_line();
      std::fprintf(stderr, "step %lld  %s: loss %.4f  perplexity %.3f\n",
                   static_cast<long long>(trainer_.state().step), name.c_str(), loss.mean(),
                   std::exp(loss.mean()));
      if (i == 0 && (!best_ || loss.mean() < best_->loss))
        best_ = BestStep{trainer_.state().step, loss.mean()};
    }
  }

  void checkpoint_now(StepLog& log, LineLog& evaluations) {
    log.sync();
    evaluations.sync();
    const LogLengths lengths{log.length(), evaluations.length()};
    save_checkpoint(trainer_, options_.directory, lengths, best_, options_.like, inputs_);
    const Index step = trainer_.state().step;
    if (best_ && best_->step == step) {
      const auto link = options_.directory / "best", temporary = options_.directory / "best.tmp";
      std::error_code error;
      std::filesystem::remove(temporary, error);
      std::filesystem::create_directory_symlink(detail::step_directory(".", step).filename(), temporary);
      std::filesystem::rename(temporary, link);
    }
    remove_old();
  }

  /// Older checkpoints, and what a crash left of one, go only now, when the new one is on disk.
  void remove_old() const {
    clear_leftovers(options_.directory, [](std::string_view name) { return name.starts_with("step-"); });
    const auto all = training_checkpoints(options_.directory);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto& [step, path] = all[i];
      const bool last = static_cast<Index>(all.size() - i) <= std::max<Index>(options_.keep_last, 1);
      const bool nth = options_.keep_every > 0 && step % options_.keep_every == 0;
      const bool best = best_ && best_->step == step;
      if (!last && !nth && !best) std::filesystem::remove_all(path);
    }
  }

  /// What the run reads beside its data, whose files the trainer's batches know.
  Json inputs() const {
    Json json = Json::object();
    if (!options_.like.empty())
      json["model"] = {{"name", options_.like.string()},
                       {"sha256", to_hex(sha256_file(options_.like / "config.json"))}};
    json["evaluations"] = Json::array();
    for (const auto& [name, batches] : options_.evaluations)
      json["evaluations"].push_back({{"name", name}, {"sha256", to_hex(batches.file().sha256())}});
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
    const Json evaluations = before.value("evaluations", Json());
    if (evaluations != inputs_["evaluations"])
      fail(checkpoint.string(), ": the run evaluates on ", found_text(evaluations), ", this continuation on ",
           inputs_["evaluations"].dump(), "; give the same files and names");
  }

  Trainer<Model>& trainer_;
  RunOptions options_;
  Json inputs_;
  std::optional<BestStep> best_;
};

/// What trains, a line for each tensor and a last one with the numbers; blocks of the same kind share a line:
/// "trains model.layers.{2,3}.mlp.up_proj.weight [352, 128]".
template <class Model>
std::string describe_trained(const Model& model) {
  struct Line {
    std::string before, indices, after;
    bool operator==(const Line& other) const { return before == other.before && after == other.after; }
  };
  std::vector<Line> lines;
  Index trained = 0, parameters = 0;
  model.visit([&](const Path& path, const auto& parameter) {
    parameters += parameter.shape.size();
    if (parameter.frozen()) return;
    trained += parameter.shape.size();
    const std::string name = path.str() + " " + to_string(parameter.shape);
    const std::size_t digits = name.find_first_of("0123456789"), dot = name.find('.', digits);
    Line line{name, "", ""};  // "model.norm.weight [128]" has digits, but no point after them
    if (dot != name.npos)
      line = {name.substr(0, digits), name.substr(digits, dot - digits), name.substr(dot)};
    const auto same = std::find(lines.begin(), lines.end(), line);
    if (same == lines.end())
      lines.push_back(line);
    else
      same->indices += "," + line.indices;
  });
  std::string out;
  for (const Line& line : lines) {
    const bool several = line.indices.find(',') != line.indices.npos;
    out +=
        text("trains ", line.before, several ? "{" : "", line.indices, several ? "}" : "", line.after, "\n");
  }
  return out + text("trains ", trained, " of ", parameters, " parameters\n");
}

/// Says, before anything starts, what a run will take: memory, steps, time.
template <class Model>
std::string describe_run(Trainer<Model>& trainer, double available = machine_memory()) {
  const RunMemory memory = run_memory(trainer);
  const TrainOptions& options = trainer.options();
  const double tokens = static_cast<double>(options.batch * options.length * options.accumulate);
  const double peak = measure_peak(trainer.model().device());
  const double seconds =
      tokens * static_cast<double>(options.steps) * trainer.flops_per_token() / (0.45 * peak);
  char gigaflops[32];
  std::snprintf(gigaflops, sizeof gigaflops, "%.1f", peak / 1e9);
  const std::string beyond = beyond_memory(memory.all(), available);
  return text(describe_trained(trainer.model()), "memory       ", memory_text(memory.all()), ": weights ",
              memory_text(memory.weights), ", gradients and moments ",
              memory_text(memory.gradients_and_moments), ", activations ", memory_text(memory.activations),
              "\n", beyond.empty() ? "" : "             " + beyond + "\n", "steps        ", options.steps,
              " of ", static_cast<Index>(tokens), " tokens\n", "time         about ", duration_text(seconds),
              " at 45 % of the machine's ", gigaflops, " GFLOP/s\n");
}

}  // namespace midus
