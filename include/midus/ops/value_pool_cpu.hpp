// The weighted sum of the retrieved values and its backward on the processor.
#pragma once

#include "midus/device/cpu.hpp"
#include "midus/ops/value_pool.hpp"

namespace midus {

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const ValuePool<S>& op) {
  const Index R = op.pooled.extent(0), G = op.pooled.extent(1), W = op.pooled.extent(2);
  const Index K = op.slots.extent(2), N = op.values.extent(1);
  const bool own_bank = op.values.extent(0) > 1;
  constexpr Index rows = 8;
  device.parallel_for((R + rows - 1) / rows, [&](Index task, Arena& scratch) {
    S* const widened = take<S>(scratch, W);
    for (Index r = task * rows; r < std::min((task + 1) * rows, R); ++r)
      for (Index g = 0; g < G; ++g) {
        S* const y = op.pooled.row(r, g);
        if (!op.accumulate) std::fill_n(y, W, S(0));
        for (Index i = 0; i < K; ++i) {
          const Index slot = (own_bank ? g * N : 0) + op.slots(r, g, i);
          const S* const v = op.values.widen(slot * W, W, widened);
          const S w = op.weights(r, g, i);
          for (Index c = 0; c < W; ++c) y[c] += w * v[c];
        }
      }
  });
}

template <class S>
[[gnu::noinline]] void run(Cpu<S>& device, const ValuePoolBackward<S>& op) {
  const Index R = op.dpooled.extent(0), G = op.dpooled.extent(1), W = op.dpooled.extent(2);
  const Index K = op.slots.extent(2), N = op.values.extent(1);
  const bool own_bank = op.values.extent(0) > 1;
  constexpr Index rows = 8;
  device.parallel_for((R + rows - 1) / rows, [&](Index task, Arena& scratch) {
    S* const widened = take<S>(scratch, W);
    for (Index r = task * rows; r < std::min((task + 1) * rows, R); ++r)
      for (Index g = 0; g < G; ++g)
        for (Index i = 0; i < K; ++i) {
          const Index slot = (own_bank ? g * N : 0) + op.slots(r, g, i);
          const S* const v = op.values.widen(slot * W, W, widened);
          op.dweights(r, g, i) =
              eigen_array(v, W).matrix().dot(eigen_array<const S>(op.dpooled.row(r, g), W).matrix());
        }
  });
  if (op.dvalues.empty()) return;
  constexpr Index columns = 16;
  device.parallel_for((W + columns - 1) / columns, [&](Index task, Arena&) {
    const Index begin = task * columns, end = std::min(begin + columns, W);
    for (Index r = 0; r < R; ++r)
      for (Index g = 0; g < G; ++g)
        for (Index i = 0; i < K; ++i) {
          const S w = op.weights(r, g, i);
          const S* const dz = op.dpooled.row(r, g);
          S* const dv = op.dvalues.row(own_bank ? g : 0, op.slots(r, g, i));
          for (Index c = begin; c < end; ++c) dv[c] += w * dz[c];
        }
  });
}

}  // namespace midus
