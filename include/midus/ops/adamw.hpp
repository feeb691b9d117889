// One step of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) for one tensor.
#pragma once

#include "midus/core/run.hpp"
#include "midus/core/view.hpp"

namespace midus {

/// With g = grad_scale · grad: m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g²,
/// x ← x (1 − rate · decay) − rate · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε), as torch.optim.AdamW.
template <class S>
struct AdamwStep {
  View<S, 1> value;       // [n] updated
  View<const S, 1> grad;  // [n]
  View<S, 1> exp_avg;     // [n] m, updated
  View<S, 1> exp_avg_sq;  // [n] v, updated
  double rate, beta1, beta2, epsilon, decay;
  double grad_scale;  // the clipping coefficient
  Index step;         // t, from 1
};

/// What the step would leave, without taking it: for every tile of `adamw_tile` elements the largest |x|, |m|
/// and |v|, each infinite where one of its numbers would not be finite.
template <class S>
struct AdamwLargest {
  AdamwStep<S> step;        // read
  View<double, 2> largest;  // [⌈n / adamw_tile⌉,3] overwritten
};

inline constexpr Index adamw_tile = 1 << 14;

}  // namespace midus
