// What an expansion of a model on disk will do, before any of it is done.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "midus/io/llama_config.hpp"
#include "midus/io/llama_config_writer.hpp"
#include "midus/io/model_tensors.hpp"
#include "midus/layers/value_kinds.hpp"
#include "midus/upscale/insert_memory.hpp"
#include "midus/upscale/llama_pro.hpp"
#include "midus/upscale/solar.hpp"

namespace midus {

/// What a user asks for. What is left out has the defaults that `make_plan` says; what does not belong to the
/// policy is refused.
struct UpscaleOptions {
  Policy policy = Policy::midus;
  std::vector<Index> positions{};       ///< before (midus, pkm) or after (llama_pro) these layers
  std::optional<Index> count{};         ///< of blocks, where there are no positions
  std::optional<Index> num_keys{};      ///< n; 128
  std::optional<Index> top_k{};         ///< k; 16
  std::optional<std::string> values{};  ///< the value policy (midus); dense where value_rank is 0
  std::optional<Index> value_rank{};    ///< r of the values (midus); 64, or 0 where they have none
  std::optional<Index> memory_heads{};  ///< H_m (pkm); 4
  std::optional<Index> query_dim{};     ///< D_m (pkm); the base's head_dim
  std::optional<double> key_spread{};   ///< sub-keys N(0, spread²) in place of U(±1/√D)
  std::optional<Index> overlap{};       ///< m (solar); a quarter of the layers
  std::uint64_t seed = 0;
};

/// One tensor of the deeper model.
struct PlannedTensor {
  TensorInfo info;
  TensorSource source;
  bool inserted;          ///< of a block that is new
  bool is_table = false;  ///< rows that a memory looks up
};

/// The deeper model as data, and where every tensor of it comes from.
struct Plan {
  LlamaConfig base, deeper;
  Deepening deepening;
  std::uint64_t seed = 0;
  std::vector<PlannedTensor> tensors;  ///< in the order of `parameter_shapes`
  Index base_parameters = 0;
  Index parameters = 0;          ///< of the deeper model: the elements of its tensors
  Index trained_parameters = 0;  ///< of them, with `--train inserted`
  std::uint64_t bytes = 0;       ///< of the deeper model's tensors

  Index added_parameters() const { return parameters - base_parameters; }
};

/// `count` of `places`, spread evenly: places are cut into `count` parts as equal as can be, and the middle
/// of each is taken. 8 of 16 layers: 1, 3, ..., 15; 2 of 4: 1, 3.
inline std::vector<Index> spread_evenly(const std::vector<Index>& places, Index count) {
  const auto size = static_cast<Index>(places.size());
  std::vector<Index> chosen;
  for (Index j = 0; j < count; ++j)
    chosen.push_back(places[static_cast<std::size_t>((2 * j + 1) * size / (2 * count))]);
  return chosen;
}

/// The layers after which LLaMA-Pro puts its copies: the last of each of `count` groups. 8 of 32 layers: 3,
/// 7,
/// ..., 31.
inline std::vector<Index> last_of_groups(Index layers, Index count) {
  std::vector<Index> chosen;
  for (Index j = 1; j <= count; ++j) chosen.push_back(j * layers / count - 1);
  return chosen;
}

namespace detail {

/// Refuses what was asked for and has no meaning under the policy.
inline void refuse_foreign_options(const UpscaleOptions& options) {
  const bool midus = options.policy == Policy::midus, pkm = options.policy == Policy::pkm,
             solar = options.policy == Policy::solar;
  const auto refuse = [&](bool given, bool belongs, const char* name) {
    if (given && !belongs) fail(options.policy, " has no ", name, "; leave it out");
  };
  refuse(!options.positions.empty(), !solar, "positions");
  refuse(options.count.has_value(), !solar, "count");
  refuse(options.num_keys.has_value(), midus || pkm, "num-keys");
  refuse(options.top_k.has_value(), midus || pkm, "top-k");
  refuse(options.key_spread.has_value(), midus || pkm, "key-spread");
  refuse(options.values.has_value(), midus, "values");
  refuse(options.value_rank.has_value(), midus, "value-rank");
  refuse(options.memory_heads.has_value(), pkm, "memory-heads");
  refuse(options.query_dim.has_value(), pkm, "query-dim");
  refuse(options.overlap.has_value(), solar, "overlap");
}

/// The number of blocks to insert: given, by the number of positions, or `usual`.
inline Index count_of(const UpscaleOptions& options, Index usual, Index most) {
  const auto named = static_cast<Index>(options.positions.size());
  if (named > 0 && options.count && *options.count != named)
    fail(options.policy, ": count is ", *options.count, ", but ", named,
         named == 1 ? " position is named" : " positions are named");
  const Index count = named > 0 ? named : options.count.value_or(std::clamp<Index>(usual, 1, most));
  if (count < 1 || count > most) fail(options.policy, ": count must be in 1 ... ", most, ", but is ", count);
  return count;
}

/// The value policy of a base's first Memory blocks.
inline void choose_values(MemoryConfig& memory, const UpscaleOptions& options) {
  memory.value_policy =
      options.values.value_or(std::string(unnamed_value_policy(options.value_rank.value_or(64))));
  const ValueKind* const kind = find_value_kind(memory.value_policy);
  if (kind == nullptr)
    fail(options.policy, ": this program does not have the values \"", memory.value_policy, "\", but ",
         value_kind_names(), "; build it with the header of that policy (docs/adding_a_value_policy.md)");
  memory.value_rank = options.value_rank.value_or(kind->ranked ? 64 : 0);
  if (kind->ranked != (memory.value_rank > 0))
    fail(options.policy, ": the values \"", memory.value_policy, "\" ",
         kind->ranked ? "need a value-rank of at least 1" : "have no value-rank, or 0", ", but it is ",
         memory.value_rank);
}

/// The memory that the new blocks have: the base's, where it has one, since all blocks of a model are alike.
inline MemoryConfig memory_of(const LlamaConfig& base, const UpscaleOptions& options) {
  const bool hml = options.policy == Policy::midus;
  MemoryConfig memory;
  if (base.memory) {
    memory = *base.memory;
    if (hml != (memory.kind == MemoryConfig::Kind::hml))
      fail(options.policy, ": ", base.file, " has Memory blocks of another kind, ", to_string(memory.kind),
           "; all blocks of a model have the same");
  } else {
    memory.kind = hml ? MemoryConfig::Kind::hml : MemoryConfig::Kind::pkm;
    memory.num_keys = 128, memory.top_k = 16;
    if (hml) choose_values(memory, options);
    memory.memory_heads = hml ? 0 : 4, memory.query_dim = hml ? 0 : base.head_dim;
  }
  const auto take = [&]<class T>(T& value, const std::optional<T>& given, const char* name) {
    if (base.memory && given && *given != value)
      fail(options.policy, ": ", name, " is ", *given, ", but the Memory blocks of ", base.file, " have ",
           value, "; all blocks of a model have the same");
    value = given.value_or(value);
  };
  take(memory.num_keys, options.num_keys, "num-keys");
  take(memory.top_k, options.top_k, "top-k");
  take(memory.value_policy, options.values, "values");
  take(memory.value_rank, options.value_rank, "value-rank");
  take(memory.memory_heads, options.memory_heads, "memory-heads");
  take(memory.query_dim, options.query_dim, "query-dim");
  if (memory.num_keys >= 1 && memory.top_k > memory.num_keys)
    fail(options.policy, ": top-k ", memory.top_k, " must not exceed num-keys ", memory.num_keys);
  if (hml && base.num_attention_heads * base.head_dim != base.hidden_size)
    fail(
        "midus: a head-wise memory writes to the residual stream, so it needs num_attention_heads x head_dim "
        "= hidden_size; ",
        base.file, " has ", base.num_attention_heads, " x ", base.head_dim, " and ", base.hidden_size);
  return memory;
}

/// The expansion, and the memory of the deeper model.
inline std::pair<Deepening, std::optional<MemoryConfig>> deepening_of(const LlamaConfig& base,
                                                                      const UpscaleOptions& options) {
  const Index layers = base.num_hidden_layers;
  const std::vector<Index> taken = base.memory ? base.memory->positions : std::vector<Index>();
  refuse_foreign_options(options);
  if (names_of(options.policy).inserts_memory) {
    MemoryConfig memory = memory_of(base, options);
    std::vector<Index> free;
    for (Index layer = 0; layer < layers; ++layer)
      if (std::find(taken.begin(), taken.end(), layer) == taken.end()) free.push_back(layer);
    if (free.empty()) fail(options.policy, ": ", base.file, " has a Memory block before every layer");
    const Index count = count_of(options, layers / 2, static_cast<Index>(free.size()));
    Deepening deepening = insert_memory(
        options.policy, layers, taken,
        options.positions.empty() ? spread_evenly(free, count) : options.positions, options.key_spread);
    memory.positions = deepening.positions;
    return {std::move(deepening), std::move(memory)};
  }
  if (options.policy == Policy::llama_pro) {
    const Index count = count_of(options, layers / 4, layers);
    Deepening deepening = insert_copies(
        layers, taken, options.positions.empty() ? last_of_groups(layers, count) : options.positions);
    std::optional<MemoryConfig> memory = base.memory;
    if (memory) memory->positions = deepening.positions;
    return {std::move(deepening), std::move(memory)};
  }
  if (base.memory)
    fail("solar: ", base.file,
         " has Memory blocks, which would stand in the model twice; detach them first, or insert them after");
  return {overlap_copies(layers, options.overlap.value_or(layers / 4)), std::nullopt};
}

}  // namespace detail

/// The plan of an expansion. `dtype_of(name)` says how the base stores a tensor; new tensors are stored as
/// layer 0's q_proj is, copies as what they are copies of. Left out are:
/// - positions: midus and pkm take half as many blocks as there are layers, spread evenly over the
///   layers that have none before them (`spread_evenly`); llama_pro a quarter (`last_of_groups`); or
///   `count`;
/// - n, k, the value policy, r, H_m and D_m: those of the base's Memory blocks, else 128, 16, factorized, 64
/// (0
///   for a policy without a rank), 4 and its head_dim;
/// - m: a quarter of the layers, rounded down (the paper's 8 of 32).
/// Throws `Error` where the base cannot be expanded so.
inline Plan make_plan(const LlamaConfig& base, const UpscaleOptions& options,
                      const std::function<Dtype(std::string_view)>& dtype_of) {
  Plan plan;
  plan.base = plan.deeper = base;
  plan.seed = options.seed;
  std::tie(plan.deepening, plan.deeper.memory) = detail::deepening_of(base, options);
  plan.deeper.num_hidden_layers = static_cast<Index>(plan.deepening.layers.size());
  plan.deeper.history = history_after(plan.deepening, base.history, options.seed);
  to_json(plan.deeper);  // refuses what could not be read again, before any size is believed
  plan.base_parameters = parameter_count(base);
  for (ParameterShape& parameter : parameter_shapes(plan.deeper)) {
    TensorSource source = source_of(plan.deepening, parameter.name, parameter.role, parameter.start);
    const Dtype dtype =
        dtype_of(source.is_copy() ? std::string_view(source.from) : "model.layers.0.self_attn.q_proj.weight");
    const Index size = element_count(parameter.shape);
    const bool is_new = is_inserted(plan.deepening, parameter.name);
    plan.parameters += size;
    plan.trained_parameters += is_new ? size : 0;
    plan.bytes += tensor_bytes(parameter.name, dtype, parameter.shape);
    plan.tensors.push_back({{std::move(parameter.name), dtype, std::move(parameter.shape)},
                            std::move(source),
                            is_new,
                            parameter.role == Role::table});
  }
  return plan;
}

/// The same where all tensors have one type: the one that config.json names, else F32.
inline Plan make_plan(const LlamaConfig& base, const UpscaleOptions& options) {
  return make_plan(base, options, [&](std::string_view) { return base.dtype.value_or(Dtype::f32); });
}

}  // namespace midus
