// LLaMA-Pro: copies of layers that start as the identity (arXiv 2401.02415).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "midus/upscale/deepening.hpp"
#include "midus/upscale/expand_model.hpp"

namespace midus {

/// A copy after each of the layers `after` of a base of `layers` layers, whose two matrices that write to the
/// residual stream are zero: it changes nothing yet. Memory blocks that the base has, at
/// `positions`, stay before the layer that they were before. Throws `Error` where a layer is out of range or
/// named twice.
inline Deepening insert_copies(Index layers, const std::vector<Index>& positions,
                               const std::vector<Index>& after) {
  Deepening deepening;
  deepening.policy = Policy::llama_pro;
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
  deepening.start = [](Role role, const Start&, std::string beside) {
    return role == Role::output ? TensorSource::zeros() : TensorSource::copy_of(std::move(beside));
  };
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
