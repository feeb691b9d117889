#include "midus/upscale/deepening.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using midus::test::message_of;

namespace {

/// Three layers become four: a new one after layer 0. Memory block 0 stays, block 1 is new.
Deepening example() {
  Deepening deepening;
  deepening.policy = Policy::llama_pro;
  deepening.parent_layers = 3;
  deepening.parent_positions = {0};
  deepening.layers = {{0, false}, {0, true}, {1, false}, {2, false}};
  deepening.memory_blocks = {{0, false}};
  deepening.positions = {2};
  deepening.start = [](Role role, const Start& start, std::string beside) {
    return role == Role::output ? TensorSource::zeros() : TensorSource::of(start, std::move(beside));
  };
  return deepening;
}

}  // namespace

TEST_CASE("Deepening: every tensor has a source") {
  const Deepening deepening = example();
  const auto from = [&](const char* name) {
    return source_of(deepening, name, Role::matrix, Start::copy()).from;
  };
  CHECK(from("model.embed_tokens.weight") == "model.embed_tokens.weight");
  CHECK(from("model.norm.weight") == "model.norm.weight");
  CHECK(from("lm_head.weight") == "lm_head.weight");
  CHECK(from("model.layers.0.mlp.up_proj.weight") == "model.layers.0.mlp.up_proj.weight");
  CHECK(from("model.layers.1.mlp.up_proj.weight") == "model.layers.0.mlp.up_proj.weight");
  CHECK(from("model.layers.3.mlp.up_proj.weight") == "model.layers.2.mlp.up_proj.weight");
  CHECK(from("model.memory_blocks.0.memory.values") == "model.memory_blocks.0.memory.values");
  CHECK(source_of(deepening, "model.layers.1.zero", Role::output, Start::copy()) == TensorSource::zeros());
  CHECK(source_of(deepening, "model.layers.1.table", Role::table, Start::normal_by(16)) ==
        TensorSource::normal(0.25));
  CHECK(is_inserted(deepening, "model.layers.1.zero"));
  CHECK_FALSE(is_inserted(deepening, "model.layers.2.zero"));
  CHECK_FALSE(is_inserted(deepening, "model.norm.weight"));
}

TEST_CASE("Deepening: names are read in parts") {
  const BlockTensor tensor("model.layers.12.self_attn.q_proj.weight");
  CHECK(tensor.prefix == "model.layers.");
  CHECK(tensor.number == 12);
  CHECK(tensor.part == "self_attn.q_proj.weight");
  CHECK(BlockTensor("model.norm.weight").prefix.empty());
}

TEST_CASE("Deepening: the history follows its blocks") {
  const std::vector<Expansion> before{{Policy::llama_pro, {"model.layers.2."}, 2, {1}, 5},
                                      {Policy::midus, {"model.memory_blocks.0."}, 3, {1}, 6}};
  const std::vector<Expansion> after = history_after(example(), before, 9);
  REQUIRE(after.size() == 3);
  CHECK(after[0] == Expansion{Policy::llama_pro, {"model.layers.3."}, 2, {1}, 5});
  CHECK(after[1] == before[1]);
  CHECK(after[2] == Expansion{Policy::llama_pro, {"model.layers.1."}, 3, {0}, 9});
}

TEST_CASE("Deepening: positions are layers, each named once") {
  CHECK(checked_positions({3, 0}, 4, Policy::midus) == std::vector<Index>{0, 3});
  CHECK(message_of([] { checked_positions({}, 4, Policy::midus); }) == "midus: name at least one position");
  CHECK(message_of([] { checked_positions({4}, 4, Policy::midus); }) ==
        "midus: position 4: the base has layers 0 to 3");
  CHECK(message_of([] { checked_positions({-1}, 4, Policy::midus); }) ==
        "midus: position -1: the base has layers 0 to 3");
  CHECK(message_of([] {
          checked_positions({1, 2, 1}, 4, Policy::midus);
        }) == "midus: position 1 is named twice: blocks are never stacked");
}
