// SOLAR: two overlapping copies of the stack, one on the other (arXiv 2312.15166).
#pragma once

#include <cstdint>
#include <utility>

#include "midus/upscale/deepening.hpp"
#include "midus/upscale/expand_model.hpp"

namespace midus {

/// The base without its last m layers, then the base without its first m: 2 · (layers − m) layers. They are
/// plain copies, so the result does not compute what the base does, and none is told from the base's. Throws
/// `Error` where that is not more layers than the base has.
inline Deepening overlap_copies(Index layers, Index m) {
  if (m < 0 || m >= layers)
    fail("solar: overlap (m, the layers that each copy leaves out) must be in 0 ... ", layers - 1,
         " for a base of ", layers, " layers, but is ", m);
  const Index deeper = 2 * (layers - m);
  if (deeper <= layers)
    fail("solar: overlap ", m, " makes ", deeper, " layers of ", layers,
         deeper == layers ? ": nothing is gained" : ", fewer than the base has", "; choose an overlap below ",
         (layers + 1) / 2);
  Deepening deepening;
  deepening.policy = Policy::solar;
  deepening.parent_layers = layers;
  for (Index layer = 0; layer < layers - m; ++layer) deepening.layers.push_back({layer, false});
  for (Index layer = m; layer < layers; ++layer) deepening.layers.push_back({layer, false});
  return deepening;
}

/// `upscale_solar<Llama<..., Layers<2 * (L - m)>, ...>>(std::move(base))`: m follows from the two depths. The
/// base's memory is taken over. Throws `Error` as `overlap_copies` does. `seed` is only recorded.
template <ModelConfig Deeper, ModelConfig Base, Device D>
LanguageModel<Deeper, D> upscale_solar(LanguageModel<Base, D>&& base, std::uint64_t seed = 0) {
  static_assert(Deeper::layers % 2 == 0, "upscale_solar: Layers of the deeper model must be even");
  static_assert(Base::Where::count == 0, "upscale_solar: the base must have no Memory blocks");
  return expand_model<Deeper>(std::move(base),
                              overlap_copies(Base::layers, Base::layers - Deeper::layers / 2), seed);
}

}  // namespace midus
