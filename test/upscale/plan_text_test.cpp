#include "midus/upscale/plan_text.hpp"

#include "support/catch.hpp"
#include "support/llama_configs.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("plan_text: large numbers are grouped") {
  CHECK(grouped(0) == "0");
  CHECK(grouped(999) == "999");
  CHECK(grouped(1000) == "1,000");
  CHECK(grouped(1234567) == "1,234,567");
}

TEST_CASE("plan_text: what stands where, and the counts") {
  const Plan plan = make_plan(read(base), {.positions = {1, 3}, .num_keys = 8, .top_k = 2, .value_rank = 4});
  CHECK(plan_text(plan) == R"(midus: config.json
  memory: hml positions [1, 3] num_keys 8 top_k 2 values factorized value_rank 4
  block                   of the base
  layer 0                 layer 0
  memory block 0          NEW: attention of layer 1, a memory of its own
  layers 1-2              layers 1-2
  memory block 1          NEW: attention of layer 3, a memory of its own
  layer 3                 layer 3
  parameters: 217,664 of the base + 18,560 added (8.53 %) = 236,224
  trained with --train inserted: 18,560
  weights: 944,896 bytes
)");
  const std::string pro = plan_text(make_plan(read(to_json(plan.deeper)), {.policy = Policy::llama_pro}));
  CHECK(pro.find("  memory block 1          memory block 1\n"
                 "  layer 3                 layer 3\n"
                 "  layer 4                 NEW: copy of layer 3, o_proj and down_proj zero\n") !=
        std::string::npos);
  const std::string solar = plan_text(make_plan(read(base), {.policy = Policy::solar}));
  CHECK(solar.find("  layers 0-2              layers 0-2\n  layers 3-5              layers 1-3\n") !=
        std::string::npos);
  CHECK(solar.find("trained with --train inserted: none, since solar inserts nothing") != std::string::npos);
}
