#pragma once

#include <cmath>

#include "midus/ops/cross_entropy.hpp"
#include "reference/device.hpp"

namespace midus {

template <class S>
void run(Reference<S>& device, const CrossEntropy<S>& op) {
  using std::exp;
  using std::log;
  const Index V = op.logits.extent(1);
  device.work([&] {
    for (Index r = 0; r < op.logits.extent(0); ++r) {
      const bool counts = op.targets(r) != ignored_target;
      double largest = -std::numeric_limits<double>::infinity();  // keeps exp in range; cancels
      for (Index v = 0; v < V; ++v) largest = std::max(largest, real_part(op.logits(r, v)));
      S sum(0);
      for (Index v = 0; v < V; ++v) sum += exp(op.logits(r, v) - S(largest));
      op.losses(r) = counts ? log(sum) - (op.logits(r, op.targets(r)) - S(largest)) : S(0);
      if (op.dlogits.empty()) continue;
      for (Index v = 0; v < V; ++v) {
        const S probability = exp(op.logits(r, v) - S(largest)) / sum;
        op.dlogits(r, v) = counts ? S(op.scale) * (probability - S(v == op.targets(r) ? 1 : 0)) : S(0);
      }
    }
  });
}

}  // namespace midus
