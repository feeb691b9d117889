// What config.json says of a Llama model, up-scaled or not.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iomanip>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "midus/core/dtype.hpp"
#include "midus/core/error.hpp"
#include "midus/core/random.hpp"
#include "midus/core/shape.hpp"
#include "midus/io/json.hpp"
#include "midus/layers/rotary_table.hpp"
#include "midus/layers/value_kinds.hpp"
#include "midus/model/expansion.hpp"

namespace midus {

/// The `midus` section: the Memory blocks of an up-scaled model.
struct MemoryConfig {
  enum class Kind {
    hml,  ///< head-wise memory (MIDUS)
    pkm   ///< block-level product-key memory (the baseline)
  };
  Kind kind = Kind::hml;
  std::vector<Index> positions;  ///< `positions[j]`: the layer that Memory block j comes just before
  Index num_keys = 0;            ///< n: sub-keys per side; n² slots
  Index top_k = 0;               ///< k: slots retrieved
  std::string value_policy;      ///< its name (hml)
  Index value_rank = 0;          ///< r, the value policy's own number (hml); 0 where it has none
  Index memory_heads = 0;        ///< H_m (pkm)
  Index query_dim = 0;           ///< D_m (pkm)

  bool operator==(const MemoryConfig&) const = default;
};

/// "hml" or "pkm", as config.json has it.
constexpr const char* to_string(MemoryConfig::Kind kind) {
  return kind == MemoryConfig::Kind::hml ? "hml" : "pkm";
}

/// A model as data. `read_llama_config` makes one and has checked everything in it; `to_json` writes it.
struct LlamaConfig {
  Index vocab_size = 0;           ///< V
  Index hidden_size = 0;          ///< d
  Index intermediate_size = 0;    ///< width of the feed-forward part
  Index num_hidden_layers = 0;    ///< L, Memory blocks not counted
  Index num_attention_heads = 0;  ///< H
  Index num_key_value_heads = 0;  ///< KV, a divisor of H
  Index head_dim = 0;             ///< D, even; H·D need not be d, except for head-wise memory
  bool tie_word_embeddings = false;
  std::optional<MemoryConfig> memory;

  double rms_norm_eps = 1e-6;
  RopeSettings rope;
  Index max_position_embeddings = 2048;
  std::vector<Index> bos_token_ids;  ///< one, as a rule; none where config.json says null
  std::vector<Index> eos_token_ids;  ///< any of them ends a text
  std::optional<Dtype> dtype;        ///< of the weights, where config.json says it: F64, F32, F16 or BF16

  std::vector<Expansion> history;  ///< `depth_upscaling`, oldest first

  Json original = Json::object();     ///< the whole file, known keys and unknown ones, in its order
  std::string file = "config";        ///< what errors call it
  std::vector<std::string> warnings;  ///< sentences for the user: what the file says twice, and differently
};

/// One field of a model's shape, as messages show it.
struct ShapeField {
  std::string name;
  std::string value;
  bool is_text = false;  ///< config.json has it in quotes
};

/// "1.3.5"
inline std::string joined(const std::vector<Index>& numbers, const std::string& separator) {
  std::string out;
  for (const Index number : numbers) out += (out.empty() ? "" : separator) + std::to_string(number);
  return out;
}

/// Everything that a compiled model fixes, by the names of config.json.
inline std::vector<ShapeField> shape_fields(const LlamaConfig& config) {
  std::vector<ShapeField> fields{
      {"vocab_size", std::to_string(config.vocab_size)},
      {"hidden_size", std::to_string(config.hidden_size)},
      {"intermediate_size", std::to_string(config.intermediate_size)},
      {"num_hidden_layers", std::to_string(config.num_hidden_layers)},
      {"num_attention_heads", std::to_string(config.num_attention_heads)},
      {"num_key_value_heads", std::to_string(config.num_key_value_heads)},
      {"head_dim", std::to_string(config.head_dim)},
      {"tie_word_embeddings", config.tie_word_embeddings ? "true" : "false"},
  };
  if (!config.memory) return fields;
  const MemoryConfig& memory = *config.memory;
  const bool hml = memory.kind == MemoryConfig::Kind::hml;
  fields.push_back({"midus.memory", to_string(memory.kind), true});
  fields.push_back({"midus.positions", "[" + joined(memory.positions, ", ") + "]"});
  fields.push_back({"midus.num_keys", std::to_string(memory.num_keys)});
  fields.push_back({"midus.top_k", std::to_string(memory.top_k)});
  if (hml) {
    fields.push_back({"midus.values", memory.value_policy, true});
    fields.push_back({"midus.value_rank", std::to_string(memory.value_rank)});
  } else {
    fields.push_back({"midus.memory_heads", std::to_string(memory.memory_heads)});
    fields.push_back({"midus.query_dim", std::to_string(memory.query_dim)});
  }
  return fields;
}

/// The Memory blocks in the words of config.json: "hml positions [1, 3] num_keys 8 top_k 2 values factorized
/// value_rank 4", or "none".
inline std::string memory_blocks_text(const LlamaConfig& config) {
  std::string out;
  for (const ShapeField& field : shape_fields(config))
    if (field.name == "midus.memory")
      out = field.value;  // the kind
    else if (field.name.starts_with("midus."))
      out += " " + field.name.substr(6) + " " + field.value;
  return out.empty() ? "none" : out;
}

/// A field in which two shapes differ.
struct ShapeDifference {
  std::string name;
  std::string left, right;
};

/// The fields in which the shapes of two models differ; none: a program compiled for one runs the other.
/// Memories of two kinds, or of one model alone, are one field, `midus`.
inline std::vector<ShapeDifference> shape_differences(const LlamaConfig& left, const LlamaConfig& right) {
  std::vector<ShapeField> ours = shape_fields(left), theirs = shape_fields(right);
  if (!std::equal(ours.begin(), ours.end(), theirs.begin(), theirs.end(),
                  [](const ShapeField& a, const ShapeField& b) { return a.name == b.name; })) {
    for (const auto& [fields, config] : {std::pair{&ours, &left}, {&theirs, &right}}) {
      std::erase_if(*fields, [](const ShapeField& field) { return field.name.starts_with("midus."); });
      fields->push_back({"midus", memory_blocks_text(*config)});
    }
  }
  std::vector<ShapeDifference> differences;
  for (std::size_t i = 0; i < ours.size(); ++i)
    if (ours[i].value != theirs[i].value)
      differences.push_back({ours[i].name, ours[i].value, theirs[i].value});
  return differences;
}

/// A short name for the shape, the same on every machine and fit for a folder:
/// "v256-d64-l4-h4-kv4-hd16-f176-tied-hml-n8-k2-r4-at1.3". Models of equal shape have equal names and others
/// others (a list of positions too long for a name stands there as a 64-bit hash).
inline std::string shape_key(const LlamaConfig& config) {
  std::string key =
      text("v", config.vocab_size, "-d", config.hidden_size, "-l", config.num_hidden_layers, "-h",
           config.num_attention_heads, "-kv", config.num_key_value_heads, "-hd", config.head_dim, "-f",
           config.intermediate_size, config.tie_word_embeddings ? "-tied" : "-untied");
  if (!config.memory) return key;
  const MemoryConfig& memory = *config.memory;
  const bool hml = memory.kind == MemoryConfig::Kind::hml;
  key += text("-", to_string(memory.kind), "-n", memory.num_keys, "-k", memory.top_k);
  if (hml && memory.value_policy != unnamed_value_policy(memory.value_rank)) key += "-" + memory.value_policy;
  key += hml ? text("-r", memory.value_rank) : text("-mh", memory.memory_heads, "-qd", memory.query_dim);
  const std::string at = joined(memory.positions, ".");
  return key + (at.size() <= 64 ? "-at" + at
                                : text("-at-", std::hex, std::setfill('0'), std::setw(16), hash_name(at)));
}

}  // namespace midus
