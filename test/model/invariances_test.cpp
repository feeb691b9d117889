// What must not matter to a model, and what must not grow with its input.
#include <cmath>

#include "support/catch.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

using D = Cpu<double>;

template <class Model>
std::vector<double> logits_of(Model& model, const View<const std::int32_t, 2>& ids) {
  const auto scope = model.device().scope();
  const auto logits = model.logits(ids);
  return {logits.data(), logits.data() + logits.size()};
}

void check_close(const std::vector<double>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  double largest = 0, worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::fabs(expected[i]));
    worst = std::max(worst, std::fabs(got[i] - expected[i]));
  }
  CHECK(largest > 0);
  CHECK(worst <= 1e-12 * largest);
}

/// Sequence `b` of a batch alone.
Tokens alone(const Tokens& all, Index b) {
  Tokens one(1, all.shape[1], 1);
  const Index begin = b * one.shape[1], end = begin + one.shape[1];
  one.ids.assign(all.ids.begin() + begin, all.ids.begin() + end);
  one.targets.assign(all.targets.begin() + begin, all.targets.begin() + end);
  return one;
}

/// x as [outer,H,·] with its middle axis in another order.
void reorder(const View<double, 1>& x, Index outer, const std::vector<Index>& order) {
  const std::vector<double> before(x.data(), x.data() + x.size());
  const auto heads = static_cast<Index>(order.size());
  const Index inner = x.size() / outer / heads;
  for (Index o = 0; o < outer; ++o)
    for (Index h = 0; h < heads; ++h)
      std::copy_n(before.data() + (o * heads + order[static_cast<std::size_t>(h)]) * inner, inner,
                  x.data() + (o * heads + h) * inner);
}

/// Reorders the heads of the Memory blocks, and with them the slices of the residual stream that they write,
/// wherever it is read or written; of the parameters' values or of their gradients.
template <class Model>
void reorder_heads(Model& model, bool gradients, const std::vector<Index>& order) {
  model.visit([&](const Path& path, auto& parameter) {
    const std::string name = path.str();
    const auto is = [&](const char* pattern) { return matches(pattern, name); };
    const auto x = (gradients ? parameter.grad : parameter.master).flat();
    const bool of_heads =
        is("*.memory_blocks.*") && !(is("*.values") && parameter.shape[0] > Index(order.size()));
    const bool writes = is("*.o_proj.weight") || is("*.down_proj.weight");
    if (of_heads || writes || is("*norm.weight")) reorder(x, 1, order);
    if (is("*.weight") && !writes && !is("*norm.weight")) reorder(x, parameter.shape[0], order);
  });
}

/// Two models with the same weights, all of which train.
template <class Config>
struct Twins {
  D device{2};
  LanguageModel<Config, D> one{device}, other{device};

  Twins() {
    randomise(one), randomise(other);
    one.train(everything), other.train(everything);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("invariances: the order of a Memory block's heads is the order of its output's slices", "",
                   FactorizedValue<3>, DenseValue) {
  using Base = Llama<Vocab<13>, Width<12>, Layers<2>, Attention<3>, SwiGlu<10>>;
  using Deeper = Upscaled<Base, MemoryBlock<HeadwiseMemory<3, 5, 3, TestType>>, BeforeLayers<0, 1>>;
  Twins<Deeper> twins;
  auto& [device, model, other] = twins;
  reorder_heads(other, false, {2, 0, 1});
  const Tokens tokens(2, 9, Deeper::vocab_size);
  check_close(logits_of(other, tokens.batch().ids), logits_of(model, tokens.batch().ids));
  const double loss = model.loss_and_gradients(tokens.batch(), 1).sum;
  CHECK(other.loss_and_gradients(tokens.batch(), 1).sum == Approx(loss).epsilon(1e-12));
  reorder_heads(other, true, {1, 2, 0});
  check_close(gradients_of(other), gradients_of(model));
}

TEMPLATE_TEST_CASE("invariances: a batch gives the logits and the gradients of its sequences alone", "",
                   SmallBase, SmallHive, SmallDense, SmallPkm) {
  Twins<TestType> twins;
  auto& [device, together, apart] = twins;
  const Tokens tokens(3, 7, TestType::vocab_size);
  std::vector<double> logits;
  LossSum sum;
  for (Index b = 0; b < 3; ++b) {
    const Tokens one = alone(tokens, b);
    const auto part = logits_of(apart, one.batch().ids);
    logits.insert(logits.end(), part.begin(), part.end());
    const LossSum loss = apart.loss_and_gradients(one.batch(), 0.5);
    sum.sum += loss.sum, sum.count += loss.count;
  }
  check_close(logits_of(together, tokens.batch().ids), logits);
  const LossSum loss = together.loss_and_gradients(tokens.batch(), 0.5);
  CHECK(loss.sum == Approx(sum.sum).epsilon(1e-12));
  CHECK(loss.count == sum.count);
  check_close(gradients_of(together), gradients_of(apart));
}

TEMPLATE_TEST_CASE("invariances: padding after a sequence changes neither its loss nor the gradients", "",
                   SmallBase, SmallHive, SmallDense, SmallPkm) {
  Twins<TestType> twins;
  auto& [device, model, padded] = twins;
  const Tokens tokens(2, 9, TestType::vocab_size);
  Tokens longer(2, 14, TestType::vocab_size, 2);
  for (Index b = 0; b < 2; ++b)
    for (Index t = 0; t < 14; ++t) {
      const auto to = static_cast<std::size_t>(b * 14 + t), from = static_cast<std::size_t>(b * 9 + t);
      if (t < 9) longer.ids[to] = tokens.ids[from];
      longer.targets[to] = t < 9 ? tokens.targets[from] : ignored_target;
    }
  const LossSum loss = model.loss_and_gradients(tokens.batch(), 0.5);
  const LossSum with_padding = padded.loss_and_gradients(longer.batch(), 0.5);
  CHECK(with_padding.sum == Approx(loss.sum).epsilon(1e-12));
  CHECK(with_padding.count == loss.count);
  CHECK(padded.loss(longer.batch()).sum == Approx(loss.sum).epsilon(1e-12));
  check_close(gradients_of(padded), gradients_of(model));
}

TEMPLATE_TEST_CASE("invariances: with zero values generation gives the base's logits, as numbers", "",
                   SmallHive, SmallDense, SmallPkm) {
  D device(2);
  LanguageModel<typename TestType::BaseConfig, D> base(device);
  LanguageModel<TestType, D> deeper(device);
  randomise(base), randomise(deeper);  // the same numbers under the same names
  deeper.visit([&](const Path& path, auto& parameter) {
    if (matches("*.memory.values", path.str())) device.fill(parameter.master, 0);
  });
  const Index length = 11;
  const Tokens tokens(2, length, TestType::vocab_size);
  CHECK(logits_of(deeper, tokens.batch().ids) == logits_of(base, tokens.batch().ids));
  for (const std::vector<Index>& split :
       {std::vector<Index>{11}, {6, 5}, {8, 1, 1, 1}, std::vector<Index>(11, 1)}) {
    auto cache = base.make_cache(2, length);
    auto deeper_cache = deeper.make_cache(2, length);
    Index at = 0;
    for (const Index count : split) {
      const auto scope = device.scope();
      std::vector<std::int32_t> ids;
      for (Index b = 0; b < 2; ++b)
        ids.insert(ids.end(), tokens.ids.begin() + b * length + at,
                   tokens.ids.begin() + b * length + at + count);
      at += count;
      const View<const std::int32_t, 2> next(ids.data(), {{2, count}});
      const auto expected = base.infer(next, cache), got = deeper.infer(next, deeper_cache);
      CHECK(std::equal(got.data(), got.data() + got.size(), expected.data()));
    }
  }
}

TEMPLATE_TEST_CASE("invariances: the memory of a step is linear in the length", "", SmallBase, SmallHive,
                   SmallDense, SmallPkm) {
  D device(2);
  LanguageModel<TestType, D> model(device);
  model.train(everything);
  const auto bytes = [&](Index length, bool checkpointing) {
    const Tokens tokens(1, length, TestType::vocab_size);
    return static_cast<double>(
        device.measure([&] { model.loss_and_gradients(tokens.batch(), 1, checkpointing); }));
  };
  for (const bool checkpointing : {false, true}) {
    INFO("checkpointing " << checkpointing);
    const double once = bytes(4096, checkpointing), twice = bytes(8192, checkpointing);
    CHECK(twice < 2.2 * once);
    CHECK(twice > 1.8 * once);
    CHECK(twice < 8192.0 * 8192 * sizeof(double) / 4);  // a quarter of one head's scores
  }
}

TEST_CASE("invariances: the logits of a whole batch are never in memory") {
  constexpr int vocab = 20000;
  using Wide = Llama<Vocab<vocab>, Width<8>, Layers<1>, Attention<2>, SwiGlu<8>>;
  D device(2);
  LanguageModel<Wide, D> model(device);
  model.train(everything);
  const auto bytes = [&](Index rows, bool backward) {
    const Tokens tokens(rows / 64, 64, vocab);
    return static_cast<double>(device.measure(
        [&] { backward ? model.loss_and_gradients(tokens.batch(), 1) : model.loss(tokens.batch()); }));
  };
  const Index rows = 16384;
  const double logits = static_cast<double>(rows) * vocab * sizeof(double);
  for (const bool backward : {false, true}) {
    INFO("backward " << backward);
    CHECK(bytes(rows, backward) < logits / 10);
    CHECK(bytes(2 * rows, backward) - bytes(rows, backward) < logits / 50);
  }
}
