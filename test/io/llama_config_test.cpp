#include "midus/io/llama_config.hpp"

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/llama_configs.hpp"

using namespace midus;
using namespace midus::test;

TEST_CASE("The shape: its key, and the fields in which two differ") {
  LlamaConfig a = read(base);
  CHECK(shape_key(a) == "v256-d64-l4-h4-kv2-hd16-f176-untied");
  a.tie_word_embeddings = true;
  CHECK(shape_key(a) == "v256-d64-l4-h4-kv2-hd16-f176-tied");
  LlamaConfig b = read(memory(hml));
  CHECK(shape_key(b) == "v256-d64-l4-h4-kv2-hd16-f176-untied-hml-n8-k2-r4-at1.3");
  const LlamaConfig c = read(memory(pkm));
  CHECK(shape_key(c) == "v256-d64-l4-h4-kv2-hd16-f176-untied-pkm-n8-k8-mh3-qd10-at0");

  const auto differences = [](const LlamaConfig& left, const LlamaConfig& right) {
    std::string all;
    for (const ShapeDifference& d : shape_differences(left, right))
      all += d.name + ":" + d.left + "/" + d.right + " ";
    return all;
  };
  CHECK(differences(b, b).empty());
  CHECK(differences(a, b) ==
        "tie_word_embeddings:true/false midus:none/hml positions [1, 3] num_keys 8 top_k 2 values factorized "
        "value_rank 4 ");
  CHECK(differences(b, c) ==
        "midus:hml positions [1, 3] num_keys 8 top_k 2 values factorized value_rank 4/pkm positions [0] "
        "num_keys 8 top_k 8 "
        "memory_heads 3 query_dim 10 ");
  LlamaConfig wider = b;
  wider.memory->top_k = 3;
  CHECK(differences(b, wider) == "midus.top_k:2/3 ");
  wider = b;
  wider.memory->value_policy = "gated";
  CHECK(differences(b, wider) == "midus.values:factorized/gated ");
  CHECK(shape_key(wider) == "v256-d64-l4-h4-kv2-hd16-f176-untied-hml-n8-k2-gated-r4-at1.3");
  LlamaConfig other = b;  // numbers that are no shape
  other.rms_norm_eps = 0.5;
  other.rope.theta = 3;
  other.max_position_embeddings = 7;
  CHECK(differences(b, other).empty());
  CHECK(shape_key(b) == shape_key(other));

  b.num_hidden_layers = 100;
  b.memory->positions.clear();
  for (Index i = 0; i < 100; ++i) b.memory->positions.push_back(i);
  const std::string key = shape_key(b);
  CHECK(key.size() < 120);
  b.memory->positions[50] = 200;
  CHECK(shape_key(b) != key);
}
