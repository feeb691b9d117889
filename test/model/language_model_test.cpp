// The whole model: gradients, invariances, what is frozen, and which bits are the same.
#include "midus/model/language_model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/counted.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

template <class Config, class D>
double mean_loss(LanguageModel<Config, D>& model, const Tokens& tokens) {
  return model.loss(tokens.batch()).mean();
}

/// Central differences of a few elements of every tensor against backward; gradients start at random values,
/// and backward must add to them.
template <class Config>
void check_gradients(bool checkpointing) {
  Cpu<double> device(2);
  LanguageModel<Config, Cpu<double>> model(device);
  randomise(model);
  model.train(everything);
  const Tokens tokens(2, 5, Config::vocab_size);
  const Random random(7, "start");
  const auto gradients = model.gradients();
  for (Index i = 0; i < gradients.size(); ++i) gradients(i) = random.normal(i);
  const auto start = gradients_of(model);
  const double scale = 1 / static_cast<double>(counted_targets(tokens.batch().targets));
  model.loss_and_gradients(tokens.batch(), scale, checkpointing);

  model.visit([&](const Path& path, auto& parameter) {
    const auto values = parameter.master.flat();
    double largest = 0;
    for (Index i = 0; i < values.size(); i += std::max<Index>(1, values.size() / 7)) {
      const double before = values(i), step = 1e-6;
      values(i) = before + step;
      const double above = mean_loss(model, tokens);
      values(i) = before - step;
      const double below = mean_loss(model, tokens);
      values(i) = before;
      const double numeric = (above - below) / (2 * step);
      const Index at = parameter.grad.data() - gradients.data() + i;
      const double exact = gradients(at) - start[static_cast<std::size_t>(at)];
      INFO(path.str() << " element " << i << ": numeric " << numeric << ", backward " << exact);
      CHECK(std::abs(numeric - exact) < 1e-7 + 1e-5 * std::abs(exact));
      largest = std::max(largest, std::abs(exact));
    }
    INFO(path.str());
    // A row of an embedding or a slot that no token reads has no gradient; everything else has one.
    if (!matches("*embed_tokens*", path.str()) && !matches("*.values", path.str())) CHECK(largest > 0);
  });
}

template <class Config, class S>
struct Outcome {
  std::vector<S> logits, gradients;
  double loss;
};

template <class Config, class S>
Outcome<Config, S> outcome(int threads, bool checkpointing, const std::string& train) {
  Cpu<S> device(threads);
  LanguageModel<Config, Cpu<S>> model(device);
  randomise(model);
  model.expansions = {{Policy::midus, {"model.memory_blocks."}, Config::layers, {}, 1}};
  model.train(train);
  const Tokens tokens(3, 37, Config::vocab_size);
  const double loss = model.loss_and_gradients(tokens.batch(), 0.01, checkpointing).sum;
  const auto scope = device.scope();
  const auto logits = model.logits(tokens.batch().ids);
  return {{logits.data(), logits.data() + logits.size()}, gradients_of(model), loss};
}

}  // namespace

TEST_CASE("backward agrees with central differences in every kind of model", "[gradient]") {
  for (const bool checkpointing : {false, true}) {
    check_gradients<SmallBase>(checkpointing);
    check_gradients<SmallTied>(checkpointing);
    check_gradients<SmallHive>(checkpointing);
    check_gradients<SmallDense>(checkpointing);
    check_gradients<SmallPkm>(checkpointing);
  }
}

TEMPLATE_TEST_CASE("the same bits for any number of threads, with and without checkpointing", "[bits]",
                   SmallHive, SmallDense, SmallPkm) {
  const auto expected = outcome<TestType, float>(1, false, everything);
  for (const int threads : {1, 2, 3, 8})
    for (const bool checkpointing : {false, true}) {
      const auto found = outcome<TestType, float>(threads, checkpointing, everything);
      INFO(threads << " threads, checkpointing " << checkpointing);
      CHECK(found.logits == expected.logits);
      CHECK(found.gradients == expected.gradients);
      CHECK(found.loss == expected.loss);
    }
}

TEST_CASE("what is frozen changes no bit of what trains") {
  const auto all = outcome<SmallHive, double>(2, false, everything);
  const auto part = outcome<SmallHive, double>(2, false, inserted);
  CHECK(part.logits == all.logits);
  CHECK(part.gradients.size() < all.gradients.size());

  Cpu<double> device(2);
  LanguageModel<SmallHive, Cpu<double>> whole(device), few(device);
  randomise(whole), randomise(few);
  whole.train(everything);
  few.train("model.memory_blocks.1.*");
  const Tokens tokens(2, 9, SmallHive::vocab_size);
  whole.loss_and_gradients(tokens.batch(), 1), few.loss_and_gradients(tokens.batch(), 1);
  std::map<std::string, std::vector<double>> of_whole;
  whole.visit([&](const Path& path, const auto& p) {
    of_whole[path.str()].assign(p.grad.data(), p.grad.data() + p.grad.size());
  });
  few.visit([&](const Path& path, const auto& p) {
    if (p.frozen()) return;
    INFO(path.str());
    CHECK(std::vector<double>(p.grad.data(), p.grad.data() + p.grad.size()) == of_whole[path.str()]);
  });
}

TEST_CASE("checkpointing changes no bit of what trains beside frozen parameters", "[bits][TR-10]") {
  for (const std::string& train :
       {std::string(inserted), std::string("model.memory_blocks.0.*"), std::string("model.memory_blocks.1.*"),
        std::string("model.layers.1.mlp.*"), std::string("model.embed_tokens.weight"),
        std::string("lm_head.weight")}) {
    const auto kept = outcome<SmallHive, float>(2, false, train),
               formed_again = outcome<SmallHive, float>(2, true, train);
    INFO(train);
    CHECK(formed_again.gradients == kept.gradients);
    CHECK(formed_again.loss == kept.loss);
    CHECK(std::ranges::any_of(kept.gradients, [](float gradient) { return gradient != 0; }));
  }
}

TEST_CASE("with k = 1 the softmax is constant: keys and queries learn nothing, values do", "[PK-03]") {
  using Config =
      Upscaled<SmallBase, MemoryBlock<HeadwiseMemory<6, 5, 1, FactorizedValue<3>>>, BeforeLayers<2>>;
  for (const bool one : {true, false}) {
    INFO("k is one: " << one);
    const auto check = [&]<class C>(C) {
      Cpu<double> device(1);
      LanguageModel<C, Cpu<double>> model(device);
      randomise(model);
      model.train("model.memory_blocks.*");
      model.loss_and_gradients(Tokens(2, 9, C::vocab_size).batch(), 1);
      model.visit([&](const Path& path, const auto& p) {
        if (p.frozen()) return;
        double largest = 0;
        for (Index i = 0; i < p.grad.size(); ++i) largest = std::max(largest, std::abs(p.grad.data()[i]));
        INFO(path.str());
        CHECK((largest > 0) == (!one || matches("*.memory.values", path.str()) ||
                                matches("*.memory.value_proj*", path.str())));
      });
    };
    one ? check(Config()) : check(SmallHive());
  }
}

TEST_CASE("every number of the settings matters", "[AR-04]") {
  ModelSettings plain;
  plain.rope.theta = 500;
  plain.rope.llama3 = Llama3Scaling{
      .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_max_position_embeddings = 16};
  const auto logits = [](const ModelSettings& settings) {
    Cpu<double> device(1);
    LanguageModel<SmallTied, Cpu<double>> model(device, settings);
    randomise(model);
    const auto scope = device.scope();
    const auto found = model.logits(Tokens(1, 64, SmallTied::vocab_size).batch().ids);
    return std::vector<double>(found.data(), found.data() + found.size());
  };
  const std::vector<double> expected = logits(plain);
  CHECK(logits(plain) == expected);
  const auto differs = [&](auto&& change) {
    ModelSettings settings = plain;
    change(settings);
    return logits(settings) != expected;
  };
  CHECK(differs([](ModelSettings& s) { s.rms_norm_eps = 1e-3; }));
  CHECK(differs([](ModelSettings& s) { s.rope.theta = 501; }));
  CHECK(differs([](ModelSettings& s) { s.rope.llama3.reset(); }));
  CHECK(differs([](ModelSettings& s) { s.rope.llama3->factor = 32; }));
  CHECK(differs([](ModelSettings& s) { s.rope.llama3->low_freq_factor = 1.5; }));
  CHECK(differs([](ModelSettings& s) { s.rope.llama3->high_freq_factor = 8; }));
  CHECK(differs([](ModelSettings& s) { s.rope.llama3->original_max_position_embeddings = 32; }));
}

TEST_CASE("frozen parameters cost no work, and nothing is back-propagated below the lowest trained block") {
  Counted<Cpu<float>> device;
  LanguageModel<SmallHive, Counted<Cpu<float>>> model(device);
  randomise(model);
  const Tokens tokens(2, 8, SmallHive::vocab_size);
  using Weight = GemmBackwardWeight<float>;
  using Input = GemmBackwardInput<float>;

  model.train("model.memory_blocks.1.*");  // steps: M0 T0 T1 M1 T2; the gradient reaches M1 and T2
  CHECK(model.lowest_step() == 3);
  model.loss_and_gradients(tokens.batch(), 1);
  CHECK(device.count<Weight>() == 3);         // q, k and v of the one trained block
  CHECK(device.count<Input>() == 1 + 7 + 3);  // the head; T2: 3 + 4; M1: 3
  CHECK(device.count<CausalAttentionBackward<float>>() == 2);
  CHECK(device.count<ProductKeyTopKBackward<float>>() == 1);
  CHECK(device.count<EmbeddingBackward<float>>() == 0);

  device.counts.clear();
  model.train("lm_head.weight");
  CHECK(model.lowest_step() == 5);
  model.loss_and_gradients(tokens.batch(), 1);
  CHECK(device.count<Weight>() == 1);
  CHECK(device.count<Input>() == 0);
  CHECK(device.count<RmsNormBackward<float>>() == 0);

  device.counts.clear();
  model.train(everything);
  model.loss_and_gradients(tokens.batch(), 1);
  CHECK(device.count<Weight>() == 1 + 3 * 7 + 2 * 3);
  const int forward = device.count<CausalAttention<float>>();
  device.counts.clear();
  model.train("model.memory_blocks.1.*");
  model.loss_and_gradients(tokens.batch(), 1, true);
  CHECK(device.count<CausalAttention<float>>() == forward + 2);  // only M1 and T2 are formed again
}

TEST_CASE("frozen weights stored as bfloat16 give the bits of the rounded weights") {
  const Tokens tokens(2, 9, SmallHive::vocab_size);
  std::vector<float> losses;
  std::vector<std::vector<float>> gradients;
  for (const bool stored : {false, true}) {
    Cpu<float> device(2);
    LanguageModel<SmallHive, Cpu<float>> model(device);
    randomise(model);
    model.visit([](const Path&, auto& parameter) {
      const auto values = parameter.master.flat();
      for (Index i = 0; i < values.size(); ++i) values(i) = bfloat16::from(values(i)).to_float();
    });
    model.train("model.memory_blocks.*");
    if (stored) model.store_as_bfloat16();
    losses.push_back(static_cast<float>(model.loss_and_gradients(tokens.batch(), 1).sum));
    gradients.push_back(gradients_of(model));
    if (stored) CHECK_THROWS_WITH(model.train(everything), Catch::Contains("bfloat16"));
  }
  CHECK(losses[0] == losses[1]);
  CHECK(gradients[0] == gradients[1]);
}

TEST_CASE("a later token changes no earlier output, and a sequence does not see its neighbours") {
  Cpu<double> device(2);
  LanguageModel<SmallHive, Cpu<double>> model(device);
  randomise(model);
  const Index length = 9, vocab = SmallHive::vocab_size;
  Tokens tokens(2, length, SmallHive::vocab_size);
  const auto run_once = [&] {
    const auto scope = device.scope();
    const auto logits = model.logits(tokens.batch().ids);
    return std::vector<double>(logits.data(), logits.data() + logits.size());
  };
  const auto before = run_once();
  tokens.ids[6] = (tokens.ids[6] + 1) % static_cast<int>(vocab);
  const auto after = run_once();
  for (Index row = 0; row < 2 * length; ++row) {
    bool same = true;
    for (Index v = 0; v < vocab; ++v) {
      const auto at = static_cast<std::size_t>(row * vocab + v);
      same = same && before[at] == after[at];
    }
    INFO("row " << row);
    CHECK(same == (row < 6 || row >= length));
  }
}

TEST_CASE("a batch that cannot be is refused with the place of the fault") {
  Cpu<float> device(1);
  LanguageModel<SmallTied, Cpu<float>> model(device);
  Tokens tokens(2, 4, SmallTied::vocab_size);
  tokens.ids[5] = SmallTied::vocab_size;
  CHECK_THROWS_WITH(model.loss(tokens.batch()), Catch::Contains("17 at sequence 1, position 1"));
  tokens.ids[5] = 0;
  tokens.targets[2] = -7;
  CHECK_THROWS_WITH(model.loss(tokens.batch()), Catch::Contains("target -7 at sequence 0, position 2"));
  CHECK_THROWS_WITH(model.loss({{nullptr, Shape<2>{{0, 4}}}, {nullptr, Shape<2>{{0, 4}}}}),
                    Catch::Contains("at least one"));
  // Extents that cannot be, some with a product that can.
  const auto refuses = [&](Index batch, Index length) {
    const View<const std::int32_t, 2> ids(tokens.ids.data(), Shape{batch, length});
    INFO(to_string(ids.shape()));
    CHECK_THROWS_AS(model.loss({ids, ids}), Error);
    CHECK_THROWS_AS(model.loss_and_gradients({ids, ids}, 1), Error);
    CHECK_THROWS_AS(model.logits(ids), Error);
    auto cache = model.make_cache(2, 8);
    CHECK_THROWS_AS(model.infer(ids, cache), Error);
  };
  for (const auto& [batch, length] : {std::pair<Index, Index>{-1, -8},
                                      {0, 4},
                                      {4, 0},
                                      {-1, 8},
                                      {Index{1} << 32, Index{1} << 32},
                                      {std::numeric_limits<Index>::min(), 2}})
    refuses(batch, length);
  const View<const std::int32_t, 2> ids(tokens.ids.data(), Shape{Index{2}, Index{4}});
  CHECK_THROWS_AS(model.loss({ids, {nullptr, ids.shape()}}), Error);
  for (const auto& [batch, capacity] :
       {std::pair<Index, Index>{-1, 8}, {1, -1}, {Index{1} << 40, Index{1} << 40}})
    CHECK_THROWS_AS(model.make_cache(batch, capacity), Error);
  CHECK_THROWS_WITH(model.train("model.layer.*"), Catch::Contains("no parameter has the form"));
  CHECK_THROWS_WITH(model.train(inserted), Catch::Contains("has not been expanded"));
  model.train("lm_head.weight");  // a tied head is the embedding's table
  CHECK(model.gradients().size() > 0);
}

TEST_CASE("a dry run counts what a step takes, and the step takes exactly that") {
  Cpu<float> device(2);
  LanguageModel<SmallHive, Cpu<float>> model(device);
  randomise(model);
  model.train(everything);
  const Tokens tokens(3, 11, SmallHive::vocab_size);
  const std::size_t counted = device.measure([&] { model.loss_and_gradients(tokens.batch(), 1); });
  const std::size_t lean = device.measure([&] { model.loss_and_gradients(tokens.batch(), 1, true); });
  CHECK(counted > 0);
  CHECK(lean < counted);
  Cpu<float> fresh(2);
  LanguageModel<SmallHive, Cpu<float>> other(fresh);
  randomise(other);
  other.train(everything);
  other.loss_and_gradients(tokens.batch(), 1);
  CHECK(fresh.peak_bytes() == counted);
}
