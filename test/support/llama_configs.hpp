// Configurations for tests, and changes to them.
#pragma once

#include <string>

#include "midus/io/llama_config_reader.hpp"
#include "support/files.hpp"

namespace midus::test {

/// Changes one member; "" removes it.
inline Json with(Json json, const std::string& key, const std::string& value) {
  if (value.empty())
    json.erase(key);
  else
    json[key] = parse_json(value, "the test");
  return json;
}

/// A base model of four layers.
inline const Json base = parse_json(R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
  "vocab_size": 256, "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 4,
  "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
  "bos_token_id": 1, "eos_token_id": [2, 3], "max_position_embeddings": 512
})",
                                    "the test");

/// The base with Memory blocks as this `midus` section says.
inline Json memory(const std::string& section) {
  return with(with(base, "model_type", "\"midus\""), "midus", section);
}
inline const std::string hml = R"({"positions": [1, 3], "num_keys": 8, "top_k": 2, "value_rank": 4})";
inline const std::string pkm =
    R"({"memory": "pkm", "positions": [0], "num_keys": 8, "top_k": 8, "memory_heads": 3, "query_dim": 10})";

/// Reads it as a file named config.json.
inline LlamaConfig read(const Json& json) { return parse_llama_config(json, "config.json"); }

}  // namespace midus::test
