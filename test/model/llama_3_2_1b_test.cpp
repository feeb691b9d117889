// A model of a real size: Llama 3.2 1B, from its config.json to logits, with random weights (5 GB in f32).
#include <cmath>

#include "midus/hf.hpp"
#include "midus/midus.hpp"
#include "midus_model.hpp"
#include "support/catch.hpp"

using namespace midus;

TEST_CASE("Llama 3.2 1B: builds, initialises, and predicts at chance") {
  Cpu<float> device;
  const std::filesystem::path config = MIDUS_SOURCE_DIR "/examples/configs/llama-3.2-1b";
  auto model = make_model<midus_model::Model>(read_llama_config(config), device);
  Index parameters = 0;
  model.visit([&](const Path&, const auto& parameter) { parameters += parameter.shape.size(); });
  CHECK(parameters == 1235814400);
  initialise(model, 1);

  std::vector<std::int32_t> ids, targets;
  for (std::int32_t t = 0; t < 8; ++t) {
    ids.push_back(16001 * t);
    targets.push_back(128255 - 16001 * t);
  }
  const Shape<2> shape{{1, 8}};
  const LossSum loss = model.loss({{ids.data(), shape}, {targets.data(), shape}});
  CHECK(loss.count == 8);
  CHECK(std::abs(loss.mean() - std::log(128256.0)) < 1.0);
}
