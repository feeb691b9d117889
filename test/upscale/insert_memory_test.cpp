#include "midus/upscale/insert_memory.hpp"

#include <algorithm>
#include <cmath>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "upscale/models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

/// The logits before and after are equal as numbers, and the base's parameters the same.
template <class Deeper, class Base>
void check_identity() {
  Cpu<float> device(2);
  auto base = random_model<Base>(device);
  const auto before = logits_of(base);
  const auto parameters = parameters_of(base);
  auto deeper = upscale<Deeper>(std::move(base), {.seed = 3});
  CHECK(logits_of(deeper) == before);  // doubles: -0 == +0
  const auto after = parameters_of(deeper);
  for (const auto& [name, values] : parameters) {
    INFO(name);
    CHECK(after.at(name) == values);
  }
  deeper.visit([](const Path&, const auto& parameter) { CHECK(parameter.frozen()); });
}

bool all_zero(const std::vector<double>& x) {
  return std::all_of(x.begin(), x.end(), [](double value) { return value == 0; });
}

/// Gradients of one batch, by name, with the inserted blocks trained.
template <class Model>
std::map<std::string, std::vector<double>> gradients_of(Model& model) {
  model.zero_gradients();
  model.loss_and_gradients({tokens(), tokens()}, 1.0);
  std::map<std::string, std::vector<double>> all;
  model.visit([&](const Path& path, const auto& parameter) {
    if (!parameter.frozen())
      all[path.str()].assign(parameter.grad.data(), parameter.grad.data() + parameter.grad.size());
  });
  return all;
}

}  // namespace

TEST_CASE("insert_memory: where each tensor of a block comes from") {
  const Deepening hive = insert_memory(Policy::midus, 6, {}, {3});
  const auto source = [&](const Deepening& deepening, const TensorSpec& tensor) {
    return deepening.start(tensor.role, tensor.start, "model.layers.3." + std::string(tensor.name));
  };
  CHECK(source(hive, norm_tensor(64)) == TensorSource::copy_of("model.layers.3.weight"));
  CHECK(source(hive, attention_head_tensors(64, 4, 4, 16)[0]) ==
        TensorSource::copy_of("model.layers.3.q_proj.weight"));
  const auto values = FactorizedValue<4>::tensors({.slots = 9, .heads = 4, .head_width = 16, .rank = 4});
  CHECK(source(hive, values[0]) == TensorSource::zeros());
  CHECK(source(hive, values[1]) == TensorSource::normal(0.5));  // variance 1/r
  const auto keys = sub_key_tensors(4, 3, 16);
  CHECK(source(hive, keys[0]) == TensorSource::uniform(0.25));  // ±1/√D
  CHECK(source(hive, product_key_memory_tensors(64, 64, 4, 3, 16)[0]) ==
        TensorSource::normal(0.125));  // variance 1/(H·D)
  const Deepening spread = insert_memory(Policy::midus, 6, {}, {3}, 0.5);
  CHECK(source(spread, keys[1]) == TensorSource::normal(0.5));
  CHECK(source(spread, values[1]) == TensorSource::normal(0.5));
  CHECK(source(spread, TensorSpec{"bank", {4}, Role::table, Start::uniform(2)}) == TensorSource::uniform(2));
}

TEST_CASE("insert_memory: blocks are numbered by position, old ones too") {
  const Deepening deepening = insert_memory(Policy::midus, 6, {1, 4}, {5, 0, 2});
  CHECK(deepening.positions == std::vector<Index>{0, 1, 2, 4, 5});
  CHECK(deepening.memory_blocks ==
        std::vector<BlockOrigin>{{0, true}, {0, false}, {2, true}, {1, false}, {5, true}});
  CHECK(deepening.parent_positions == std::vector<Index>{0, 2, 5});
  CHECK(message_of([] {
          insert_memory(Policy::midus, 6, {1, 4}, {4});
        }) ==
        "midus: position 4 is taken: a Memory block stands before that layer, and blocks are never stacked");
  for (const double bad : {0.0, -1.0, 1e-46, 1e-300, 3e38, 1e39, std::nan("")})  // in float, too
    CHECK(message_of([&] {
            insert_memory(Policy::midus, 6, {}, {4}, bad);
          }).starts_with("midus: the spread of the keys must be from 1.17549e-38 to 5.31691e+36, but is "));
}

TEST_CASE("upscale: the same logits as the base's, as numbers") {
  using Base = Small<3>;
  check_identity<Upscaled<Base, Hive, BeforeLayers<1>>, Base>();
  check_identity<Upscaled<Base, Hive, BeforeLayers<0, 1, 2>>, Base>();
  check_identity<Upscaled<Base, Dense, BeforeLayers<0, 2>>, Base>();
  check_identity<Upscaled<Base, Pkm, BeforeLayers<0, 2>>, Base>();
  using Tied = Small<3, TiedHead>;
  check_identity<Upscaled<Tied, Hive, BeforeLayers<0>>, Tied>();
}

TEST_CASE("upscale: twice, the first blocks are renumbered with what they learned") {
  using Base = Small<3>;
  using Once = Upscaled<Base, Hive, BeforeLayers<1>>;
  using Twice = Upscaled<Base, Hive, BeforeLayers<0, 1, 2>>;
  Cpu<float> device(2);
  auto once = random_model<Once>(device);
  once.expansions = {{Policy::midus, {"model.memory_blocks.0."}, 3, {1}, 1}};
  const auto before = logits_of(once);
  const auto parameters = parameters_of(once);
  auto twice = upscale<Twice>(std::move(once), {.seed = 2});
  CHECK(logits_of(twice) == before);
  const auto after = parameters_of(twice);
  CHECK(after.at("model.memory_blocks.1.memory.values") ==
        parameters.at("model.memory_blocks.0.memory.values"));
  CHECK(all_zero(after.at("model.memory_blocks.0.memory.values")));
  REQUIRE(twice.expansions.size() == 2);
  CHECK(twice.expansions[0] == Expansion{Policy::midus, {"model.memory_blocks.1."}, 3, {1}, 1});
  CHECK(twice.expansions[1] ==
        Expansion{Policy::midus, {"model.memory_blocks.0.", "model.memory_blocks.2."}, 3, {0, 2}, 2});
  // Positions that are not those of the base and new ones: the base's block has no place.
  using Elsewhere = Upscaled<Base, Hive, BeforeLayers<0>>;
  auto again = random_model<Once>(device);
  CHECK(message_of([&] { upscale<Elsewhere>(std::move(again)); }) ==
        "upscale: midus puts the Memory blocks elsewhere than the model's type says");
}

TEST_CASE("upscale: at first only the values have gradients, after a step the others too") {
  using Base = Small<3>;
  Cpu<double> device(2);
  const auto check = [&]<class Deeper>(Deeper) {
    auto deeper = upscale<Deeper>(random_model<Base>(device), {.seed = 3});
    deeper.train(inserted);
    CHECK(deeper.lowest_step() == 1);
    const auto gradients = gradients_of(deeper);
    CHECK(gradients.size() >= 14);
    for (const auto& [name, gradient] : gradients) {
      INFO(name);
      CHECK(all_zero(gradient) == !name.ends_with(".values"));
      CHECK(name.starts_with("model.memory_blocks."));
    }
    deeper.visit([&](const Path&, auto& parameter) {
      for (Index i = 0; i < parameter.grad.size(); ++i)
        parameter.master.data()[i] -= 0.1 * parameter.grad.data()[i];
    });
    for (const auto& [name, gradient] : gradients_of(deeper)) {
      INFO(name);
      CHECK_FALSE(all_zero(gradient));
    }
  };
  check(Upscaled<Base, Hive, BeforeLayers<1, 2>>{});
  check(Upscaled<Base, Dense, BeforeLayers<1, 2>>{});
  check(Upscaled<Base, Pkm, BeforeLayers<1, 2>>{});
}

TEST_CASE("upscale: the seed decides the keys, and a wider spread is an option") {
  using Base = Small<3>;
  using Deeper = Upscaled<Base, Hive, BeforeLayers<1>>;
  Cpu<float> device(1);
  const auto keys = [&](const InsertOptions& options) {
    auto deeper = upscale<Deeper>(random_model<Base>(device), options);
    return parameters_of(deeper).at("model.memory_blocks.0.memory.row_keys");
  };
  CHECK(keys({.seed = 1}) == keys({.seed = 1}));
  CHECK(keys({.seed = 1}) != keys({.seed = 2}));
  for (const double key : keys({.seed = 1})) CHECK(std::fabs(key) <= 0.5);  // 1/√4
  double square = 0;
  const auto wide = keys({.seed = 1, .key_spread = 4.0});
  for (const double key : wide) square += key * key / static_cast<double>(wide.size());
  CHECK(std::fabs(square / 16 - 1) < 5 * std::sqrt(2.0 / static_cast<double>(wide.size())));
}

TEST_CASE("upscale: weights that are stored as bfloat16 are refused") {
  using Base = Small<2>;
  Cpu<float> device(1);
  auto base = random_model<Base>(device);
  base.store_as_bfloat16("model.norm.weight");
  CHECK(message_of([&] { upscale<Upscaled<Base, Hive, BeforeLayers<1>>>(std::move(base)); }) ==
        "upscale: model.norm.weight is stored as bfloat16; load the base without a 16-bit store");
}
