// MIDUS and its baseline PKM: Memory blocks before layers of a base (arXiv 2512.13751).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "midus/upscale/deepening.hpp"
#include "midus/upscale/expand_model.hpp"

namespace midus {

/// The numbers that the start of a Memory block depends on.
struct MemoryStart {
  Index query_dim = 0;                 ///< D, or D_m of PKM: width of a query
  Index value_rank = 0;                ///< r; 0: dense banks, or PKM
  Index attention_width = 0;           ///< H·D
  std::optional<double> key_spread{};  ///< sub-keys N(0, spread²) in place of U(±1/√D)
  std::map<std::string, TensorSource, std::less<>> others{};  ///< parts that the rules below do not know
};

/// Where a tensor of a new Memory block comes from (docs/method.md): norm and q/k/v from the layer that the
/// block precedes, values zero, so that the block changes nothing yet, and the rest random, so that it can
/// learn. `part` is the name within the block. Throws `Error` where no rule says it.
inline TensorSource memory_source(std::string_view part, Index layer, const MemoryStart& start) {
  const auto deviation = [](Index width) { return 1 / std::sqrt(static_cast<double>(width)); };
  if (const auto other = start.others.find(part); other != start.others.end()) return other->second;
  if (part.starts_with("input_layernorm.") || part.starts_with("self_attn."))
    return TensorSource::copy_of(block_name(layer_prefix, layer) + std::string(part));
  if (part == "memory.values") return TensorSource::zeros();
  if (part == "memory.row_keys" || part == "memory.col_keys")
    return start.key_spread ? TensorSource::normal(*start.key_spread)
                            : TensorSource::uniform(deviation(start.query_dim));
  if (part == "memory.value_proj") return TensorSource::normal(deviation(start.value_rank));
  if (part == "memory.query_proj.weight") return TensorSource::normal(deviation(start.attention_width));
  fail("upscale: nothing says how \"", part,
       "\" of a Memory block starts; InsertOptions::others can say it for a value policy of your own");
}

/// Memory blocks at `positions` of a base of `layers` layers, which has Memory blocks at `taken` already. The
/// blocks are numbered by position, the base's too. `policy`: midus or pkm. Throws `Error` where a position
/// is taken, out of range or named twice.
inline Deepening insert_memory(const std::string& policy, Index layers, const std::vector<Index>& taken,
                               const std::vector<Index>& positions, const MemoryStart& start) {
  if (start.key_spread && !(*start.key_spread > 0 && std::isfinite(*start.key_spread)))
    fail(policy, ": the spread of the keys must be positive, but is ", *start.key_spread);
  Deepening deepening;
  deepening.policy = policy;
  deepening.parent_layers = layers;
  deepening.parent_positions = checked_positions(positions, layers, policy);
  deepening.layers = kept_blocks(static_cast<std::size_t>(layers));
  for (const Index position : deepening.parent_positions)
    if (std::find(taken.begin(), taken.end(), position) != taken.end())
      fail(policy, ": position ", position,
           " is taken: a Memory block stands before that layer, and blocks are never stacked");
  std::merge(taken.begin(), taken.end(), deepening.parent_positions.begin(), deepening.parent_positions.end(),
             std::back_inserter(deepening.positions));
  for (const Index position : deepening.positions) {
    const auto old = std::find(taken.begin(), taken.end(), position);
    deepening.memory_blocks.push_back(old != taken.end() ? BlockOrigin{old - taken.begin(), false}
                                                         : BlockOrigin{position, true});
  }
  deepening.start = [start](std::string_view part, Index layer) { return memory_source(part, layer, start); };
  return deepening;
}

/// How `upscale` starts new Memory blocks.
struct InsertOptions {
  std::uint64_t seed = 0;
  std::optional<double> key_spread{};                         ///< see MemoryStart
  std::map<std::string, TensorSource, std::less<>> others{};  ///< see MemoryStart
};

namespace detail {

template <int Heads, int Keys, int TopK, class Value>
MemoryStart memory_start(HeadwiseMemory<Heads, Keys, TopK, Value>, int head_dim) {
  MemoryStart start;
  start.query_dim = head_dim;
  if constexpr (requires { Value::rank; }) start.value_rank = Value::rank;
  return start;
}
template <int MemoryHeads, int Keys, int TopK, int QueryDim>
MemoryStart memory_start(ProductKeyMemory<MemoryHeads, Keys, TopK, QueryDim>, int) {
  MemoryStart start;
  start.query_dim = QueryDim;
  return start;
}
template <class Memory>
struct PolicyOf {
  static constexpr const char* name = "midus";
};
template <int MemoryHeads, int Keys, int TopK, int QueryDim>
struct PolicyOf<ProductKeyMemory<MemoryHeads, Keys, TopK, QueryDim>> {
  static constexpr const char* name = "pkm";
};

}  // namespace detail

/// The base with the Memory blocks that `Deeper` has and it has not: `upscale<Deeper>(load<Base>(...),
/// {.seed = 1})`. Its logits are the base's (−0 = +0) until it is trained. The base's memory is taken over;
/// `model.train(inserted)` trains the new blocks. Throws `Error` as `insert_memory` and `expand_model` do.
template <ModelConfig Deeper, ModelConfig Base, Device D>
LanguageModel<Deeper, D> upscale(LanguageModel<Base, D>&& base, const InsertOptions& options = {}) {
  static_assert(!std::is_void_v<typename Deeper::Inserted>,
                "upscale: the deeper model must be an Upscaled<Base, MemoryBlock<...>, BeforeLayers<...>>");
  static_assert(Deeper::layers == Base::layers, "upscale: Memory blocks go into a model of the same Layers");
  using Memory = typename Deeper::Inserted::MemoryConfig;
  constexpr int head_dim = LanguageModel<Deeper, D>::head_dim;
  MemoryStart start = detail::memory_start(Memory{}, head_dim);
  start.attention_width = Index{Deeper::AttentionConfig::heads} * head_dim;
  start.key_spread = options.key_spread;
  start.others = options.others;

  const std::vector<Index> taken(Base::Where::positions.begin(), Base::Where::positions.end());
  std::vector<Index> positions;
  for (const int position : Deeper::Where::positions)
    if (std::find(taken.begin(), taken.end(), position) == taken.end()) positions.push_back(position);
  return expand_model<Deeper>(
      std::move(base), insert_memory(detail::PolicyOf<Memory>::name, Base::layers, taken, positions, start),
      options.seed);
}

}  // namespace midus
