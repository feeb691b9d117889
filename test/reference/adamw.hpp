#pragma once

#include <cmath>

#include "midus/ops/adamw.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
void run(Reference<S>& device, const AdamwStep<S>& op) {
  using std::sqrt;
  const double t = static_cast<double>(op.step);
  device.work([&] {
    for (Index i = 0; i < op.value.size(); ++i) {
      const S g = S(op.grad_scale) * op.grad(i);
      op.exp_avg(i) = S(op.beta1) * op.exp_avg(i) + S(1 - op.beta1) * g;
      op.exp_avg_sq(i) = S(op.beta2) * op.exp_avg_sq(i) + S(1 - op.beta2) * g * g;
      const S m = op.exp_avg(i) / S(1 - std::pow(op.beta1, t));
      const S v = op.exp_avg_sq(i) / S(1 - std::pow(op.beta2, t));
      op.value(i) = op.value(i) * S(1 - op.rate * op.decay) - S(op.rate) * m / (sqrt(v) + S(op.epsilon));
    }
  });
}

}  // namespace midus
