// The weighted sum of the retrieved values, and its backward.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/weight_view.hpp"

namespace midus {

/// pooled_g = Σ_i w_i V[slot_i], or pooled_g += ... . With one bank all heads share V (HIVE's latent bank;
/// the bank of a product-key memory, whose heads' reads are one list); else head g reads bank g (dense
/// values).
template <class S>
struct ValuePool {
  View<const std::int32_t, 3> slots;  // [R,G,K]
  View<const S, 3> weights;           // [R,G,K]
  WeightView<S, 3> values;            // [1 or G, N, W]
  View<S, 3> pooled;                  // [R,G,W]
  bool accumulate = false;            // add to pooled instead of overwriting it
};

/// dw_i = ⟨V[slot_i], dpooled_g⟩ and dV[slot_i] += w_i dpooled_g, each row's sum in the order of (r, g, i).
template <class S>
struct ValuePoolBackward {
  View<const std::int32_t, 3> slots;  // [R,G,K]
  View<const S, 3> weights;           // [R,G,K]
  WeightView<S, 3> values;            // [1 or G, N, W]
  View<const S, 3> dpooled;           // [R,G,W]
  View<S, 3> dweights;                // [R,G,K] overwritten
  View<S, 3> dvalues;                 // [1 or G, N, W] added to; empty: frozen
};

}  // namespace midus
