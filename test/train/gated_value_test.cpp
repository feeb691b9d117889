// A value policy of a user's own (examples/gated_value.hpp) goes the whole way: deeper on disk as in memory,
// trained, resumed with the same bits, evaluated, and made to speak.
#include "midus/model/generate.hpp"
#include "midus/train/head_ablation.hpp"
#include "midus/train/run.hpp"
#include "midus/upscale/expand_files.hpp"
#include "midus_model.hpp"  // made of configs/gated
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

using Gated = midus_model::Model;
static_assert(
    std::is_same_v<Gated, Upscaled<SmallTied, MemoryBlock<HeadwiseMemory<2, 4, 2, gated::GatedValue<3>>>,
                                   BeforeLayers<1>>>);
namespace fs = std::filesystem;

TokenFile tokens_in(const fs::path& directory) {
  TokenWriter writer(directory / "data.bin", {.vocabulary = Gated::vocab_size});
  const Random random(5, "data");
  std::vector<std::int32_t> ids;
  for (Index i = 0; i < 90; ++i) ids.push_back(static_cast<std::int32_t>(random.below(i, Gated::vocab_size)));
  writer.append(ids);
  writer.commit();
  return TokenFile(directory / "data.bin");
}

/// Trains the inserted block of the model in `from` for 6 steps; from a checkpoint, what is left of them.
void train(const fs::path& directory, const fs::path& run, const fs::path& from,
           const std::optional<fs::path>& checkpoint, int threads) {
  Cpu<float> device(threads);
  auto model = load<Gated>(checkpoint.value_or(from), device);
  model.train(inserted);
  Trainer trainer(model, AdamW{.learning_rate = 0.01}, tokens_in(directory),
                  {.batch = 2, .length = 8, .steps = 6});
  RunOptions options{.directory = run, .checkpoints = {.every = 1, .keep_last = 100}};
  CHECK(Run(trainer, options)(checkpoint) == 0);
}

}  // namespace

TEST_CASE("a value policy of a user's own goes the whole way") {
  const TemporaryDirectory directory;
  Cpu<float> device(2);
  LanguageModel<SmallTied, Cpu<float>> base(device);
  randomise(base);
  save(base, directory / "base");
  const Tokens tokens(2, 7, Gated::vocab_size);
  const double loss = base.loss(tokens.batch()).sum;

  const ModelOnDisk on_disk(directory / "base");
  const Plan plan = make_plan(
      on_disk, {.positions = {1}, .num_keys = 4, .top_k = 2, .values = "gated", .value_rank = 3, .seed = 7});
  fs::create_directory(directory / "deeper");
  write_expanded(on_disk, plan, directory / "deeper");
  CHECK(file_bytes(directory / "deeper/modeling_midus.py").ends_with("MEMORIES[\"gated\"] = GatedMemory\n"));
  auto deeper = load<Gated>(directory / "deeper", device);
  CHECK(deeper.loss(tokens.batch()).sum == loss);
  auto in_memory = upscale<Gated>(std::move(base), {.seed = 7});
  save(in_memory, directory / "in_memory");
  CHECK(file_bytes(directory / "in_memory/model.safetensors") ==
        file_bytes(directory / "deeper/model.safetensors"));

  train(directory.path(), directory / "whole", directory / "deeper", std::nullopt, 2);
  fs::create_directory(directory / "resumed");
  fs::copy_file(directory / "whole/log.jsonl", directory / "resumed/log.jsonl");
  train(directory.path(), directory / "resumed", directory / "deeper", directory / "whole/step-00000003", 1);
  CHECK(file_bytes(directory / "resumed/final/model.safetensors") ==
        file_bytes(directory / "whole/final/model.safetensors"));

  auto trained = load<Gated>(directory / "whole/final", device);
  CHECK(trained.loss(tokens.batch()).sum != loss);
  const EvaluationBatches batches(tokens_in(directory.path()), 8);
  CHECK(std::isfinite(evaluate(trained, batches).mean()));
  CHECK(head_ablation(trained, batches, 4, [](std::size_t, std::size_t) {}).without[0].size() == 2);
  // With a cache, token by token, as in whole sequences.
  const Generated generated =
      generate(trained, {{1, 2, 3}}, {.max_tokens = 4}, [](std::size_t, std::int32_t) {});
  CHECK(generated.ids.at(0).size() == 4);
}
