// LLaMA-Pro: copies of layers that start as the identity (arXiv 2401.02415).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "midus/upscale/deepening.hpp"
#include "midus/upscale/expand_model.hpp"

namespace midus {

/// Where a tensor of an inserted copy comes from: the two matrices that write to the residual stream are
/// zero.
inline TensorSource copied_layer_source(std::string_view part, Index layer) {
  if (part == "self_attn.o_proj.weight" || part == "mlp.down_proj.weight") return TensorSource::zeros();
  return TensorSource::copy_of(block_name(layer_prefix, layer) + std::string(part));
}

/// A copy after each of the layers `after` of a base of `layers` layers. Memory blocks that the base has, at
/// `positions`, stay before the layer that they were before. Throws `Error` where a layer is out of range or
/// named twice.
inline Deepening insert_copies(Index layers, const std::vector<Index>& positions,
                               const std::vector<Index>& after) {
  Deepening deepening;
  deepening.policy = "llama_pro";
  deepening.parent_layers = layers;
  deepening.parent_positions = checked_positions(after, layers, deepening.policy);
  const std::vector<Index>& copied = deepening.parent_positions;
  for (Index layer = 0; layer < layers; ++layer) {
    deepening.layers.push_back({layer, false});
    if (std::binary_search(copied.begin(), copied.end(), layer)) deepening.layers.push_back({layer, true});
  }
  for (const Index position : positions)
    deepening.positions.push_back(position + std::count_if(copied.begin(), copied.end(),
                                                           [&](Index layer) { return layer < position; }));
  deepening.memory_blocks = kept_blocks(positions.size());
  deepening.start = copied_layer_source;
  return deepening;
}

/// `upscale_llama_pro<Llama<..., Layers<L + 2>, ...>>(std::move(base), {1, 3})`: a copy after layer 1 and one
/// after layer 3 of the base. Same logits as the base's (−0 = +0); the base's memory is taken over. Throws
/// `Error` as `insert_copies` and `expand_model` do. `seed` is only recorded.
template <ModelConfig Deeper, ModelConfig Base, Device D>
LanguageModel<Deeper, D> upscale_llama_pro(LanguageModel<Base, D>&& base, const std::vector<Index>& after,
                                           std::uint64_t seed = 0) {
  const std::vector<Index> positions(Base::Where::positions.begin(), Base::Where::positions.end());
  return expand_model<Deeper>(std::move(base), insert_copies(Base::layers, positions, after), seed);
}

}  // namespace midus
