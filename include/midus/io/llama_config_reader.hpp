// Reading config.json. What midus does not honour is refused by name, never passed over.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/json_object.hpp"
#include "midus/io/llama_config.hpp"
#include "midus/layers/value_kinds.hpp"

namespace midus {

/// The largest sizes that are believed: an order above any published model, and small enough that no product
/// of them that names a tensor's size passes 2^62.
namespace config_limit {
inline constexpr Index vocab_size = Index{1} << 26, hidden_size = Index{1} << 18,
                       intermediate_size = Index{1} << 22, layers = 4096, heads = 4096, head_dim = 8192,
                       positions = Index{1} << 31, num_keys = Index{1} << 15, value_rank = Index{1} << 14;
}  // namespace config_limit

/// The element type by PyTorch's name for it, as config.json spells it ("bfloat16").
inline std::optional<Dtype> weight_dtype_from(std::string_view name) {
  if (name == "float64") return Dtype::f64;
  if (name == "float32") return Dtype::f32;
  if (name == "float16") return Dtype::f16;
  if (name == "bfloat16") return Dtype::bf16;
  return std::nullopt;
}

/// What is a Llama in name only: settings that change the arithmetic in a way that midus has no code for.
inline void refuse_unsupported(const JsonObject& config) {
  const std::string type = config.string("model_type", "llama");
  if (type != "llama" && type != "midus") config.refuse("model_type", "\"llama\" or \"midus\"");
  if (config.has("architectures"))
    for (const std::string& name : config.strings("architectures"))
      if (name != "LlamaForCausalLM" && name != "LLaMAForCausalLM" && name != "MidusForCausalLM")
        config.refuse("architectures", "[\"LlamaForCausalLM\"] or [\"MidusForCausalLM\"]");
  const std::string activation = config.string("hidden_act", "silu");
  if (activation != "silu" && activation != "swish")  // two names of one function
    config.refuse("hidden_act", "\"silu\" (the only activation that midus computes)");
  for (const std::string_view key : {"attention_bias", "mlp_bias"})
    if (config.boolean(key, false)) config.refuse(key, "false: midus has no bias terms");
  for (const std::string_view key : {"sliding_window", "quantization_config"})
    if (config.has(key)) config.refuse(key, "null or absent: midus does not honour it");
  for (const std::string_view key : {"attention_dropout", "hidden_dropout"})
    if (config.has(key) && !(*config.find(key) == 0)) config.refuse(key, "0: midus has no dropout");
  if (config.has("partial_rotary_factor") && !(*config.find("partial_rotary_factor") == 1))
    config.refuse("partial_rotary_factor", "1: midus rotates whole heads");
  if (config.has("layer_types"))
    for (const std::string& layer : config.strings("layer_types"))
      if (layer != "full_attention") config.refuse("layer_types", "\"full_attention\" for every layer");
}

namespace detail {

inline constexpr double largest_rope_number = 1e12;

/// The scaling of `rope_scaling` or `rope_parameters`, which differ in name alone; none for the type
/// "default".
inline std::optional<Llama3Scaling> read_rope_scaling(const JsonObject& scaling) {
  // "type" is the older spelling.
  const std::string old_name = scaling.string("type", "default");
  const std::string type = scaling.string("rope_type", old_name);
  if (scaling.has("type") && old_name != type)
    scaling.refuse("type", "the same as " + scaling.where("rope_type") + ", " + in_quotes(type));
  if (scaling.has("partial_rotary_factor") && !(*scaling.find("partial_rotary_factor") == 1))
    scaling.refuse("partial_rotary_factor", "1: midus rotates whole heads");
  if (type == "default") {
    if (!scaling.has("rope_type") && !scaling.has("type") && scaling.has("factor"))
      scaling.refuse("rope_type", "\"llama3\" or \"default\"");
    scaling.allow_only({"rope_type", "type", "rope_theta", "partial_rotary_factor"});
    return std::nullopt;
  }
  if (type != "llama3")
    scaling.refuse(scaling.has("rope_type") ? "rope_type" : "type", "\"llama3\" or \"default\"");
  scaling.allow_only({"rope_type", "type", "rope_theta", "partial_rotary_factor", "factor", "low_freq_factor",
                      "high_freq_factor", "original_max_position_embeddings"});
  Llama3Scaling llama3;
  llama3.factor = scaling.number("factor", 0, largest_rope_number);
  llama3.low_freq_factor = scaling.number("low_freq_factor", 0, largest_rope_number);
  llama3.high_freq_factor = scaling.number("high_freq_factor", 0, largest_rope_number);
  llama3.original_max_position_embeddings =
      static_cast<double>(scaling.integer("original_max_position_embeddings", 1, config_limit::positions));
  if (llama3.low_freq_factor >= llama3.high_freq_factor)
    scaling.refuse("low_freq_factor", text("less than high_freq_factor, ", llama3.high_freq_factor));
  return llama3;
}

/// Throws where the two spellings say different scalings, naming a member in which they do.
inline void check_same_scaling(const JsonObject& scaling, const JsonObject& parameters) {
  const std::optional<Llama3Scaling> a = read_rope_scaling(scaling), b = read_rope_scaling(parameters);
  if (a == b) return;
  const auto differ = [&](std::string_view key, const auto& expected) {
    scaling.refuse(key, text("the same as ", parameters.where(key), ", ", expected));
  };
  if (!a || !b)
    scaling.refuse(
        scaling.has("rope_type") || !scaling.has("type") ? "rope_type" : "type",
        text("the same as ", parameters.where("rope_type"), ", ", b ? "\"llama3\"" : "\"default\""));
  if (a->factor != b->factor) differ("factor", b->factor);
  if (a->low_freq_factor != b->low_freq_factor) differ("low_freq_factor", b->low_freq_factor);
  if (a->high_freq_factor != b->high_freq_factor) differ("high_freq_factor", b->high_freq_factor);
  differ("original_max_position_embeddings", b->original_max_position_embeddings);
}

}  // namespace detail

/// `rope_theta` and `rope_scaling` (transformers up to 4), or `rope_parameters` (from 5 on), which has both.
/// A file may hold both spellings, for both versions: then they must say the same.
inline RopeSettings read_rope(const JsonObject& config) {
  RopeSettings rope;
  std::optional<double> theta;
  std::string theta_from;
  const auto read_theta = [&](const JsonObject& object) {
    if (!object.has("rope_theta")) return;
    const double here = object.number("rope_theta", 0, detail::largest_rope_number);
    if (theta && *theta != here)
      object.refuse("rope_theta", text("the same as ", theta_from, " (", *theta, ")"));
    theta = here, theta_from = object.where("rope_theta");
  };
  std::optional<JsonObject> scaling;
  for (const char* const key : {"rope_parameters", "rope_scaling"}) {
    if (!config.has(key)) continue;
    const JsonObject object = config.object(key);
    read_theta(object);
    if (scaling) detail::check_same_scaling(object, *scaling);
    rope.llama3 = detail::read_rope_scaling(object);
    scaling = object;
  }
  read_theta(config);
  rope.theta = theta.value_or(10000);
  return rope;
}

/// The value policy of a `midus` section, and its number. Without a name it is one of the library's two.
inline void read_values(const JsonObject& section, MemoryConfig& memory) {
  const bool named = section.has("values");
  memory.value_rank = named ? section.integer("value_rank", 0, config_limit::value_rank, 0)
                            : section.integer("value_rank", 0, config_limit::value_rank);
  memory.value_policy = unnamed_value_policy(memory.value_rank);
  if (named) memory.value_policy = section.string("values");
  const ValueKind* const kind = find_value_kind(memory.value_policy);
  if (kind == nullptr)
    section.refuse("values", "one of the value policies that this program has (" + value_kind_names() +
                                 "); a program has another by its header (docs/adding_a_value_policy.md)");
  if (kind->ranked != (memory.value_rank > 0))
    section.refuse("value_rank", text(kind->ranked ? "at least 1" : "0", " for the values ",
                                      in_quotes(memory.value_policy)));
}

/// The `midus` section of an already read base.
inline MemoryConfig read_memory(const JsonObject& section, const LlamaConfig& config) {
  MemoryConfig memory;
  const std::string kind = section.string("memory", to_string(memory.kind));
  const bool hml = kind == to_string(MemoryConfig::Kind::hml);
  memory.kind = hml ? MemoryConfig::Kind::hml : MemoryConfig::Kind::pkm;
  if (kind != to_string(memory.kind)) section.refuse("memory", "\"hml\" or \"pkm\"");
  if (hml)
    section.allow_only({"memory", "positions", "num_keys", "top_k", "values", "value_rank"});
  else
    section.allow_only({"memory", "positions", "num_keys", "top_k", "memory_heads", "query_dim"});

  memory.positions = section.integers("positions", 0, config.num_hidden_layers - 1);
  const auto not_ascending = std::adjacent_find(memory.positions.begin(), memory.positions.end(),
                                                [](Index a, Index b) { return a >= b; });
  if (memory.positions.empty() || not_ascending != memory.positions.end())
    section.refuse("positions", "a list of at least one layer, ascending and distinct");
  memory.num_keys = section.integer("num_keys", 1, config_limit::num_keys);
  memory.top_k = section.integer("top_k", 1, memory.num_keys);
  if (hml) {
    read_values(section, memory);
    if (config.num_attention_heads * config.head_dim != config.hidden_size)
      fail(section.file(), ": head-wise memory needs num_attention_heads x head_dim = hidden_size, found ",
           config.num_attention_heads, " x ", config.head_dim, " and ", config.hidden_size);
  } else {
    memory.memory_heads = section.integer("memory_heads", 1, config_limit::heads);
    memory.query_dim = section.integer("query_dim", 2, config_limit::head_dim);
    if (memory.query_dim % 2 != 0)
      section.refuse("query_dim", "even: its halves meet the two sides of the keys");
  }
  return memory;
}

/// True for "model.layers.3." with 3 < layers, and for "model.memory_blocks.1." with 1 < blocks.
inline bool is_block_prefix(std::string_view name, Index layers, Index blocks) {
  for (const auto& [start, count] : {std::pair<std::string_view, Index>{"model.layers.", layers},
                                     std::pair<std::string_view, Index>{"model.memory_blocks.", blocks}}) {
    if (name.substr(0, start.size()) != start) continue;
    const std::string_view rest = name.substr(start.size());
    for (Index i = 0; i < count; ++i)
      if (rest == std::to_string(i) + ".") return true;
  }
  return false;
}

/// The `depth_upscaling` section of an already read model.
inline std::vector<Expansion> read_history(const JsonObject& section, const LlamaConfig& config) {
  const Json* const version = section.find("version");
  if (version == nullptr || exact_integer(*version) != 1)
    section.refuse("version", "1, the version that midus knows");
  section.allow_only({"version", "history"});
  const Json* const entries = section.find("history");
  if (entries == nullptr || !entries->is_array()) section.refuse("history", "a list of expansions");
  const Index blocks = config.memory ? static_cast<Index>(config.memory->positions.size()) : 0;
  std::vector<Expansion> history;
  for (const Json& json : *entries) {
    const JsonObject entry(json, section.file(), text("depth_upscaling.history[", history.size(), "]"));
    entry.allow_only({"policy", "inserted", "parent_layers", "parent_positions", "seed"});
    Expansion expansion;
    const std::optional<Policy> policy = policy_from(entry.string("policy"));
    if (!policy) entry.refuse("policy", "\"midus\", \"pkm\", \"llama_pro\" or \"solar\"");
    expansion.policy = *policy;
    expansion.inserted = entry.strings("inserted");
    for (const std::string& name : expansion.inserted)
      if (!is_block_prefix(name, config.num_hidden_layers, blocks))
        entry.refuse("inserted", text("a list of \"model.layers.I.\" with I below ", config.num_hidden_layers,
                                      " and \"model.memory_blocks.J.\" with J below ", blocks));
    expansion.parent_layers = static_cast<int>(entry.integer("parent_layers", 1, config_limit::layers));
    if (entry.has("parent_positions"))
      for (const Index position : entry.integers("parent_positions", 0, expansion.parent_layers - 1))
        expansion.parent_positions.push_back(static_cast<int>(position));
    if (entry.has("seed")) {
      const Json& seed = *entry.find("seed");
      const bool whole =
          seed.is_number_unsigned() || (seed.is_number_integer() && seed.get<std::int64_t>() >= 0);
      if (!whole) entry.refuse("seed", "an integer from 0 to 2^64 - 1");
      expansion.seed = seed.get<std::uint64_t>();
    }
    history.push_back(std::move(expansion));
  }
  return history;
}

/// A number, a list of numbers or nothing.
inline std::vector<Index> read_token_ids(const JsonObject& config, const char* key, Index vocab_size) {
  if (!config.has(key)) return {};
  if (config.find(key)->is_array()) return config.integers(key, 0, vocab_size - 1);
  return {config.integer(key, 0, vocab_size - 1)};
}

/// Reads and checks a configuration; `file` is what errors call it. Absent members have LlamaConfig's own
/// defaults in transformers, except for the sizes, which must be there. Throws `Error` with the member, its
/// value and the rule; nothing is allocated by any size.
inline LlamaConfig parse_llama_config(const Json& json, const std::string& file) {
  const JsonObject object(json, file);
  refuse_unsupported(object);
  LlamaConfig config;
  config.vocab_size = object.integer("vocab_size", 1, config_limit::vocab_size);
  config.hidden_size = object.integer("hidden_size", 1, config_limit::hidden_size);
  config.intermediate_size = object.integer("intermediate_size", 1, config_limit::intermediate_size);
  config.num_hidden_layers = object.integer("num_hidden_layers", 1, config_limit::layers);
  config.num_attention_heads = object.integer("num_attention_heads", 1, config_limit::heads);
  config.num_key_value_heads =
      object.integer("num_key_value_heads", 1, config.num_attention_heads, config.num_attention_heads);
  if (config.num_attention_heads % config.num_key_value_heads != 0)
    object.refuse("num_key_value_heads",
                  text("a divisor of num_attention_heads, ", config.num_attention_heads));
  if (!object.has("head_dim") && config.hidden_size % config.num_attention_heads != 0)
    object.refuse("hidden_size", text("a multiple of num_attention_heads, ", config.num_attention_heads,
                                      ", where there is no head_dim"));
  config.head_dim =
      object.integer("head_dim", 2, config_limit::head_dim, config.hidden_size / config.num_attention_heads);
  if (config.head_dim % 2 != 0 || config.head_dim > config_limit::head_dim)
    fail(file, ": \"head_dim\" (or hidden_size / num_attention_heads) must be even and at most ",
         config_limit::head_dim, ", found ", config.head_dim);
  config.tie_word_embeddings = object.boolean("tie_word_embeddings", false);
  config.rms_norm_eps = object.number("rms_norm_eps", 0, 1, 1e-6);
  config.rope = read_rope(object);
  config.max_position_embeddings =
      object.integer("max_position_embeddings", 1, config_limit::positions, 2048);
  config.bos_token_ids = read_token_ids(object, "bos_token_id", config.vocab_size);
  config.eos_token_ids = read_token_ids(object, "eos_token_id", config.vocab_size);
  for (const std::string_view key : {"dtype", "torch_dtype"}) {  // from transformers 5 on, and up to 4
    if (!object.has(key)) continue;
    const std::optional<Dtype> dtype = weight_dtype_from(object.string(key));
    if (!dtype) object.refuse(key, "\"float64\", \"float32\", \"float16\" or \"bfloat16\"");
    if (config.dtype && config.dtype != dtype)
      config.warnings.push_back(text(file, ": \"dtype\" is ", found_text(*object.find("dtype")),
                                     " and \"torch_dtype\" ", found_text(*object.find("torch_dtype")),
                                     ": transformers 5 follows the first, 4 the second; midus the types that "
                                     "the tensors have"));
    if (!config.dtype) config.dtype = dtype;
  }
  if (object.has("midus")) config.memory = read_memory(object.object("midus"), config);
  if (config.memory.has_value() !=
      (object.string("model_type", config.memory ? "midus" : "llama") == "midus"))
    object.refuse("model_type", config.memory ? "\"midus\" where there is a section \"midus\""
                                              : "\"llama\" where there is no section \"midus\"");
  if (object.has("depth_upscaling")) config.history = read_history(object.object("depth_upscaling"), config);
  config.original = json;
  config.file = file;
  return config;
}

/// Throws `Error` where `path` is what other tools take for a model: a hub's name, or a GGUF file.
inline void refuse_other_models(const std::filesystem::path& path) {
  std::error_code error;
  const std::string name = path.string();
  static constexpr std::string_view takes =
      "midus takes a directory with config.json, model.safetensors (or its shards) and tokenizer.json";
  if (!std::filesystem::exists(path, error)) {
    const std::size_t slash = name.find('/');
    // A file's extension begins with a letter; "Llama-3.2-1B" has a number there.
    const std::string extension = path.extension().string();
    const bool is_file = extension.size() > 1 && std::isalpha(static_cast<unsigned char>(extension[1])) != 0;
    const bool hub = slash != name.npos && slash > 0 && slash + 1 < name.size() && name[0] != '.' &&
                     name.find('/', slash + 1) == name.npos && !is_file &&
                     !std::filesystem::exists(path.parent_path(), error);
    if (hub)
      fail("there is no directory ", name, ". ", takes,
           ", and fetches none: if this is a hub's name, get it with `hf download ", shell_quoted(name),
           " --local-dir ", shell_quoted(name.substr(slash + 1)), "` and name that directory");
    return;
  }
  const auto is_gguf = [&](const std::filesystem::path& file) {
    char magic[4] = {};
    std::ifstream in(file, std::ios::binary);
    return in.read(magic, sizeof magic) && std::string_view(magic, sizeof magic) == "GGUF";
  };
  std::filesystem::path gguf;
  if (std::filesystem::is_regular_file(path, error)) {
    if (is_gguf(path)) gguf = path;
  } else if (!std::filesystem::exists(path / "config.json", error)) {
    for (const auto& entry : std::filesystem::directory_iterator(path, error))
      if (entry.path().extension() == ".gguf") gguf = entry.path();
  }
  if (!gguf.empty())
    fail(gguf.string(), " is a GGUF file, mostly of quantised weights. ", takes,
         ": get the model in that form, from where this one was made of");
}

/// Reads `path`: a config.json, or the directory of a model that holds one.
inline LlamaConfig read_llama_config(const std::filesystem::path& path) {
  refuse_other_models(path);
  std::error_code error;
  const std::filesystem::path file = std::filesystem::is_directory(path, error) ? path / "config.json" : path;
  return parse_llama_config(read_json_file(file), file.string());
}

}  // namespace midus
