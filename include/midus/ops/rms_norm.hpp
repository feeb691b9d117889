// Root-mean-square normalisation (Zhang and Sennrich 2019, arXiv 1910.07467), and its backward.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/weight_view.hpp"

namespace midus {

/// y_r = w ⊙ x_r · s_r with s_r = 1 / √(mean(x_r²) + ε).
template <class S>
struct RmsNorm {
  View<const S, 2> x;       // [R,d]
  WeightView<S, 1> weight;  // [d]
  double epsilon;
  View<S, 2> y;            // [R,d] overwritten
  View<S, 1> inverse_rms;  // [R] s_r, kept for backward; overwritten
};

/// With g = dy_r ⊙ w and x̂ = x_r · s_r: dx_r += s_r · (g − x̂ · mean(g ⊙ x̂)) and dw += Σ_r dy_r ⊙ x̂.
template <class S>
struct RmsNormBackward {
  View<const S, 2> x;            // [R,d]
  WeightView<S, 1> weight;       // [d]
  View<const S, 1> inverse_rms;  // [R]
  View<const S, 2> dy;           // [R,d]
  View<S, 2> dx;                 // [R,d] added to
  View<S, 1> dweight;            // [d] added to; empty: frozen
};

}  // namespace midus
