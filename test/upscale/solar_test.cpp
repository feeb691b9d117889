#include "midus/upscale/solar.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "upscale/models.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("solar: which layers m makes of 4 (DU-01)") {
  const auto layers = [](Index m) {
    std::vector<Index> from;
    for (const BlockOrigin& origin : overlap_copies(4, m).layers) from.push_back(origin.from);
    return from;
  };
  const auto refusal = [](Index m) { return message_of([m] { overlap_copies(4, m); }); };
  CHECK(layers(0) == std::vector<Index>{0, 1, 2, 3, 0, 1, 2, 3});
  CHECK(layers(1) == std::vector<Index>{0, 1, 2, 1, 2, 3});
  CHECK(refusal(2) == "solar: overlap 2 makes 4 layers of 4: nothing is gained; choose an overlap below 2");
  CHECK(refusal(3) ==
        "solar: overlap 3 makes 2 layers of 4, fewer than the base has; choose an overlap below 2");
  for (const Index m : {4, 5, -1})
    CHECK(refusal(m) == text("solar: overlap (m, the layers that each copy leaves out) must be in 0 ... 3 "
                             "for a base of 4 layers, but is ",
                             m));
  CHECK(overlap_copies(32, 8).layers.size() == 48);
  CHECK(overlap_copies(3, 1).layers.size() == 4);  // an odd base
  CHECK(overlap_copies(1, 0).layers.size() == 2);
  for (const BlockOrigin& origin : overlap_copies(4, 1).layers) CHECK_FALSE(origin.inserted);
}

TEST_CASE("upscale_solar: plain copies, and nothing to train as inserted") {
  Cpu<float> device(2);
  auto base = random_model<Small<4>>(device);
  const auto parameters = parameters_of(base);
  auto deeper = upscale_solar<Small<6>>(std::move(base), 8);
  const auto after = parameters_of(deeper);
  const int from[] = {0, 1, 2, 1, 2, 3};
  for (int layer = 0; layer < 6; ++layer)
    for (const std::string part : {".mlp.down_proj.weight", ".self_attn.o_proj.weight"})
      CHECK(after.at("model.layers." + std::to_string(layer) + part) ==
            parameters.at("model.layers." + std::to_string(from[layer]) + part));
  REQUIRE(deeper.expansions.size() == 1);
  CHECK(deeper.expansions[0] == Expansion{Policy::solar, {}, 4, {}, 8});
  CHECK(message_of([&] { deeper.train(inserted); }).find("solar inserts no block") != std::string::npos);
  deeper.train(everything);
}
