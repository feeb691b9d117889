// Cpu form of ops/adamw.hpp.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/device/simd.hpp"
#include "midus/ops/adamw.hpp"

namespace midus {

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const AdamwStep<S>& op) {
  constexpr Index tile = 1 << 14;
  const Index size = op.value.size();
  const double steps = static_cast<double>(op.step);
  const auto constant = [](double x) { return simd::broadcast(static_cast<S>(x)); };
  const auto grad_scale = constant(op.grad_scale), beta1 = constant(op.beta1), beta2 = constant(op.beta2);
  const auto rest1 = constant(1 - op.beta1), rest2 = constant(1 - op.beta2), epsilon = constant(op.epsilon);
  const auto keep = constant(1 - op.rate * op.decay);
  const auto rate = constant(op.rate / (1 - std::pow(op.beta1, steps)));
  const auto spread = constant(1 / std::sqrt(1 - std::pow(op.beta2, steps)));
  device.parallel_for((size + tile - 1) / tile, [&](Index task, Arena&) {
    const Index first = task * tile;
    const S* const grads = op.grad.data() + first;
    S *const values = op.value.data() + first, *const ms = op.exp_avg.data() + first,
             *const vs = op.exp_avg_sq.data() + first;
    simd::for_packets<S>(std::min(tile, size - first), [&](auto at) {
      const auto g = grad_scale * at.load(grads);
      const auto m = simd::multiply_add(beta1, at.load(ms), rest1 * g);
      const auto v = simd::multiply_add(beta2, at.load(vs), rest2 * (g * g));
      at.store(ms, m);
      at.store(vs, v);
      const auto change = rate * m / simd::multiply_add(simd::square_root(v), spread, epsilon);
      at.store(values, simd::multiply_add(at.load(values), keep, -change));
    });
  });
}

}  // namespace midus
