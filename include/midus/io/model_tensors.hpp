// Which tensors a model has.
#pragma once

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/visit.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "midus/io/llama_config.hpp"

namespace midus {

/// A parameter by its name in a checkpoint (docs/checkpoint.md).
struct ParameterShape {
  std::string name;
  std::vector<Index> shape;
};

/// How many values a tensor of this shape has.
inline Index element_count(const std::vector<Index>& shape) {
  Index count = 1;
  for (const Index extent : shape) count *= extent;
  return count;
}

inline constexpr std::string_view head_name = "lm_head.weight";
inline constexpr std::string_view embedding_name = "model.embed_tokens.weight";

/// Every tensor of the model, in a fixed order: the embedding, the layers, the Memory blocks, the last norm,
/// and the head where it is not tied to the embedding.
inline std::vector<ParameterShape> parameter_shapes(const LlamaConfig& config) {
  const Index d = config.hidden_size, f = config.intermediate_size, D = config.head_dim;
  const Index H = config.num_attention_heads, queries = H * D, keys = config.num_key_value_heads * D;
  std::vector<ParameterShape> all;
  const auto add = [&](const Path& path, std::vector<Index> shape) {
    all.push_back({path.str(), std::move(shape)});
  };
  const auto add_attention_inputs = [&](const Path& block) {
    add(block / "input_layernorm" / "weight", {d});
    add(block / "self_attn" / "q_proj" / "weight", {queries, d});
    add(block / "self_attn" / "k_proj" / "weight", {keys, d});
    add(block / "self_attn" / "v_proj" / "weight", {keys, d});
  };

  add(Path(std::string(embedding_name)), {config.vocab_size, d});
  for (Index i = 0; i < config.num_hidden_layers; ++i) {
    const Path layer = Path("model") / "layers" / i;
    add_attention_inputs(layer);
    add(layer / "self_attn" / "o_proj" / "weight", {d, queries});
    add(layer / "post_attention_layernorm" / "weight", {d});
    add(layer / "mlp" / "gate_proj" / "weight", {f, d});
    add(layer / "mlp" / "up_proj" / "weight", {f, d});
    add(layer / "mlp" / "down_proj" / "weight", {d, f});
  }
  if (config.memory) {
    const MemoryConfig& m = *config.memory;
    const Index n = m.num_keys, slots = n * n;
    for (std::size_t j = 0; j < m.positions.size(); ++j) {
      const Path block = Path("model") / "memory_blocks" / j, memory = block / "memory";
      add_attention_inputs(block);
      const bool hml = m.kind == MemoryConfig::Kind::hml;
      const Index heads = hml ? H : m.memory_heads, query = hml ? D : m.query_dim;
      if (!hml) add(memory / "query_proj" / "weight", {heads * query, queries});
      add(memory / "row_keys", {heads, n, query / 2});
      add(memory / "col_keys", {heads, n, query / 2});
      if (!hml) {
        add(memory / "values", {slots, d});
      } else if (m.value_rank == 0) {
        add(memory / "values", {H, slots, D});
      } else {
        add(memory / "values", {slots, m.value_rank});
        add(memory / "value_proj", {H, m.value_rank, D});
      }
    }
  }
  add(Path("model") / "norm" / "weight", {d});
  if (!config.tie_word_embeddings) add(Path(std::string(head_name)), {config.vocab_size, d});
  return all;
}

/// How many parameters the model has; a head that is tied to the embedding counts once.
inline Index parameter_count(const LlamaConfig& config) {
  Index count = 0;
  for (const ParameterShape& parameter : parameter_shapes(config)) count += element_count(parameter.shape);
  return count;
}

/// Tensors that old checkpoints carry and nobody needs: the rotary table, which midus computes itself.
inline bool is_ignored_tensor(std::string_view name) { return matches("model.*rotary_emb.inv_freq", name); }

/// The first few of `names`, for a message.
inline std::string first_few(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < 4; ++i) out += (i ? ", " : "") + in_quotes(names[i]);
  return names.size() > 4 ? text(out, " and ", names.size() - 4, " more") : out;
}

/// Checks that the files hold exactly the tensors of the model, each with its shape and as F64, F32, F16 or
/// BF16. Throws `Error` where not. Passed over are the rotary tables of old checkpoints, and an
/// `lm_head.weight` beside a tied embedding: the configuration wins, and where that tensor is not an equal
/// copy, one of the returned warnings says so. The configuration's own warnings come first.
inline std::vector<std::string> check_tensors(const LlamaConfig& config, const CheckpointFiles& files) {
  std::vector<std::string> warnings = config.warnings, missing, unexpected;
  std::set<std::string, std::less<>> expected;
  for (const ParameterShape& parameter : parameter_shapes(config)) {
    expected.insert(parameter.name);
    const StoredTensor* const tensor = files.find(parameter.name);
    if (tensor == nullptr) {
      missing.push_back(parameter.name);
      continue;
    }
    if (tensor->shape != parameter.shape)
      fail(files.where(parameter.name), ": expected shape ", to_string(parameter.shape), " (by ", config.file,
           "), found ", to_string(tensor->shape));
    if (tensor->dtype != Dtype::f64 && tensor->dtype != Dtype::f32 && tensor->dtype != Dtype::f16 &&
        tensor->dtype != Dtype::bf16)
      fail(files.where(parameter.name), ": expected F64, F32, F16 or BF16, found ", to_string(tensor->dtype));
  }
  for (const auto& [name, located] : files.tensors())
    if (!expected.contains(name) && !is_ignored_tensor(name) &&
        !(config.tie_word_embeddings && name == head_name))
      unexpected.push_back(name);

  const std::string directory = files.directory().string();
  if (missing == std::vector<std::string>{std::string(head_name)} &&
      !config.original.contains("tie_word_embeddings"))
    fail(directory, ": tensor ", in_quotes(head_name), " is missing, and ", config.file,
         " does not say \"tie_word_embeddings\" (false where it is absent); add \"tie_word_embeddings\": "
         "true if the "
         "head is the embedding");
  if (!missing.empty())
    fail(directory, ": expected ", expected.size(), " tensors (by ", config.file,
         "); missing: ", first_few(missing));
  if (!unexpected.empty())
    fail(directory, ": found tensors that the model of ", config.file, " (", config.num_hidden_layers,
         " layers) does not have: ", first_few(unexpected));

  const StoredTensor* const head = files.find(head_name);
  if (config.tie_word_embeddings && head != nullptr) {
    const StoredTensor& embedding = files.at(embedding_name);
    if (head->dtype != embedding.dtype || head->shape != embedding.shape ||
        !std::equal(head->bytes.begin(), head->bytes.end(), embedding.bytes.begin(), embedding.bytes.end()))
      warnings.push_back(
          files.where(head_name) + " differs from " + in_quotes(embedding_name) +
          " and is not used: " + config.file +
          " says \"tie_word_embeddings\": true. transformers 4 ties them too; transformers 5 takes "
          "the file's head, so its logits are others (\"tie_word_embeddings\": false makes "
          "midus take it as well)");
    for (const std::string_view name : {head_name, embedding_name})
      files.locate(name).file->release(files.at(name).bytes);
  }
  return warnings;
}

}  // namespace midus
