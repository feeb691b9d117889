#include "midus/upscale/llama_pro.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "upscale/models.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("llama_pro: copies follow their layers, and write nothing yet") {
  const Deepening deepening = insert_copies(4, {}, {3, 1});
  CHECK(deepening.layers ==
        std::vector<BlockOrigin>{{0, false}, {1, false}, {1, true}, {2, false}, {3, false}, {3, true}});
  const auto source = [&](const char* name, Role role) {
    return source_of(deepening, name, role, Start::copy());
  };
  CHECK(source("model.layers.2.self_attn.o_proj.weight", Role::output) == TensorSource::zeros());
  CHECK(source("model.layers.2.mlp.down_proj.weight", Role::output) == TensorSource::zeros());
  CHECK(source("model.layers.2.mlp.up_proj.weight", Role::matrix).from ==
        "model.layers.1.mlp.up_proj.weight");
  CHECK(source("model.layers.4.mlp.down_proj.weight", Role::output).from ==
        "model.layers.3.mlp.down_proj.weight");
  CHECK(message_of([] { insert_copies(4, {}, {4}); }) == "llama_pro: position 4: the base has layers 0 to 3");
}

TEST_CASE("llama_pro: Memory blocks stay before their layers") {
  CHECK(insert_copies(4, {0, 1, 3}, {0, 2}).positions == std::vector<Index>{0, 2, 5});
}

TEST_CASE("upscale_llama_pro: the same logits as the base's, as numbers") {
  Cpu<float> device(2);
  auto base = random_model<Small<3>>(device);
  const auto before = logits_of(base);
  const auto parameters = parameters_of(base);
  auto deeper = upscale_llama_pro<Small<5>>(std::move(base), {0, 2}, 4);
  CHECK(logits_of(deeper) == before);
  const auto after = parameters_of(deeper);
  CHECK(after.at("model.layers.3.mlp.up_proj.weight") == parameters.at("model.layers.2.mlp.up_proj.weight"));
  CHECK(after.at("model.layers.4.mlp.up_proj.weight") == parameters.at("model.layers.2.mlp.up_proj.weight"));
  CHECK(after.at("model.layers.2.mlp.down_proj.weight") ==
        parameters.at("model.layers.1.mlp.down_proj.weight"));
  REQUIRE(deeper.expansions.size() == 1);
  CHECK(deeper.expansions[0] ==
        Expansion{Policy::llama_pro, {"model.layers.1.", "model.layers.4."}, 3, {0, 2}, 4});
  deeper.train(inserted);
  CHECK(deeper.lowest_step() == 1);
}

TEST_CASE("upscale_llama_pro: of a model with Memory blocks") {
  Cpu<float> device(2);
  auto base = random_model<Upscaled<Small<3>, Hive, BeforeLayers<0, 2>>>(device);
  const auto before = logits_of(base);
  auto deeper = upscale_llama_pro<Upscaled<Small<4>, Hive, BeforeLayers<0, 3>>>(std::move(base), {1});
  CHECK(logits_of(deeper) == before);
  using Wrong = Upscaled<Small<4>, Hive, BeforeLayers<0, 2>>;
  auto again = random_model<Upscaled<Small<3>, Hive, BeforeLayers<0, 2>>>(device);
  CHECK(message_of([&] { upscale_llama_pro<Wrong>(std::move(again), {1}); }) ==
        "upscale: llama_pro puts the Memory blocks elsewhere than the model's type says");
}
