#include "midus/upscale/plan.hpp"

#include "support/catch.hpp"
#include "support/llama_configs.hpp"

using namespace midus;
using namespace midus::test;

namespace {

using Positions = std::vector<Index>;

Positions positions(const Plan& plan) { return plan.deeper.memory.value().positions; }

/// What the refusal of a plan says.
std::string refusal(const Json& base_model, const UpscaleOptions& options) {
  return message_of([&] { make_plan(read(base_model), options); });
}

/// The configuration of a plan's result, written and read again.
Json written(const Plan& plan) { return to_json(plan.deeper); }

Index sum(const Plan& plan) {
  Index total = 0;
  for (const PlannedTensor& tensor : plan.tensors) total += element_count(tensor.info.shape);
  return total;
}

}  // namespace

TEST_CASE("plan: blocks are spread evenly where no positions are given") {
  Positions all(16);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Index>(i);
  CHECK(spread_evenly(all, 8) == Positions{1, 3, 5, 7, 9, 11, 13, 15});
  CHECK(spread_evenly(all, 1) == Positions{8});
  CHECK(spread_evenly(all, 16) == all);
  CHECK(last_of_groups(32, 8) == Positions{3, 7, 11, 15, 19, 23, 27, 31});
  CHECK(last_of_groups(4, 4) == Positions{0, 1, 2, 3});
  CHECK(positions(make_plan(read(base), {})) == Positions{1, 3});
  CHECK(positions(make_plan(read(base), {.count = 4})) == Positions{0, 1, 2, 3});
  CHECK(make_plan(read(base), {.policy = Policy::llama_pro}).deepening.parent_positions == Positions{3});
  CHECK(make_plan(read(base), {.policy = Policy::solar}).deepening.layers.size() == 6);  // m = 1
}

TEST_CASE("plan: what is added is what docs/method.md says") {
  // d 64, H 4, KV 2, D 16, V 256; n 8, k 2, r 4
  const Index attention = 64 + 64 * 64 + 2 * (32 * 64), keys = 2 * 4 * 8 * 8;
  UpscaleOptions options{.positions = {1, 3}, .num_keys = 8, .top_k = 2, .value_rank = 4};
  const Plan hive = make_plan(read(base), options);
  CHECK(hive.added_parameters() == 2 * (attention + keys + 64 * 4 + 4 * 4 * 16));
  options.value_rank = 0;
  const Plan dense = make_plan(read(base), options);
  CHECK(dense.added_parameters() == 2 * (attention + keys + 4 * 64 * 16));
  const Plan pkm_plan = make_plan(read(base), {.policy = Policy::pkm,
                                               .positions = {0},
                                               .num_keys = 8,
                                               .top_k = 2,
                                               .memory_heads = 3,
                                               .query_dim = 10});
  CHECK(pkm_plan.added_parameters() == attention + 30 * 64 + 2 * 3 * 8 * 5 + 64 * 64);
  const Plan pro = make_plan(read(base), {.policy = Policy::llama_pro, .positions = {1, 3}});
  CHECK(pro.added_parameters() == 2 * (attention + 64 * 64 + 64 + 3 * 64 * 176));
  const Plan solar = make_plan(read(base), {.policy = Policy::solar, .overlap = 0});
  CHECK(solar.added_parameters() == 2 * pro.added_parameters());
  CHECK(solar.trained_parameters == 0);
  for (const Plan* plan : {&hive, &dense, &pkm_plan, &pro}) {
    CHECK(plan->trained_parameters == plan->added_parameters());
    CHECK(plan->parameters == sum(*plan));
    CHECK(plan->bytes == static_cast<std::uint64_t>(plan->parameters) * 4);
  }
  // A tied head is counted once, and stays tied.
  const Json tied = with(base, "tie_word_embeddings", "true");
  const Plan tied_plan = make_plan(read(tied), options);
  CHECK(tied_plan.parameters == dense.parameters - 256 * 64);
  CHECK(tied_plan.tensors.back().info.name == "model.norm.weight");
}

TEST_CASE("plan: config.json of the deeper model") {
  const Json midus = written(make_plan(read(base), {.positions = {3, 1}, .seed = 1}));
  CHECK(midus["model_type"] == "midus");
  CHECK(midus["midus"].dump() ==
        R"({"positions":[1,3],"num_keys":128,"top_k":16,"values":"factorized","value_rank":64})");
  CHECK(midus["depth_upscaling"].dump() ==
        R"({"version":1,"history":[{"policy":"midus","inserted":["model.memory_blocks.0.",)"
        R"("model.memory_blocks.1."],"parent_layers":4,"parent_positions":[1,3],"seed":1}]})");
  const Json pro = written(make_plan(read(base), {.policy = Policy::llama_pro, .positions = {1}}));
  CHECK(pro["num_hidden_layers"] == 5);
  CHECK(pro["model_type"] == "llama");
  const Json solar = written(make_plan(read(base), {.policy = Policy::solar}));
  CHECK(solar["num_hidden_layers"] == 6);
  CHECK(solar["depth_upscaling"]["history"][0]["inserted"].empty());
}

TEST_CASE("plan: expanding MIDUS again") {
  const Json once = written(
      make_plan(read(base), {.positions = {1, 3}, .num_keys = 8, .top_k = 2, .value_rank = 4, .seed = 1}));
  const Plan plan = make_plan(read(once), {.positions = {0, 2}, .seed = 2});
  CHECK(positions(plan) == Positions{0, 1, 2, 3});
  CHECK(plan.deeper.memory->num_keys == 8);  // the base's, where nothing is said
  REQUIRE(plan.deeper.history.size() == 2);
  CHECK(plan.deeper.history[0].inserted ==
        std::vector<std::string>{"model.memory_blocks.1.", "model.memory_blocks.3."});
  CHECK(plan.deeper.history[1] ==
        Expansion{Policy::midus, {"model.memory_blocks.0.", "model.memory_blocks.2."}, 4, {0, 2}, 2});
  CHECK(plan.trained_parameters == plan.added_parameters());
  CHECK(positions(make_plan(read(once), {.count = 1})) == Positions{1, 2, 3});  // the middle of 0 and 2
  written(plan);

  CHECK(refusal(once, {.positions = {1}}).find("position 1 is taken") != std::string::npos);
  CHECK(refusal(once, {.positions = {0}, .num_keys = 16}) ==
        "midus: num-keys is 16, but the Memory blocks of config.json have 8; all blocks of a model have the "
        "same");
  CHECK(refusal(once, {.top_k = 4}).find("midus: top-k is 4") == 0);
  CHECK(refusal(once, {.value_rank = 0}).find("midus: value-rank is 0") == 0);
  CHECK(refusal(once, {.policy = Policy::pkm}).find("has Memory blocks of another kind, hml") !=
        std::string::npos);
  CHECK(refusal(once, {.policy = Policy::solar}).find("solar: config.json has Memory blocks") == 0);
  CHECK(refusal(written(plan), {}) == "midus: config.json has a Memory block before every layer");
}

TEST_CASE("plan: LLaMA-Pro on MIDUS shifts the positions, and on LLaMA-Pro the prefixes") {
  const Json once = written(make_plan(read(base), {.positions = {0, 3}}));
  const Plan pro = make_plan(read(once), {.policy = Policy::llama_pro, .positions = {1, 3}});
  CHECK(positions(pro) == Positions{0, 4});
  CHECK(pro.deeper.history[1].inserted == std::vector<std::string>{"model.layers.2.", "model.layers.5."});
  CHECK(pro.deeper.history[0] == read(once).history[0]);
  const Plan again = make_plan(read(written(pro)), {.policy = Policy::llama_pro, .positions = {0}});
  CHECK(again.deeper.history[1].inserted == std::vector<std::string>{"model.layers.3.", "model.layers.6."});
  CHECK(positions(again) == Positions{0, 5});
  // SOLAR keeps a copied layer twice, and both are what LLaMA-Pro inserted.
  const Json copied = written(make_plan(read(base), {.policy = Policy::llama_pro, .positions = {1}}));
  const Plan doubled = make_plan(read(copied), {.policy = Policy::solar, .overlap = 0});
  CHECK(doubled.deeper.history[0].inserted == std::vector<std::string>{"model.layers.2.", "model.layers.7."});
  written(doubled);
}

TEST_CASE("plan: what cannot be is refused with a sentence") {
  CHECK(policy_from("llama_pro") == Policy::llama_pro);
  CHECK_FALSE(policy_from("midas"));
  CHECK(refusal(base, {.values = "gated"})
            .find("midus: this program does not have the values \"gated\", but "
                  "dense, factorized") == 0);
  CHECK(refusal(base, {.values = "dense", .value_rank = 3}) ==
        "midus: the values \"dense\" have no value-rank, or 0, but it is 3");
  CHECK(refusal(base, {.values = "factorized", .value_rank = 0}) ==
        "midus: the values \"factorized\" need a value-rank of at least 1, but it is 0");
  CHECK(refusal(base, {.policy = Policy::pkm, .values = "dense"}) == "pkm has no values; leave it out");
  CHECK(refusal(base, {.policy = Policy::solar, .overlap = 2}).find("nothing is gained") !=
        std::string::npos);
  CHECK(refusal(base, {.policy = Policy::solar, .positions = {1}}) == "solar has no positions; leave it out");
  CHECK(refusal(base, {.overlap = 2}) == "midus has no overlap; leave it out");
  CHECK(refusal(base, {.memory_heads = 2}) == "midus has no memory-heads; leave it out");
  CHECK(refusal(base, {.policy = Policy::pkm, .value_rank = 2}) == "pkm has no value-rank; leave it out");
  CHECK(refusal(base, {.policy = Policy::llama_pro, .num_keys = 2}) ==
        "llama_pro has no num-keys; leave it out");
  CHECK(refusal(base, {.positions = {1, 4}}) == "midus: position 4: the base has layers 0 to 3");
  CHECK(refusal(base, {.positions = {1}, .count = 2}) == "midus: count is 2, but 1 position is named");
  CHECK(refusal(base, {.count = 5}) == "midus: count must be in 1 ... 4, but is 5");
  CHECK(refusal(base, {.count = 0}) == "midus: count must be in 1 ... 4, but is 0");
  CHECK(refusal(base, {.num_keys = 8}) == "midus: top-k 16 must not exceed num-keys 8");
  CHECK(refusal(base, {.num_keys = 0, .top_k = 0}).find("num_keys") != std::string::npos);
  CHECK(refusal(base, {.policy = Policy::pkm, .query_dim = 7}).find("query_dim") != std::string::npos);
  CHECK(refusal(with(base, "head_dim", "8"), {}) ==
        "midus: a head-wise memory writes to the residual stream, so it needs num_attention_heads x head_dim "
        "= hidden_size; config.json has 4 x 8 and 64");
  make_plan(read(with(base, "head_dim", "8")), {.policy = Policy::pkm});  // this one can be
}
