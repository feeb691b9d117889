#include "midus/train/trainer.hpp"

#include <fstream>
#include <functional>
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
  CHECK_THROWS_WITH(Trainer(model, AdamW{}, Batches(file, {.length = 8}), {.batch = 1, .length = 4}),
                    Catch::Contains("windows of 8 tokens") && Catch::Contains("a length of 4"));
}

TEST_CASE("a block that cannot learn is named by its first step, whatever the reason") {
  TemporaryDirectory directory;
  const TokenFile file = small_file(directory / "data.bin");
  Cpu<float> device(1);
  Model model(device);
  const auto clear = [&](std::string_view pattern) {
    model.visit([&](const Path& path, auto& parameter) {
      if (matches(pattern, path.str())) device.fill(parameter.master, 0.0f);
    });
  };
  // What two steps say, of a model whose tensors `zero` are zero and of which `trained` trains.
  const auto said = [&](const std::vector<std::string>& zero, const std::vector<std::string>& trained) {
    randomise(model);
    for (const std::string& pattern : zero) clear(pattern);
    model.train(trained);
    Trainer trainer(model, AdamW{}, file, {.batch = 2, .length = 8, .steps = 2});
    const auto before = weights_of(model);
    return message_of([&] {
      try {
        while (trainer.step()) {
        }
      } catch (const Error&) {
        if (trainer.state().step == 0) CHECK(weights_of(model) == before);
        CHECK_THROWS_AS(trainer.step(), Error);  // and again
        throw;
      }
    });
  };
  const std::string values = "*_blocks.1.memory.values", projection = "*_blocks.1.memory.value_proj",
                    dead = "step 1: model.memory_blocks.1 cannot learn";
  CHECK(said({}, {everything}) == "nothing was thrown");
  CHECK(said({values}, {everything}) == "nothing was thrown");  // as up-scaling makes it
  CHECK(said({projection}, {everything}) == "nothing was thrown");
  CHECK_THAT(said({values, projection}, {everything}), Catch::Contains(dead));
  CHECK_THAT(said({values, projection}, {"model.memory_blocks.*"}), Catch::Contains(dead));
  CHECK_THAT(said({values, projection}, {"*_blocks.1.*"}), Catch::Contains(dead));
  CHECK(said({values, projection}, {"model.layers.*"}) ==
        "nothing was thrown");                                      // frozen, it may be what it is
  CHECK_THAT(said({values}, {projection}), Catch::Contains(dead));  // the other factor stays zero
  CHECK_THAT(said({projection}, {values, "model.layers.0.*"}), Catch::Contains(dead));
  CHECK_THAT(said({values}, {"*.memory.row_keys", "*_blocks.0.*"}), Catch::Contains(dead));
  // A block of the base whose outputs are both zero, of which nothing else trains.
  CHECK_THAT(
      said({"model.layers.1.*_proj.weight"}, {"model.layers.1.mlp.up_proj.weight", "model.layers.0.*"}),
      Catch::Contains("model.layers.1 cannot learn"));
  CHECK(said({"*.1.self_attn.o_proj.weight", "*.1.mlp.down_proj.weight"}, {"model.layers.1.*"}) ==
        "nothing was thrown");
  // Under a head, or a last norm, of zeros nothing learns in the first step, and all does in the second.
  CHECK(said({"lm_head.weight"}, {everything}) == "nothing was thrown");
  CHECK(said({"model.norm.weight"}, {everything}) == "nothing was thrown");
  CHECK_THAT(said({"lm_head.weight"}, {"model.layers.0.*"}), Catch::Contains("model.layers.0 cannot learn"));
  CHECK_THAT(said({values, projection}, {"*_blocks.1.*", "lm_head.weight"}),
             Catch::Contains("step 2: model.memory_blocks.1 cannot learn"));
}

TEST_CASE("with k = 1 keys get no gradient, which is no reason to refuse a memory whose values learn") {
  TemporaryDirectory directory;
  const TokenFile file = small_file(directory / "data.bin");
  using OneSlot =
      Upscaled<SmallBase, MemoryBlock<HeadwiseMemory<6, 5, 1, FactorizedValue<3>>>, BeforeLayers<1>>;
  Cpu<float> device(1);
  LanguageModel<OneSlot, Cpu<float>> model(device);
  randomise(model);
  const auto start = [&] {
    Trainer trainer(model, AdamW{}, file, {.batch = 2, .length = 8, .steps = 1});
    trainer.step();
  };
  model.train("model.memory_blocks.*");
  CHECK_NOTHROW(start());
  model.train("*.memory.row_keys");
  CHECK_THROWS_WITH(start(), Catch::Contains("model.memory_blocks.0 cannot learn"));
}

TEST_CASE(
    "an update whose result is not finite is refused before anything has changed, and names the tensor") {
  TemporaryDirectory directory;
  const TokenFile file = small_file(directory / "data.bin");
  Cpu<float> device(2);
  const auto refuses = [&](const AdamW& adamw, const std::function<void(Model&)>& change, const char* what) {
    Model model(device);
    randomise(model);
    model.train(everything);
    Trainer trainer(model, adamw, file,
                    {.batch = 2, .length = 8, .steps = 9, .schedule = {.decay_steps = 0}});
    if (change == nullptr) {
      CHECK_THROWS_WITH(trainer.step(),
                        Catch::Contains(what) && Catch::Contains("No weight has been changed"));
      return;
    }
    trainer.step();
    trainer.step();
    change(model);
    const auto before = weights_of(model);
    std::vector<float> moments, after;
    const auto read = [&](std::vector<float>& to) {
      trainer.optimizer().visit([&](const std::string&, const auto& m, const auto& v) {
        to.insert(to.end(), m.data(), m.data() + m.size());
        to.insert(to.end(), v.data(), v.data() + v.size());
      });
    };
    read(moments);
    const BatchState place = trainer.batches().state();
    CHECK_THROWS_WITH(trainer.step(), Catch::Contains(what) && Catch::Contains("step 3: ") &&
                                          Catch::Contains("No weight has been changed"));
    read(after);
    const auto weights = weights_of(model);
    CHECK(std::memcmp(weights.data(), before.data(), before.size() * sizeof(float)) == 0);
    CHECK(moments == after);
    CHECK(trainer.state().step == 2);
    CHECK(trainer.batches().state() == place);
  };
  refuses({.learning_rate = 3e38}, nullptr, "the update would make numbers of model.embed_tokens.weight");
  // Of one block only: the tensors before it are not touched either.
  refuses({.learning_rate = 1e37, .groups = {{"model.layers.1.*", {.rate_scale = 10}}}}, nullptr,
          "the update");
  // What goes wrong later.
  refuses(
      {.learning_rate = 1e-3},
      [](Model& model) {
        model.visit([](const Path& path, auto& parameter) {
          if (path.str() == "model.norm.weight")
            parameter.master.data()[0] = std::numeric_limits<float>::infinity();
        });
      },
      "not finite");
}

TEST_CASE("after an error of any kind a step leaves the place in the data, and can be taken again") {
  TemporaryDirectory directory;
  {  // an id that the vocabulary does not have, late in the file
    TokenWriter writer(directory / "bad.bin", {.vocabulary = SmallHive::vocab_size});
    writer.append(std::vector<std::int32_t>(200, 3));
    writer.commit();
    std::fstream bytes(directory / "bad.bin", std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(TokenFileHeader::size + 2 * 100));
    bytes.put(static_cast<char>(200));
  }
  Cpu<float> device(1);
  Model model(device);
  randomise(model);
  model.train(everything);
  Trainer trainer(model, AdamW{}, TokenFile(directory / "bad.bin"),
                  {.batch = 2, .length = 8, .steps = 30, .shuffle = false});
  const auto steps = [&] {
    while (trainer.step()) {
    }
  };
  CHECK_THROWS_WITH(steps(), Catch::Contains("step 7: token file") &&
                                 Catch::Contains("found 200 at token 100") &&
                                 Catch::Contains("No weight has been changed"));
  CHECK(trainer.state().step == 6);
  CHECK(trainer.batches().state().windows == std::vector<Index>{12});
  const auto before = weights_of(model);
  CHECK_THROWS_AS(trainer.step(), Error);
  CHECK(trainer.batches().state().windows == std::vector<Index>{12});
  CHECK(weights_of(model) == before);
}

TEST_CASE("windows without a counted target are passed over, and resuming finds the same steps") {
  TemporaryDirectory directory;
  TokenWriter writer(directory / "data.bin", {.vocabulary = SmallHive::vocab_size, .weighted = true});
  const Random random(3, "file");
  for (Index i = 0; i < 400; ++i) {
    const std::int32_t id[] = {static_cast<std::int32_t>(random.below(i, SmallHive::vocab_size))};
    const std::uint8_t weight[] = {static_cast<std::uint8_t>(i < 100 || i >= 200 ? 1 : 0)};
    writer.append(id, weight);
  }
  writer.commit();
  const TokenFile file(directory / "data.bin");
  const TrainOptions options{.batch = 1, .length = 16, .steps = 60};
  Cpu<float> device(1);
  const auto trained = [&](Index interrupted) {
    Model model(device);
    randomise(model);
    model.train(everything);
    Trainer trainer(model, AdamW{}, file, options);
    if (interrupted == 0) {
      while (const auto record = trainer.step()) CHECK(record->tokens > 0);
      CHECK(trainer.batches().state().windows[0] > 60);  // some were passed over
      return weights_of(model);
    }
    for (Index i = 0; i < interrupted; ++i) trainer.step();
    Trainer next(model, AdamW{}, file, options);
    std::vector<View<float, 1>> moments;
    trainer.optimizer().visit([&](const std::string&, const auto& m, const auto& v) {
      moments.push_back(m), moments.push_back(v);
    });
    std::size_t i = 0;
    next.optimizer().visit([&](const std::string&, const auto& m, const auto& v) {
      device.copy(View<const float, 1>(moments[i++]), m), device.copy(View<const float, 1>(moments[i++]), v);
    });
    next.batches().restore(trainer.batches().state());
    next.restore(trainer.state());
    while (next.step()) {
    }
    return weights_of(model);
  };
  const auto whole = trained(0);
  for (const Index at : {3, 7, 20}) CHECK(trained(at) == whole);

  TokenWriter none(directory / "none.bin", {.vocabulary = SmallHive::vocab_size, .weighted = true});
  std::vector<std::uint8_t> weights(40, 0);
  weights.front() = weights.back() = 1;  // neither is the target of a window of 16
  none.append(std::vector<std::int32_t>(40, 1), weights);
  none.commit();
  Model model(device);
  model.train(everything);
  CHECK_THROWS_WITH(Trainer(model, AdamW{}, TokenFile(directory / "none.bin"), options),
                    Catch::Contains("none.bin: no target counts"));
}

TEST_CASE("a trainer whose model trains something else, or is gone, says so") {
  TemporaryDirectory directory;
  const TokenFile file = small_file(directory / "data.bin");
  Cpu<float> device(1);
  Model model(device);
  randomise(model);
  model.train("model.layers.0.*");
  Trainer trainer(model, AdamW{}, file, {.batch = 2, .length = 8, .steps = 9});
  trainer.step();
  const BatchState place = trainer.batches().state();
  for (const std::string& next :
       {std::string("model.layers.1.*"), std::string("model.layers.0.*"), everything}) {
    model.train(next);  // also gradients of the same size, where the old ones lay
    CHECK_THROWS_WITH(trainer.step(), Catch::Contains("what the model trains was chosen anew"));
    CHECK_THROWS_WITH(trainer.optimizer().norm(), Catch::Contains("chosen anew"));
    CHECK_THROWS_WITH(trainer.optimizer().update(0.1, 2), Catch::Contains("chosen anew"));
    CHECK(trainer.batches().state() == place);
  }
  {
    Trainer assigned(model, AdamW{}, file, {.batch = 2, .length = 8, .steps = 9});
    model = Model(device);
    randomise(model);
    for (int i = 0; i < 4; ++i) model.train(everything);  // as often as the model before
    CHECK_THROWS_WITH(assigned.step(), Catch::Contains("chosen anew"));
  }
  Trainer again(model, AdamW{}, file, {.batch = 2, .length = 8, .steps = 9});
  again.step();
  const Model elsewhere = std::move(model);
  CHECK_THROWS_WITH(again.step(), Catch::Contains("this model is of no use any more"));
}

TEST_CASE("evaluation: a batch of no windows is refused") {
  TemporaryDirectory directory;
  Cpu<float> device(1);
  Model model(device);
  const EvaluationBatches batches(small_file(directory / "data.bin", 31), 10);
  for (const Index rows : {Index{0}, Index{-1}, std::numeric_limits<Index>::min()}) {
    CHECK_THROWS_WITH(evaluate(model, batches, rows), Catch::Contains("must be at least 1"));
    CHECK_THROWS_WITH(slot_use(model, batches, rows), Catch::Contains("must be at least 1"));
  }
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
