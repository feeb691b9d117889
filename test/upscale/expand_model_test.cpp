#include "midus/upscale/expand_model.hpp"

#include "midus/upscale/llama_pro.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "upscale/models.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("expand_model: the base's memory is taken over") {
  Cpu<float> device(1);
  auto base = random_model<Small<2>>(device);
  const void* embedding = nullptr;
  base.visit([&](const Path& path, auto& parameter) {
    if (path.str() == "model.embed_tokens.weight") embedding = parameter.master.data();
  });
  auto deeper = expand_model<Small<3>>(std::move(base), insert_copies(2, {}, {0}), 0);
  deeper.visit([&](const Path& path, auto& parameter) {
    if (path.str() == "model.embed_tokens.weight") CHECK(parameter.master.data() == embedding);
  });
}

TEST_CASE("expand_model: the type must be the model that the deepening makes") {
  Cpu<float> device(1);
  auto base = random_model<Small<2>>(device);
  CHECK(message_of([&] { expand_model<Small<4>>(std::move(base), insert_copies(2, {}, {0}), 0); }) ==
        "upscale: llama_pro makes 3 layers, the model's type has 4");
  CHECK(parameters_of(base).size() == 21);  // nothing was taken from it
}
