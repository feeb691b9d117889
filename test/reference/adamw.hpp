#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "midus/ops/adamw.hpp"
#include "reference/device.hpp"

namespace midus {

/// Value, exp_avg and exp_avg_sq of element `i` after the step.
template <class S>
std::array<S, 3> after_adamw(const AdamwStep<S>& op, Index i) {
  using std::sqrt;
  const double t = static_cast<double>(op.step);
  const S g = S(op.grad_scale) * op.grad(i);
  const S exp_avg = S(op.beta1) * op.exp_avg(i) + S(1 - op.beta1) * g;
  const S exp_avg_sq = S(op.beta2) * op.exp_avg_sq(i) + S(1 - op.beta2) * g * g;
  const S m = exp_avg / S(1 - std::pow(op.beta1, t)), v = exp_avg_sq / S(1 - std::pow(op.beta2, t));
  return {op.value(i) * S(1 - op.rate * op.decay) - S(op.rate) * m / (sqrt(v) + S(op.epsilon)), exp_avg,
          exp_avg_sq};
}

template <class S>
void run(Reference<S>& device, const AdamwStep<S>& op) {
  device.work([&] {
    for (Index i = 0; i < op.value.size(); ++i) {
      const auto after = after_adamw(op, i);
      op.value(i) = after[0], op.exp_avg(i) = after[1], op.exp_avg_sq(i) = after[2];
    }
  });
}

template <class S>
void run(Reference<S>& device, const AdamwLargest<S>& op) {
  device.work([&] {
    std::fill_n(op.largest.data(), op.largest.size(), 0.0);
    for (Index i = 0; i < op.step.value.size(); ++i) {
      const auto after = after_adamw(op.step, i);
      for (Index part = 0; part < 3; ++part) {
        const double size = std::fabs(real_part(after[static_cast<std::size_t>(part)]));
        double& largest = op.largest(i / adamw_tile, part);
        largest = std::max(largest, std::isfinite(size) ? size : std::numeric_limits<double>::infinity());
      }
    }
  });
}

}  // namespace midus
