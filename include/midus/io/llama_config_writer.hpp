// Writing config.json: only what must change changes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/io/atomic_file.hpp"
#include "midus/io/json.hpp"
#include "midus/io/llama_config.hpp"
#include "midus/io/llama_config_reader.hpp"
#include "midus/io/python_files.hpp"

namespace midus {

/// PyTorch's name of a weight's type.
inline const char* torch_name(Dtype dtype) {
  switch (dtype) {
    case Dtype::f64:
      return "float64";
    case Dtype::f32:
      return "float32";
    case Dtype::f16:
      return "float16";
    case Dtype::bf16:
      return "bfloat16";
    default:
      fail("no weight has the type ", to_string(dtype));
  }
}

/// The object "midus" of config.json: what Memory blocks there are, and where.
inline Json memory_to_json(const MemoryConfig& memory) {
  Json json = Json::object();
  const bool hml = memory.kind == MemoryConfig::Kind::hml;
  if (!hml) json["memory"] = to_string(memory.kind);  // absent means "hml"
  json["positions"] = memory.positions;
  json["num_keys"] = memory.num_keys;
  json["top_k"] = memory.top_k;
  if (hml) {
    json["values"] = memory.value_policy;
    json["value_rank"] = memory.value_rank;
  } else {
    json["memory_heads"] = memory.memory_heads;
    json["query_dim"] = memory.query_dim;
  }
  return json;
}

/// The list "depth_upscaling" of config.json: what was done to the model, in order.
inline Json history_to_json(const std::vector<Expansion>& history) {
  Json entries = Json::array();
  for (const Expansion& expansion : history) {
    Json entry = Json::object();
    entry["policy"] = std::string(names_of(expansion.policy).name);
    entry["inserted"] = expansion.inserted;
    entry["parent_layers"] = expansion.parent_layers;
    entry["parent_positions"] = expansion.parent_positions;
    entry["seed"] = expansion.seed;
    entries.push_back(std::move(entry));
  }
  Json json = Json::object();
  json["version"] = 1;
  json["history"] = std::move(entries);
  return json;
}

/// The RoPE settings in every spelling that the file has already, transformers 4's where it has none.
inline void put_rope(Json& json, const RopeSettings& rope) {
  Json scaling;
  if (rope.llama3) {
    scaling["rope_type"] = "llama3";
    scaling["factor"] = rope.llama3->factor;
    scaling["low_freq_factor"] = rope.llama3->low_freq_factor;
    scaling["high_freq_factor"] = rope.llama3->high_freq_factor;
    scaling["original_max_position_embeddings"] =
        static_cast<Index>(rope.llama3->original_max_position_embeddings);
  }
  const bool newer = json.contains("rope_parameters"), older = !newer || json.contains("rope_scaling");
  if (older) json["rope_scaling"] = scaling;
  if (older || json.contains("rope_theta")) json["rope_theta"] = rope.theta;
  if (!newer) return;
  if (!rope.llama3) scaling["rope_type"] = "default";
  scaling["rope_theta"] = rope.theta;
  json["rope_parameters"] = std::move(scaling);
}

/// Names the classes of midus' Python code in `auto_map`, where a model comes to have Memory blocks and where
/// one has them (an old one lacks some), and takes them off where it has them no more.
inline void put_auto_map(Json& json, bool had_memory, bool has_memory) {
  if (!had_memory && !has_memory) return;
  Json map = json.contains("auto_map") && json["auto_map"].is_object() ? json["auto_map"] : Json::object();
  for (const auto& [kind, name] : midus_auto_map) {
    if (has_memory && (!had_memory || !map.contains(kind)))
      map[kind] = name;
    else if (!has_memory && map.contains(kind) && map[kind] == name)
      map.erase(kind);
  }
  if (map.empty())
    json.erase("auto_map");
  else
    json["auto_map"] = std::move(map);
}

/// The configuration as JSON: `config.original` with its keys in their order and spelling, unknown ones too,
/// and only those values replaced that are no longer what was read. Throws `Error` where the result could not
/// be read again, so that no such file is ever written.
inline Json to_json(const LlamaConfig& config) {
  Json json = config.original;
  const bool fresh = json.empty();
  const LlamaConfig before = fresh ? LlamaConfig() : parse_llama_config(json, config.file);
  const auto put = [&](const char* key, auto LlamaConfig::*field) {
    if (fresh || before.*field != config.*field) json[key] = config.*field;
  };
  const auto put_ids = [&](const char* key, std::vector<Index> LlamaConfig::*field) {
    const std::vector<Index>& ids = config.*field;
    if (!fresh && before.*field == ids) return;
    json[key] = ids.empty() ? Json() : ids.size() == 1 ? Json(ids[0]) : Json(ids);
  };

  if (fresh || before.memory.has_value() != config.memory.has_value()) {
    json["architectures"] = {config.memory ? "MidusForCausalLM" : "LlamaForCausalLM"};
    json["model_type"] = config.memory ? "midus" : "llama";
  }
  put_auto_map(json, before.memory.has_value(), config.memory.has_value());
  if (fresh) json["hidden_act"] = "silu";
  put("vocab_size", &LlamaConfig::vocab_size);
  put("hidden_size", &LlamaConfig::hidden_size);
  put("intermediate_size", &LlamaConfig::intermediate_size);
  put("num_hidden_layers", &LlamaConfig::num_hidden_layers);
  put("num_attention_heads", &LlamaConfig::num_attention_heads);
  put("num_key_value_heads", &LlamaConfig::num_key_value_heads);
  put("head_dim", &LlamaConfig::head_dim);
  if (before.hidden_size != config.hidden_size || before.num_attention_heads != config.num_attention_heads) {
    // Where these two are absent they follow from the two that changed.
    json["num_key_value_heads"] = config.num_key_value_heads;
    json["head_dim"] = config.head_dim;
  }
  put("rms_norm_eps", &LlamaConfig::rms_norm_eps);
  put("max_position_embeddings", &LlamaConfig::max_position_embeddings);
  put("tie_word_embeddings", &LlamaConfig::tie_word_embeddings);
  if (fresh || !(before.rope == config.rope)) put_rope(json, config.rope);
  put_ids("bos_token_id", &LlamaConfig::bos_token_ids);
  put_ids("eos_token_id", &LlamaConfig::eos_token_ids);
  if (config.dtype && before.dtype != config.dtype)
    for (const char* key : {"dtype", "torch_dtype"})  // both readers understand the older spelling
      if (json.contains(key) || (key == std::string_view("torch_dtype") && !json.contains("dtype")))
        json[key] = torch_name(*config.dtype);

  // transformers lists the attention kind of every layer; ours are all the same.
  if (before.num_hidden_layers != config.num_hidden_layers && json.contains("layer_types") &&
      json["layer_types"].is_array())
    json["layer_types"] =
        std::vector<std::string>(static_cast<std::size_t>(config.num_hidden_layers), "full_attention");

  if (!config.memory)
    json.erase("midus");
  else if (before.memory != config.memory)
    json["midus"] = memory_to_json(*config.memory);
  if (before.history != config.history) {
    if (config.history.empty())
      json.erase("depth_upscaling");
    else
      json["depth_upscaling"] = history_to_json(config.history);
  }

  parse_llama_config(json, config.file + " (to be written)");
  return json;
}

/// Writes `directory/config.json`, atomically, and beside it the Python code of a model with Memory blocks.
inline void write_llama_config(const LlamaConfig& config, const std::filesystem::path& directory) {
  write_file(directory / "config.json", dump_json(to_json(config)) + "\n");
  if (!config.memory) return;
  const ValueKind* const kind = find_value_kind(config.memory->value_policy);
  write_python_files(directory, kind ? kind->python : "");
}

}  // namespace midus
