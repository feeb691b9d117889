#pragma once

#include "midus/ops/value_pool.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
void run(Reference<S>& device, const ValuePool<S>& op) {
  const Index K = op.slots.extent(2), banks = op.values.extent(0), N = op.values.extent(1);
  const Index W = op.values.extent(2);
  device.work([&] {
    for (Index r = 0; r < op.pooled.extent(0); ++r)
      for (Index g = 0; g < op.pooled.extent(1); ++g)
        for (Index c = 0; c < W; ++c) {
          S sum(0);
          for (Index i = 0; i < K; ++i)
            sum += op.weights(r, g, i) * op.values.at(((banks > 1 ? g : 0) * N + op.slots(r, g, i)) * W + c);
          op.pooled(r, g, c) = op.accumulate ? op.pooled(r, g, c) + sum : sum;
        }
  });
}

template <class S>
void run(Reference<S>& device, const ValuePoolBackward<S>& op) {
  const Index K = op.slots.extent(2), banks = op.values.extent(0), N = op.values.extent(1);
  const Index W = op.values.extent(2);
  device.work([&] {
    for (Index r = 0; r < op.dpooled.extent(0); ++r)
      for (Index g = 0; g < op.dpooled.extent(1); ++g)
        for (Index i = 0; i < K; ++i) {
          const Index bank = banks > 1 ? g : 0, slot = op.slots(r, g, i);
          S dot(0);
          for (Index c = 0; c < W; ++c) {
            dot += op.dpooled(r, g, c) * op.values.at((bank * N + slot) * W + c);
            if (!op.dvalues.empty()) op.dvalues(bank, slot, c) += op.weights(r, g, i) * op.dpooled(r, g, c);
          }
          op.dweights(r, g, i) = dot;
        }
  });
}

}  // namespace midus
