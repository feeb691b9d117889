#include "midus/train/trainer.hpp"

#include <limits>
#include <string_view>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

using Model = LanguageModel<SmallHive, Cpu<float>>;

TokenFile small_file(const std::filesystem::path& path, Index tokens = 400, bool weighted = false) {
  TokenWriter writer(path, {.vocabulary = SmallHive::vocab_size, .weighted = weighted});
  const Random random(3, "file");
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> weights;
  for (Index i = 0; i < tokens; ++i) {
    ids.push_back(static_cast<std::int32_t>(random.below(i, SmallHive::vocab_size)));
    weights.push_back(i % 7 < 5);
  }
  if (weighted)
    writer.append(ids, weights);
  else
    writer.append(ids);
  writer.commit();
  return TokenFile(path);
}

std::vector<float> weights_of(Model& model) {
  std::vector<float> all;
  model.visit([&](const Path&, auto& parameter) {
    all.insert(all.end(), parameter.master.data(), parameter.master.data() + parameter.master.size());
  });
  return all;
}

}  // namespace

TEST_CASE("a step allocates nothing after the first") {
  TemporaryDirectory directory;
  constexpr bool counted = !MIDUS_SANITIZED && std::string_view(MIDUS_GEMM) != "oneDNN";  // which allocates
  for (const bool checkpointing : {false, true}) {
    Cpu<float> device(3);
    Model model(device);
    randomise(model);
    model.train(everything);
    Trainer trainer(model, AdamW{}, small_file(directory / "data.bin"),
                    {.batch = 3, .length = 13, .accumulate = 2, .steps = 20, .checkpointing = checkpointing});
    trainer.step();
    trainer.step();
    const long before = allocations;
    for (int i = 0; i < 10; ++i) trainer.step();
    if (counted) {
      CHECK(before > 0);  // the counter works
      CHECK(allocations - before == 0);
    }
  }
}

TEST_CASE("accumulation weighs tokens, not micro-batches") {
  TemporaryDirectory directory;
  const TokenFile file = small_file(directory / "data.bin", 400, true);
  const auto gradient = [&](Index batch, Index accumulate) {
    Cpu<double> device(2);
    LanguageModel<SmallHive, Cpu<double>> model(device);
    randomise(model);
    model.train(everything);
    Trainer trainer(model, AdamW{.learning_rate = 0}, file,
                    {.batch = batch, .length = 9, .accumulate = accumulate, .steps = 1});
    const auto record = trainer.step();
    auto gradients = gradients_of(model);
    gradients.push_back(record->loss);
    return gradients;
  };
  const auto whole = gradient(6, 1), parts = gradient(1, 6);
  for (std::size_t i = 0; i < whole.size(); ++i)
    REQUIRE(parts[i] == Approx(whole[i]).epsilon(1e-9).margin(1e-12));
}

TEST_CASE("training with other threads or with checkpointing gives the same weights, bit by bit") {
  TemporaryDirectory directory;
  const TokenFile file = small_file(directory / "data.bin");
  const auto trained = [&](int threads, bool checkpointing) {
    Cpu<float> device(threads);
    Model model(device);
    randomise(model);
    model.train(everything);
    Trainer trainer(model, AdamW{.learning_rate = 0.01, .groups = {{"*.memory.values", {.rate_scale = 20}}}},
                    file, {.batch = 4, .length = 17, .steps = 5, .checkpointing = checkpointing});
    while (trainer.step()) {
    }
    return weights_of(model);
  };
  const auto expected = trained(1, false);
  for (const int threads : {2, 3, 8}) CHECK(trained(threads, threads == 3) == expected);
}

TEST_CASE("a loss that is not finite stops the step before it touches a weight, and names a tensor") {
  TemporaryDirectory directory;
  Cpu<float> device(2);
  Model model(device);
  randomise(model);
  model.train("model.layers.*");
  Trainer trainer(model, AdamW{}, small_file(directory / "data.bin"), {.batch = 2, .length = 8, .steps = 3});
  trainer.step();
  model.visit([](const Path& path, auto& parameter) {
    if (path.str() == "model.layers.2.mlp.down_proj.weight")
      parameter.master.data()[0] = std::numeric_limits<float>::quiet_NaN();
  });
  auto before = weights_of(model);
  const TrainerState state = trainer.state();
  const BatchState place = trainer.batches().state();
  CHECK_THROWS_WITH(trainer.step(), Catch::Contains("step 2") && Catch::Contains("model.layers.") &&
                                        Catch::Contains("not finite") && Catch::Contains("No weight"));
  auto after = weights_of(model);
  CHECK(std::memcmp(before.data(), after.data(), before.size() * sizeof(float)) == 0);
  CHECK(trainer.state().step == state.step);
  CHECK(trainer.batches().state() == place);
}

TEST_CASE("options that cannot be are refused") {
  TemporaryDirectory directory;
  Cpu<float> device(1);
  Model model(device);
  model.train(everything);
  const TokenFile file = small_file(directory / "data.bin");
  CHECK_THROWS_WITH(Trainer(model, AdamW{}, file, {.batch = 0}), Catch::Contains("at least 1"));
  CHECK_THROWS_WITH(Trainer(model, AdamW{}, file, {.length = 8, .steps = 0}), Catch::Contains("steps"));
  CHECK_THROWS_WITH(Trainer(model, AdamW{}, file, {.length = 400}), Catch::Contains("at least 401"));
  CHECK_THROWS_WITH(Trainer(model, AdamW{.learning_rate = -1}, file, {.length = 8}),
                    Catch::Contains("learning_rate"));
}

TEST_CASE("a memory that no gradient can wake is refused by name") {
  TemporaryDirectory directory;
  const TokenFile file = small_file(directory / "data.bin");
  Cpu<float> device(1);
  Model model(device);
  randomise(model);
  const auto clear = [&](const std::string& wanted) {
    model.visit([&](const Path& path, auto& parameter) {
      if (path.str() == wanted) device.fill(parameter.master, 0.0f);
    });
  };
  const auto start = [&] { Trainer trainer(model, AdamW{}, file, {.batch = 2, .length = 8, .steps = 2}); };
  model.train(everything);
  clear("model.memory_blocks.1.memory.values");
  CHECK_NOTHROW(start());  // as up-scaling makes it
  clear("model.memory_blocks.1.memory.value_proj");
  CHECK_THROWS_WITH(start(), Catch::Contains("cannot train model.memory_blocks.1.memory: its values and its "
                                             "value_proj are all zero"));
  model.train("model.layers.*");
  CHECK_NOTHROW(start());  // frozen, it may be what it is
}

TEST_CASE("evaluation scores every token once and averages over tokens") {
  TemporaryDirectory directory;
  Cpu<double> device(2);
  LanguageModel<SmallHive, Cpu<double>> model(device);
  randomise(model);
  const TokenFile file = small_file(directory / "data.bin", 31);
  const LossSum at_once = evaluate(model, EvaluationBatches(file, 10), 3);
  const LossSum by_two = evaluate(model, EvaluationBatches(file, 10), 2);
  std::vector<std::pair<Index, Index>> progress;
  const LossSum by_one = evaluate(model, EvaluationBatches(file, 10), 1,
                                  [&](Index done, Index all) { progress.emplace_back(done, all); });
  for (const LossSum& each : {at_once, by_two, by_one}) {
    CHECK(each.count == 30);
    CHECK(each.mean() == Approx(at_once.mean()).epsilon(1e-12));
  }
  CHECK(progress == std::vector<std::pair<Index, Index>>{{1, 3}, {2, 3}, {3, 3}});
}
