// A model's type as data: what config.json would say of it.
#pragma once

#include "midus/io/in_quotes.hpp"
#include "midus/io/llama_config.hpp"
#include "midus/layers/value_kinds.hpp"
#include "midus/model/language_model.hpp"

namespace midus {

namespace detail {

template <int Heads, int Keys, int TopK, class Value>
MemoryConfig memory_config(HeadwiseMemory<Heads, Keys, TopK, Value>) {
  MemoryConfig memory;
  memory.kind = MemoryConfig::Kind::hml;
  memory.num_keys = Keys, memory.top_k = TopK;
  memory.value_policy = Value::name, memory.value_rank = Value::rank;
  know_values<Value>();  // whoever has the type may read its files
  return memory;
}
template <int MemoryHeads, int Keys, int TopK, int QueryDim>
MemoryConfig memory_config(ProductKeyMemory<MemoryHeads, Keys, TopK, QueryDim>) {
  MemoryConfig memory;
  memory.kind = MemoryConfig::Kind::pkm;
  memory.num_keys = Keys, memory.top_k = TopK, memory.memory_heads = MemoryHeads, memory.query_dim = QueryDim;
  return memory;
}

}  // namespace detail

/// The shape fields of a model type; the others have their defaults.
template <ModelConfig Config>
LlamaConfig shape_of() {
  LlamaConfig config;
  config.vocab_size = Config::vocab_size;
  config.hidden_size = Config::width;
  config.intermediate_size = Config::FeedForward::hidden;
  config.num_hidden_layers = Config::layers;
  config.num_attention_heads = Config::AttentionConfig::heads;
  config.num_key_value_heads = Config::AttentionConfig::kv_heads;
  config.head_dim = Config::AttentionConfig::template head_dim<Config::width>();
  config.tie_word_embeddings = Config::tied;
  if constexpr (Config::Where::count > 0) {
    config.memory = detail::memory_config(typename Config::Inserted::MemoryConfig{});
    config.memory->positions.assign(Config::Where::positions.begin(), Config::Where::positions.end());
  }
  config.file = "this program";
  return config;
}

/// Throws `Error` where a program for `Config` cannot run the model that `config` describes: which fields
/// differ, and how to build the programs for it.
template <ModelConfig Config>
void check_shape(const LlamaConfig& config, const std::string& directory) {
  const auto differences = shape_differences(shape_of<Config>(), config);
  if (differences.empty()) return;
  std::string message = config.file + ": this program is built for another shape:";
  for (const ShapeDifference& difference : differences)
    message +=
        text(" ", difference.name, " is ", difference.right, ", the program's is ", difference.left, ";");
  fail(message, " build the programs for this model with: bash examples/build_for.sh ",
       shell_quoted(directory));
}

}  // namespace midus
