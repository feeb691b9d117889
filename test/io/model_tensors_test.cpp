#include "midus/io/model_tensors.hpp"

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "midus/io/llama_config_reader.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace midus;
using Catch::Matchers::Contains;
using midus::test::message_of;
using midus::test::TemporaryDirectory;
using midus::test::TestTensor;

namespace {

/// A model of two layers: d 8, H 4, KV 2, D 2, f 5, V 6.
LlamaConfig tiny(const std::string& more = "") {
  return parse_llama_config(parse_json(R"({"vocab_size": 6, "hidden_size": 8, "intermediate_size": 5,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2)" +
                                           more + "}",
                                       "config.json"),
                            "config.json");
}
const std::string tied = R"(, "tie_word_embeddings": true)";

/// All tensors of the model, each filled with a byte of its own.
std::vector<TestTensor> tensors_of(const LlamaConfig& config) {
  std::vector<TestTensor> tensors;
  for (const ParameterShape& parameter : parameter_shapes(config))
    tensors.push_back(
        {parameter.name, Dtype::bf16, parameter.shape,
         std::string(tensor_bytes("", Dtype::bf16, parameter.shape), static_cast<char>(tensors.size()))});
  return tensors;
}

struct Result {
  std::string refusal;
  std::vector<std::string> warnings;
};

Result check(const LlamaConfig& config, const std::vector<TestTensor>& tensors) {
  const TemporaryDirectory directory;
  test::write_checkpoint_file(directory / "model.safetensors", tensors);
  Result result;
  result.refusal =
      message_of([&] { result.warnings = check_tensors(config, CheckpointFiles(directory.path())); });
  return result;
}

std::string listing(const LlamaConfig& config) {
  std::string all;
  for (const ParameterShape& parameter : parameter_shapes(config))
    all += parameter.name + to_string(parameter.shape) + "\n";
  return all;
}

const std::string nothing = "nothing was thrown";

}  // namespace

TEST_CASE("The tensors of a base model, in order") {
  std::string expected = "model.embed_tokens.weight[6, 8]\n";
  for (const char* i : {"0", "1"}) {
    const std::string layer = "model.layers." + std::string(i) + ".";
    expected += layer + "input_layernorm.weight[8]\n" + layer + "self_attn.q_proj.weight[8, 8]\n" + layer +
                "self_attn.k_proj.weight[4, 8]\n" + layer + "self_attn.v_proj.weight[4, 8]\n" + layer +
                "self_attn.o_proj.weight[8, 8]\n" + layer + "post_attention_layernorm.weight[8]\n" + layer +
                "mlp.gate_proj.weight[5, 8]\n" + layer + "mlp.up_proj.weight[5, 8]\n" + layer +
                "mlp.down_proj.weight[8, 5]\n";
  }
  expected += "model.norm.weight[8]\n";
  CHECK(listing(tiny(tied)) == expected);
  CHECK(listing(tiny()) == expected + "lm_head.weight[6, 8]\n");
  CHECK_THAT(listing(tiny(R"(, "head_dim": 6)")), Contains("0.self_attn.q_proj.weight[24, 8]") &&
                                                      Contains("0.self_attn.k_proj.weight[12, 8]") &&
                                                      Contains("0.self_attn.o_proj.weight[8, 24]"));
}

TEST_CASE("The tensors of Memory blocks") {
  const std::string attention =
      "model.memory_blocks.1.input_layernorm.weight[8]\nmodel.memory_blocks.1.self_attn.q_proj.weight[8, 8]\n"
      "model.memory_blocks.1.self_attn.k_proj.weight[4, 8]\nmodel.memory_blocks.1.self_attn.v_proj.weight[4, "
      "8]\n";
  const std::string memory = "model.memory_blocks.1.memory.";
  CHECK_THAT(listing(tiny(R"(, "midus": {"positions": [0, 1], "num_keys": 3, "top_k": 2, "value_rank": 7})")),
             Contains(attention + memory + "row_keys[4, 3, 1]\n" + memory + "col_keys[4, 3, 1]\n" + memory +
                      "values[9, 7]\n" + memory + "value_proj[4, 7, 2]\nmodel.norm.weight"));
  CHECK_THAT(listing(tiny(R"(, "midus": {"positions": [0, 1], "num_keys": 3, "top_k": 2, "value_rank": 0})")),
             Contains(attention + memory + "row_keys[4, 3, 1]\n" + memory + "col_keys[4, 3, 1]\n" + memory +
                      "values[4, 9, 2]\nmodel.norm.weight"));
  CHECK_THAT(listing(tiny(R"(, "midus": {"memory": "pkm", "positions": [0, 1], "num_keys": 3, "top_k": 2,
                              "memory_heads": 5, "query_dim": 6})")),
             Contains(attention + memory + "query_proj.weight[30, 8]\n" + memory + "row_keys[5, 3, 3]\n" +
                      memory + "col_keys[5, 3, 3]\n" + memory + "values[9, 8]\nmodel.norm.weight"));
}

TEST_CASE("Files that are the model are accepted, others refused by tensor") {
  const LlamaConfig config = tiny();
  const std::vector<TestTensor> whole = tensors_of(config);
  CHECK(check(config, whole).refusal == nothing);

  std::vector<TestTensor> tensors = whole;
  tensors.erase(tensors.begin() + 3);
  CHECK_THAT(
      check(config, tensors).refusal,
      Contains("expected 21 tensors (by config.json); missing: \"model.layers.0.self_attn.k_proj.weight\""));
  CHECK_THAT(check(config, {whole[0]}).refusal, Contains(" and 16 more"));

  tensors = whole;
  tensors[7].shape = {8, 5};
  CHECK_THAT(
      check(config, tensors).refusal,
      Contains("model.safetensors: tensor \"model.layers.0.mlp.gate_proj.weight\": expected shape [5, 8]") &&
          Contains("found [8, 5]"));
  tensors = whole;
  tensors[1].dtype = Dtype::i16;
  CHECK_THAT(
      check(config, tensors).refusal,
      Contains(
          "tensor \"model.layers.0.input_layernorm.weight\": expected F64, F32, F16 or BF16, found I16"));
  for (const Dtype dtype : {Dtype::f16, Dtype::f32, Dtype::f64}) {
    tensors = whole;
    tensors[1].dtype = dtype;
    tensors[1].bytes.assign(tensor_bytes("", dtype, tensors[1].shape), '\0');
    CHECK(check(config, tensors).refusal == nothing);
  }
}

TEST_CASE("LD-11: rotary tables of old files are passed over, other strangers refused") {
  const LlamaConfig config = tiny();
  std::vector<TestTensor> tensors = tensors_of(config);
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", Dtype::f32, {1}, std::string(4, 7)});
  const Result result = check(config, tensors);
  CHECK(result.refusal == nothing);
  CHECK(result.warnings.empty());
  tensors.push_back({"model.layers.0.foo.weight", Dtype::f32, {1}, std::string(4, 7)});
  CHECK_THAT(check(config, tensors).refusal, Contains("does not have: \"model.layers.0.foo.weight\""));
  tensors.pop_back();
  for (const TestTensor& tensor : tensors_of(config))
    if (matches("model.layers.1.*", tensor.name))
      tensors.push_back(
          {"model.layers.2" + tensor.name.substr(14), tensor.dtype, tensor.shape, tensor.bytes});
  CHECK_THAT(check(config, tensors).refusal,
             Contains("(2 layers) does not have: \"model.layers.2.input_layernorm.weight\"") &&
                 Contains("and 5 more"));
  tensors = tensors_of(config);
  tensors.push_back({"model.layers.0.self_attn.q_proj.bias", Dtype::f32, {8}, std::string(32, 7)});
  CHECK_THAT(check(config, tensors).refusal, Contains("\"model.layers.0.self_attn.q_proj.bias\""));
}

TEST_CASE("AR-07: a tied head that is absent, a copy, or something else") {
  const LlamaConfig config = tiny(tied);
  std::vector<TestTensor> tensors = tensors_of(config);
  const Result a = check(config, tensors);
  CHECK(a.refusal == nothing);
  CHECK(a.warnings.empty());
  tensors.push_back({"lm_head.weight", Dtype::bf16, {6, 8}, tensors[0].bytes});
  const Result b = check(config, tensors);
  CHECK(b.refusal == nothing);
  CHECK(b.warnings.empty());
  tensors.back().bytes[5] = 9;
  const Result c = check(config, tensors);
  CHECK(c.refusal == nothing);
  REQUIRE(c.warnings.size() == 1);
  CHECK_THAT(
      c.warnings[0],
      Contains("tensor \"lm_head.weight\" differs from \"model.embed_tokens.weight\" and is not used: "
               "config.json says \"tie_word_embeddings\": true. transformers 4 ties them too; transformers 5 "
               "takes the file's head"));

  // Without the key the head is not tied: its absence is an error that says what to do.
  const LlamaConfig unsaid = tiny();
  CHECK_THAT(check(unsaid, tensors_of(config)).refusal, Contains("tensor \"lm_head.weight\" is missing") &&
                                                            Contains("add \"tie_word_embeddings\": true"));
  CHECK(check(unsaid, tensors_of(unsaid)).refusal == nothing);
  CHECK_THAT(check(tiny(R"(, "tie_word_embeddings": false)"), tensors_of(config)).refusal,
             Contains("expected 21 tensors") && Contains("missing: \"lm_head.weight\""));
}
