// What `pretrain` and `cpt` share: the options of a run.
#pragma once

#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common.hpp"

/// The options of a training run, and what they make.
struct TrainingArguments {
  std::vector<std::string> data, evaluations, rate_scales, clips;
  std::string out, decay = "cosine";
  midus::Dtype store_frozen = midus::Dtype::f32;
  std::optional<midus::Index> length;
  midus::Index eval_limit = 0;
  midus::TrainOptions train;
  midus::AdamW adamw;
  midus::RunOptions run;
  int threads = 0;
  bool resume = false, force = false, dry_run = false;

  void add_to(CLI::App& app) {
    app.add_option("--data", data, "Token files to train on, each FILE or FILE=WEIGHT (shares of a mix)")
        ->required();
    app.add_option("--eval", evaluations, "Token files to evaluate on, each as NAME=FILE");
    add_number(app, "--eval-limit", eval_limit,
               "Evaluate on so many of each file's first tokens only; 0: on all", 0);
    app.add_option("--out", out, "The run's directory: log, checkpoints, and the model in OUT/final")
        ->required();
    add_number(app, "--steps", train.steps,
               "Updates. The schedule ends with them, so a run cannot be made longer later: start another "
               "from OUT/final",
               1);
    add_number(app, "--batch", train.batch, "Windows of a micro-batch", 1);
    add_number(app, "--length", length,
               "Tokens of a window (default: 256, or the positions that the model knows)", 1);
    add_number(app, "--accumulate", train.accumulate, "Micro-batches of an update", 1);
    add_number(
        app, "--learning-rate", adamw.learning_rate,
        "Peak of the schedule. New blocks learn best at about 3e-3; the default is for trained weights", 0,
        midus::AdamW::most);
    add_number(app, "--warmup", train.schedule.warmup, "Steps of linear warm-up", 0);
    app.add_option("--decay", decay, "How the rate falls: cosine, linear or 1-sqrt")->capture_default_str();
    add_number(app, "--decay-steps", train.schedule.decay_steps,
               "Steps of the fall; the rate is constant before it (-1: all after the warm-up)", -1);
    add_number(app, "--floor", train.schedule.floor, "Share of the peak at which the fall ends", 0, 1);
    add_number(app, "--weight-decay", adamw.weight_decay, "Decoupled; norms and memory values have none", 0,
               midus::AdamW::most);
    constexpr double most = midus::AdamW::largest_beta;
    add_number(app, "--beta1", adamw.beta1, "Decay of the mean of the gradients", 0, most);
    add_number(app, "--beta2", adamw.beta2, "Decay of the mean of their squares", 0, most);
    add_number(app, "--epsilon", adamw.epsilon, "Added to the root of the mean of the squares",
               midus::AdamW::least, midus::AdamW::most);
    add_number(app, "--clip", adamw.clip, "Largest global gradient norm; 0: no clipping", 0,
               std::numeric_limits<double>::infinity());
    app.add_option("--rate-scale", rate_scales,
                   "PATTERN=X: these parameters learn at X times the rate. New memories want "
                   "'*.memory.values=20' or so: their values start at zero");
    app.add_option("--group-clip", clips, "PATTERN=X: these parameters are clipped on their own, at norm X");
    add_seed(app, train.seed, "Seed of the order of the data, and of a new model's weights");
    add_dtype(
        app, "--dtype", run.dtype,
        "Type of the weights in OUT/final (default: as the config.json says; checkpoints keep all bits)");
    app.add_flag("--checkpointing", train.checkpointing,
                 "Keep only the blocks' inputs: less memory, more work");
    add_number(app, "--evaluate-every", run.evaluation_plan.every,
               "Steps between evaluations; 0: only before the first step and after the last", 0);
    app.add_option("--keep-best", run.evaluation_plan.keep_best,
                   "The NAME of the evaluation by whose loss the best checkpoint is kept, as OUT/best "
                   "(default: the first)");
    add_number(
        app, "--patience", run.evaluation_plan.patience,
        "End the run after so many evaluations without a lower loss on the file of --keep-best; 0: never", 0);
    add_number(app, "--checkpoint-every", run.checkpoints.every,
               "Steps between checkpoints; 0: by --checkpoint-minutes", 0);
    add_number(app, "--checkpoint-minutes", run.checkpoints.minutes,
               "Where --checkpoint-every is 0: at least so often; 0: only at the end, and when stopped", 0);
    add_number(app, "--keep-last", run.checkpoints.keep_last, "Checkpoints to keep", 0);
    add_number(app, "--keep-every", run.checkpoints.keep_every,
               "Keep every checkpoint at a multiple of this step too; 0: none", 0);
    add_threads(app, threads);
    app.add_flag("--resume", resume,
                 "Go on from the newest checkpoint in OUT; start where OUT holds nothing of a run");
    app.add_flag(
        "--force", force,
        "Start again where OUT has a run already, which is removed once the new one has a checkpoint");
    app.add_flag("--dry-run", dry_run, "Say what memory, steps and time the run takes, and stop");
  }

  /// The checkpoint to go on from. Throws where OUT holds a run and neither --resume nor --force is given,
  /// where --resume would lose what is there, and where a token file cannot be read: a model may take minutes
  /// to load. What --force replaces stays until the new run has a checkpoint.
  std::optional<std::filesystem::path> checkpoint() {
    for (const std::string& given : data) midus::TokenFile{file_and_weight(given).first};
    for (const std::string& given : evaluations)
      midus::TokenFile{name_and_value("--eval", given, "NAME=FILE").second};
    run.directory = out;
    run.replace = force;
    std::error_code error;
    if (std::filesystem::is_directory(out, error) && !dry_run) {
      const midus::RunLock lock(out);
      midus::repair_run(out);
      midus::give_up_replacement(out);
    }
    if (resume) {
      if (const auto newest = midus::newest_checkpoint(out)) return newest;
      if (const std::string reason = midus::why_not_resume(out); !force && !reason.empty())
        midus::fail(reason);
    } else if (midus::holds_run(out) && !force && !dry_run) {
      midus::fail(out, " holds a run already: give --resume to go on with it, or --force to start again");
    }
    return std::nullopt;
  }

  /// Does what starts from `checkpoint`; where that is broken, says how to go on from the one before it.
  template <class Work>
  int start(const std::optional<std::filesystem::path>& checkpoint, Work&& work) const {
    try {
      return work();
    } catch (const midus::Error& error) {
      const std::string what = error.what();
      const auto all = midus::training_checkpoints(out);
      // A file in it is broken, and it is not that another command goes on with it.
      const bool broken = checkpoint && what.find((*checkpoint / "").string()) != what.npos &&
                          what.find("give the same") == what.npos;
      if (!broken || all.size() < 2) throw;
      midus::fail(what, "\nThe checkpoint before it is ", all[all.size() - 2].second.string(), ": remove ",
                  checkpoint->string(), " to go on from there");
    }
  }

  /// Trains a model from `checkpoint` on, or says what that would take.
  template <class Model>
  int operator()(Model& model, const std::optional<std::filesystem::path>& checkpoint, int argc,
                 char** argv) {
    train.schedule.decay = midus::decay_from_name(decay);
    const auto group = [&](const std::string& pattern) -> midus::ParameterGroup& {
      for (auto& [known, settings] : adamw.groups)
        if (known == pattern) return settings;
      return adamw.groups.emplace_back(pattern, midus::ParameterGroup{}).second;
    };
    for (const std::string& given : rate_scales) {
      const auto [pattern, value] = name_and_value("--rate-scale", given, "PATTERN=X");
      group(pattern).rate_scale = number("--rate-scale", value);
    }
    for (const std::string& given : clips) {
      const auto [pattern, value] = name_and_value("--group-clip", given, "PATTERN=X");
      group(pattern).clip = number("--group-clip", value);
    }
    train.length = window_length(length, train.length, model.settings().max_position_embeddings);
    std::vector<midus::DataSource> sources;
    for (const std::string& given : data) {
      const auto [file, weight] = file_and_weight(given);
      sources.emplace_back(open_tokens(file, run.like, Model::Shape::vocab_size), weight);
    }
    run.evaluations =
        open_evaluations("--eval", evaluations, run.like, Model::Shape::vocab_size, train.length, eval_limit);
    if (store_frozen == midus::Dtype::bf16) model.store_as_bfloat16();
    for (int i = 0; i < argc; ++i) {
      run.resume_command += (i > 0 ? " " : "") + midus::shell_quoted(argv[i]);
      if (i == 0 && !resume) run.resume_command += " --resume";  // before a "--"
    }

    midus::Trainer trainer(model, adamw, std::move(sources), train);
    if (dry_run) {
      std::printf("%s", midus::describe_run(trainer).c_str());
      return 0;
    }
    std::fprintf(stderr, "%s", midus::describe_trained(model).c_str());
    return midus::Run(trainer, std::move(run))(checkpoint);
  }

 private:
  static double number(const std::string& option, const std::string& given) {
    return command_line::read_number<double>(option, given, std::numeric_limits<double>::lowest(),
                                             std::numeric_limits<double>::max());
  }

  /// FILE or FILE=WEIGHT.
  static std::pair<std::string, double> file_and_weight(const std::string& given) {
    const std::size_t equals = midus::may_exist(given) ? given.npos : given.rfind('=');
    if (equals == given.npos) return {given, 1};
    return {given.substr(0, equals), number("--data's WEIGHT in FILE=WEIGHT", given.substr(equals + 1))};
  }
};
