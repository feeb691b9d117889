#include "midus/io/llama_config_writer.hpp"

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/llama_configs.hpp"

using namespace midus;
using namespace midus::test;
using Catch::Matchers::Contains;

TEST_CASE("SV-02: writing changes only what must change") {
  const std::string text = R"({
  "x_note": "keep me",
  "architectures": [
    "LlamaForCausalLM"
  ],
  "vocab_size": 1e5,
  "hidden_size": 128,
  "head_dim": 20,
  "odd": [0.0, Infinity, NaN, -Infinity, 1e-05, {"b": 1, "a": null}, [], {}],
  "intermediate_size": 256.0,
  "num_hidden_layers": 6,
  "num_attention_heads": 6,
  "attention_dropout": 0.0,
  "eos_token_id": [1, 2],
  "rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 8192},
  "torch_dtype": "float32"
})";
  const Json json = parse_json(text, "the test");
  const LlamaConfig config = read(json);
  CHECK(dump_json(to_json(config)) == dump_json(json));
  CHECK_THAT(dump_json(json), Contains("0.0,\n    Infinity,\n    NaN,\n    -Infinity,\n    1e-05,"));

  LlamaConfig deeper = config;
  deeper.num_hidden_layers = 8;
  deeper.dtype = Dtype::bf16;
  deeper.history.push_back({Policy::llama_pro, {"model.layers.1.", "model.layers.5."}, 6, {0, 3}, 1});
  Json expected = json;
  expected["num_hidden_layers"] = 8;
  expected["torch_dtype"] = "bfloat16";
  expected["depth_upscaling"] = parse_json(
      R"({"version": 1, "history": [{"policy": "llama_pro", "inserted": ["model.layers.1.", "model.layers.5."],
          "parent_layers": 6, "parent_positions": [0, 3], "seed": 1}]})",
      "the test");
  CHECK(dump_json(to_json(deeper)) == dump_json(expected));
  CHECK(read(to_json(deeper)).history == deeper.history);

  // A history of nothing is the file's own way to say so.
  const Json nothing_done = with(json, "depth_upscaling", R"({"version": 1, "history": []})");
  CHECK(dump_json(to_json(read(nothing_done))) == dump_json(nothing_done));
  deeper = read(to_json(deeper));
  deeper.history.clear();
  CHECK_FALSE(to_json(deeper).contains("depth_upscaling"));

  // The newer spellings stay as well.
  Json newer = with(json, "torch_dtype", "");
  newer["dtype"] = "float32";
  newer["rope_parameters"] = newer["rope_scaling"];
  newer["rope_parameters"]["rope_theta"] = 5e5;
  newer.erase("rope_scaling");
  LlamaConfig half = read(newer);
  CHECK(dump_json(to_json(half)) == dump_json(newer));
  half.dtype = Dtype::f16;
  half.rope.theta = 1e6;
  const Json written = to_json(half);
  CHECK(written["dtype"] == "float16");
  CHECK_FALSE(written.contains("torch_dtype"));
  CHECK(written["rope_parameters"]["rope_theta"] == 1e6);
  CHECK_FALSE(written.contains("rope_scaling"));
  CHECK_FALSE(written.contains("rope_theta"));
  CHECK(read(written).rope == half.rope);

  // Both spellings, for both versions of transformers, stay and stay in step.
  Json both = newer;
  both["rope_theta"] = 5e5;
  both["rope_scaling"] = json["rope_scaling"];
  LlamaConfig twice = read(both);
  CHECK(dump_json(to_json(twice)) == dump_json(both));
  twice.rope = {1e6, Llama3Scaling{4, 1, 4, 64}};
  Json changed = to_json(twice);
  CHECK(read(changed).rope == twice.rope);
  CHECK(changed["rope_theta"] == 1e6);
  CHECK(changed["rope_scaling"]["factor"] == 4);
  CHECK(changed["rope_parameters"]["rope_theta"] == 1e6);
  CHECK(changed["rope_parameters"]["factor"] == 4);
  twice.rope.llama3.reset();
  changed = to_json(twice);
  CHECK(changed["rope_scaling"].is_null());
  CHECK(changed["rope_parameters"] == Json{{"rope_type", "default"}, {"rope_theta", 1e6}});
  CHECK(read(changed).rope == twice.rope);
}

TEST_CASE("Memory blocks come into a configuration, and go again") {
  const LlamaConfig config = read(base);
  LlamaConfig deeper = config;
  deeper.memory = MemoryConfig{MemoryConfig::Kind::hml, {1, 3}, 8, 2, "factorized", 4, 0, 0};
  deeper.history.push_back(
      {Policy::midus, {"model.memory_blocks.0.", "model.memory_blocks.1."}, 4, {1, 3}, 1});
  const Json json = to_json(deeper);
  CHECK(json["architectures"].dump() == R"(["MidusForCausalLM"])");
  CHECK(json["model_type"] == "midus");
  CHECK(json["midus"].dump() ==
        R"({"positions":[1,3],"num_keys":8,"top_k":2,"values":"factorized","value_rank":4})");
  CHECK(json["auto_map"].dump() ==
        R"({"AutoConfig":"configuration_midus.MidusConfig","AutoModel":"modeling_midus.MidusModel",)"
        R"("AutoModelForCausalLM":"modeling_midus.MidusForCausalLM"})");
  const Json old = with(json, "auto_map", R"({"AutoConfig": "configuration_midus.MidusConfig"})");
  CHECK(to_json(read(old))["auto_map"] == json["auto_map"]);  // what is missing comes with the code
  LlamaConfig with_own_code =
      read(with(base, "auto_map", R"({"AutoTokenizer": ["tokenization_x.Tokenizer", null]})"));
  const Json own = with_own_code.original["auto_map"];
  with_own_code.memory = deeper.memory;
  const LlamaConfig with_both = read(to_json(with_own_code));
  CHECK(with_both.original["auto_map"].size() == 4);
  with_own_code = with_both;
  with_own_code.memory.reset();
  CHECK(to_json(with_own_code)["auto_map"] == own);
  LlamaConfig again = read(json);
  CHECK(again.memory == deeper.memory);
  CHECK(again.history == deeper.history);
  CHECK(dump_json(to_json(again)) == dump_json(json));
  again.memory.reset();
  again.history.clear();
  CHECK(dump_json(to_json(again)) == dump_json(to_json(config)));

  deeper.memory = MemoryConfig{MemoryConfig::Kind::pkm, {0}, 8, 8, "", 0, 3, 10};
  deeper.history.clear();
  CHECK(to_json(deeper)["midus"].dump() ==
        R"({"memory":"pkm","positions":[0],"num_keys":8,"top_k":8,"memory_heads":3,"query_dim":10})");
  deeper.memory->positions = {9};
  CHECK_THAT(message_of([&] { to_json(deeper); }), Contains("(to be written): \"midus.positions\""));
}

TEST_CASE("A configuration that comes from no file") {
  LlamaConfig config = read(base);
  config.original = Json::object();
  config.rope.llama3 = Llama3Scaling{};
  config.dtype = Dtype::f64;
  config.tie_word_embeddings = true;
  config.eos_token_ids = {7};
  const LlamaConfig again = read(to_json(config));
  CHECK(shape_differences(config, again).empty());
  CHECK(again.rope == config.rope);
  CHECK(again.rms_norm_eps == config.rms_norm_eps);
  CHECK(again.dtype == Dtype::f64);
  CHECK(again.bos_token_ids == config.bos_token_ids);
  CHECK(to_json(config)["eos_token_id"] == 7);
  CHECK(to_json(config)["torch_dtype"] == "float64");

  const TemporaryDirectory directory;
  write_llama_config(config, directory.path());
  CHECK(dump_json(read_llama_config(directory.path()).original) == dump_json(to_json(config)));
}
