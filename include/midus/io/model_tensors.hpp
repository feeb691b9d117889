// Which tensors a model has.
#pragma once

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "midus/core/dtype.hpp"
#include "midus/core/error.hpp"
#include "midus/core/visit.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/llama_config.hpp"
#include "midus/layers/attention.hpp"
#include "midus/layers/embedding.hpp"
#include "midus/layers/product_key_memory.hpp"
#include "midus/layers/rms_norm.hpp"
#include "midus/layers/swiglu.hpp"
#include "midus/layers/value_kinds.hpp"

namespace midus {

/// A parameter by its name in a checkpoint (docs/checkpoint.md).
struct ParameterShape {
  std::string name;
  std::vector<Index> shape;
  Role role;
  Start start;  ///< in an inserted block
};

/// How many values a tensor of this shape has.
inline Index element_count(const std::vector<Index>& shape) {
  Index count = 1;
  for (const Index extent : shape) count *= extent;
  return count;
}

inline constexpr std::string_view head_name = "lm_head.weight";
inline constexpr std::string_view embedding_name = "model.embed_tokens.weight";

/// The tensors of the memory in each Memory block. Throws `Error` where this program does not have its value
/// policy.
inline std::vector<TensorSpec> memory_tensors(const LlamaConfig& config) {
  const MemoryConfig& m = *config.memory;
  const Index H = config.num_attention_heads, D = config.head_dim;
  if (m.kind == MemoryConfig::Kind::pkm) {
    const auto tensors =
        product_key_memory_tensors(H * D, config.hidden_size, m.memory_heads, m.num_keys, m.query_dim);
    return {tensors.begin(), tensors.end()};
  }
  const ValueKind* const kind = find_value_kind(m.value_policy);
  if (kind == nullptr)
    fail(config.file, ": this program does not have the value policy ", in_quotes(m.value_policy), ", but ",
         value_kind_names());
  const auto keys = sub_key_tensors(H, m.num_keys, D);
  std::vector<TensorSpec> tensors(keys.begin(), keys.end());
  for (const TensorSpec& tensor :
       kind->tensors({.slots = m.num_keys * m.num_keys, .heads = H, .head_width = D, .rank = m.value_rank}))
    tensors.push_back(tensor);
  return tensors;
}

/// Every tensor of the model, in a fixed order: the embedding, the layers, the Memory blocks, the last norm,
/// and the head where it is not tied to the embedding. What a tensor is, its layer says.
inline std::vector<ParameterShape> parameter_shapes(const LlamaConfig& config) {
  const Index d = config.hidden_size, H = config.num_attention_heads, D = config.head_dim;
  std::vector<ParameterShape> all;
  const auto add = [&](const Path& path, const TensorSpec& tensor) {
    all.push_back({(path / tensor.name).str(),
                   {tensor.extents, tensor.extents + tensor.rank},
                   tensor.role,
                   tensor.start});
  };
  const auto add_all = [&](const Path& path, const auto& tensors) {
    for (const TensorSpec& tensor : tensors) add(path, tensor);
  };
  const auto add_attention_inputs = [&](const Path& block) {
    add(block / "input_layernorm", norm_tensor(d));
    add_all(block / "self_attn", attention_head_tensors(d, H, config.num_key_value_heads, D));
  };

  add(Path("model") / "embed_tokens", embedding_tensor(config.vocab_size, d));
  for (Index i = 0; i < config.num_hidden_layers; ++i) {
    const Path layer = Path("model") / "layers" / i;
    add_attention_inputs(layer);
    add(layer / "self_attn", attention_output_tensor(d, H, D));
    add(layer / "post_attention_layernorm", norm_tensor(d));
    add_all(layer / "mlp", swiglu_tensors(d, config.intermediate_size));
  }
  if (config.memory) {
    const std::vector<TensorSpec> tensors = memory_tensors(config);
    for (std::size_t j = 0; j < config.memory->positions.size(); ++j) {
      const Path block = Path("model") / "memory_blocks" / j;
      add_attention_inputs(block);
      add_all(block / "memory", tensors);
    }
  }
  add(Path("model") / "norm", norm_tensor(d));
  if (!config.tie_word_embeddings) add(Path("lm_head"), {"weight", {config.vocab_size, d}});
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
    if (!is_weight(tensor->dtype))
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
