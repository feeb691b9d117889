// One small product per head, and its backward.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/weight_view.hpp"

namespace midus {

/// y_h = x_h W_h, or y_h += x_h W_h, for every head h: the value projection of HIVE.
template <class S>
struct HeadGemm {
  View<const S, 3> x;       // [R,H,K]
  WeightView<S, 3> w;       // [H,K,N]
  View<S, 3> y;             // [R,H,N]
  bool accumulate = false;  // add to y instead of overwriting it
};

/// dx_h = dy_h W_hᵀ.
template <class S>
struct HeadGemmBackwardInput {
  View<const S, 3> dy;  // [R,H,N]
  WeightView<S, 3> w;   // [H,K,N]
  View<S, 3> dx;        // [R,H,K] overwritten
};

/// dW_h += x_hᵀ dy_h.
template <class S>
struct HeadGemmBackwardWeight {
  View<const S, 3> x;   // [R,H,K]
  View<const S, 3> dy;  // [R,H,N]
  View<S, 3> dw;        // [H,K,N] added to
};

}  // namespace midus
