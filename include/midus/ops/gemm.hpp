// The product of a linear layer, and its backward.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/weight_view.hpp"

namespace midus {

/// y = x Wᵀ, or y = plus + x Wᵀ.
template <class S>
struct Gemm {
  View<const S, 2> x;       // [R,K]
  WeightView<S, 2> w;       // [N,K]
  View<S, 2> y;             // [R,N] overwritten
  View<const S, 2> plus{};  // [R,N] added to the product; may be y itself; empty: nothing
};

/// dx = dy W, or dx += dy W.
template <class S>
struct GemmBackwardInput {
  View<const S, 2> dy;      // [R,N]
  WeightView<S, 2> w;       // [N,K]
  View<S, 2> dx;            // [R,K]
  bool accumulate = false;  // add to dx instead of overwriting it
};

/// dW += dyᵀ x.
template <class S>
struct GemmBackwardWeight {
  View<const S, 2> dy;  // [R,N]
  View<const S, 2> x;   // [R,K]
  View<S, 2> dw;        // [N,K] added to
};

}  // namespace midus
