#include "midus/train/flops.hpp"

#include "support/catch.hpp"
#include "support/small_models.hpp"

using namespace midus;
using namespace midus::test;

namespace {

constexpr Index length = 10;
/// Forward flops of the causal half of one layer's attention, whose heads are 16 (SmallTied) wide together.
constexpr double attention = 2 * length * 16;
/// SmallTied: the weights of a layer (4 of attention, 3 of the feed-forward) and of the head.
constexpr double layer = 4 * 16 * 16 + 3 * 16 * 10, head = 17 * 16;

template <class Config>
double flops(const std::string& trained) {
  Cpu<float> device(1);
  LanguageModel<Config, Cpu<float>> model(device);
  if (!trained.empty()) model.train(trained);
  return training_flops_per_token(model, length);
}

}  // namespace

TEST_CASE("flops: forward, the gradient of the input, and that of the weight") {
  CHECK(flops<SmallTied>("") == 2 * (2 * layer + head) + 2 * attention);
  CHECK(flops<SmallTied>("everything") == 6 * (2 * layer + head) + 3 * 2 * attention);
  // The weight of the tied table is the head's, and its gradient reaches the first layer by the look-up.
  CHECK(flops<SmallTied>("lm_head.weight") == 4 * 2 * layer + 6 * head + 3 * 2 * attention);
  CHECK(flops<SmallTied>("model.layers.1.*") == 2 * layer + 6 * layer + 4 * head + (1 + 3) * attention);
  CHECK(flops<SmallTied>("model.norm.weight") == 2 * 2 * layer + 4 * head + 2 * attention);
}

TEST_CASE("flops: an inserted block alone; its values are looked up") {
  constexpr double memory = 3 * 16 * 16 + 2 * (2 * 4 * 4);  // q, k and v, and two sets of sub-keys
  CHECK(flops<SmallDense>("model.memory_blocks.*") ==
        2 * layer + 6 * memory + 4 * layer + 4 * head + (1 + 3 + 3) * attention);
}

TEST_CASE("flops: an untied embedding is looked up, and the head has its own weight") {
  // SmallBase: 6 heads of 2 (2 for keys and values) at width 12, f 14, V 19.
  constexpr double weights = 2 * 12 * 12 + 2 * 12 * 4 + 3 * 12 * 14, of_heads = 2 * length * 12;
  CHECK(flops<SmallBase>("everything") == 6 * (3 * weights + 19 * 12) + 3 * 3 * of_heads);
  CHECK(flops<SmallBase>("lm_head.weight") == 2 * 3 * weights + 4 * 19 * 12 + 3 * of_heads);
  CHECK(flops<SmallBase>("model.embed_tokens.weight") == 4 * (3 * weights + 19 * 12) + 3 * 3 * of_heads);
}
