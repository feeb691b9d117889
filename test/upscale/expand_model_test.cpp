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

TEST_CASE("expand_model: a base that has been up-scaled away says so, and can be replaced") {
  Cpu<float> device(1);
  auto base = random_model<Small<2>>(device);
  const auto plan = insert_copies(2, {}, {0});
  {
    auto first = expand_model<Small<3>>(std::move(base), plan, 0);
    const auto before = logits_of(first);
    for (int again = 0; again < 2; ++again)
      CHECK_THAT(message_of([&] { expand_model<Small<3>>(std::move(base), plan, 0); }),
                 Catch::Contains("has been up-scaled away"));
    CHECK(logits_of(first) == before);
  }  // the memory that was the base's is gone
  const std::string away = "has been up-scaled away";
  CHECK_THROWS_WITH(base.logits(tokens()), Catch::Contains(away));
  CHECK_THROWS_WITH(base.loss({tokens(), tokens()}), Catch::Contains(away));
  CHECK_THROWS_WITH(base.loss_and_gradients({tokens(), tokens()}, 1), Catch::Contains(away));
  CHECK_THROWS_WITH(parameters_of(base), Catch::Contains(away));
  CHECK_THROWS_WITH(base.train(everything), Catch::Contains(away));
  CHECK_THROWS_WITH(base.zero_gradients(), Catch::Contains(away));
  CHECK_THROWS_WITH(std::move(base).release(), Catch::Contains(away));
  base = random_model<Small<2>>(device);
  CHECK(logits_of(base).size() == 18 * 19);
}

TEST_CASE("expand_model: the type must be the model that the deepening makes") {
  Cpu<float> device(1);
  auto base = random_model<Small<2>>(device);
  CHECK(message_of([&] { expand_model<Small<4>>(std::move(base), insert_copies(2, {}, {0}), 0); }) ==
        "upscale: llama_pro makes 3 layers, the model's type has 4");
  CHECK(parameters_of(base).size() == 21);  // nothing was taken from it
}
