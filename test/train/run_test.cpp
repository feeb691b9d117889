// Runs: exact resume from any step, logs, which checkpoints are kept, and what a continuation must not
// change.
#include "midus/train/run.hpp"

#include <csignal>

#include "midus/midus.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

using Config = SmallHive;
using Model = LanguageModel<Config, Cpu<float>>;

struct Settings {
  AdamW adamw{.learning_rate = 0.01, .groups = {{"*.memory.values", {.rate_scale = 20, .clip = 0.5}}}};
  TrainOptions train{.batch = 2, .length = 8, .accumulate = 2, .steps = 12, .schedule = {.warmup = 3}};
  Index checkpoint_every = 1, keep_last = 100, keep_every = 0;
  EvaluationPlan evaluations{.every = 4};
  Index limit = 0;  // of an evaluation's tokens
  std::string trained = everything;
};

std::vector<DataSource> data_in(const std::filesystem::path& directory, std::int32_t extra = 0) {
  std::vector<DataSource> sources;
  for (const char* name : {"a.bin", "b.bin"}) {
    TokenWriter writer(directory / name, {.vocabulary = Config::vocab_size});
    const Random random(5, name);
    std::vector<std::int32_t> ids;
    for (Index i = 0; i < 90; ++i)
      ids.push_back((static_cast<std::int32_t>(random.below(i, Config::vocab_size)) + extra) %
                    Config::vocab_size);
    writer.append(ids);
    writer.commit();
    sources.emplace_back(TokenFile(directory / name), name[0] == 'a' ? 1 : 3);
  }
  return sources;
}

/// Starts a run of `steps` steps in all, or goes on with the one in `run` from `checkpoint`.
int train(const std::filesystem::path& run, const std::filesystem::path& files, const Settings& settings,
          const std::optional<std::filesystem::path>& checkpoint = std::nullopt, int threads = 2) {
  Cpu<float> device(threads);
  auto model = checkpoint ? load<Config>(*checkpoint, device) : Model(device);
  if (!checkpoint) randomise(model);
  model.train(settings.trained);
  Trainer trainer(model, settings.adamw, data_in(files), settings.train);
  RunOptions options{.directory = run,
                     .evaluation_plan = settings.evaluations,
                     .checkpoints = {.every = settings.checkpoint_every,
                                     .keep_last = settings.keep_last,
                                     .keep_every = settings.keep_every}};
  for (const auto& [name, file] : {std::pair{"validation", "b.bin"}, {"other", "a.bin"}})
    options.evaluations.emplace_back(name, EvaluationBatches(TokenFile(files / file), 8, settings.limit));
  return Run(trainer, options)(checkpoint);
}

/// The log without the measured fields.
std::vector<std::tuple<Index, double, double, double, Index>> promised(const std::filesystem::path& run) {
  std::vector<std::tuple<Index, double, double, double, Index>> lines;
  for (const StepRecord& r : read_step_log(run / "log.jsonl"))
    lines.emplace_back(r.step, r.loss, r.learning_rate, r.grad_norm, r.tokens);
  return lines;
}

/// The lines of evaluations.jsonl.
std::vector<Json> evaluations_of(const std::filesystem::path& run) {
  std::vector<Json> evaluations;
  std::ifstream file(run / "evaluations.jsonl");
  for (std::string line; std::getline(file, line);) evaluations.push_back(parse_json(line, "evaluations"));
  return evaluations;
}

}  // namespace

TEST_CASE("a run resumed from any step ends with the bits of the uninterrupted one") {
  TemporaryDirectory directory;
  const Settings settings;
  CHECK(train(directory / "whole", directory.path(), settings) == 0);
  const auto expected_log = promised(directory / "whole");
  const auto expected_evaluations = file_bytes(directory / "whole" / "evaluations.jsonl");
  const auto expected = file_bytes(directory / "whole" / "final" / "model.safetensors");
  const auto moments = file_bytes(directory / "whole" / "step-00000012" / "optimizer.safetensors");
  CHECK(expected_log.size() == 12);

  for (const auto& [step, checkpoint] : training_checkpoints(directory / "whole")) {
    const auto run = directory / ("from-" + std::to_string(step));
    std::filesystem::create_directory(run);
    for (const char* log : {"log.jsonl", "evaluations.jsonl"})  // longer than the checkpoint: it is cut
      std::filesystem::copy_file(directory / "whole" / log, run / log);
    CHECK(train(run, directory.path(), settings, checkpoint, step % 2 == 0 ? 1 : 3) == 0);
    INFO("from step " << step);
    CHECK(file_bytes(run / "final" / "model.safetensors") == expected);
    CHECK(promised(run) == expected_log);
    CHECK(file_bytes(run / "evaluations.jsonl") == expected_evaluations);
    if (step < 12) CHECK(file_bytes(run / "step-00000012" / "optimizer.safetensors") == moments);
  }
}

TEST_CASE("the last n, every m-th and the best checkpoint are kept") {
  TemporaryDirectory directory;
  Settings settings;
  settings.keep_last = 2, settings.keep_every = 5, settings.evaluations.every = 0;
  train(directory / "run", directory.path(), settings);
  std::vector<Index> steps;
  for (const auto& [step, path] : training_checkpoints(directory / "run")) steps.push_back(step);
  CHECK(steps == std::vector<Index>{5, 10, 11, 12});
  CHECK(std::filesystem::exists(directory / "run" / "log.csv"));

  // The best by the first file, and by the one that is named.
  settings.evaluations.every = 1, settings.keep_last = 1, settings.keep_every = 0;
  for (const std::string keep_best : {"", "other"}) {
    const auto run = directory / ("best" + keep_best);
    settings.evaluations.keep_best = keep_best;
    train(run, directory.path(), settings);
    double best = 1e9;
    Index best_step = 0;
    for (const Json& line : evaluations_of(run))
      if (line["name"] == (keep_best.empty() ? "validation" : keep_best) && line["loss"] < best)
        best = line["loss"], best_step = line["step"];
    REQUIRE(best_step > 0);
    CHECK(read_json_file(run / "best" / "trainer.json")["step"] == best_step);
    const Json last = read_json_file(run / "step-00000012" / "trainer.json");
    CHECK(last["best"]["step"] == best_step);
    CHECK(last["best"]["loss"] == best);
  }
  settings.evaluations.keep_best = "non";
  CHECK_THROWS_WITH(train(directory / "none", directory.path(), settings),
                    Catch::Contains("expected the name of an evaluation (validation, other), found \"non\""));
}

TEST_CASE("a run without gain ends after as many evaluations as patience says, and can be given more") {
  TemporaryDirectory directory;
  Settings settings;
  settings.adamw.learning_rate = 0;  // nothing is ever gained
  settings.evaluations = {.every = 2, .patience = 2};
  CHECK(train(directory / "run", directory.path(), settings) == 0);
  const auto steps = [&](const char* run) { return promised(directory / run).back(); };
  CHECK(std::get<0>(steps("run")) == 4);
  CHECK(evaluations_of(directory / "run").size() == 6);  // of both files, at 0, 2 and 4
  const auto newest = [&](const char* run) { return *newest_checkpoint(directory / run); };
  CHECK(newest("run").filename() == "step-00000004");
  CHECK(std::filesystem::exists(directory / "run" / "final" / "config.json"));
  // It has ended: there is nothing to go on with, but for one with more patience.
  const auto final = std::filesystem::last_write_time(directory / "run" / "final" / "config.json");
  CHECK(train(directory / "run", directory.path(), settings, newest("run")) == 0);
  CHECK(std::get<0>(steps("run")) == 4);
  CHECK(std::filesystem::last_write_time(directory / "run" / "final" / "config.json") == final);
  // Of an earlier end than the checkpoint: it is written again.
  const auto old = final - std::chrono::hours(1);
  std::filesystem::last_write_time(directory / "run" / "final" / "config.json", old);
  CHECK(train(directory / "run", directory.path(), settings, newest("run")) == 0);
  CHECK(std::filesystem::last_write_time(directory / "run" / "final" / "config.json") > old);
  settings.evaluations.patience = 4;
  CHECK(train(directory / "run", directory.path(), settings, newest("run")) == 0);
  CHECK(std::get<0>(steps("run")) == 8);
  CHECK(train(directory / "whole", directory.path(), settings) == 0);
  CHECK(promised(directory / "run") == promised(directory / "whole"));
  CHECK(file_bytes(directory / "run" / "evaluations.jsonl") ==
        file_bytes(directory / "whole" / "evaluations.jsonl"));
  // Where something is gained it goes on to the end.
  settings.adamw.learning_rate = 0.01, settings.evaluations.patience = 3;
  CHECK(train(directory / "gain", directory.path(), settings) == 0);
  CHECK(std::get<0>(steps("gain")) == 12);
  settings.evaluations.every = 0;
  CHECK_THROWS_WITH(train(directory / "none", directory.path(), settings),
                    Catch::Contains("patience needs a file to evaluate on, and evaluate-every"));
}

TEST_CASE("what decides which step is best stays the same in a continuation") {
  TemporaryDirectory directory;
  Settings settings;
  settings.train.steps = 4;
  CHECK(train(directory / "run", directory.path(), settings) == 0);
  settings.evaluations.keep_best = "other";
  CHECK_THROWS_WITH(train(directory / "run", directory.path(), settings, directory / "run/step-00000002"),
                    Catch::Contains("the run keeps what is best on \"validation\"") &&
                        Catch::Contains("give the same --keep-best"));
  settings.evaluations.keep_best = "validation";  // the first one, by its name
  CHECK(train(directory / "run", directory.path(), settings, directory / "run/step-00000002") == 0);
}

TEST_CASE("an evaluation may be limited to a file's first tokens, and stays so") {
  TemporaryDirectory directory;
  Settings settings;
  settings.limit = 20, settings.train.steps = 4;
  CHECK(train(directory / "run", directory.path(), settings) == 0);
  for (const Json& line : evaluations_of(directory / "run")) {
    CHECK(line["tokens"] == 20);
    CHECK_FALSE(line.contains("bits_per_byte"));  // these files do not know their text's bytes
  }
  settings.limit = 0;
  CHECK_THROWS_WITH(train(directory / "run", directory.path(), settings, directory / "run/step-00000002"),
                    Catch::Contains(", the first 20 tokens), other (SHA-256 ") &&
                        Catch::Contains("give the same files, names and limit"));
}

TEST_CASE("a continuation that differs is refused, and says in what") {
  TemporaryDirectory directory;
  const Settings settings;
  train(directory / "run", directory.path(), settings);
  const auto checkpoint = directory / "run" / "step-00000006";
  const auto refuses = [&](const Settings& other, const char* what) {
    CHECK_THROWS_WITH(train(directory / "run", directory.path(), other, checkpoint), Catch::Contains(what));
  };
  Settings other = settings;
  other.train.steps = 40;
  refuses(other, "steps 12");
  other.train.seed = 9;
  refuses(other, "steps 40, seed 9");  // all that differs
  other = settings, other.train.seed = 9;
  refuses(other, "seed");
  other = settings, other.adamw.groups[0].second.rate_scale = 2;
  refuses(other, "groups");
  other = settings, other.trained = "model.layers.*", other.adamw.groups.clear();
  refuses(other, "groups");
  other = settings, other.train.schedule.warmup = 2;
  refuses(other, "warmup");
  other = settings, other.adamw.clip = 2;
  refuses(other, "clip");

  Cpu<float> device(1);
  auto model = load<Config>(checkpoint, device);
  model.train(everything);
  Trainer trainer(model, settings.adamw, data_in(directory.path(), 1), settings.train);
  CHECK_THROWS_WITH(restore_checkpoint(trainer, checkpoint), Catch::Contains("SHA-256"));
  put_file(checkpoint / "trainer.json", "{\"version\": 2}");
  CHECK_THROWS_WITH(restore_checkpoint(trainer, checkpoint), Catch::Contains("expected version 1"));
  put_file(checkpoint / "trainer.json", "{\"version\": 1}");
  CHECK_THROWS_WITH(restore_checkpoint(trainer, checkpoint),
                    Catch::Contains("not what a training checkpoint"));
}

TEST_CASE("every number of trainer.json is in range before it is believed, and the error names it") {
  TemporaryDirectory directory;
  Settings settings;
  settings.train.steps = 2, settings.train.schedule.warmup = 0, settings.evaluations.every = 1;
  train(directory / "run", directory.path(), settings);
  const auto checkpoint = directory / "run" / "step-00000002";
  const Json good = read_json_file(checkpoint / "trainer.json");
  Cpu<float> device(1);
  Model model(device);
  randomise(model);
  model.train(everything);
  Trainer trainer(model, settings.adamw, data_in(directory.path()), settings.train);
  const auto refuses = [&](const char* pointer, const Json& value, const char* key) {
    Json bad = good;
    bad[Json::json_pointer(pointer)] = value;
    put_file(checkpoint / "trainer.json", bad.dump());
    INFO(pointer << " = " << value.dump());
    CHECK_THROWS_WITH(restore_checkpoint(trainer, checkpoint),
                      Catch::Contains("trainer.json: ") && Catch::Contains(key) && Catch::Contains("found"));
    CHECK(trainer.state().step == 0);
  };
  for (const Json& value : {Json(-5), Json(1e300), Json(3), Json(1.5), Json("2")})
    refuses("/step", value, "\"step\" must be an integer from 0 to 2");
  for (const char* key : {"/tokens", "/log_bytes", "/evaluations_bytes"})
    for (const Json& value : {Json(-1), Json(9223372036854775807), Json(1e300), Json("1")})
      refuses(key, value, key + 1);
  for (const Json& value : {Json(-1), Json(9223372036854775807), Json(1e300), Json(0.5), Json("1")})
    refuses("/data/1/windows", value, "\"data[1].windows\" must be an integer from 0 to");
  refuses("/data/0/weight", "1", "data[0].weight");
  refuses("/data/0/tokens", -90, "data[0].tokens");
  refuses("/data/0/sha256", 7, "data[0].sha256");
  refuses("/data/0", 7, "data[0]");
  refuses("/data", Json::object(), "data files");
  refuses("/best/step", 3, "best.step");
  refuses("/best/loss", "low", "best.loss");
  refuses("/inputs", 7, "inputs");
  refuses("/trained", "all", "trained");
  refuses("/version", "1", "version");
  put_file(checkpoint / "trainer.json", good.dump());
  CHECK(restore_checkpoint(trainer, checkpoint).best.has_value());
  CHECK(trainer.state().step == 2);

  const auto goes_on = [&](const char* pointer, const Json& value) {
    Json bad = good;
    bad[Json::json_pointer(pointer)] = value;
    put_file(checkpoint / "trainer.json", bad.dump());
    CHECK_THROWS_AS(train(directory / "run", directory.path(), settings, checkpoint), Error);
  };
  goes_on("/inputs", Json::object());
  goes_on("/inputs/model", Json::object());
  goes_on("/inputs/evaluations", 3);

  // A crash while it was written anew leaves nothing for good.
  const auto left = put_file(checkpoint / "trainer.json.tmp-0123456789abcdef", "{");
  const auto not_ours = put_file(checkpoint / "trainer.json.tmp-2024", "a user's");
  update_checkpoint(trainer, directory / "run", {}, std::nullopt, Json::object());
  CHECK_FALSE(std::filesystem::exists(left));
  CHECK(std::filesystem::exists(not_ours));
}

TEST_CASE("an error in a step, or in an evaluation, leaves a checkpoint of the steps before it") {
  TemporaryDirectory directory;
  const Settings settings;
  const auto steps_before_it = [&](const std::filesystem::path& run, const CheckpointPlan& plan) {
    Cpu<float> device(1);
    Model model(device);
    randomise(model);
    model.train(everything);
    auto sources = data_in(directory.path());
    std::string bytes = file_bytes(directory / "a.bin");
    bytes[128 + 2 * 60 + 1] = '\x7f';  // a token that the vocabulary has not
    put_file(directory / "a.bin", bytes);
    Trainer trainer(model, settings.adamw, std::move(sources), settings.train);
    const auto said = message_of([&] { Run(trainer, {.directory = run, .checkpoints = plan})(); });
    CHECK_THAT(said,
               Catch::Contains("expected ids below") && Catch::Contains("The steps before are kept in "));
    const auto newest = newest_checkpoint(run);
    REQUIRE(newest);
    CHECK(newest->filename() == detail::step_directory("", trainer.state().step).filename());
    CHECK(promised(run).size() == static_cast<std::size_t>(trainer.state().step));
    CHECK_FALSE(std::filesystem::exists(run / "rehearsal"));
    return trainer.state().step;
  };
  const Index steps = steps_before_it(directory / "run", {});
  REQUIRE(steps > 2);
  // The last step may be what led to the error: the checkpoint before it stays.
  steps_before_it(directory / "other", {.every = steps - 1, .keep_last = 1});
  CHECK(training_checkpoints(directory / "other").size() == 2);
}

TEST_CASE("a run that is asked to stop in an evaluation goes on with it") {
  TemporaryDirectory directory;
  const Settings settings;
  const auto evaluate = [&](const std::filesystem::path& log, Index length, bool stop) {
    Cpu<float> device(1);
    Model model(device);
    randomise(model);
    model.train(everything);
    Trainer trainer(model, settings.adamw, data_in(directory.path()), settings.train);
    const EvaluationFiles files{{"a", EvaluationBatches(TokenFile(directory / "a.bin"), 8)},
                                {"caf\xe9", EvaluationBatches(TokenFile(directory / "b.bin"), 8)}};
    RunEvaluations<Model> evaluations(trainer, files, log, {});
    evaluations.resume(length, std::nullopt);
    CHECK(evaluations.pending());
    StepProgress progress(1);
    const Interrupt interrupt(nullptr);
    if (stop) std::raise(SIGTERM);
    evaluations(progress, interrupt);
    CHECK(evaluations.pending() == stop);
  };
  evaluate(directory / "whole", 0, false);
  const std::string whole = file_bytes(directory / "whole");
  evaluate(directory / "cut", 0, true);
  CHECK(file_bytes(directory / "cut").empty());
  put_file(directory / "cut", whole);  // stopped between the two
  evaluate(directory / "cut", static_cast<Index>(whole.find('\n')) + 1, false);
  CHECK(file_bytes(directory / "cut") == whole);
}

TEST_CASE("what leaves no room for a checkpoint is said before the first step") {
  const TemporaryDirectory directory;
  CHECK(why_no_room(directory.path(), {1, 1}) == "");
  CHECK_THAT(why_no_room(directory.path(), {1e30, 1}), Catch::Contains("are free in "));
  CHECK(why_no_room(directory / "none", {1e30, 1}) == "");  // nobody knows
}

TEST_CASE("resuming a finished run does nothing") {
  TemporaryDirectory directory;
  const Settings settings;
  train(directory / "run", directory.path(), settings);
  const auto before = file_bytes(directory / "run" / "log.jsonl");
  CHECK(train(directory / "run", directory.path(), settings, newest_checkpoint(directory / "run")) == 0);
  CHECK(file_bytes(directory / "run" / "log.jsonl") == before);
  CHECK_THROWS_WITH(train(directory / "run" / "final", directory.path(), settings),
                    Catch::Contains("is a model's directory"));
}

TEST_CASE(
    "final carries a card: licence and base as the base's card has them, data, what trained, lines of "
    "Python") {
  TemporaryDirectory directory;
  Cpu<float> device(2);
  const auto base = directory / "a `base`", run = directory / "run";
  Model first(device);
  randomise(first);
  save(first, base);
  const std::string base_card =
      "---\nlicense: llama3.2\nbase_model:\n- x/y\nlanguage: [en, 'no']\ntags: [a]\n---\n# Text of the "
      "base\n";
  put_file(base / "README.md", base_card);
  auto model = load<Config>(base, device);
  model.train("model.memory_blocks.*");
  Trainer trainer(model, AdamW{.learning_rate = 0.01}, data_in(directory.path()),
                  {.batch = 2, .length = 8, .steps = 2});
  RunOptions options{.directory = run, .like = base};
  options.evaluations.emplace_back("new`text", EvaluationBatches(TokenFile(directory / "b.bin"), 8));
  CHECK(Run(trainer, options)() == 0);

  const std::string card = file_bytes(run / "final/README.md");
  const ModelCard read = read_model_card(card);
  CHECK(read.head == std::map<std::string, std::vector<std::string>>{{"library_name", {"transformers"}},
                                                                     {"pipeline_tag", {"text-generation"}},
                                                                     {"license", {"llama3.2"}},
                                                                     {"language", {"en", "no"}},
                                                                     {"base_model", {"x/y"}},
                                                                     {"tags", {"midus"}}});
  for (const std::string part :
       {"from `a 'base'`: 2 steps, 32 tokens", "    trains model.memory_blocks.", "\"learning_rate\": 0.01",
        "- `a.bin`: 90 tokens, SHA-256 `", "evaluated on `new'text`: SHA-256 `",
        "    from transformers import AutoModelForCausalLM\n    model = "
        "AutoModelForCausalLM.from_pretrained(directory, "
        "trust_remote_code=True)\n",
        "target_parameters=[\"memory.values\"])\n", "## The card of `a 'base'`\n\n# Text of the base\n"})
    CHECK_THAT(card, Catch::Contains(part));
  for (const char* const name : {"a.bin", "b.bin"})
    CHECK_THAT(card, Catch::Contains(to_hex(sha256_file(directory / name))));
  CHECK(card.find(directory.path().string()) == card.npos);
  CHECK(file_bytes(run / "step-00000002/README.md") == base_card);  // to be taken over again
  CHECK(why_not_replace(run / "final", base).empty());

  save(first, directory / "bare");
  put_file(directory / "bare/tokenizer.json", "{}");
  const std::string without = model_card(trainer, directory / "bare");
  CHECK_THAT(without, Catch::Contains("The licence is not known here: `bare` has no card that names one."));
  CHECK(read_model_card(without).head.count("license") == 0);
  CHECK_THAT(without, Catch::Contains(
                          "tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=True)\n"));
}

TEST_CASE("a checkpoint is a model directory, and what a crash left behind is none") {
  TemporaryDirectory directory;
  Settings settings;
  settings.trained = "model.memory_blocks.*";
  train(directory / "run", directory.path(), settings);
  std::filesystem::create_directory(directory / "run" / "step-00000099.1234.tmp");
  std::filesystem::create_directory(directory / "run" / "step-00000098");
  CHECK(newest_checkpoint(directory / "run")->filename() == "step-00000012");
  const SafetensorsFile moments(directory / "run" / "step-00000012" / "optimizer.safetensors");
  for (const auto& [name, tensor] : moments.tensors())  // of what trains, nothing else
    CHECK(name.find(".memory_blocks.") != name.npos);
  Cpu<double> device(1);
  load<Config>(directory / "run" / "step-00000012", device);
}

TEST_CASE("the machine's peak is at least what a step reached") {
  CHECK(raised_peak(100, 1.25, 90) == 125);
  CHECK(raised_peak(100, 1.25, 150) == 150);
}

TEST_CASE("what a run needs is said, and what does not fit") {
  TemporaryDirectory directory;
  Cpu<float> device(1);
  Model model(device);
  randomise(model);
  model.train(everything);
  const Settings settings;
  Trainer trainer(model, settings.adamw, data_in(directory.path()), settings.train);
  CHECK_FALSE(Catch::Contains("more than").match(describe_run(trainer)));
  CHECK_THAT(describe_run(trainer, 1 << 10), Catch::Contains("\n             more than the 0.0 MiB of this"));
  TrainOptions huge = settings.train;
  huge.batch = Index{1} << 50;
  CHECK_THROWS_WITH(Trainer(model, settings.adamw, data_in(directory.path()), huge),
                    Catch::Contains("a step of 2 times 1125899906842624 windows of 8 tokens needs"));
}

TEST_CASE("Run: what trains is told by blocks of a kind, and counted") {
  Cpu<float> device(1);
  Model model(device);
  model.train({"model.layers.*.mlp.up_proj.weight", "*.memory.values", "model.norm.weight"});
  CHECK(describe_trained(model) ==
        "trains model.layers.{0,1,2}.mlp.up_proj.weight [14, 12]\n"
        "trains model.memory_blocks.{0,1}.memory.values [25, 3]\n"
        "trains model.norm.weight [12]\n"
        "trains 666 of 4050 parameters\n");
}

TEST_CASE(
    "Run: whatever goes wrong with the numbers, what is on disk is finite, and a broken model is no result") {
  TemporaryDirectory directory;
  int run = 0;
  for (const double rate : {3e38, 1e37, 1e25})
    for (const Index steps : {1, 12}) {
      Settings settings;
      settings.adamw = {.learning_rate = rate, .clip = 0};
      settings.train.steps = steps, settings.train.schedule.warmup = 0;
      settings.keep_last = 1, settings.evaluations.every = 0;
      const auto path = directory / ("run-" + std::to_string(++run));
      INFO("rate " << rate << ", " << steps << " steps");
      const std::string message = message_of([&] { train(path, directory.path(), settings); });
      if (rate == 3e38)
        CHECK_THAT(message, Catch::Contains("step 1: the update would make numbers of model."));
      if (steps == 12) CHECK_THAT(message, Catch::Contains("not finite"));
      CHECK(std::filesystem::exists(path / "final") == (message == "nothing was thrown"));
      std::vector<std::filesystem::path> models;
      for (const auto& [step, checkpoint] : training_checkpoints(path)) models.push_back(checkpoint);
      if (std::filesystem::exists(path / "final")) models.push_back(path / "final");
      for (const auto& model : models) {
        Cpu<float> device(1);
        CHECK_NOTHROW(load<Config>(model, device, {.require_finite = true}));
        if (!std::filesystem::exists(model / "optimizer.safetensors")) continue;
        const SafetensorsFile moments(model / "optimizer.safetensors");
        for (const auto& [name, tensor] : moments.tensors())
          CHECK_FALSE(first_not_finite(tensor.dtype, tensor.bytes));
      }
    }
}
